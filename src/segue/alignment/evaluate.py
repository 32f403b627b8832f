"""From a predictor and a store to `5cat.json`: windows, controls, tests, lineage."""

from typing import Any

import numpy as np

from segue.alignment.fivecat import SAMPLES, controls_for, five_cat, part_of, require_profile, warnings_of
from segue.errors import InputError, nearest
from segue.models.controls import ATTAINABLE, UNATTAINABLE
from segue.models.fitting import fit_controls
from segue.models.predictor import Predictor
from segue.progress import Progress, silent
from segue.vectors import Store, require_same_space
from segue.windows import Split, windows_of


def evaluate(
    predictor: Predictor | str,
    store: Store,
    split: Split,
    *,
    ood: Store | None = None,
    profile: str = "skill",
    samples: int = SAMPLES,
    device: str = "cpu",
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, Any]:
    """The full 5CAT of a predictor, or of a control by its name, on VAL and OOD of a store.

    ood   a store all of whose documents stand for OOD; without it the split's OOD part, if it has one
    → the value of `5cat.json` (DESIGN). Raises InputError for an unknown control, vectors of another space, or a part
    without windows.
    """
    context, horizon = (5, 1) if isinstance(predictor, str) else (predictor.context, predictor.horizon)
    require_profile(profile)
    if isinstance(predictor, str) and predictor not in ATTAINABLE + UNATTAINABLE:
        raise InputError(
            f"{predictor}: is neither a folder nor a control. {nearest(predictor, ATTAINABLE + UNATTAINABLE)}"
        )
    if samples < 1:
        raise InputError(f"--samples: found {samples}, a number from 1 is wanted.")
    if ood is not None:
        require_same_space(store.space, ood.space, f"the store {store.path}", str(ood.path))
    documents = {"VAL": (store, split.documents(store, "VAL"))}
    if ood is not None:
        documents["OOD"] = (ood, np.arange(ood.n_documents))
    elif split.OOD:
        documents["OOD"] = (store, split.documents(store, "OOD"))
    every = {part: windows_of(where, ids, context, horizon) for part, (where, ids) in documents.items()}
    parts = {part: part_of(part, every[part], ids, samples, seed) for part, (_, ids) in documents.items()}
    train = windows_of(store, split.documents(store, "train"), context, horizon)
    part_of("train", train, split.documents(store, "train"))
    fitted = fit_controls(train, every["VAL"], device, progress)
    if isinstance(predictor, str):
        judged = {part: controls_for(fitted, every[part], device, seed)[predictor] for part in parts}
    else:
        judged = dict.fromkeys(parts, predictor)
    result = five_cat(judged, parts, fitted, every, profile=profile, device=device, seed=seed, progress=progress)
    result["data"] = {
        "store": str(store.path),
        "store_hash": store.hash,
        "ood_store": str(ood.path) if ood else None,
        "ood_store_hash": ood.hash if ood else None,
        "space": store.space.to_json(),
        "split": {"how": split.how, "hash": split.hash},
        "windows": {part: len(judged_on.windows) for part, judged_on in parts.items()},
        "documents": {part: len(judged_on.windows.documents) for part, judged_on in parts.items()},
        "train": {"windows": len(train), "documents": len(train.documents)},
        "samples": samples,
        "seed": seed,
        "warnings": warnings_of(parts),
    }
    return result
