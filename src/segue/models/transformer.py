"""`transformer`: the post-norm decoder of the original experiments.

Legend: B batch, C context length, D width of the vectors, I width of the input, W width of the network.
"""

import math
from typing import Any, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from segue.models.dropout import Dropout
from segue.models.network import LatentModel, Options
from segue.vectors import Space


class TransformerOptions(Options):
    width: int = Field(512, ge=2, multiple_of=2)
    layers: int = Field(4, ge=1)
    heads: int = Field(8, ge=1)
    feed_forward: int = Field(2048, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    bidirectional: bool = False

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "TransformerOptions":
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self


def sinusoids(length: int, width: int, device: torch.device | None = None) -> Tensor:
    """Sine and cosine of each position at wavelengths from 2π to 10,000·2π: (length, width)."""
    position_C1 = torch.arange(length, device=device)[:, None]
    rate_W = torch.exp(torch.arange(0, width, 2, device=device) * (-math.log(10_000.0) / width))
    angle = position_C1 * rate_W
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)


class Transformer(LatentModel):
    """Decoder layers over the context, read at its last step (SPEC §7).

    D → W, plus sinusoidal positions; `layers` post-norm decoder layers (ReLU), the projected input as target and as
    memory, both masked causally (with `bidirectional` not: every step sees the whole context); last step → Linear,
    GELU, LayerNorm → D. 17,867,520 parameters at D = 768.
    """

    family = "transformer"
    options_type = TransformerOptions
    options: TransformerOptions

    def __init__(self, space: Space, options: Options | None = None, **contract: Any):
        super().__init__(space, options, **contract)
        chosen = self.options
        self.project = nn.Linear(self.inputs, chosen.width)
        self.layers = nn.ModuleList(_layer(chosen) for _ in range(chosen.layers))
        self.head = nn.Sequential(
            nn.Linear(chosen.width, chosen.width),
            nn.GELU(),
            nn.LayerNorm(chosen.width),
            nn.Linear(chosen.width, self.dim),
        )

    def read(self, context_BCI: Tensor) -> Tensor:
        length = context_BCI.shape[1]
        memory_BCW = self.project(context_BCI)
        memory_BCW = memory_BCW + sinusoids(length, self.options.width, context_BCI.device).to(memory_BCW.dtype)
        later_CC = None
        if not self.options.bidirectional:
            later_CC = torch.ones(length, length, dtype=torch.bool, device=context_BCI.device).triu(1)
        hidden_BCW = memory_BCW
        *lower, top = self.layers
        for layer in lower:
            hidden_BCW = layer(hidden_BCW, memory_BCW, tgt_mask=later_CC, memory_mask=later_CC)
        raw_BD: Tensor = self.head(_last_step(cast(nn.TransformerDecoderLayer, top), hidden_BCW, memory_BCW))
        return raw_BD


def _layer(chosen: TransformerOptions) -> nn.TransformerDecoderLayer:
    """torch's layer with our dropout; that of the attention's few weights stays torch's."""
    layer = nn.TransformerDecoderLayer(
        chosen.width, chosen.heads, chosen.feed_forward, chosen.dropout, activation="relu", batch_first=True
    )
    for name in ("dropout", "dropout1", "dropout2", "dropout3"):
        setattr(layer, name, Dropout(chosen.dropout))
    return layer


def _last_step(layer: nn.TransformerDecoderLayer, hidden_BCW: Tensor, memory_BCW: Tensor) -> Tensor:
    """A decoder layer's output at the last step alone, which sees every earlier one: (B, W).

    The head reads no other step, so the top layer's queries and feed-forward of the first C − 1 would be thrown away:
    a fifth of the whole network's work at four layers and C = 5.
    """
    x_B1W = hidden_BCW[:, -1:]
    x_B1W = layer.norm1(x_B1W + layer.dropout1(layer.self_attn(x_B1W, hidden_BCW, hidden_BCW, need_weights=False)[0]))
    seen_B1W = layer.multihead_attn(x_B1W, memory_BCW, memory_BCW, need_weights=False)[0]
    x_B1W = layer.norm2(x_B1W + layer.dropout2(seen_B1W))
    forward_B1W = layer.linear2(layer.dropout(layer.activation(layer.linear1(x_B1W))))
    last_BW: Tensor = layer.norm3(x_B1W + layer.dropout3(forward_B1W))[:, 0]
    return last_BW
