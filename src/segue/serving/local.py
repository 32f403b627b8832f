"""A prediction's helpers in this very process: an encoder, a store's search, a model. No server, no port."""

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from segue.errors import InputError
from segue.geometry import normalise
from segue.serving.nearest import NearestChunks
from segue.serving.passages import Passage, Passages
from segue.serving.prediction import Found
from segue.serving.served import Answer, Question, answer
from segue.vectors import Space, Store, require_same_space
from segue.vectors.encoders import Encoder

BATCH = 32


class LocalHelpers:
    """`Helpers` over a store, and an encoder that is loaded when the first text comes."""

    def __init__(self, store: Store, load_encoder: Callable[[], Encoder]):
        self.store = store
        self._nearest, self._passages = NearestChunks(store), Passages(store)
        self._load_encoder = load_encoder

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder, loaded when it is first wanted. Raises InputError."""
        return self._load_encoder()

    async def encode(self, texts: Sequence[str], space: Space) -> np.ndarray:
        encoder = self.encoder
        require_same_space(space, encoder.space, "the model", "the encoder")
        return encoder.encode(texts, BATCH)

    async def vectors_of(self, passages: Sequence[Passage], space: Space) -> np.ndarray:
        require_same_space(space, self.store.space, "the model", str(self.store.path))
        rows = [passage.row for passage in passages]
        # As `Rows` reads them for training and testing: lengths in float64.
        unit_ND: np.ndarray = normalise(np.asarray(self.store.vectors_ND[rows], np.float64)).astype(np.float32)
        return unit_ND

    async def infer(self, question: Question) -> Answer:
        return answer([question])[0]

    async def find(
        self,
        vector_D: np.ndarray,
        k: int,
        space: Space,
        *,
        exclude_rows: Sequence[int] = (),
        exclude_ED: np.ndarray | None = None,
    ) -> list[Found]:
        return self._search(vector_D, k, space, exclude_rows=exclude_rows, exclude_vectors=exclude_ED)

    async def after(self, vector_D: np.ndarray, document: str, row: int, space: Space) -> list[Found]:
        rows = self._passages.rows_of(document, row)
        if rows is None or rows.stop == rows.start:
            return []
        return self._search(vector_D, rows.stop - rows.start, space, rows=rows)

    async def document(self, id_: str) -> list[Passage]:
        rows = self._passages.rows_of(id_)
        if rows is None:
            first = self.store.document_ids[0]
            raise InputError(f"--document: {self.store.path} holds no document of this id; its first is {first!r}.")
        return self._passages.at(np.arange(rows.start, rows.stop))

    def _search(self, vector_D: np.ndarray, k: int, space: Space, **masks: object) -> list[Found]:
        require_same_space(space, self.store.space, "the model", str(self.store.path))
        hits = self._nearest.search(vector_D[None], k, **masks)[0]  # type: ignore[arg-type]
        passages = self._passages.at(hits.rows_K)
        return [Found(passage, float(cosine)) for passage, cosine in zip(passages, hits.cosines_K, strict=True)]
