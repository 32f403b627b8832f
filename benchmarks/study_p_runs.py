"""The runs of the study, and what each predictor does on every window of a part, measured once."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from segue.alignment.forwards import predicted
from segue.alignment.held_out import held_out
from segue.alignment.measure import Part, measure
from segue.alignment.steer import fit_beta
from segue.models import load_model
from segue.models.fitting import fit_controls
from segue.models.predictor import Predictor
from segue.models.steered import Steered
from segue.recipe import resolve
from segue.statistics import DocumentBootstrap, Result, result_of
from segue.vectors import Store
from segue.windows import load_split
from segue.windows.rows import Rows


@dataclass(frozen=True)
class Run:
    """One run of the study."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def history(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "history.jsonl").read_text().splitlines()]

    @cached_property
    def manifest(self) -> dict[str, Any]:
        return json.loads((self.folder / "manifest.json").read_text())

    @cached_property
    def tested(self) -> dict[str, Any] | None:
        path = self.folder / "5cat.json"
        return json.loads(path.read_text()) if path.exists() else None

    @property
    def reported(self) -> str:
        return resolve(self.folder / "recipe.yaml").reported

    def metric(self, *path: str, part: str = "OOD") -> Result:
        found: Any = (self.tested or {"splits": {part: None}})["splits"][part]
        for step in path:
            found = found.get(step) if isinstance(found, Mapping) else None
        return Result(**found) if isinstance(found, Mapping) and "value" in found else Result(None)

    def gates(self, profile: str) -> str:
        if self.tested is None:
            return "–"
        judged = [
            one["passed"] for one in self.tested["profiles"][profile]["gates"].values() if one["passed"] is not None
        ]
        return f"{sum(judged)}/{len(judged)}"


class Study:
    """The runs, and what each predictor does on every window of a part, measured once."""

    def __init__(self, folder: Path):
        self.store = Store(folder / "data" / "documents")
        self.split = load_split(folder / "data" / "documents.json")
        finished = [
            path.parent for path in sorted(folder.glob("*/history.jsonl")) if (path.parent / "manifest.json").exists()
        ]
        self.runs = {run.name: Run(run) for run in finished}
        self.rows = Rows(self.store)

    @cache  # noqa: B019 - one study a process
    def part(self, horizon: int, name: str = "OOD") -> Part:
        return held_out(self.store, self.split, 5, horizon, samples=100_000).parts[name]

    @cache  # noqa: B019
    def controls(self, horizon: int) -> dict[str, Predictor]:
        held = held_out(self.store, self.split, 5, horizon, samples=100_000)
        return fit_controls(held.train, held.every["VAL"])

    @cache  # noqa: B019
    def predictor(self, name: str) -> Predictor:
        """`RUN` (its last epoch), `RUN@3`, `RUN@best`, or a control's name, `copy_last/2` for horizon 2."""
        run, _, epoch = name.partition("@")
        if run in self.runs:
            at = self.runs[run].history[-1]["epoch"] if epoch in ("", "last") else int(epoch)
            return load_model(self.runs[run].folder / ("best" if epoch == "best" else f"epochs/{at:03d}"))
        control, _, horizon = name.partition("/")
        return self.controls(int(horizon or 1))[control]

    @cache  # noqa: B019
    def figures(self, name: str, part: str = "OOD") -> dict[str, np.ndarray]:
        """Per window: cos, margin_last, mrr, cos_last."""
        return self.figures_of(self.predictor(name), part)

    def figures_of(self, predictor: Predictor, part: str = "OOD") -> dict[str, np.ndarray]:
        on = self.part(predictor.horizon, part)
        found = measure({"": predictor}, on, only_whole=True)
        last_WD = self.rows(on.windows.last_W)
        cos_last = (predicted(predictor, on.windows, self.rows) * last_WD).sum(-1).numpy()
        cos = found.cos_PSW[0, 0]
        return {
            "cos": cos,
            "margin_last": cos - cos_last,
            "mrr": 1 / found.rank_PSW[0, 0],
            "coherence": found.coherence_W,
        }

    def mean(self, name: str, figure: str, where: np.ndarray | None = None) -> Result:
        return self.over(self.predictor(name).horizon, self.figures(name)[figure], where)

    def difference(self, one: str, other: str, figure: str) -> Result:
        """Paired: one − other."""
        horizon = self.predictor(one).horizon
        return self.over(horizon, self.figures(one)[figure] - self.figures(other)[figure])

    def over(self, horizon: int, value_W: np.ndarray, where: np.ndarray | None = None) -> Result:
        document_W = self.part(horizon).windows.document_W
        kept = np.ones(len(value_W), bool) if where is None else where
        draws = DocumentBootstrap(document_W[kept]).means(value_W[kept, None].astype(np.float64))
        return result_of(draws[:, 0], int(kept.sum()))

    def steered(self, name: str, like: str) -> tuple[float, dict[str, Result]]:
        """A run steered after training to another's margin_last on VAL: β, and paired on OOD what it has more."""
        base = self.predictor(name)
        val = self.part(base.horizon, "VAL").windows
        margin = float(self.figures(like, "VAL")["margin_last"].mean())
        beta = fit_beta(base, val, margin).beta
        figures, other = self.figures_of(Steered(base, beta)), self.figures(like)
        return beta, {key: self.over(base.horizon, figures[key] - other[key]) for key in ("cos", "margin_last", "mrr")}
