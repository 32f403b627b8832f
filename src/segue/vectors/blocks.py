"""Rows of vectors that are read block by block, from wherever they lie."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

BLOCK = 65536  # rows read, checked or copied at once: 50 MB at 384 × float16


class Rows(Protocol):
    """An (N, D) array as far as a writer needs one: a NumPy array, a memory map, `Blocks`."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def __getitem__(self, rows: slice, /) -> np.ndarray: ...


class Blocks:
    """(N, D) vectors made when they are asked for: `read(start, stop)` → (stop − start, D)."""

    def __init__(self, shape: tuple[int, int], dtype: Any, read: Callable[[int, int], np.ndarray]):
        self.shape: tuple[int, ...] = shape
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self._read = read

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, step = rows.indices(self.shape[0])
        if step != 1:
            raise ValueError(f"blocks are read in order, found a step of {step}")
        return self._read(start, stop)
