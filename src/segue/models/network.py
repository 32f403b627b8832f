"""What every network of the project is: a module that reads a context and gives a raw next vector.

Legend: B batch, C context length, D width of the vectors, I width of what a family reads: D, or D + 1 with the channel.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import ClassVar, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn, no_grad

from segue.errors import InputError
from segue.geometry import normalise
from segue.models.codes import Codes, chunks_of
from segue.models.precision import autocast
from segue.models.skip import Skip
from segue.vectors import Space
from segue.windows import Windows
from segue.windows.batches import Batch, batches, document_batches
from segue.windows.rows import Rows


class Options(BaseModel):
    """What can be chosen about a family: each field has the default that SPEC §7 counts parameters with.

    These are every family's, and a change of family in a recipe keeps them:
    positional  one more channel beside each chunk, 0 … 1 over the slots times this scale; None: none
    residual    y = u + α·delta, u the last chunk, α learned from this value; None: the output is read as it is
    skip        u = Σ_k w_k·x_{t−k} in its place, w learned from these values, the last chunk's first; without
                `residual` α is 1 and stays
    skip_mean   u + m·(mean of all chunks read), m learned from this value: only beside `skip`. It comes in over the
                first chunks (`segue.models.skip`)
    skip_places u + v(place): so many vectors, learned from 0, for places 1, 2, 4, 8 …; only beside `skip`
    codes       a quantised head: the output is read as logits over so many codes, centroids of the train chunks, and
                the prediction is the expected centroid; the term `next_code` trains it. None: no codes
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    positional: float | None = Field(default=None, gt=0)
    residual: float | None = Field(default=None, gt=0)
    skip: tuple[float, ...] | None = Field(default=None, min_length=1)
    skip_mean: float | None = None
    skip_places: int | None = Field(default=None, ge=1)
    codes: int | None = Field(default=None, ge=2)

    @model_validator(mode="after")
    def _beside_a_skip(self) -> "Options":
        for name in ("skip_mean", "skip_places"):
            if getattr(self, name) is not None and self.skip is None:
                raise ValueError(
                    f"{name} is a part of a skip, and there is none: set skip, as [1, 0.2], or {name} to null"
                )
        return self


class Parts(NamedTuple):
    """What one forward made.

    raw_BD    the raw output r; of a residual model y = u + α·delta; of a quantised one the expected centroid
    delta_BD  what a residual model read; None for others
    last_BD   u, the last chunk as the model was handed it, or what `skip` made of the last ones; None for others
    mean_BD   the raw output of the mean head of a model of two faces; None for others
    drawn     so many samples of a generative or quantised head: M → (B, M, D) unit; None for models without one
    logits_BK over the codes of a quantised model; None for others
    """

    raw_BD: Tensor
    delta_BD: Tensor | None = None
    last_BD: Tensor | None = None
    mean_BD: Tensor | None = None
    drawn: Callable[[int], Tensor] | None = None
    logits_BK: Tensor | None = None


class LatentModel(nn.Module):
    """A network that satisfies the predictor contract. A family derives from it and writes `__init__` and `read`.

    space      the embedding space it reads and writes; its width is the model's D
    context    C, the context length it is made for
    horizon    h, the offset it predicts (SPEC §1)
    facets     what it claims to be: `mean`, `rank` or both
    options    an instance of the family's `options_type`

    `inputs` is I, the width of what `read` is handed; `reads_documents` says that it is trained on whole documents;
    `two_faced` that a second head estimates the mean (`mean_raw`), while the model's own prediction ranks.
    """

    family: ClassVar[str]
    options_type: ClassVar[type[Options]] = Options
    reads_documents: ClassVar[bool] = False

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
        self.inputs = self.dim + (self.options.positional is not None)
        residual = self.options.residual
        self.alpha = None if residual is None else nn.Parameter(torch.tensor(residual))
        skip, mean, places = self.options.skip, self.options.skip_mean, self.options.skip_places or 0
        self.skip = None if skip is None else Skip(skip, mean, places, self.dim)
        self.codes = None if self.options.codes is None else Codes(self.options.codes, self.dim)
        self.reach: int | None = context
        self.precision = "fp32"  # what `predict` computes in: fp32, bf16, or auto
        self.two_faced = False

    @property
    def parameter_count(self) -> int:
        """Number of trained parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    def read(self, context_BCI: Tensor) -> Tensor:
        """What the family makes of a context, its channel beside it: (B, C, I) → (B, D)"""
        raise NotImplementedError

    def slots(self, length: int) -> Tensor:
        """The channel before scaling, from 0 at the oldest slot to 1 at the last: (C,). A single slot is the last."""
        return torch.linspace(0, 1, length) if length > 1 else torch.ones(1)

    def with_channel(self, context_BCD: Tensor) -> Tensor:
        """The context with the positional channel beside it, where the options have one: (B, C, D) → (B, C, I)"""
        scale = self.options.positional
        if scale is None:
            return context_BCD
        channel_C = (self.slots(context_BCD.shape[1]) * scale).to(context_BCD)
        return torch.cat([context_BCD, channel_C[:, None].expand(len(context_BCD), -1, 1)], -1)

    def carried(self, document_BND: Tensor) -> Tensor:
        """u at every place: its chunk, or what the skip makes of it and those before: (B, N, D) → (B, N, D)"""
        carried_BND: Tensor = document_BND if self.skip is None else self.skip(document_BND)
        return carried_BND

    def carried_last(self, context_BCD: Tensor) -> Tensor:
        """u at the last place: (B, C, D) → (B, D)"""
        return context_BCD[:, -1] if self.skip is None else self.skip.at_end(context_BCD)

    def made_of(self, read_BD: Tensor, carried_BD: Tensor) -> Parts:
        """The parts of what was read beside u: read itself, or u + α·read. (B, D), (B, D) → (B, D)"""
        if self.alpha is None and self.skip is None:
            return self._coded(Parts(read_BD))
        moved_BD = read_BD if self.alpha is None else self.alpha * read_BD
        return self._coded(Parts(carried_BD + moved_BD, read_BD, carried_BD))

    def _coded(self, parts: Parts) -> Parts:
        """The parts with the output read as logits over the codes, where there are any."""
        if self.codes is None:
            return parts
        expected_BD, logits_BK = self.codes(parts.raw_BD)
        return parts._replace(raw_BD=expected_BD, logits_BK=logits_BK, drawn=partial(self.codes.drawn, logits_BK))

    def parts(self, context_BCD: Tensor) -> Parts:
        """One forward, with what a residual model's output is made of: (B, C, D) → (B, D) each."""
        return self.made_of(self.read(self.with_channel(context_BCD)), self.carried_last(context_BCD))

    def raw_of(self, batch: Batch) -> Parts:
        """`parts` for the windows of a training batch: (B, D) each."""
        return self.parts(batch.context_BCD)

    def forward(self, context_BCD: Tensor) -> Tensor:
        """Raw output r, before normalising: (B, C, D) → (B, D). A mean model's r estimates E[target | context]."""
        return self.parts(context_BCD).raw_BD

    def mean_raw(self, context_BCD: Tensor) -> Tensor:
        """Raw output of the mean head of a model of two faces: (B, C, D) → (B, D)"""
        raise NotImplementedError

    def predicted_by(self, forward: Callable[[Tensor], Tensor], context_BCD: Tensor) -> tuple[Tensor, Tensor]:
        """Unit predictions and raw outputs of a forward of this model, in evaluation mode, without gradients.

        (B, C, D) float32 → (B, D), (B, D). Raises InputError for vectors of another width.
        """
        if context_BCD.ndim != 3 or context_BCD.shape[2] != self.dim:
            raise InputError(
                f"{self.name}: found a context of shape {tuple(context_BCD.shape)}, (batch, chunks, {self.dim}) is "
                f"wanted. Embed the text with `segue embed --encoder {self.space.encoder}`."
            )
        with evaluating(self), no_grad(), autocast(self.precision, context_BCD.device):
            raw_BD = forward(context_BCD).float()
        return normalise(raw_BD), raw_BD

    def predict_with_raw(self, context_BCD: Tensor) -> tuple[Tensor, Tensor]:
        """Unit predictions and raw outputs of one forward, as `predicted_by`."""
        return self.predicted_by(self, context_BCD)

    def predict(self, context_BCD: Tensor) -> Tensor:
        """Unit predictions for unit contexts, oldest chunk first: (B, C, D) float32 → (B, D) float32."""
        return self.predict_with_raw(context_BCD)[0]

    def samples(
        self, context_BCD: Tensor, count: int, temperature: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Samples of the next vector, in evaluation mode, without gradients: (B, C, D) → (B, M, D) unit.

        Raises InputError for a model that draws none.
        """
        with evaluating(self), no_grad(), autocast(self.precision, context_BCD.device):
            drawn: Callable[..., Tensor] | None = self.parts(context_BCD).drawn
            if drawn is None:
                raise InputError(
                    f"{self.name}: draws no samples. Train a model with model.codes and the term next_code, or a "
                    f"causal one with model.noise and the term energy."
                )
            return drawn(count, temperature, generator)

    def prepare(self, train: Windows, rows: Rows, seed: int) -> None:
        """What is worked out from the train documents before the first step: the codes, where there are any.

        Raises InputError where they have fewer chunks than codes.
        """
        if self.codes is not None:
            self.codes.fit(chunks_of(train, rows, self.codes.most, seed), seed)


def batches_for(
    model: LatentModel, windows: Windows, rows: Rows, size: int, *, seed: int | None = None, epoch: int = 0
) -> Iterator[Batch]:
    """The batches that a model is trained and validated on: of whole documents where it reads them."""
    made = document_batches if model.reads_documents else batches
    return made(windows, rows, size, seed=seed, epoch=epoch)


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
