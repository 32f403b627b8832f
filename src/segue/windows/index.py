"""Windows over a store: row numbers, never copies.

A window is the row of its last context chunk (offset 0, SPEC §1). Chunks of one gap-free run of a document lie in
adjacent rows, so the chunk at offset k is the row k further, and exists exactly while −earlier ≤ k ≤ later.

Legend: W windows, N rows of the store, G documents, C context length, h horizon.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from segue.vectors import Store


@dataclass(frozen=True)
class Windows:
    """Windows of some documents of a store, in row order.

    last_W      (W,) int64 row of the last context chunk, offset 0
    earlier_W   (W,) int64 chunks before offset 0 in the same gap-free run: offset −k exists while k ≤ earlier
    later_W     (W,) int64 chunks after offset 0 in the same run; at least `horizon`
    document_W  (W,) int64 index of the window's document in the store
    """

    store: "Store"
    context: int
    horizon: int
    last_W: np.ndarray
    earlier_W: np.ndarray
    later_W: np.ndarray
    document_W: np.ndarray

    def __len__(self) -> int:
        return len(self.last_W)

    @property
    def documents(self) -> np.ndarray:
        """Indices of the documents that have a window, ascending."""
        return np.unique(self.document_W)

    def take(self, index: np.ndarray) -> "Windows":
        """The windows of a boolean mask or of positions, in the order given."""
        return Windows(
            self.store,
            self.context,
            self.horizon,
            self.last_W[index],
            self.earlier_W[index],
            self.later_W[index],
            self.document_W[index],
        )

    def sample(self, size: int, seed: int) -> "Windows":
        """At most `size` windows drawn evenly over all, so over all documents, not the first in file order."""
        if len(self) <= size:
            return self
        chosen = np.random.default_rng(seed).choice(len(self), size=size, replace=False)
        return self.take(np.sort(chosen))

    def has(self, offset: int) -> np.ndarray:
        """(W,) bool, whether the chunk at this offset exists in the window's run."""
        return (self.earlier_W >= -offset) & (self.later_W >= offset)

    def context_rows(self) -> np.ndarray:
        """(W, C) rows of the context, oldest first."""
        return self.last_W[:, None] + np.arange(1 - self.context, 1)

    def target_rows(self) -> np.ndarray:
        """(W,) rows of the target, offset `horizon`."""
        return self.last_W + self.horizon


def run_bounds(document_N: np.ndarray, position_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last row of each row's gap-free run. (N,), (N,) → (N,), (N,)"""
    n = len(document_N)
    breaks = np.flatnonzero((np.diff(document_N) != 0) | (np.diff(position_N) != 1)) + 1
    starts = np.concatenate([[0], breaks])
    ends = np.concatenate([breaks, [n]]) - 1
    lengths = ends - starts + 1
    return np.repeat(starts, lengths), np.repeat(ends, lengths)


def windows_of(store: "Store", documents: np.ndarray, context: int = 5, horizon: int = 1) -> Windows:
    """All windows, stride 1, of the given documents (indices into the store) that have a context and a target."""
    first_N, last_N = run_bounds(store.document_N, store.position_N)
    rows = np.arange(len(store))
    wanted_G = np.zeros(store.n_documents, dtype=bool)
    wanted_G[documents] = True
    whole = (rows - first_N >= context - 1) & (last_N - rows >= horizon) & wanted_G[store.document_N]
    last_W = rows[whole]
    return Windows(
        store,
        context,
        horizon,
        last_W,
        last_W - first_N[last_W],
        last_N[last_W] - last_W,
        store.document_N[last_W],
    )
