"""A document as a map: how alike its chunks are, and what a model predicts at each place, beside what came.

Legend: n chunks shown, T places a prediction is made at, C chunks read, D width.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from segue.geometry import normalise, rank_of_true
from segue.serving.passages import Passages
from segue.vectors import Store

MOST = 160  # chunks of one map
FARTHEST = 32  # chunks read at most by a model that reads the whole document so far
BEST = 5


@dataclass(frozen=True)
class Span:
    """A document, or a part of a long one."""

    document: str
    rows: slice
    start: int
    total: int


def span_of(passages: Passages, document: str, start: int) -> Span | None:
    """At most MOST chunks from the `start`-th; None for a document the store does not hold."""
    rows = passages.rows_of(document)
    if rows is None:
        return None
    total = rows.stop - rows.start
    start = max(0, min(start, total - 1))
    return Span(document, slice(rows.start + start, min(rows.stop, rows.start + start + MOST)), start, total)


def vectors_of(store: Store, span: Span) -> np.ndarray:
    """→ (n, D) float32 unit vectors. Raises InputError where one is not finite."""
    store.require_finite(np.arange(span.rows.start, span.rows.stop))
    return normalise(np.asarray(store.vectors_ND[span.rows], dtype=np.float32))


def places(position_n: np.ndarray, context: int, horizon: int) -> list[int]:
    """Where a whole context has been read without a gap and what it should predict has followed. → indices t"""
    step_n = np.diff(position_n) == 1
    return [
        t for t in range(context - 1, len(position_n) - horizon) if bool(step_n[t - context + 1 : t + horizon].all())
    ]


def contexts(vectors_nD: np.ndarray, places_T: list[int], reach: int) -> list[list[list[float]]]:
    """What the model is handed at each place: its last `reach` chunks, oldest first."""
    return [vectors_nD[max(0, t - reach + 1) : t + 1].tolist() for t in places_T]


def map_of(vectors_nD: np.ndarray, places_T: list[int], horizon: int, prediction_TD: np.ndarray) -> dict[str, Any]:
    """Cosines in hundredths, and at each place the rank of what came among the chunks still to come.

    → {"steps": [{"at", "target", "cosines": [n], "rank", "of", "best": [[index, cosine], …], "last": …}], "summary"}
    """
    cosine_Tn = prediction_TD @ vectors_nD.T
    last_Tn = vectors_nD[places_T] @ vectors_nD.T
    after_Tn = np.arange(len(vectors_nD))[None] > np.asarray(places_T)[:, None]
    target_T1 = (np.asarray(places_T) + horizon)[:, None]
    rank_T = rank_of_true(cosine_Tn, np.take_along_axis(cosine_Tn, target_T1, 1), after_Tn)
    last_rank_T = rank_of_true(last_Tn, np.take_along_axis(last_Tn, target_T1, 1), after_Tn)
    of_T = after_Tn.sum(1)
    steps = []
    for i, t in enumerate(places_T):
        target = t + horizon
        order = t + 1 + np.argsort(-cosine_Tn[i, t + 1 :], kind="stable")[:BEST]
        steps.append(
            {
                "at": t,
                "target": target,
                "cosines": hundredths(cosine_Tn[i]),
                "cosine": _cosine(cosine_Tn[i, target]),
                "rank": float(rank_T[i]),
                "of": int(of_T[i]),
                "best": [[int(j), _cosine(cosine_Tn[i, j])] for j in order],
                "last_rank": float(last_rank_T[i]),
                "last_cosine": _cosine(last_Tn[i, target]),
                "copy": _cosine(cosine_Tn[i, t]),
            }
        )
    return {"steps": steps, "summary": _summary(cosine_Tn, last_Tn, target_T1, rank_T, last_rank_T, of_T)}


def _summary(
    cosine_Tn: np.ndarray,
    last_Tn: np.ndarray,
    target_T1: np.ndarray,
    rank_T: np.ndarray,
    last_rank_T: np.ndarray,
    of_T: np.ndarray,
) -> dict[str, Any] | None:
    """Over the places shown; a single document shows what a model does, not what it is worth. None without a place."""
    if not len(rank_T):
        return None
    chance_T = [float((1 / np.arange(1, of + 1)).mean()) for of in of_T]
    return {
        "n": len(rank_T),
        "mrr": float((1 / rank_T).mean()),
        "last_mrr": float((1 / last_rank_T).mean()),
        "chance_mrr": float(np.mean(chance_T)),
        "cos": float(np.take_along_axis(cosine_Tn, target_T1, 1).mean()),
        "last_cos": float(np.take_along_axis(last_Tn, target_T1, 1).mean()),
    }


def hundredths(cosine_n: np.ndarray) -> list[int]:
    """As fine as a colour or a bar shows."""
    return [int(value) for value in np.rint(100 * cosine_n)]


def _cosine(value: Any) -> float:
    return round(float(value), 4)


def likeness(vectors_nD: np.ndarray) -> list[list[int]]:
    """Every chunk to every other, in hundredths. → n × n"""
    return [hundredths(row) for row in vectors_nD @ vectors_nD.T]
