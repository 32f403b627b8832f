"""What is known of a store's chunks beside their vectors: text, document, title, place. Held in memory, as Arrow does.

Legend: N chunks, G documents.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from segue.errors import InputError
from segue.vectors import Store
from segue.vectors.store import CHUNKS


@dataclass(frozen=True)
class Passage:
    """A chunk as people read it. `text` and `section` are None where the store has none; `document` is its id."""

    text: str | None
    row: int
    document: str
    title: str | None
    position: int
    section: str | None


@dataclass(frozen=True)
class Listed:
    """A document in a list."""

    id: str
    title: str | None
    chunks: int


class Passages:
    """Looks up chunks by row and documents by id. Raises InputError when the store's tables cannot be read."""

    def __init__(self, store: Store):
        try:
            table = pq.read_table(store.path / CHUNKS, columns=["text", "section"])
        except (OSError, pa.ArrowException) as error:
            raise InputError(
                f"{store.path / CHUNKS}: cannot be read ({str(error).splitlines()[0]}). Make the store again."
            ) from None
        self._texts, self._sections = table["text"], table["section"]
        self._ids, self._titles = store.document_ids, store.titles
        self._index = {id_: g for g, id_ in enumerate(self._ids)}
        # Read now, or the first request waits for it.
        self._document_N, self._position_N = store.document_N, store.position_N
        self._first_row_G, self._length_G = store.first_row_G, store.length_G

    @property
    def with_text(self) -> int:
        """How many chunks have a text."""
        return len(self._texts) - self._texts.null_count

    def at(self, rows: Sequence[int] | np.ndarray) -> list[Passage]:
        """The chunks of some rows, in their order."""
        rows = np.asarray(rows, dtype=np.int64)
        taken = pa.array(rows)
        texts, sections = self._texts.take(taken).to_pylist(), self._sections.take(taken).to_pylist()
        found = []
        for row, text, section in zip(rows.tolist(), texts, sections, strict=True):
            g = int(self._document_N[row])
            position = int(self._position_N[row])
            found.append(Passage(text, row, self._ids[g], self._titles[g], position, section))
        return found

    def rows_of(self, document: str, after_row: int | None = None) -> slice | None:
        """The rows of a document, or of its chunks after a row; None for an id the store does not hold."""
        g = self._index.get(document)
        if g is None:
            return None
        first = int(self._first_row_G[g])
        stop = first + int(self._length_G[g])
        begin = first if after_row is None else min(stop, max(first, after_row + 1))
        return slice(begin, stop)

    def listed(self, document: str) -> Listed | None:
        """A document's entry; None for an id the store does not hold."""
        g = self._index.get(document)
        return None if g is None else self._entry(g)

    def search(self, query: str = "", limit: int = 50, offset: int = 0) -> tuple[list[Listed], int]:
        """Documents whose id or title holds `query` (in any case), in store order, and how many there are in all."""
        wanted = query.casefold()
        found = [g for g, name in enumerate(self._folded) if wanted in name] if wanted else range(len(self._ids))
        return [self._entry(g) for g in found[offset : offset + limit]], len(found)

    def _entry(self, g: int) -> Listed:
        return Listed(self._ids[g], self._titles[g], int(self._length_G[g]))

    @cached_property
    def _folded(self) -> list[str]:
        return [f"{id_}\n{title or ''}".casefold() for id_, title in zip(self._ids, self._titles, strict=True)]
