"""From a predictor and a store to `5cat.json`: windows, controls, tests, lineage."""

from typing import Any

from segue.alignment.caveats import few_candidates, said_of_few, said_of_order
from segue.alignment.fivecat import SAMPLES, controls_for, five_cat
from segue.alignment.held_out import held_out
from segue.alignment.profiles import Profiles, choose_profiles
from segue.artifacts import hash_file
from segue.errors import InputError, nearest
from segue.models.controls import ATTAINABLE, UNATTAINABLE
from segue.models.fitting import kept_controls
from segue.models.kept import Cache
from segue.models.outside import PredictionFile
from segue.models.predictor import Predictor
from segue.models.saved import shipped_models
from segue.progress import Progress, silent
from segue.vectors import Store
from segue.windows import Split


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
    kept: Cache | None = None,
) -> dict[str, Any]:
    """The full 5CAT of a predictor, of a file of predictions, or of a control by its name, on VAL and OOD of a store.

    ood       a store all of whose documents stand for OOD; without it the split's OOD part, if it has one
    profile   whose verdict counts: a shipped profile's name, a YAML file's path, or what `choose_profiles` gave
    kept      where controls fitted and measured before are found and kept; None: all is done now
    → the value of `5cat.json` (DESIGN). Raises InputError for an unknown control or profile, vectors of another space,
    a part without windows, or predictions that are not wanted ones.
    """
    profiles = choose_profiles(profile) if isinstance(profile, str) else profile
    if isinstance(predictor, str) and predictor not in ATTAINABLE + UNATTAINABLE:
        raise InputError(
            f"{predictor}: is neither a folder nor a control. "
            f"{nearest(predictor, (*ATTAINABLE, *UNATTAINABLE, *shipped_models()))}"
        )
    if isinstance(predictor, str):
        context, horizon = 5, 1
    else:
        claims = predictor.claims if isinstance(predictor, PredictionFile) else predictor
        context, horizon = claims.context, claims.horizon
    on = whole = held_out(store, split, context, horizon, ood=ood, samples=samples, seed=seed)
    if isinstance(predictor, PredictionFile):
        read = predictor.on({part: its.windows for part, its in on.parts.items()})
        on = on.only(read)
    fitted, were_kept = kept_controls(on.train, on.every["VAL"], device, progress, kept)
    judged: dict[str, Predictor]
    if isinstance(predictor, str):
        judged = {part: controls_for(fitted, on.every[part], device, seed)[predictor] for part in on.parts}
    elif isinstance(predictor, PredictionFile):
        judged = dict(read)
    else:
        judged = dict.fromkeys(on.parts, predictor)
    result = five_cat(
        judged, on.parts, fitted, on.every, profile=profiles, device=device, seed=seed, progress=progress, kept=kept
    )
    result["kept"] = {"fitted": were_kept, **result["kept"]}
    few = {part: few_candidates(its.windows) for part, its in on.parts.items()}
    warnings = [*_said_of_harness(result), *on.data["warnings"], *said_of_few(few, on.parts)]
    result["data"] = {**on.data, "few_candidates": few, "warnings": warnings}
    if isinstance(predictor, PredictionFile):
        result["predictor"]["source"] = {"file": str(predictor.path), "hash": hash_file(predictor.path)}
        result["data"]["warnings"] += said_of_order(read, whole.parts)
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
