"""A prediction's helpers in this very process: an encoder, a store's search, a model. No server, no port."""

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from segue.errors import InputError
from segue.geometry import normalise
from segue.serving.decoding import Decoded, StoreDecoder
from segue.serving.nearest import Query
from segue.serving.passages import Passage
from segue.serving.served import Answer, Question, answer
from segue.vectors import Space, Store, require_same_space
from segue.vectors.encoders import Encoder

BATCH = 32
NONE_ED = np.empty((0, 0))


class LocalHelpers:
    """`Helpers` over a store, and an encoder that is loaded when it is first wanted."""

    def __init__(self, store: Store, load_encoder: Callable[[], Encoder]):
        self.store = store
        self._decoder = StoreDecoder.of(store)
        self._load_encoder = load_encoder

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder. Raises InputError when it cannot be loaded."""
        return self._load_encoder()

    async def encode(self, texts: Sequence[str], space: Space) -> np.ndarray:
        encoder = self.encoder
        require_same_space(space, encoder.space, "the model", "the encoder")
        return encoder.encode(texts, BATCH)

    async def vectors_of(self, passages: Sequence[Passage], space: Space) -> np.ndarray:
        self._require(space)
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
    ) -> list[Decoded]:
        self._require(space)
        return self._decoder.answers([Query(vector_D, k, exclude_rows, NONE_ED if exclude_ED is None else exclude_ED)])[
            0
        ]

    async def after(self, vector_D: np.ndarray, true: Passage, row: int, space: Space) -> list[Decoded]:
        self._require(space)
        rows = self._decoder.passages.rows_of(true.document, row) or slice(0, 0)
        return self._decoder.answers([Query(vector_D, max(1, rows.stop - rows.start), rows=rows)])[0]

    async def document(self, id_: str) -> list[Passage]:
        rows = self._decoder.passages.rows_of(id_)
        if rows is None:
            first = self.store.document_ids[0]
            raise InputError(f"--document: {self.store.path} holds no document of this id; its first is {first!r}.")
        return self._decoder.passages.at(np.arange(rows.start, rows.stop))

    def _require(self, space: Space) -> None:
        require_same_space(space, self.store.space, "the model", str(self.store.path))
