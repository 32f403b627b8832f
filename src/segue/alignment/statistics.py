"""Means over windows with intervals over documents.

Windows of one document are not independent, so the bootstrap draws documents. Every predictor is resampled with the
same draws, which makes any difference of two draws a paired comparison.

Legend: W windows, G documents, R resamples, Q quantities.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

RESAMPLES = 1000
INTERVAL = (2.5, 97.5)


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
        count = len(documents)
        rng = np.random.default_rng(seed)
        # One document cannot say how documents differ: no resamples, so no interval.
        drawn = rng.multinomial(count, np.full(count, 1 / count), size=resamples if count > 1 else 0)
        self._weights_RG = np.concatenate([np.ones((1, count)), drawn])
        self.documents = count

    def means(self, values_WQ: np.ndarray) -> np.ndarray:
        """Mean of each quantity in each draw, windows with NaN left out: (W, Q) → (1 + R, Q); draw 0 is the data."""
        present = ~np.isnan(values_WQ)
        count = self._weights_RG.shape[1]
        sums_GQ = np.zeros((count, values_WQ.shape[1]))
        sizes_GQ = np.zeros_like(sums_GQ)
        np.add.at(sums_GQ, self._group_W, np.where(present, values_WQ, 0.0))
        np.add.at(sizes_GQ, self._group_W, present.astype(float))
        sizes_RQ = self._weights_RG @ sizes_GQ
        sums_RQ = self._weights_RG @ sums_GQ
        return np.divide(sums_RQ, sizes_RQ, out=np.full_like(sums_RQ, np.nan), where=sizes_RQ > 0)
