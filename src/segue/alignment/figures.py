"""From what was measured to the metrics of SPEC §2, each with its interval, its n and its chance level.

Legend: P predictors, W windows, R resamples, Q metrics; draws are (1 + R,), draw 0 the data itself.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from segue.alignment.compare import FURTHEST, Measured, offsets_of
from segue.alignment.compare import Path as Path  # where others look for it
from segue.alignment.forwards import STEP, WHOLE, asks_of
from segue.alignment.ordering import binary_order
from segue.statistics import DocumentBootstrap, Result, result_of
from segue.windows import Windows

Columns = dict[Path, np.ndarray]

RANKS = {"r1": 1, "r5": 5, "r10": 10}
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
        """Nested by path; the steps of a rollout as lists, numbers of candidates as plain means; null: not computed."""
        tree: dict[str, Any] = {}
        for path in self.draws:
            node = tree
            for part in path[:-1]:
                node = node.setdefault(part, {})
            node[path[-1]] = self.result(path).to_json()
        if "rollout" in tree:
            rollout = tree["rollout"]
            for mode in ("snapped", "reencoded"):
                rollout.setdefault(mode, None)
            for one in filter(None, (rollout, rollout["snapped"], rollout["reencoded"])):
                for name in ("steps", "mrr_steps"):
                    one[name] = [one[name][step] for step in sorted(one[name], key=int)]
        for name in ("contrastive", "ordering", "l2_raw"):
            tree.setdefault(name, None)
        if tree["contrastive"]:
            tree["contrastive"]["batch"] = tree["contrastive"]["batch"]["value"]
        for pool in tree["retrieval"].values():
            pool["candidates"] = pool["candidates"]["value"]
        return tree


def figures(
    measured: Measured, p: int, windows: Windows, bootstrap: DocumentBootstrap, judged_reach: int | None
) -> Figures:
    """Means and derived metrics of predictor p on one part."""
    columns, chance = columns_of(measured, p, windows, judged_reach)
    columns = {path: values for path, values in columns.items() if not np.isnan(values).all()}
    means = bootstrap.means(np.stack(list(columns.values()), axis=1))
    draws = {path: means[:, q] for q, path in enumerate(columns)}
    n = {path: int((~np.isnan(values)).sum()) for path, values in columns.items()}
    draws[("margin",)], draws[("peak",)] = margin_and_peak(draws, windows)
    n[("margin",)] = n[("peak",)] = n[("cos",)]
    return Figures(draws, n, {**CHANCE, **chance})


def columns_of(
    measured: Measured, p: int, windows: Windows, judged_reach: int | None
) -> tuple[Columns, dict[Path, float]]:
    """Per-window values of every metric of predictor p that is a mean over windows, and the chance levels."""
    h, context = windows.horizon, windows.context
    swept = dict(zip(offsets_of(windows), measured.similarity_PKW[p], strict=True))
    before = swept.pop(1 - context - h)
    columns: Columns = {
        ("cos",): swept[h],
        ("margin_last",): swept[h] - swept[0],
        ("win_last",): _greater(swept[h], swept[0]),
        # A predictor that was handed the chunk before the window would be asked what it has read.
        ("direction",): _greater(swept[h], before if judged_reach == context else np.full_like(before, np.nan)),
        ("par",): measured.par_PW[p],
        ("mse",): measured.mse_PW[p],
        ("l2",): measured.l2_PW[p],
        ("l2_raw",): measured.l2_raw_PW[p],
        **{("offsets", str(k)): values for k, values in swept.items()},
    }
    low, high = BINS
    coherence = measured.coherence_W
    bins = {"low": coherence < low, "normal": (coherence >= low) & (coherence <= high), "high": coherence > high}
    columns |= {("bins", name): np.where(inside, swept[h], np.nan) for name, inside in bins.items()}
    chance: dict[Path, float] = {}
    for pool, candidates in measured.candidates.items():
        rank = measured.rank_PSW[p, 0] if pool == "future" else measured.rank[pool][p]
        path = ("retrieval", pool)
        columns[*path, "mrr"], chance[*path, "mrr"] = 1 / rank, float(np.mean(_harmonic(candidates) / candidates))
        for name, k in RANKS.items():
            columns[*path, name] = np.where(np.isnan(rank), np.nan, rank <= k)
            chance[*path, name] = float(np.mean(np.minimum(k, candidates) / candidates))
        columns[*path, "candidates"] = candidates.astype(float)
    columns |= _changed_columns(measured, p, windows)
    columns |= {path: values_PW[p] for path, values_PW in measured.secondary.columns.items()}
    if h == 1:
        columns["ordering", "binary"] = binary_order(swept[1], swept[2])
    return columns, chance | measured.secondary.chance


def _changed_columns(measured: Measured, p: int, windows: Windows) -> Columns:
    """Ablations as differences to the whole context; the steps of the rollout and their means."""
    cos_SW, mrr_SW = measured.cos_PSW[p], 1 / measured.rank_PSW[p]
    asks = asks_of(windows.context, windows.horizon, only_whole=len(cos_SW) == 1)
    columns: Columns = {}
    for kind in dict.fromkeys(ask.kind for ask in asks if ask.kind not in (WHOLE, STEP)):
        at = [s for s, ask in enumerate(asks) if ask.kind == kind]
        columns["ablations", kind] = cos_SW[at].mean(0) - cos_SW[0]
        columns["ablations_mrr", kind] = mrr_SW[at].mean(0) - mrr_SW[0]
    later = [s for s, ask in enumerate(asks) if ask.kind == STEP]
    if later:
        # Step 1 is the whole context's prediction, for the windows that were rolled out.
        rolled = ~np.isnan(cos_SW[later[-1]])
        steps = [np.where(rolled, cos_SW[0], np.nan), *cos_SW[later]]
        mrr_steps = [np.where(rolled, mrr_SW[0], np.nan), *mrr_SW[later]]
        columns |= {("rollout", "steps", str(j)): values for j, values in enumerate(steps, start=1)}
        columns |= {("rollout", "mrr_steps", str(j)): values for j, values in enumerate(mrr_steps, start=1)}
        columns["rollout", "mean"] = np.mean(steps, axis=0)
        # Step 1 is test B again; what a rollout adds begins with step 2 (SPEC §3, skill D).
        columns["rollout", "mrr"] = np.mean(mrr_steps[1:], axis=0)
    return columns


def margin_and_peak(draws: dict[Path, np.ndarray], windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    """Mean s(h) less the largest other mean s(k), k ≤ +3; and the offset of the largest mean. (1 + R,) each"""
    offsets = [int(path[1]) for path in draws if path[0] == "offsets"]
    means_RK = np.stack([draws["offsets", str(k)] for k in offsets], axis=1)
    others = [i for i, k in enumerate(offsets) if k != windows.horizon and k <= FURTHEST]
    margin = draws[("cos",)] - np.nanmax(means_RK[:, others], axis=1)
    peak = np.asarray(offsets, dtype=float)[np.nanargmax(means_RK, axis=1)]
    return margin, peak


def _greater(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """first > second as 1.0 or 0.0, NaN where either is missing."""
    return np.where(np.isnan(first) | np.isnan(second), np.nan, first > second)


def _harmonic(count: np.ndarray) -> np.ndarray:
    """1 + 1/2 + … + 1/n for every n."""
    return np.concatenate([[0.0], np.cumsum(1 / np.arange(1, count.max() + 1))])[count]
