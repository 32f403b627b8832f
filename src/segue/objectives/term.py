"""What a term of an objective is.

Legend: B batch, D width.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Tag, field_validator
from torch import Tensor, nn

from segue.models.network import Options
from segue.objectives.controllers import Adaptive, Rho, Skip
from segue.objectives.forward import Pass
from segue.objectives.schedule import Schedule


def _kind_of_weight(value: Any) -> str:
    return "controlled" if isinstance(value, Rho) or (isinstance(value, dict) and "rho" in value) else "by epoch"


# A number, steps or a ramp by epoch; or a controller that chooses it.
Weight = Annotated[
    Annotated[Schedule, Tag("by epoch")] | Annotated[Rho, Tag("controlled")], Discriminator(_kind_of_weight)
]


class Term(BaseModel):
    """A weighted summand of the loss. Its fields are what a recipe can set.

    weight    by epoch, or chosen by a controller (`Rho`)
    adaptive  a factor for each window
    skip      when the term is left out of a step
    face      `mean`: what the term reads as raw_BD and p is the mean head's, of a model of two faces
    A term writes `per_window`, and where it does not apply to every window `kept`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    weight: Weight
    adaptive: Adaptive | None = None
    skip: Skip | None = None
    face: Literal["mean"] | None = None

    @field_validator("weight")
    @classmethod
    def _not_negative(cls, weight: Schedule | Rho) -> Schedule | Rho:
        if weight.lowest < 0:
            raise ValueError(f"a weight of {weight.lowest:g}; 0 or more is wanted")
        return weight

    def per_window(self, made: Pass) -> Tensor:
        """The term's value for each window, before weighting: (B,) float32, finite also where it is not kept."""
        raise NotImplementedError

    def kept(self, made: Pass) -> Tensor | None:
        """(B,) bool, the windows that the term applies to; None: all."""
        return None

    def face_fault(self, options: Options) -> str:
        """Why the term cannot read the face it names of a model of these options, and the remedy; empty when it can."""
        if self.face is None or getattr(options, "mean_head", False):
            return ""
        return "face: the model has no mean head: set model.mean_head to true (causal), or face to null"

    def fault(self, options: Options) -> str:
        """Why the term cannot go with a model of these options, and the remedy; empty when it can."""
        return ""

    def head(self, dim: int) -> nn.Module | None:
        """A trained part of the term's own, for vectors of width `dim`: found in `made.heads` under the term's name."""
        return None

    def value(self, made: Pass) -> Tensor:
        """The term's value, a scalar, before weighting: the mean over the windows it applies to, 0 where to none."""
        value_B = self.per_window(made)
        if self.adaptive is not None:
            value_B = value_B * self.adaptive.factor(made)
        kept_B = self.kept(made)
        return value_B.mean() if kept_B is None else (value_B * kept_B).sum() / kept_B.sum().clamp(min=1)
