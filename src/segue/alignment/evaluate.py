"""From a predictor and a store to `5cat.json`: windows, controls, tests, lineage."""

from typing import Any

from segue.alignment.caveats import few_candidates, said_of_few, said_of_order
from segue.alignment.fivecat import SAMPLES, controls_for, five_cat, part_of, warnings_of
from segue.alignment.judged import judged_windows
from segue.alignment.profiles import Profiles, choose_profiles
from segue.artifacts import hash_file
from segue.errors import InputError, nearest
from segue.models.controls import ATTAINABLE, UNATTAINABLE
from segue.models.fitting import fit_controls
from segue.models.outside import PredictionFile
from segue.models.predictor import Predictor
from segue.progress import Progress, silent
from segue.vectors import Store
from segue.windows import Split, windows_of


def evaluate(
    predictor: Predictor | PredictionFile | str,
    store: Store,
    split: Split,
    *,
    ood: Store | None = None,
    profile: str | Profiles = "skill",
    samples: int = SAMPLES,
    device: str = "cpu",
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, Any]:
    """The full 5CAT of a predictor, of a file of predictions, or of a control by its name, on VAL and OOD of a store.

    ood       a store all of whose documents stand for OOD; without it the split's OOD part, if it has one
    profile   whose verdict counts: a shipped profile's name, a YAML file's path, or what `choose_profiles` gave
    → the value of `5cat.json` (DESIGN). Raises InputError for an unknown control or profile, vectors of another space,
    a part without windows, or predictions that are not wanted ones.
    """
    profiles = choose_profiles(profile) if isinstance(profile, str) else profile
    if isinstance(predictor, str) and predictor not in ATTAINABLE + UNATTAINABLE:
        raise InputError(
            f"{predictor}: is neither a folder nor a control. {nearest(predictor, ATTAINABLE + UNATTAINABLE)}"
        )
    if isinstance(predictor, str):
        context, horizon = 5, 1
    else:
        claims = predictor.claims if isinstance(predictor, PredictionFile) else predictor
        context, horizon = claims.context, claims.horizon
    on = judged_windows(store, split, ood=ood, context=context, horizon=horizon, samples=samples, seed=seed)
    parts = on.parts
    if isinstance(predictor, PredictionFile):
        read = predictor.on({part: its.windows for part, its in parts.items()})
        parts = {part: parts[part] for part in read}
    train = windows_of(store, split.documents(store, "train"), context, horizon)
    part_of("train", train, split.documents(store, "train"))
    fitted = fit_controls(train, on.every["VAL"], device, progress)
    judged: dict[str, Predictor]
    if isinstance(predictor, str):
        judged = {part: controls_for(fitted, on.every[part], device, seed)[predictor] for part in parts}
    elif isinstance(predictor, PredictionFile):
        judged = dict(read)
    else:
        judged = dict.fromkeys(parts, predictor)
    result = five_cat(judged, parts, fitted, on.every, profile=profiles, device=device, seed=seed, progress=progress)
    few = {part: few_candidates(its.windows) for part, its in parts.items()}
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
        "few_candidates": few,
        "warnings": [*_said_of_harness(result), *warnings_of(parts), *said_of_few(few, parts)],
    }
    if isinstance(predictor, PredictionFile):
        result["predictor"]["source"] = {"file": str(predictor.path), "hash": hash_file(predictor.path)}
        result["data"]["warnings"] += said_of_order(read, on.parts)
    return result


def _said_of_harness(result: dict[str, Any]) -> list[str]:
    """A warning where a fact known beforehand does not hold of the controls' figures on this very data."""
    facts = [(part, fact) for part, its in result["certification"].items() for fact in its]
    broken = [(part, fact["name"]) for part, fact in facts if not fact["holds"]]
    if not broken:
        return []
    return [
        f"The harness is not certified on this data: {len(broken)} of {len(facts)} known facts do not hold "
        f"(first, on {broken[0][0]}: {broken[0][1]}). Run `segue certify`; if that holds, the data are unusual, "
        f"as when whole pages repeat."
    ]
