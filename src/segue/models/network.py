"""What every network of the project is: a module that reads a context and gives a raw next vector.

Legend: B batch, C context length, D width.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn, no_grad

from segue.errors import InputError
from segue.geometry import normalise
from segue.models.precision import autocast
from segue.vectors import Space


class Options(BaseModel):
    """What can be chosen about a family: each field has the default that SPEC §7 counts parameters with."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LatentModel(nn.Module):
    """A network that satisfies the predictor contract. A family derives from it and writes `__init__` and `forward`.

    space      the embedding space it reads and writes; its width is the model's D
    context    C, the context length it is made for
    horizon    h, the offset it predicts (SPEC §1)
    facets     what it claims to be: `mean`, `rank` or both
    options    an instance of the family's `options_type`
    """

    family: ClassVar[str]
    options_type: ClassVar[type[Options]] = Options

    def __init__(
        self,
        space: Space,
        options: Options | None = None,
        *,
        context: int = 5,
        horizon: int = 1,
        facets: Sequence[str] = ("mean",),
        name: str = "",
    ):
        super().__init__()
        self.space, self.context, self.horizon, self.facets = space, context, horizon, tuple(facets)
        self.options = options if options is not None else self.options_type()
        self.name = name or self.family
        self.dim = space.dim
        self.reach: int | None = context
        self.precision = "fp32"  # what `predict` computes in: fp32, bf16, or auto

    @property
    def parameter_count(self) -> int:
        """Number of trained parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(self, context_BCD: Tensor) -> Tensor:
        """Raw output r, before normalising: (B, C, D) → (B, D). A mean model's r estimates E[target | context]."""
        raise NotImplementedError

    def predict_with_raw(self, context_BCD: Tensor) -> tuple[Tensor, Tensor]:
        """Unit predictions and raw outputs of one forward, in evaluation mode, without gradients.

        (B, C, D) float32 → (B, D), (B, D). Raises InputError for vectors of another width.
        """
        if context_BCD.ndim != 3 or context_BCD.shape[2] != self.dim:
            raise InputError(
                f"{self.name}: found a context of shape {tuple(context_BCD.shape)}, (batch, chunks, {self.dim}) is "
                f"wanted. Embed the text with `segue embed --encoder {self.space.encoder}`."
            )
        with evaluating(self), no_grad(), autocast(self.precision, context_BCD.device):
            raw_BD = self(context_BCD).float()
        return normalise(raw_BD), raw_BD

    def predict(self, context_BCD: Tensor) -> Tensor:
        """Unit predictions for unit contexts, oldest chunk first: (B, C, D) float32 → (B, D) float32."""
        return self.predict_with_raw(context_BCD)[0]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; afterwards every part is in the mode it was in, a frozen part included."""
    trained = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in trained:
            module.training = True
