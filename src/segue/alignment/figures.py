"""From columns to the metrics of SPEC §2, each with its interval, its n and its chance level.

Legend: W windows, R resamples; draws are (1 + R,), draw 0 the data itself.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from segue.alignment.compare import FURTHEST, Columns, Path
from segue.alignment.statistics import DocumentBootstrap, Result, result_of
from segue.windows import Windows

BINS = (0.45, 0.55)  # bounds of the coherence bins: mean adjacent cosine of the context (SPEC §3 E)
CHANCE: dict[Path, float] = {("cos",): 0.0, ("win_last",): 0.5, ("direction",): 0.5}


@dataclass(frozen=True)
class Figures:
    """Every metric of one predictor on one part, as draws that can be compared with another predictor's.

    Paths are those of `5cat.json`: ("cos",), ("offsets", "-4"), ("retrieval", "future", "mrr"), …
    """

    draws: dict[Path, np.ndarray]
    n: dict[Path, int]
    chance: dict[Path, float]

    def __contains__(self, path: Path) -> bool:
        return path in self.draws

    def result(self, path: Path) -> Result:
        """One metric; all None when it was not computed."""
        if path not in self.draws:
            return Result(None)
        return result_of(self.draws[path], self.n[path], self.chance.get(path))

    def lift(self, path: Path, other: "Figures") -> Result:
        """This predictor's metric minus another's, paired over documents."""
        return result_of(self.draws[path] - other.draws[path], self.n[path])

    def to_json(self) -> dict[str, Any]:
        tree: dict[str, Any] = {}
        for path in self.draws:
            node = tree
            for part in path[:-1]:
                node = node.setdefault(part, {})
            node[path[-1]] = self.result(path).to_json()
        if "rollout" in tree:
            for name in ("steps", "mrr_steps"):
                tree["rollout"][name] = [tree["rollout"][name][step] for step in sorted(tree["rollout"][name], key=int)]
        for pool in tree.get("retrieval", {}).values():
            pool["candidates"] = pool["candidates"]["value"]
        return tree


def _greater(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """first > second as 1.0 or 0.0, NaN where either is missing."""
    return np.where(np.isnan(first) | np.isnan(second), np.nan, first > second)


def derived_columns(columns: Columns, windows: Windows, judged_reach: int | None) -> Columns:
    """The per-window quantities of SPEC §2 that are read off the measured ones."""
    h, context = windows.horizon, windows.context
    target, last = columns[("s", str(h))], columns[("s", "0")]
    made: Columns = {
        ("cos",): target,
        ("margin_last",): target - last,
        ("win_last",): _greater(target, last),
        ("par",): columns[("par",)],
        ("mse",): columns[("mse",)],
    }
    before = columns.get(("s", str(1 - context - h)))
    if before is not None and judged_reach == context:
        made[("direction",)] = _greater(target, before)
    for offset in range(1 - context, max(FURTHEST, h) + 1):
        if ("s", str(offset)) in columns:
            made[("offsets", str(offset))] = columns[("s", str(offset))]
    coherence = columns[("coherence",)]
    low, high = BINS
    bins = {"low": coherence < low, "normal": (coherence >= low) & (coherence <= high), "high": coherence > high}
    for name, inside in bins.items():
        if inside.any():
            made[("bins", name)] = np.where(inside, target, np.nan)
    for path, values in columns.items():
        if path[0] in ("retrieval", "ablations", "ablations_mrr", "rollout"):
            made[path] = values
    return made


def figures(columns: Columns, windows: Windows, bootstrap: DocumentBootstrap, judged_reach: int | None) -> Figures:
    """Means and derived metrics of one predictor on one part."""
    made = derived_columns(columns, windows, judged_reach)
    values_WQ = np.stack(list(made.values()), axis=1)
    means = bootstrap.means(values_WQ)
    draws = {path: means[:, q] for q, path in enumerate(made)}
    n = {path: int((~np.isnan(values)).sum()) for path, values in made.items()}
    chance = dict(CHANCE)
    for path, values in columns.items():
        if path[0] == "chance":
            chance[path[1:]] = float(np.nanmean(values))
    draws[("margin",)], draws[("peak",)] = margin_and_peak(draws, windows)
    n[("margin",)] = n[("peak",)] = n[("cos",)]
    return Figures(draws, n, chance)


def margin_and_peak(draws: dict[Path, np.ndarray], windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    """Mean s(h) less the largest other mean s(k), k ≤ +3; and the offset of the largest mean. (1 + R,) each"""
    offsets = [int(path[1]) for path in draws if path[0] == "offsets"]
    means_RK = np.stack([draws[("offsets", str(k))] for k in offsets], axis=1)
    others = [i for i, k in enumerate(offsets) if k != windows.horizon and k <= FURTHEST]
    margin = draws[("cos",)] - np.nanmax(means_RK[:, others], axis=1)
    peak = np.asarray(offsets, dtype=float)[np.nanargmax(means_RK, axis=1)]
    return margin, peak
