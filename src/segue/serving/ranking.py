"""Candidates in the order in which a model expects them next: whoever has candidates knows more than a predictor does.

Legend: L chunks of a context, N candidates, D width.
"""

from dataclasses import dataclass

import numpy as np

from segue.errors import InputError
from segue.geometry import LEVEL, normalise

# Half of what all candidates share is taken off: docs/onward.md, measured on VAL.
CENTRE = 0.5


@dataclass(frozen=True)
class Ranking:
    """Candidates as a model orders them, and as two plain rules would.

    score_N   what orders them: the prediction's cosine, less `centre` times the candidate's to the candidates' mean
    cosine_N  to the prediction; last_N to the last chunk, mean_N to the mean of the context
    """

    score_N: np.ndarray
    cosine_N: np.ndarray
    last_N: np.ndarray
    mean_N: np.ndarray

    @property
    def order(self) -> np.ndarray:
        """Indices of the candidates, best first; of level ones the earlier first."""
        return np.argsort(-self.score_N, kind="stable")

    def ranks(self) -> dict[str, np.ndarray]:
        """Each candidate's rank from 1, level ones averaged (SPEC §2), by the model, the last chunk and the mean."""
        by = {"model": self.score_N, "last": self.last_N, "mean": self.mean_N}
        return {name: ranks_of(score_N) for name, score_N in by.items()}


def ranks_of(score_N: np.ndarray) -> np.ndarray:
    """Ranks from 1, the largest score first, level ones averaged: (N,) → (N,)"""
    ascending_N = np.sort(score_N)
    above_N = len(score_N) - np.searchsorted(ascending_N, score_N + LEVEL, side="right")
    level_N = len(score_N) - np.searchsorted(ascending_N, score_N - LEVEL, side="left") - above_N
    ranks_N: np.ndarray = above_N + 0.5 * (level_N + 1)
    return ranks_N


def ranking(
    prediction_D: np.ndarray, context_LD: np.ndarray, candidates_ND: np.ndarray, centre: float = CENTRE
) -> Ranking:
    """Order candidates by score p·y − centre · m·y, m the mean of the candidates; all vectors unit.

    What a candidate shares with all others cannot tell it from them: some are near to everything, and a prediction,
    being near to a mean, prefers those. `centre` 0 orders by the cosine to the prediction alone.
    Raises InputError for fewer than two candidates, another width, what is not finite, and a centre out of bounds.
    """
    require_candidates(len(candidates_ND))
    if not 0 <= centre <= 1:
        raise InputError(f"--centre: found {centre:g}, a number from 0 to 1 is wanted.")
    if candidates_ND.shape[1] != len(prediction_D):
        raise InputError(
            f"--candidates: vectors are {candidates_ND.shape[1]} wide, the model wants {len(prediction_D)}. "
            f"Encode them with its encoder."
        )
    if not np.isfinite(candidates_ND).all():
        bad = int(np.flatnonzero(~np.isfinite(candidates_ND).all(1))[0])
        raise InputError(f"--candidates: vector {bad} is not finite, unit vectors are wanted. Encode it again.")
    wide_ND = candidates_ND.astype(np.float64)
    cosine_N = wide_ND @ prediction_D
    shared_N = wide_ND @ wide_ND.mean(0)
    return Ranking(
        score_N=cosine_N - centre * shared_N,
        cosine_N=cosine_N,
        last_N=wide_ND @ context_LD[-1],
        mean_N=wide_ND @ normalise(context_LD.astype(np.float64).mean(0)),
    )


def require_candidates(count: int) -> None:
    """Raises InputError where there is nothing to order."""
    if count < 2:
        found = "no candidate" if count == 0 else "one candidate"
        raise InputError(f"--candidates: found {found}, at least two are wanted. In a file a blank line ends one.")
