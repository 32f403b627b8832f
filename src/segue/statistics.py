"""Means over windows with intervals over documents.

Windows of one document are not independent, so the bootstrap draws documents. Every predictor is resampled with the
same draws, which makes any difference of two draws a paired comparison.

Legend: W windows, G documents, R resamples, Q quantities.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

RESAMPLES = 1000
INTERVAL = (2.5, 97.5)
BLOCK_ENTRIES = 1 << 23  # 64 MiB of weights held at once


def small_sample_factor(documents: int) -> float:
    """How much wider than the bootstrap's an interval from few documents must be: t₍G−1₎/z · √(G/(G−1)).

    The percentile bootstrap takes the spread it sees for the truth and a normal for Student's t: its 95 % covers .51 at
    two documents, .85 at six, .94 at thirty. This is the correction of Hesterberg (2015, The American Statistician
    69:4, "expanded percentile interval"), put on the draws, so that every interval and every comparison has it.
    """
    from scipy.special import stdtrit

    return float(stdtrit(documents - 1, 0.975) / 1.959964 * np.sqrt(documents / (documents - 1)))


@dataclass(frozen=True)
class Result:
    """A figure with its 95 % interval over documents, the number of windows behind it, and the level of chance.

    None where a thing was not computed: an interval needs two documents, a chance level a finite choice.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    chance: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def result_of(draws_R: np.ndarray, n: int | None = None, chance: float | None = None) -> Result:
    """Draw 0 is the figure itself, the others its resamples: (1 + R,) → Result. NaN becomes None."""
    value = None if np.isnan(draws_R[0]) else float(draws_R[0])
    resamples = draws_R[1:][~np.isnan(draws_R[1:])]
    if value is None or len(resamples) == 0:
        return Result(value, None, None, n, chance)
    low, high = np.percentile(resamples, INTERVAL)
    return Result(value, float(low), float(high), n, chance)


class DocumentBootstrap:
    """Resamples of the documents that a set of windows comes from.

    document_W  (W,) the document of each window
    """

    def __init__(self, document_W: np.ndarray, resamples: int = RESAMPLES, seed: int = 0):
        documents, self._group_W = np.unique(document_W, return_inverse=True)
        self.documents = len(documents)
        # One document cannot say how documents differ: no resamples, so no interval.
        self._resamples = resamples if self.documents > 1 else 0
        self._seed = seed
        self._kept: list[np.ndarray] | None = None

    def _weights(self) -> Iterator[np.ndarray]:
        """How often each document stands in each draw, in blocks (R', G); the data itself first."""
        yield np.ones((1, self.documents))
        rng = np.random.default_rng(self._seed)
        block = max(1, BLOCK_ENTRIES // self.documents)
        even = np.full(self.documents, 1 / self.documents)
        for start in range(0, self._resamples, block):
            yield rng.multinomial(self.documents, even, size=min(block, self._resamples - start)).astype(float)

    def means(self, values_WQ: np.ndarray) -> np.ndarray:
        """Mean of each quantity in each draw, windows with NaN left out: (W, Q) → (1 + R, Q); draw 0 is the data.

        The others are spread by `small_sample_factor`.
        """
        present = ~np.isnan(values_WQ)
        sums_GQ = np.zeros((self.documents, values_WQ.shape[1]))
        sizes_GQ = np.zeros_like(sums_GQ)
        np.add.at(sums_GQ, self._group_W, np.where(present, values_WQ, 0.0))
        np.add.at(sizes_GQ, self._group_W, present.astype(float))
        if self._kept is None and self.documents * self._resamples <= BLOCK_ENTRIES:
            self._kept = list(self._weights())  # drawn once where they fit; else drawn again, the same by their seed
        means = []
        widened = small_sample_factor(self.documents) if self._resamples else 1.0
        for weights_RG in self._kept or self._weights():
            sums_RQ, sizes_RQ = weights_RG @ sums_GQ, weights_RG @ sizes_GQ
            means.append(np.divide(sums_RQ, sizes_RQ, out=np.full_like(sums_RQ, np.nan), where=sizes_RQ > 0))
        draws_RQ = np.concatenate(means)
        draws_RQ[1:] = draws_RQ[0] + widened * (draws_RQ[1:] - draws_RQ[0])
        return draws_RQ
