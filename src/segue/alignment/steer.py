"""Steer a model to a wanted `margin_last`: one β, fitted on VAL, judged on OOD (SPEC §4).

Legend: W windows, D width.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from segue.alignment.forwards import handed
from segue.alignment.frontier import BETAS, METRICS, curve, point_json
from segue.alignment.measure import Part
from segue.errors import InputError
from segue.geometry import normalise
from segue.models.predictor import Predictor, RawPredictor
from segue.progress import Progress, silent
from segue.windows import Windows
from segue.windows.rows import Rows

LARGEST = 0.999  # as near to β = 1, where the multiplier of the margin is infinite, as a number of use goes
PRECISE = 1e-6  # of β
BLOCK = 256
BREAKING = ("unit_norm", "cosine", "info_nce")  # terms that leave ‖r‖ no meaning, or another one than ‖m‖


@dataclass(frozen=True)
class Fit:
    """β for a wanted margin, and what the model can reach on the same windows.

    low, high   margin_last at β = 0 and the largest along the curve
    """

    beta: float
    margin_last: float
    low: float
    high: float


def fit_beta(predictor: Predictor, val: Windows, margin: float, device: str = "cpu") -> Fit:
    """The β at which the mean margin_last over VAL windows is the wanted one, by bisection. One forward a window.

    With the true m the margin never falls along the curve. An estimate may break that somewhere: then the smallest β
    that reaches the margin is taken, which is the one of the largest cos. Raises InputError, naming the attainable
    range, for a margin out of reach.
    """
    raw_WD, last_WD, target_WD = _raw_outputs(predictor, val, Rows(val.store, device))

    def margin_at(beta: float) -> float:
        prediction_WD = normalise(raw_WD - beta * last_WD)
        return float((prediction_WD * (target_WD - last_WD)).sum(-1).double().mean())

    grid = [(beta, margin_at(beta)) for beta in (*BETAS, LARGEST)]
    low, high = grid[0][1], max(found for _, found in grid)
    if not low - PRECISE <= margin <= high:
        remedy = "A lower margin needs no steering." if margin < low else "Only a better model reaches more."
        raise InputError(
            f"--margin: found {margin:+.3f}, this model reaches margin_last {low:+.3f} (as it is) to {high:+.3f} "
            f"(β = 1) on VAL. {remedy}"
        )
    beta = _bisected(margin_at, grid, margin)
    return Fit(beta, margin_at(beta), low, high)


def _bisected(margin_at: Callable[[float], float], grid: list[tuple[float, float]], margin: float) -> float:
    reached = next(i for i, (_, found) in enumerate(grid) if found >= margin)
    if reached == 0:
        return 0.0
    below, above = grid[reached - 1][0], grid[reached][0]
    while above - below > PRECISE:
        middle = (below + above) / 2
        below, above = (middle, above) if margin_at(middle) < margin else (below, middle)
    return above


def _raw_outputs(predictor: Predictor, windows: Windows, rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
    """Raw outputs, last context chunks and targets: (W, D) each."""
    if not isinstance(predictor, RawPredictor):
        raise InputError(f"{predictor.name}: tells no raw output, so there is nothing to steer. Steer a trained model.")
    raw_WD = torch.empty(len(windows), rows.dim, device=rows.device)
    handed_W = handed(windows, predictor.reach)
    for length in np.unique(handed_W):
        alike = np.flatnonzero(handed_W == length)
        for start in range(0, len(alike), BLOCK):
            at = alike[start : start + BLOCK]
            context_BLD = rows(windows.last_W[at, None] + np.arange(1 - length, 1))
            raw_WD[torch.as_tensor(at, device=rows.device)] = predictor.predict_with_raw(context_BLD)[1]
    return raw_WD, rows(windows.last_W), rows(windows.target_rows())


def bought(
    predictor: Predictor,
    beta: float,
    parts: Mapping[str, Part],
    *,
    device: str = "cpu",
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, Any]:
    """What steering by β bought and what it cost on each part, paired over documents.

    → part → {"before", "after", "change"} → metric of `METRICS` → result
    """
    told = {}
    for name, part in parts.items():
        before, after = curve(predictor, part, (0.0, beta), device=device, seed=seed, progress=progress)
        change = {
            metric: after.lift(path, before).to_json() if path in after else None for metric, path in METRICS.items()
        }
        told[name] = {"before": point_json(before), "after": point_json(after), "change": change}
    return told


def recipe_of(run: Path) -> dict[str, Any] | None:
    """The resolved recipe that lies in a run, as a map; None for a model folder without one."""
    for folder in (run, run.parent.parent):  # RUN, or RUN/epochs/003
        if (folder / "recipe.yaml").is_file():
            found = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
            return found if isinstance(found, dict) else None
    return None


def doubts(recipe: Mapping[str, Any] | None) -> list[str]:
    """Why the raw output of a model trained by a recipe may be no estimate of E[target | context]; [] when it is one.

    recipe   the resolved recipe as a map; None where it is not known
    """
    if recipe is None:
        return ["its recipe is not known, so it cannot be told whether its raw output estimates E[target | context]"]
    model, terms = recipe.get("model"), recipe.get("objective") or {}
    said = []
    family = model.get("family") if isinstance(model, Mapping) else model
    if family == "residual" or (isinstance(model, Mapping) and model.get("residual")):
        said.append("its model is a residual one")
    used = [name for name, term in terms.items() if _ever(term)]
    said += [f"its objective has {name}" for name in BREAKING if name in used]
    if "mse" not in used:
        said.append("its objective has no mse")
    return [f"{one}, so the length of its raw output is not that of E[target | context]" for one in said]


def _ever(term: Any) -> bool:
    """Whether a term of a resolved recipe has a weight other than 0 at any epoch."""
    weight = term.get("weight") if isinstance(term, Mapping) else term
    if isinstance(weight, Mapping):
        return any(_ever({"weight": value}) for key, value in weight.items() if key not in ("from", "to", "shape"))
    return bool(weight)
