"""The held-out parts of a store, as frontier, steer and arrow read them: windows, and what is said of them.

Legend: W windows.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from segue.alignment.fivecat import SAMPLES, part_of, warnings_of
from segue.alignment.measure import Part
from segue.errors import InputError
from segue.vectors import Store, require_same_space
from segue.windows import Split, Windows, windows_of


@dataclass(frozen=True)
class HeldOut:
    """Train windows, and VAL and (where there is one) OOD to judge on.

    every   all windows of each part, for the controls that know the answers
    data    which store, split and windows: what a result must name
    """

    train: Windows
    every: dict[str, Windows]
    parts: dict[str, Part]
    data: dict[str, Any]


def held_out(
    store: Store,
    split: Split,
    context: int,
    horizon: int,
    *,
    ood: Store | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
) -> HeldOut:
    """The parts of a store for predictors of one context and horizon; the same windows as `segue 5cat` judges.

    ood   a store all of whose documents stand for OOD; without it the split's OOD part, if it has one
    Raises InputError for samples below 1, vectors of another space, or a part without windows.
    """
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
    data = {
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
    return HeldOut(train, every, parts, data)
