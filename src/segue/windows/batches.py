"""Batches of windows: one gather each, in an order that a seed and an epoch decide.

Legend: B batch, C context length, D width.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from segue.windows.index import Windows
from segue.windows.rows import Rows


@dataclass(frozen=True)
class Batch:
    """Some windows and their vectors, float32 unit.

    windows  which ones: what else a term needs of their documents it finds by their rows
    """

    windows: Windows
    context_BCD: Tensor
    target_BD: Tensor

    def __len__(self) -> int:
        return len(self.windows)


def gather(windows: Windows, rows: Rows) -> Batch:
    """All the given windows as one batch: context and target in one gather."""
    vectors_BKD = rows(np.concatenate([windows.context_rows(), windows.target_rows()[:, None]], 1))
    return Batch(windows, vectors_BKD[:, :-1], vectors_BKD[:, -1])


def batches(windows: Windows, rows: Rows, size: int, *, seed: int | None = None, epoch: int = 0) -> Iterator[Batch]:
    """All windows once, `size` at a time, the last batch smaller; shuffled anew for each (seed, epoch).

    Without a seed in the order they stand. The order depends on nothing else, so a resumed epoch is the same epoch.
    """
    order = np.arange(len(windows)) if seed is None else np.random.default_rng([seed, epoch]).permutation(len(windows))
    for start in range(0, len(order), size):
        yield gather(windows.take(order[start : start + size]), rows)
