"""One forward pass of a batch, and what a term may read of it.

Legend: B batch, D width.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from segue.geometry import normalise
from segue.models import LatentModel
from segue.windows.batches import Batch
from segue.windows.rows import Rows


@dataclass(frozen=True)
class Pass:
    """One forward pass of a batch.

    batch     what the terms compare with: its contexts are whole, whatever `context_drop` did to those the model read
    raw_BD    the model's raw output, float32
    epoch     from 1: a term's margin may change with it as its weight does
    rows      the way to chunks beyond the window
    delta_BD  what a residual model added to the last chunk; None for other models
    mean_BD   the raw output of the mean head of a model of two faces; None for other models
    drawn     samples of a generative head, so many a window: M → (B, M, D) unit; None for other models
    logits_BK over the codes of a model with a quantised head; None for other models
    heads     a term's name → its own trained part
    """

    model: LatentModel
    batch: Batch
    raw_BD: Tensor
    epoch: int
    rows: Rows
    delta_BD: Tensor | None = None
    mean_BD: Tensor | None = None
    drawn: Callable[[int], Tensor] | None = None
    heads: nn.ModuleDict = field(default_factory=nn.ModuleDict)
    logits_BK: Tensor | None = None

    @classmethod
    def of(
        cls,
        model: LatentModel,
        batch: Batch,
        epoch: int,
        rows: Rows,
        heads: nn.ModuleDict | None = None,
        drop: float = 0.0,
    ) -> "Pass":
        """Run the model on a batch, in the mode it is in. `drop`: the probability that x_t is hidden from it."""
        shown = batch.with_last(some_hidden(batch.context_BCD[:, -1], drop)) if drop else batch
        parts = model.raw_of(shown)
        heads = nn.ModuleDict() if heads is None else heads
        mean_BD = None if parts.mean_BD is None else parts.mean_BD.float()
        return cls(
            model,
            batch,
            parts.raw_BD.float(),
            epoch,
            rows,
            parts.delta_BD,
            mean_BD,
            parts.drawn,
            heads,
            parts.logits_BK,
        )

    @cached_property
    def mean_face(self) -> "Pass":
        """The same pass with the mean head's output for the model's; itself where there is no such head."""
        return self if self.mean_BD is None else replace(self, raw_BD=self.mean_BD, delta_BD=None)

    @cached_property
    def pred_BD(self) -> Tensor:
        """Unit predictions p."""
        return normalise(self.raw_BD)

    @property
    def last_BD(self) -> Tensor:
        """x_t, the last context chunk."""
        return self.batch.context_BCD[:, -1]

    @cached_property
    def cos_target_B(self) -> Tensor:
        """cos(p, y)"""
        return (self.pred_BD * self.batch.target_BD).sum(-1)

    @cached_property
    def cos_last_B(self) -> Tensor:
        """cos(p, x_t)"""
        return (self.pred_BD * self.last_BD).sum(-1)

    @cached_property
    def gap_B(self) -> Tensor:
        """cos(p, y) − cos(p, x_t)"""
        return self.cos_target_B - self.cos_last_B

    @cached_property
    def squared_error_B(self) -> Tensor:
        """Mean over D of (r − y)²: what every other term's pull is read against."""
        return (self.raw_BD - self.batch.target_BD).square().mean(-1)

    def offset(self, *offsets: int) -> tuple[Tensor, Tensor]:
        """The chunks at some offsets (SPEC §1), in one gather: (B, K, D), and whether each exists: (B, K) bool.

        Where there is none the last context chunk stands: mask it.
        """
        windows = self.batch.windows
        exists_BK = np.stack([windows.has(k) for k in offsets], 1)
        rows_BK = np.where(exists_BK, windows.last_W[:, None] + np.array(offsets), windows.last_W[:, None])
        chunks_BKD = self.rows(rows_BK)
        return chunks_BKD, torch.as_tensor(exists_BK, device=chunks_BKD.device)


def some_hidden(last_BD: Tensor, probability: float) -> Tensor:
    """Each chunk with a probability a random unit vector in its place (`context_drop`, SPEC §8): (B, D) → (B, D)"""
    hidden_B1 = torch.rand(len(last_BD), 1, device=last_BD.device) < probability
    return torch.where(hidden_B1, normalise(torch.randn_like(last_BD)), last_BD)
