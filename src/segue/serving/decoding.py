"""Vectors to passages of a store. Knows no HTTP; what the decoder service and a program of one's own call."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segue.progress import Progress, silent
from segue.serving.inversion import why_no_inverter
from segue.serving.nearest import Index, NearestChunks, Query, unit_rows
from segue.serving.passages import Passage, Passages
from segue.vectors import Store


@dataclass(frozen=True)
class Decoded:
    """A passage found, and the cosine of the vector searched for to the passage's own."""

    passage: Passage
    cosine: float


class StoreDecoder:
    """A store, opened for decoding: its search and its texts."""

    def __init__(self, store: Store, nearest: NearestChunks, passages: Passages):
        self.store, self.nearest, self.passages = store, nearest, passages

    @classmethod
    def of(cls, store: Store, index: Index = "exact", progress: Progress = silent) -> "StoreDecoder":
        made = cls(store, NearestChunks(store, index, progress=progress), Passages(store))
        made.answers([Query(np.ones(store.dim))])  # the first one is slow: what is read once, and kernels chosen
        return made

    def notes(self) -> list[str]:
        """What a user should know before asking."""
        lacking = len(self.store) - self.passages.with_text
        if not lacking:
            return []
        found = (
            "holds no text" if lacking == len(self.store) else f"{lacking:,} of {len(self.store):,} chunks lack text"
        )
        return [
            f"{self.store.path.name}: {found}; results name document and row, their text is null. "
            f"`segue embed` makes a store with texts."
        ]

    def no_inverter(self) -> str:
        """Why vec2text is not offered for this store, and what it would take."""
        return why_no_inverter(self.store.space)

    def unit(self, vectors: Sequence[Sequence[float]]) -> np.ndarray:
        """(Q, D) float64, of length 1. Raises InputError."""
        return unit_rows(np.array(vectors, dtype=np.float64), self.store.dim, "vectors")

    def queries(
        self,
        vectors: Sequence[Sequence[float]],
        k: int,
        exclude_rows: Sequence[int],
        exclude_vectors: Sequence[Sequence[float]],
        rows: slice | None,
    ) -> list[Query]:
        """One query a vector, all under the same masks. Widths are checked by the caller."""
        vectors_QD = np.array(vectors, dtype=np.float64)
        masked_ED = np.array(exclude_vectors, dtype=np.float64) if len(exclude_vectors) else np.empty((0, 0))
        return [Query(vector_D, k, exclude_rows, masked_ED, rows) for vector_D in vectors_QD]

    def answers(self, queries: Sequence[Query]) -> list[list[Decoded]]:
        """What a queue calls: the passages nearest to each query."""
        hits = self.nearest.answer(queries)
        passages = iter(self.passages.at(np.concatenate([one.rows_K for one in hits])))
        return [[Decoded(next(passages), float(cosine)) for cosine in one.cosines_K] for one in hits]
