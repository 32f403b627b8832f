"""Data checks: is there something to learn in these documents, and does nothing spoil the figures (SPEC §5).

Every figure follows from the cosines of a chunk to the few that come after it, so each row is gathered once, block by
block: what is held of a store of any size is one block of vectors, and a dozen numbers a row.

Legend: W windows, C context, N rows of the documents checked, K lags, D width.
"""

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from segue.progress import Progress, silent
from segue.statistics import DocumentBootstrap, Result, result_of
from segue.windows.index import Windows, run_bounds, windows_of
from segue.windows.rows import Rows

if TYPE_CHECKING:
    from segue.vectors import Store
    from segue.windows.hygiene import Hygiene

BLOCK = 4096
LAGS = 10
NEAR_DUPLICATE = 0.90
BINS = np.linspace(-0.2, 1.0, 49)  # edges of the histogram of adjacent cosines; what lies outside counts at the end
MAX_DOCUMENTS = 2000  # beyond, means over documents change in the third decimal


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
    """All checks of a set of documents, with the curves they are read off.

    slots       mean cos(slot i, y), oldest first
    lags        mean cos(x_t, x_{t+k}) for k = 1 … 10, over all neighbours of the documents
    adjacent    counts of the cosines of neighbours, in BINS
    of          documents there are; `documents` of them have a window and were checked
    hygiene     what the parts of a split share, where there is a split
    """

    checks: list[Check]
    slots: list[Result]
    lags: list[Result]
    windows: int
    documents: int
    of: int
    adjacent: list[int] = field(default_factory=list)
    hygiene: "Hygiene | None" = None

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def sampled(self) -> bool:
        return self.documents < self.of

    def to_json(self) -> dict[str, Any]:
        return {
            "passed": self.passed,
            "windows": self.windows,
            "documents": self.documents,
            "documents_with_windows": self.of,
            "checks": {check.name: check.to_json() for check in self.checks},
            "slots": [result.to_json() for result in self.slots],
            "lags": {str(k): result.to_json() for k, result in enumerate(self.lags, start=1)},
            "adjacent": {"edges": [round(float(edge), 3) for edge in BINS], "counts": self.adjacent},
            "hygiene": self.hygiene.to_json() if self.hygiene else None,
        }


def sampled_windows(
    store: "Store",
    documents: np.ndarray,
    context: int = 5,
    horizon: int = 1,
    most: int = MAX_DOCUMENTS,
    seed: int = 0,
) -> tuple[Windows, int]:
    """All windows of at most `most` documents that have any, drawn by the seed; and how many documents have any."""
    windows = windows_of(store, documents, context, horizon)
    having = windows.documents
    if len(having) <= most:
        return windows, len(having)
    chosen = np.random.default_rng(seed).choice(having, size=most, replace=False)
    return windows.take(np.isin(windows.document_W, chosen)), len(having)


def check_windows(
    windows: Windows,
    device: str = "cpu",
    progress: Progress = silent,
    *,
    of: int | None = None,
    hygiene: "Hygiene | None" = None,
) -> Checked:
    """Run every check over all windows of some documents. Needs at least one window.

    of        how many documents these were drawn from; None: they are all there are
    hygiene   what `segue.windows.hygiene` found of a split
    """
    store, context, h = windows.store, windows.context, windows.horizon
    inside_N = np.flatnonzero(np.isin(store.document_N, windows.documents))
    cosine_NK, same_N = _lag_cosines(windows, inside_N, max(LAGS, context - 1 + h), device, progress)
    oldest_W = np.searchsorted(inside_N, windows.last_W) - context + 1
    slot_WC = np.stack([cosine_NK[oldest_W + i, context - 2 - i + h] for i in range(context)], axis=1)
    pairs_WC = oldest_W[:, None] + np.arange(context - 1)
    coherence_W, padded = cosine_NK[pairs_WC, 0].mean(1), int(same_N[pairs_WC].all(1).sum())
    n = len(windows)
    means = DocumentBootstrap(windows.document_W).means(
        np.column_stack([slot_WC, coherence_W, slot_WC[:, -1] - slot_WC[:, 0]])
    )
    slots = [result_of(means[:, c], n) for c in range(context)]
    inversions = Result(int((np.diff(means[0, :context]) < 0).sum()), n=n)
    lags, duplicates = _lag_curve(cosine_NK[:, :LAGS], store.document_N[inside_N])
    checks = _judged(
        result_of(means[:, -2], n), result_of(means[:, -1], n), inversions, duplicates, Result(padded, n=n)
    )
    if hygiene is not None:
        checks.append(Check("split hygiene", hygiene.found, "0 in two parts", hygiene.found.value == 0))
    adjacent = cosine_NK[:, 0][~np.isnan(cosine_NK[:, 0])]
    counts, _ = np.histogram(np.clip(adjacent, BINS[0], BINS[-1]), bins=BINS)
    documents = len(windows.documents)
    return Checked(checks, slots, lags, n, documents, of or documents, counts.tolist(), hygiene)


def _judged(coherence: Result, signal: Result, inversions: Result, duplicates: Result, padded: Result) -> list[Check]:
    """The checks of SPEC §5 that windows alone answer."""
    assert coherence.value is not None and signal.value is not None
    return [
        Check("coherence", coherence, "≥ .40, good .45–.50", coherence.value >= 0.40, 0.45 <= coherence.value <= 0.50),
        Check(
            "temporal signal",
            signal,
            "≥ +.08, good +.10 … +.15, more is fine",
            signal.value >= 0.08,
            0.10 <= signal.value <= 0.15,
        ),
        Check("monotone", inversions, "no inversion", inversions.value == 0),
        Check("adjacent near-duplicates", duplicates, "≤ 1 % of neighbours", (duplicates.value or 0) <= 0.01),
        Check("repeat padding", padded, "0 windows", padded.value == 0),
    ]


def _lag_cosines(
    windows: Windows, inside_N: np.ndarray, lags: int, device: str, progress: Progress
) -> tuple[np.ndarray, np.ndarray]:
    """cos(x_n, x_{n+k}) for k = 1 … K, NaN where the run ends before, and whether x_n and x_{n+1} are the same bits.

    inside_N   rows of whole documents, ascending: the row k further on is the k-th next of them, where there is one
    → (N, K) float32, (N,) bool
    """
    rows = Rows(windows.store, device)
    _, end_N = run_bounds(windows.store.document_N, windows.store.position_N)
    room_N = end_N[inside_N] - inside_N
    cosine_NK = np.full((len(inside_N), lags), np.nan, dtype=np.float32)
    same_N = np.zeros(len(inside_N), dtype=bool)
    for start in range(0, len(inside_N), BLOCK):
        progress("checking documents", start, len(inside_N), "chunks")
        size = min(BLOCK, len(inside_N) - start)
        vectors_BD = rows(inside_N[start : start + size + lags])  # with those that the last of the block reach
        here = slice(start, start + size)
        for k in range(1, lags + 1):
            later_BD = vectors_BD[k : k + size]
            has = room_N[here][: len(later_BD)] >= k
            cosines = (vectors_BD[: len(later_BD)] * later_BD).sum(-1).cpu().numpy()
            cosine_NK[here, k - 1][: len(later_BD)] = np.where(has, cosines, np.nan)
            if k == 1:
                equal = (vectors_BD[: len(later_BD)] == later_BD).all(1).cpu().numpy()
                same_N[here][: len(later_BD)] = has & equal
    progress("checking documents", len(inside_N), len(inside_N), "chunks")
    return cosine_NK, same_N


def _lag_curve(cosine_NK: np.ndarray, document_N: np.ndarray) -> tuple[list[Result], Result]:
    """Mean cosine at each lag, and the share of neighbours that are near-duplicates."""
    near_N = np.where(np.isnan(cosine_NK[:, 0]), np.nan, cosine_NK[:, 0] >= NEAR_DUPLICATE)
    means = DocumentBootstrap(document_N).means(np.column_stack([cosine_NK, near_N]))
    counts = (~np.isnan(cosine_NK)).sum(0)
    lags = [result_of(means[:, k], int(counts[k])) for k in range(cosine_NK.shape[1])]
    return lags, result_of(means[:, -1], int(counts[0]))
