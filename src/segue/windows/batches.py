"""Batches of windows: one gather each, in an order that a seed and an epoch decide.

Legend: B batch, C context length, D width, W windows, G documents, N chunks of the longest.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from segue.windows.index import Windows
from segue.windows.rows import Rows

LONGEST = 1024  # chunks of a document read in one pass in training: attention's cost grows with their square
PADDED = 8  # a batch of documents has at most so many positions a window, padding counted


class Documents(NamedTuple):
    """The documents of a batch's windows from their first chunk, for a model that reads them in one pass.

    vectors_GND  padded at the end with copies of the last chunk read
    document_B   (B,) int64 each window's document, from 0 to G − 1
    place_B      (B,) int64 where in it the window's last context chunk stands
    """

    vectors_GND: Tensor
    document_B: Tensor
    place_B: Tensor


@dataclass(frozen=True)
class Batch:
    """Some windows and their vectors, float32 unit.

    windows    which ones: what else a term needs of their documents it finds by their rows
    documents  their documents, in batches for a model that reads documents whole
    """

    windows: Windows
    context_BCD: Tensor
    target_BD: Tensor
    documents: Documents | None = None

    def __len__(self) -> int:
        return len(self.windows)

    def with_last(self, last_BD: Tensor) -> "Batch":
        """The same with other last context chunks. In `documents` a later window reads them too."""
        context_BCD = torch.cat([self.context_BCD[:, :-1], last_BD[:, None]], 1)
        if self.documents is None:
            return replace(self, context_BCD=context_BCD)
        vectors_GND, document_B, place_B = self.documents
        documents = self.documents._replace(vectors_GND=vectors_GND.index_put((document_B, place_B), last_BD))
        return replace(self, context_BCD=context_BCD, documents=documents)


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


def document_batches(
    windows: Windows, rows: Rows, size: int, *, seed: int | None = None, epoch: int = 0
) -> Iterator[Batch]:
    """All windows once, those of a document together, about `size` a batch; documents shuffled for each (seed, epoch).

    A batch ends where it is nearest to `size`, or where padding would take more than `PADDED` positions a window; one
    document can be more than `size`. "Document" is a gap-free run, which windows do not cross. In a longer one than
    `LONGEST` chunks a window reads at least the half of that before it.
    """
    half = max(LONGEST // 2, windows.context)
    begin_W = np.maximum(windows.earlier_W // half - 1, 0) * half
    first_W = windows.last_W - windows.earlier_W + begin_W  # row of the first chunk read
    every_G, group_W = np.unique(first_W, return_inverse=True)
    members_G = np.split(np.argsort(group_W, kind="stable"), np.cumsum(np.bincount(group_W))[:-1])
    order = np.arange(len(every_G))
    if seed is not None:
        order = np.random.default_rng([seed, epoch]).permutation(order)
    taken: list[np.ndarray] = []
    count = longest = 0
    for members in (members_G[g] for g in order):
        length = int((windows.last_W - first_W)[members].max()) + 1
        over = (len(taken) + 1) * max(longest, length) > PADDED * size
        if taken and (over or count + len(members) / 2 >= size):
            yield _with_documents(windows, first_W, np.concatenate(taken), rows)
            taken, count, longest = [], 0, 0
        taken.append(members)
        count, longest = count + len(members), max(longest, length)
    if taken:
        yield _with_documents(windows, first_W, np.concatenate(taken), rows)


def _with_documents(windows: Windows, first_W: np.ndarray, chosen: np.ndarray, rows: Rows) -> Batch:
    """A batch of the chosen windows with their documents, from the row at which reading begins."""
    batch = gather(windows.take(chosen), rows)
    first_G, document_B = np.unique(first_W[chosen], return_inverse=True)
    place_B = batch.windows.last_W - first_W[chosen]
    length_G = np.zeros(len(first_G), dtype=np.int64)
    np.maximum.at(length_G, document_B, place_B + 1)
    place_GN = np.minimum(np.arange(length_G.max()), length_G[:, None] - 1)
    index_B, at_B = (torch.as_tensor(it, device=rows.device) for it in (document_B, place_B))
    return replace(batch, documents=Documents(rows(first_G[:, None] + place_GN), index_B, at_B))
