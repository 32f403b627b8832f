"""The chunks of a store nearest to a vector: exact, or by an index for stores too large to read at every question.

Legend: N rows of the store, D width, Q queries, K found, E excluded vectors, M candidates. All cosines are those of the
vectors as stored, summed in float64 row by row: equal chunks have equal cosines to the bit, and the order among them is
that of the rows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch

from segue.errors import InputError
from segue.geometry import cosine, normalise
from segue.progress import Progress, silent
from segue.serving.approximate import open_scan
from segue.vectors import Store

SAME = 0.9995  # a chunk this close to an excluded vector is that chunk (float16 costs two units in the seventh digit)
# How far a score of the scan may lie from the cosine. Rounding to float16 is off by 2⁻¹¹ = .0005 at most, once each for
# the query, the score and a row's length; measured on 104,281 × 384 MiniLM vectors: .0003.
SLACK = 0.002
BUDGET = 2 << 30  # bytes of a half-precision copy kept in memory for a float32 store
FEW = 4  # queries up to which one product each beats converting the store to float32 block by block
BLOCK = 1024  # rows converted at once; 4,096 took a quarter more time (they leave the cache), 16,384 twice
SCORES = 1 << 24  # scores held at once: 64 MB
Index = Literal["exact", "faiss"]


class Hits(NamedTuple):
    """What was found for one query, best first; fewer than asked for when the masks leave fewer."""

    rows_K: np.ndarray
    cosines_K: np.ndarray


@dataclass(frozen=True)
class Query:
    """One question.

    vector_D      any length but 0
    k             how many chunks
    exclude_rows  rows that must not be found
    exclude_ED    vectors whose chunks (cosine ≥ SAME) must not be found
    rows          the candidates, where not all: a document's slice, always searched exactly
    """

    vector_D: np.ndarray
    k: int = 1
    exclude_rows: Sequence[int] = ()
    exclude_ED: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    rows: slice | None = None


class Scan(Protocol):
    """Finds candidates: at least the `wanted` rows with the highest cosines among those not excluded."""

    def candidates(self, unit_QD: np.ndarray, wanted: list[int], excluded: list[np.ndarray]) -> list[np.ndarray]: ...


class NearestChunks:
    """Search over a store.

    index     "exact" reads the store at every question (5 ms of one core for 104,281 × 384); "faiss" asks an index,
              built once and kept in the user's cache, for candidates and ranks those by their cosines (recall:
              benchmarks/decode_speed.py)
    budget    bytes that a float32 store's half-precision copy may take
    progress  hears the building of an index

    Raises InputError when the store holds a vector that is not finite, or faiss is asked for and not installed.
    """

    def __init__(self, store: Store, index: Index = "exact", *, budget: int = BUDGET, progress: Progress = silent):
        self.store, self.index = store, index
        self._exact = _ExactScan(store, budget)
        self._scan: Scan = self._exact if index == "exact" else open_scan(store, self._exact, progress)

    def search(
        self,
        vectors_QD: np.ndarray,
        k: int = 1,
        *,
        exclude_rows: Sequence[int] = (),
        exclude_vectors: np.ndarray | None = None,
        rows: slice | None = None,
    ) -> list[Hits]:
        """The `k` nearest chunks of each vector, best first, all under the same masks (see `Query`)."""
        excluded_ED = np.empty((0, 0)) if exclude_vectors is None else np.asarray(exclude_vectors)
        return self.answer([Query(vector_D, k, exclude_rows, excluded_ED, rows) for vector_D in np.asarray(vectors_QD)])

    def answer(self, queries: Sequence[Query]) -> list[Hits]:
        """The chunks nearest to each query. One at a time or many: the same to the bit.

        Raises InputError for a vector of another width, not finite or of length 0, for rows outside the store, k < 1.
        """
        masks: dict[int, _Mask] = {}
        asked = [_Asked(query, self._mask(query, masks), self.store) for query in queries]
        whole = [one for one in asked if one.query.rows is None]
        at_once = max(1, SCORES // len(self.store))
        for start in range(0, len(whole), at_once):
            self._search(whole[start : start + at_once])
        return [one.hits if one.query.rows is None else one.best(one.slice()) for one in asked]

    def _mask(self, query: Query, known: "dict[int, _Mask]") -> "_Mask":
        """Worked out once for the queries of one request, which share the very array."""
        key = id(query.exclude_ED)
        if key not in known or known[key].of is not query.exclude_rows:
            known[key] = _Mask(query, self.store)
        return known[key]

    def _search(self, asked: "list[_Asked]") -> None:
        """Ask the scan for more and more candidates until those the masks leave are enough."""
        while asked:
            found = self._scan.candidates(
                np.stack([one.unit_D for one in asked]), [one.wanted for one in asked], [one.excluded for one in asked]
            )
            for one, rows in zip(asked, found, strict=True):
                one.hits = one.best(rows)
            asked = [one for one in asked if one.lacks()]


class _Mask:
    """What must not be found: rows in order, and unit vectors. Raises InputError for rows outside the store."""

    def __init__(self, query: Query, store: Store):
        self.of = query.exclude_rows
        self.rows = np.unique(np.asarray(query.exclude_rows, dtype=np.int64))
        if len(self.rows) and not 0 <= self.rows[0] <= self.rows[-1] < len(store):
            raise InputError(f"exclude_rows: found a row outside the store, 0 … {len(store) - 1} are wanted.")
        self.same_ED = unit_rows(query.exclude_ED, store.dim, "exclude_vectors") if len(query.exclude_ED) else None


class _Asked:
    """A query on its way: its unit vector, how many candidates it wants, what was found."""

    def __init__(self, query: Query, mask: _Mask, store: Store):
        self.query, self._store = query, store
        if query.k < 1:
            raise InputError(f"k: found {query.k}, a number from 1 is wanted.")
        self.unit_D = unit_rows(query.vector_D[None], store.dim, "vectors")[0]
        self.excluded, self._same_ED = mask.rows, mask.same_ED
        self._allowed = len(store) - len(self.excluded)
        self.wanted = min(self._allowed, query.k + len(query.exclude_ED))
        self.hits = Hits(np.empty(0, np.int64), np.empty(0))

    def lacks(self) -> bool:
        """Whether the masks took too many of the candidates; then asks for four times as many."""
        if len(self.hits.rows_K) >= self.query.k or self.wanted >= self._allowed:
            return False
        self.wanted = min(self._allowed, 4 * self.wanted)
        return True

    def slice(self) -> np.ndarray:
        """Rows of the slice that was asked for, less the excluded."""
        rows = np.arange(*(self.query.rows or slice(None)).indices(len(self._store)))
        self.wanted = len(rows)
        return np.setdiff1d(rows, self.excluded, assume_unique=True)

    def best(self, rows_M: np.ndarray) -> Hits:
        """The first `k` of the first `wanted` candidates that are none of the excluded vectors.

        Beyond `wanted` the candidates are not complete: a row that is missing may lie among them.
        """
        rows_M = np.sort(rows_M)
        cosines_M = np.empty(len(rows_M))
        for start in range(0, len(rows_M), BLOCK):
            here = slice(start, start + BLOCK)
            cosines_M[here] = cosine(self._rows(rows_M[here]), self.unit_D)
        order_K = np.argsort(-cosines_M, kind="stable")[: self.wanted]
        if self._same_ED is not None:
            order_K = order_K[(normalise(self._rows(rows_M[order_K])) @ self._same_ED.T < SAME).all(axis=1)]
        order_K = order_K[: self.query.k]
        return Hits(rows_M[order_K], cosines_M[order_K])

    def _rows(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(self._store.vectors_ND[rows], dtype=np.float64)


class _ExactScan:
    """Scores every row in half precision, and keeps those that could be among the best.

    Half precision because reading the store is what a question costs: 5 ms of one core at 104,281 × 384 in float16, 13
    in float32 (NumPy, torch); NumPy's own float16 takes seconds. That the result is exact does not depend on it: the
    candidates are all rows within twice the rounding of the last one wanted, and their cosines are computed again.

    A float16 store is read through its memory map, nothing is copied; of a float32 store a float16 copy is kept, within
    the budget, beyond which the map is read as it is.
    """

    def __init__(self, store: Store, budget: int):
        kept = torch.from_numpy(store.vectors_ND)
        if kept.dtype == torch.float32 and kept.numel() * 2 <= budget:
            kept = kept.half()
        self._kept_ND = kept
        # A sum over a row is finite if the row is: the whole store is checked for the price of one question.
        sums_N = self._products(torch.ones(store.dim))
        if len(suspects := (~torch.isfinite(sums_N)).nonzero()[:, 0].numpy()):
            store.require_finite(suspects)

    def candidates(self, unit_QD: np.ndarray, wanted: list[int], excluded: list[np.ndarray]) -> list[np.ndarray]:
        scores_QN = self._scores(torch.from_numpy(unit_QD.astype(np.float32)))
        found = []
        for scores_N, m, masked in zip(scores_QN, wanted, excluded, strict=True):
            scores_N[torch.from_numpy(masked)] = -torch.inf
            least = scores_N.topk(m).values[-1] - 2 * SLACK if m else torch.inf
            found.append((scores_N >= least).nonzero()[:, 0].numpy())
        return found

    def _products(self, vector_D: torch.Tensor) -> torch.Tensor:
        return torch.mv(self._kept_ND, vector_D.to(self._kept_ND.dtype)).float()

    def _scores(self, unit_QD: torch.Tensor) -> torch.Tensor:
        if len(unit_QD) <= FEW:
            return torch.stack([self._products(unit_D) for unit_D in unit_QD])
        scores_QN = torch.empty(len(unit_QD), len(self._kept_ND))
        for start in range(0, len(self._kept_ND), BLOCK):
            here = slice(start, start + BLOCK)
            scores_QN[:, here] = unit_QD @ self._kept_ND[here].float().T
        return scores_QN


def unit_rows(vectors_QD: Iterable[np.ndarray] | np.ndarray, dim: int, field_name: str) -> np.ndarray:
    """(Q, D) float64 unit vectors. Raises InputError for another width, NaN, infinity, or a vector of length 0."""
    vectors_QD = np.asarray(vectors_QD, dtype=np.float64)
    if vectors_QD.ndim != 2 or vectors_QD.shape[1] != dim:
        found = " × ".join(map(str, vectors_QD.shape)) or "one number"
        raise InputError(f"{field_name}: found {found} numbers, vectors {dim} wide are wanted: those of the store.")
    largest_Q1 = np.abs(vectors_QD).max(axis=1, keepdims=True)
    if not np.isfinite(largest_Q1).all():
        raise InputError(f"{field_name}: found NaN or infinity, finite numbers are wanted.")
    if not largest_Q1.all():
        raise InputError(f"{field_name}: found a vector of zeros, which points nowhere; send another.")
    scaled_QD = vectors_QD / largest_Q1  # first, or the squares of 1e200 overflow
    return scaled_QD / np.linalg.norm(scaled_QD, axis=1, keepdims=True)
