"""What a term of an objective is, and what it may read.

Legend: B batch, C context length, D width.
"""

from dataclasses import dataclass
from functools import cached_property

from pydantic import BaseModel, ConfigDict, field_validator
from torch import Tensor

from segue.geometry import normalise
from segue.models import LatentModel
from segue.objectives.schedule import Schedule
from segue.windows.batches import Batch


@dataclass(frozen=True)
class Pass:
    """One forward pass of a batch.

    raw_BD   the model's raw output, float32
    epoch    from 1: a term's margin may change with it as its weight does
    """

    model: LatentModel
    batch: Batch
    raw_BD: Tensor
    epoch: int

    @classmethod
    def of(cls, model: LatentModel, batch: Batch, epoch: int) -> "Pass":
        """Run the model on a batch, in the mode it is in."""
        return cls(model, batch, model(batch.context_BCD).float(), epoch)

    @cached_property
    def pred_BD(self) -> Tensor:
        """Unit predictions."""
        return normalise(self.raw_BD)


class Term(BaseModel):
    """A weighted summand of the loss. Its fields are what a recipe can set; `weight` may change by epoch."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    weight: Schedule

    @field_validator("weight")
    @classmethod
    def _not_negative(cls, weight: Schedule) -> Schedule:
        if weight.lowest < 0:
            raise ValueError(f"a weight of {weight.lowest:g}; 0 or more is wanted")
        return weight

    def value(self, made: Pass) -> Tensor:
        """The term's value, a scalar, before weighting."""
        raise NotImplementedError
