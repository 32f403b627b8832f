"""What acts around a term: a weight that follows a target, a factor for each window, a guard that leaves a term out.

Legend: B batch.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from segue.objectives.schedule import Schedule

if TYPE_CHECKING:
    from segue.objectives.forward import Pass

# A step of training changes a controlled weight by at most this share: some 60-fold in an epoch of 400 steps.
RATE = 0.01
# Of the running means that a controlled weight follows: about the last 50 steps.
MEMORY = 0.98


class _Fields(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Rho(_Fields):
    """Choose the weight so that weight · term / mse comes to `rho`, slowly and within bounds.

    rho           the target by epoch; where it is 0 the term is off
    least, most   the weight moves between them
    cap           weight · term / mse never exceeds it, at any step, be that step's weight below `least`; null: no cap
    source        SPEC §8. A raw ratio ρ · mse / term explodes exactly when the term is satisfied (term → 0): so the
                  weight moves at most 1 % a step towards what running means ask for, and the cap acts at once
    """

    rho: Schedule
    least: float = Field(gt=0)
    most: float = Field(gt=0)
    cap: Schedule | None = None

    @model_validator(mode="after")
    def _possible(self) -> "Rho":
        if self.least > self.most:
            raise ValueError(f"least {self.least:g} is above most {self.most:g}")
        if self.rho.lowest < 0:
            raise ValueError(f"a target of {self.rho.lowest:g}; 0 or more is wanted")
        if self.cap is not None and self.cap.lowest <= 0:
            raise ValueError(f"a cap of {self.cap.lowest:g}; above 0, or null, is wanted")
        return self

    @property
    def lowest(self) -> float:
        """The smallest weight it ever gives while it is on."""
        return self.least

    def at(self, epoch: int) -> float:
        """A weight it may give at an epoch: 0 when it is off."""
        return self.least if self.rho.at(epoch) > 0 else 0.0


@dataclass
class RhoState:
    """A controlled weight as it stands: what a checkpoint keeps. The running means are None before the first step."""

    weight: float
    term: float | None = None
    mse: float | None = None

    def follow(self, rho: Rho, target: float, term: float, mse: float) -> None:
        """Take one step's values in, and move the weight at most `RATE` towards ρ · mse / term."""
        self.term = term if self.term is None else MEMORY * self.term + (1 - MEMORY) * term
        self.mse = mse if self.mse is None else MEMORY * self.mse + (1 - MEMORY) * mse
        wanted = target * self.mse / self.term if self.term > 0 else rho.most
        moved = min(max(wanted, self.weight / (1 + RATE)), self.weight * (1 + RATE))
        self.weight = min(max(moved, rho.least), rho.most)

    def capped(self, cap: float | None, term: float, mse: float) -> float:
        """The weight of this very step: weight · term ≤ cap · mse."""
        return self.weight if cap is None or self.weight * term <= cap * mse else cap * mse / term


class Adaptive(_Fields):
    """Weigh a term for each window by 1 + sigmoid((cos(x_t, y) − centre) / width): up to double where copying pays.

    source  SPEC §8; the original experiments took the batch's mean, one factor for all
    """

    centre: float
    width: float = Field(gt=0)

    def factor(self, made: "Pass") -> Tensor:
        """(B,) between 1 and 2, without gradient."""
        alike_B = (made.last_BD * made.batch.target_BD).sum(-1)
        return 1 + ((alike_B - self.centre) / self.width).sigmoid()


class Skip(_Fields):
    """Leave a term out of a step whose predictions are not yet worth guarding.

    It is left out while mean cos(p, y) < `cos`, or while mean cos(p, y) < `low` with mean cos(p, x_t) < `last`.
    source  SPEC §8: 0, .05, −.05
    """

    cos: float
    low: float
    last: float

    def holds(self, made: "Pass") -> bool:
        """Whether the term is left out of this step."""
        target, last = made.cos_target_B.mean().item(), made.cos_last_B.mean().item()
        return target < self.cos or (target < self.low and last < self.last)
