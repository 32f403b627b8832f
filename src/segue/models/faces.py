"""A model of two faces: its own prediction ranks, another head of the same network estimates the mean.

Legend: B batch, C context length, D width.
"""

from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from segue.models.network import LatentModel


class MeanFace:
    """The mean head of a model as a predictor of its own. Vectors as `Predictor` has them."""

    facets: tuple[str, ...] = ("mean",)

    def __init__(self, model: "LatentModel"):
        self.model = model
        self.name = f"{model.name}, mean face"
        self.dim, self.context, self.horizon = model.dim, model.context, model.horizon
        self.reach = model.reach

    def predict_with_raw(self, context_BCD: Tensor) -> tuple[Tensor, Tensor]:
        """Unit predictions and raw outputs of the mean head: (B, C, D) → (B, D), (B, D)"""
        return self.model.predicted_by(self.model.mean_raw, context_BCD)

    def predict(self, context_BCD: Tensor) -> Tensor:
        return self.predict_with_raw(context_BCD)[0]


def mean_face(predictor: object) -> MeanFace | None:
    """The mean face of a predictor that has two; None for all others."""
    return MeanFace(predictor) if getattr(predictor, "two_faced", False) else None  # type: ignore[arg-type]
