"""The learning rate's course over a run, step by step."""

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class LrSchedule(BaseModel):
    """What `lr` is multiplied by at each step; a plateau lowers `lr` itself.

    warmup   share of the run's windows over which it rises from 0 to 1 in a line
    decay    how it falls to 0 over the rest: `cosine` (Loshchilov & Hutter 2017, without restarts), `linear`; or `none`

    A run's windows are those of all its epochs: one that stops early has not come to the end of it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    warmup: float = Field(0, ge=0, lt=1)
    decay: Literal["none", "linear", "cosine"]

    def factor(self, share: float) -> float:
        """The factor when a share of the run's windows is read, in [0, 1]."""
        if share < self.warmup:
            return share / self.warmup
        left = 1 - (share - self.warmup) / (1 - self.warmup)
        return {"none": 1.0, "linear": left, "cosine": 0.5 * (1 - math.cos(math.pi * left))}[self.decay]
