"""A store read backwards: the same documents, each from its last chunk to its first. Nothing is copied.

Legend: N rows, D width, G documents.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from segue.vectors.store import Store


class Reversed(Store):
    """A view of a store in which row r is the store's row N − 1 − r, so document g is its document G − 1 − g.

    Ids, titles and texts go with their documents and rows; gaps stay gaps. `vectors_ND` is a view with a negative
    stride of the same memory map, which `windows.rows.Rows` knows how to gather from.
    """

    def __init__(self, store: Store):
        self._store = store
        self.path, self.manifest, self.space = store.path, store.manifest, store.space

    @cached_property
    def vectors_ND(self) -> np.ndarray:
        return self._store.vectors_ND[::-1]

    @cached_property
    def document_N(self) -> np.ndarray:
        return self.n_documents - 1 - self._store.document_N[::-1]

    @cached_property
    def position_N(self) -> np.ndarray:
        """(N,) int64, counted from each document's last chunk."""
        last_N = (self._store.first_row_G + self._store.length_G - 1)[self._store.document_N]
        return (self._store.position_N[last_N] - self._store.position_N)[::-1]

    @cached_property
    def document_ids(self) -> list[str]:
        return self._store.document_ids[::-1]

    @cached_property
    def titles(self) -> list[str | None]:
        return self._store.titles[::-1]

    @cached_property
    def first_row_G(self) -> np.ndarray:
        return (len(self) - self._store.first_row_G - self._store.length_G)[::-1]

    @cached_property
    def length_G(self) -> np.ndarray:
        return self._store.length_G[::-1]

    def texts(self, rows: Sequence[int] | np.ndarray) -> list[str | None]:
        return self._store.texts(len(self) - 1 - np.asarray(rows, dtype=np.int64))
