"""Which rows of a store hold one and the same vector. Legend: N rows, D width, U different vectors."""

import hashlib

import numpy as np

from segue.vectors.blocks import BLOCK


class Copies:
    """Rows by their different vectors.

    first_N  for each row the first one with the same bits; itself for most
    """

    def __init__(self, first_N: np.ndarray):
        self.first_N = first_N
        self.rows_U = np.flatnonzero(first_N == np.arange(len(first_N)))
        self._grouped_N = np.argsort(first_N, kind="stable")
        self._begin_U = np.searchsorted(first_N[self._grouped_N], self.rows_U)
        self._count_U = np.diff(self._begin_U, append=len(first_N))

    @classmethod
    def of(cls, vectors_ND: np.ndarray) -> "Copies":
        """Found by a hash of each row: two seconds for a million of 384."""
        first: dict[bytes, int] = {}
        first_N = np.empty(len(vectors_ND), np.int64)
        for start in range(0, len(vectors_ND), BLOCK):
            for row, vector_D in enumerate(np.ascontiguousarray(vectors_ND[start : start + BLOCK]), start):
                first_N[row] = first.setdefault(hashlib.blake2b(vector_D.data, digest_size=16).digest(), row)
        return cls(first_N)

    def expand(self, found_M: np.ndarray, most: int) -> np.ndarray:
        """All rows of some different vectors (numbers in `rows_U`); of each the first `most`."""
        counts_M = np.minimum(self._count_U[found_M], most)
        begins_M = self._begin_U[found_M]
        within = np.arange(counts_M.sum()) - np.repeat(np.cumsum(counts_M) - counts_M, counts_M)
        return self._grouped_N[np.repeat(begins_M, counts_M) + within]
