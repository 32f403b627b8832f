"""Data checks: is there something to learn in these documents, and does nothing spoil the figures (SPEC §5).

Legend: W windows, C context, N rows, D width.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from segue.progress import Progress, silent
from segue.statistics import DocumentBootstrap, Result, result_of
from segue.windows.index import Windows, run_bounds
from segue.windows.rows import Rows

BLOCK = 8192
LAGS = 10
NEAR_DUPLICATE = 0.90


@dataclass(frozen=True)
class Check:
    """One check: what was found, what is wanted, whether it passes, and whether it is `good`, better than enough."""

    name: str
    found: Result
    wanted: str
    passed: bool
    good: bool | None = None

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "found": self.found.to_json()}


@dataclass(frozen=True)
class Checked:
    """All checks of a set of windows, with the curves they are read off.

    slots  mean cos(slot i, y), oldest first
    lags   mean cos(x_t, x_{t+k}) for k = 1 … 10, over all neighbours of the documents
    """

    checks: list[Check]
    slots: list[Result]
    lags: list[Result]
    windows: int
    documents: int

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        return {
            "passed": self.passed,
            "windows": self.windows,
            "documents": self.documents,
            "checks": {check.name: check.to_json() for check in self.checks},
            "slots": [result.to_json() for result in self.slots],
            "lags": {str(k): result.to_json() for k, result in enumerate(self.lags, start=1)},
        }


def check_windows(windows: Windows, device: str = "cpu", progress: Progress = silent) -> Checked:
    """Run every check over all windows. Needs at least one window."""
    rows = Rows(windows.store, device)
    slot_WC = np.empty((len(windows), windows.context))
    coherence_W = np.empty(len(windows))
    padded_W = np.empty(len(windows))
    for start in range(0, len(windows), BLOCK):
        progress("checking windows", start, len(windows), "windows")
        at = slice(start, start + BLOCK)
        block = windows.take(np.arange(len(windows))[at])
        context_BCD, target_BD = rows(block.context_rows()), rows(block.target_rows())
        slot_WC[at] = (context_BCD * target_BD[:, None]).sum(-1).cpu().numpy()
        coherence_W[at] = (context_BCD[:, 1:] * context_BCD[:, :-1]).sum(-1).mean(1).cpu().numpy()
        padded_W[at] = (context_BCD == context_BCD[:, :1]).flatten(1).all(1).cpu().numpy()
    progress("checking windows", len(windows), len(windows), "windows")

    bootstrap = DocumentBootstrap(windows.document_W)
    signal_W = slot_WC[:, -1] - slot_WC[:, 0]
    columns = np.column_stack([slot_WC, coherence_W, signal_W])
    means = bootstrap.means(columns)
    n = len(windows)
    slots = [result_of(means[:, c], n) for c in range(windows.context)]
    coherence, signal = result_of(means[:, -2], n), result_of(means[:, -1], n)
    lags, duplicates = _lag_curve(windows, rows)
    rises = np.diff(means[0, : windows.context])
    padded = int(padded_W.sum())
    assert coherence.value is not None and signal.value is not None
    checks = [
        Check("coherence", coherence, "≥ .40, good .45–.50", coherence.value >= 0.40, 0.45 <= coherence.value <= 0.50),
        Check(
            "temporal signal", signal, "≥ +.08, good +.10 … +.15", signal.value >= 0.08, 0.10 <= signal.value <= 0.15
        ),
        Check("monotone", Result(int((rises < 0).sum()), n=n), "no inversion", bool((rises >= 0).all())),
        Check("adjacent near-duplicates", duplicates, "≤ 1 % of neighbours", (duplicates.value or 0) <= 0.01),
        Check("repeat padding", Result(padded, n=n), "0 windows", padded == 0),
    ]
    return Checked(checks, slots, lags, n, len(windows.documents))


def _lag_curve(windows: Windows, rows: Rows) -> tuple[list[Result], Result]:
    """Mean cosine at lags 1 … 10 over all rows of the documents, and the share of near-duplicate neighbours."""
    store = windows.store
    _, end_N = run_bounds(store.document_N, store.position_N)
    inside = np.flatnonzero(np.isin(store.document_N, windows.documents))
    cosine_NK = np.full((len(inside), LAGS), np.nan)
    for start in range(0, len(inside), BLOCK):
        mine = inside[start : start + BLOCK]
        here_BD = rows(mine)
        for lag in range(1, LAGS + 1):
            has = mine + lag <= end_N[mine]
            if has.any():
                cosines = (here_BD[has] * rows(mine[has] + lag)).sum(-1)
                cosine_NK[start : start + BLOCK][has, lag - 1] = cosines.cpu().numpy()
    near_N = np.where(np.isnan(cosine_NK[:, 0]), np.nan, cosine_NK[:, 0] >= NEAR_DUPLICATE)
    means = DocumentBootstrap(store.document_N[inside]).means(np.column_stack([cosine_NK, near_N]))
    counts = (~np.isnan(cosine_NK)).sum(0)
    lags = [result_of(means[:, k], int(counts[k])) for k in range(LAGS)]
    return lags, result_of(means[:, -1], int(counts[0]))
