"""The frontier: the most `cos` at each `margin_last` (SPEC §4).

For unit targets the expected cosine of a prediction p is p·m, m = E[target | context]. The largest mean of p·m under
mean p·(m − x_t) ≥ M lies at p ∝ m + λ(m − x_t) in every window, one λ ≥ 0 for all (Lagrange), which is
p ∝ m − β·x_t with β = λ/(1 + λ) in [0, 1). A model trained on MSE estimates m by its raw output r, so that
`normalise(r − β·x_t)` walks along its own estimate of that curve, without training.

Legend: B batch, L chunks handed, D width.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from segue.alignment.figures import Figures, Path, figures
from segue.alignment.fivecat import controls_for
from segue.alignment.held_out import HeldOut
from segue.alignment.measure import Part, measure
from segue.errors import InputError
from segue.geometry import normalise
from segue.models.controls import ATTAINABLE
from segue.models.fitting import kept_controls
from segue.models.kept import Cache
from segue.models.predictor import Predictor, RawPredictor
from segue.models.steered import Steered
from segue.progress import Progress, silent
from segue.statistics import DocumentBootstrap

BETAS = tuple(step / 20 for step in range(20))  # 0, .05, … .95; at 1 the multiplier would be infinite
METRICS: dict[str, Path] = {
    "cos": ("cos",),
    "margin_last": ("margin_last",),
    "mrr_future": ("retrieval", "future", "mrr"),
    "direction": ("direction",),
}
NO_RAW = "the model has no raw output"


class _Raw:
    """A predictor's raw outputs, each batch forwarded once though every point of the curve asks for it."""

    def __init__(self, predictor: RawPredictor):
        self._predictor = predictor
        self._seen: dict[int, tuple[Tensor, Tensor]] = {}  # the last batch of each length

    def __call__(self, context_BLD: Tensor) -> Tensor:
        length = context_BLD.shape[1]
        seen = self._seen.get(length)
        if seen is None or not torch.equal(seen[0], context_BLD):
            seen = context_BLD, self._predictor.predict_with_raw(context_BLD)[1]
            self._seen[length] = seen
        return seen[1]


class _OnCurve:
    """One point of a curve, p = normalise(r − β·x_t), as a predictor."""

    def __init__(self, of: Predictor, raw: _Raw, beta: float):
        self.name, self.dim, self.context, self.horizon = of.name, of.dim, of.context, of.horizon
        self.facets, self.reach = of.facets, of.reach
        self._raw, self._beta = raw, beta

    def predict(self, context_BLD: Tensor) -> Tensor:
        return normalise(self._raw(context_BLD) - self._beta * context_BLD[:, -1])


def curve(
    predictor: Predictor,
    part: Part,
    betas: Sequence[float] = BETAS,
    *,
    device: str = "cpu",
    seed: int = 0,
    progress: Progress = silent,
) -> list[Figures]:
    """Tests A and B of a predictor steered by each β: one forward a window, the definitions of 5CAT.

    All points share their resamples, so that any two can be compared in pairs. Raises ValueError for a predictor
    without a raw output.
    """
    if not isinstance(predictor, RawPredictor):
        raise ValueError(f"{predictor.name}: {NO_RAW}")
    raw = _Raw(predictor)
    points: dict[str, Predictor] = {f"{i}": _OnCurve(predictor, raw, beta) for i, beta in enumerate(betas)}
    return _figures(points, part, device, seed, progress)


def _figures(
    predictors: Mapping[str, Predictor], part: Part, device: str, seed: int, progress: Progress
) -> list[Figures]:
    measured = measure(predictors, part, device=device, only_whole=True, seed=seed, progress=progress)
    bootstrap = DocumentBootstrap(part.windows.document_W, seed=seed)
    return [figures(measured, i, part.windows, bootstrap, p.reach) for i, p in enumerate(predictors.values())]


def point_json(found: Figures) -> dict[str, Any]:
    """`METRICS` of one predictor, each with its interval."""
    return {name: found.result(path).to_json() for name, path in METRICS.items()}


def drawn(
    predictor: Predictor, parts: Mapping[str, Part], *, device: str = "cpu", seed: int = 0, progress: Progress = silent
) -> dict[str, Any]:
    """A predictor's place and curve on each part. A steered model's curve is its base's, its place at its own β.

    → {"beta", "not_drawn", "splits": {part: {"point": {…}, "curve": [{"beta", "cos", …}, …] or None}}}
    """
    base, beta = (predictor.base, predictor.beta) if isinstance(predictor, Steered) else (predictor, 0.0)
    has_raw = isinstance(base, RawPredictor)
    splits: dict[str, dict[str, Any]] = {}
    for name, part in parts.items():
        if not has_raw:
            (found,) = _figures({"": predictor}, part, device, seed, progress)
            splits[name] = {"point": point_json(found), "curve": None}
            continue
        place, *along = curve(base, part, (beta, *BETAS), device=device, seed=seed, progress=progress)
        points = [{"beta": b, **point_json(one)} for b, one in zip(BETAS, along, strict=True)]
        splits[name] = {"point": point_json(place), "curve": points}
    return {"beta": beta, "not_drawn": None if has_raw else NO_RAW, "splits": splits}


def frontier(
    runs: Mapping[str, Predictor],
    held: HeldOut,
    *,
    device: str = "cpu",
    seed: int = 0,
    progress: Progress = silent,
    kept: Cache | None = None,
) -> dict[str, Any]:
    """Every run's and control's place, and the curve of each that has a raw output, on the same windows.

    runs   label → predictor, all of the windows' context and horizon
    kept   where controls fitted before are found and kept; their places and curves are measured now
    → {"betas", "context", "horizon", "data", "predictors": {label: {"kind": "run" or "control", "attainable", …}}},
    the rest of an entry as `drawn` gives it. Raises InputError for predictors of different windows.
    """
    require_same_windows(runs)
    result = _empty(held)
    for name, predictor in runs.items():
        found = drawn(predictor, held.parts, device=device, seed=seed, progress=progress)
        result["predictors"][name] = {"kind": "run", "attainable": True, **found}
    fitted, _ = kept_controls(held.train, held.every["VAL"], device, progress, kept)
    for part_name, part in held.parts.items():
        controls = controls_for(fitted, held.every[part_name], device, seed)
        for name, control in controls.items():
            entry = result["predictors"].setdefault(_free(name, runs), {**_control(name), "splits": {}})
            found = drawn(control, {part_name: part}, device=device, seed=seed, progress=progress)
            entry["not_drawn"] = found["not_drawn"]
            entry["splits"] |= found["splits"]
    return result


def frontier_beside(
    model: Predictor,
    held: HeldOut,
    five_cat: Mapping[str, Any],
    *,
    device: str = "cpu",
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, Any]:
    """A run's own frontier beside controls that its 5CAT has measured already: costs one forward a window.

    → as `frontier`; the controls have places but no curves.
    """
    result = _empty(held)
    found = drawn(model, held.parts, device=device, seed=seed, progress=progress)
    result["predictors"][model.name] = {"kind": "run", "attainable": True, **found}
    for name, its in five_cat["controls"].items():
        splits = {part: {"point": _read(its[part]), "curve": None} for part in held.parts if part in its}
        why = "not asked for: `segue frontier` draws it"
        result["predictors"][_free(name, [model.name])] = {**_control(name), "not_drawn": why, "splits": splits}
    return result


def require_same_windows(runs: Mapping[str, Predictor]) -> None:
    """Raises InputError when predictors want different contexts or horizons: their margins are not the same thing."""
    (first_name, first), *others = runs.items()
    for name, one in others:
        if (one.context, one.horizon) != (first.context, first.horizon):
            raise InputError(
                f"{name}: reads {one.context} chunks and predicts offset +{one.horizon}, {first_name} reads "
                f"{first.context} and predicts +{first.horizon}: they share no axes. Draw them one by one."
            )


def _empty(held: HeldOut) -> dict[str, Any]:
    windows = held.train
    return {
        "betas": list(BETAS),
        "context": windows.context,
        "horizon": windows.horizon,
        "data": held.data,
        "predictors": {},
    }


def _control(name: str) -> dict[str, Any]:
    return {"kind": "control", "attainable": name in ATTAINABLE, "beta": 0.0}


def _free(name: str, taken: Mapping[str, Any] | Sequence[str]) -> str:
    """A control's name, told apart from a run of the same name."""
    return f"{name} (control)" if name in taken else name


def _read(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """`METRICS` out of a split's metrics as `5cat.json` has them."""
    point = {}
    for name, path in METRICS.items():
        node: Any = metrics
        for step in path:
            node = node.get(step) if isinstance(node, dict) else None
        point[name] = node
    return point
