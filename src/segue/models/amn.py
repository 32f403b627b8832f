"""`amn`: the attention mixture network.

Legend: B batch, C context length, D width, I width of the input (D + 1 with the channel), A width of queries and keys.
"""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from segue.models.network import LatentModel, Options
from segue.vectors import Space


class AttentionMixtureOptions(Options):
    attention: int = Field(256, ge=1)
    hidden: int = Field(512, ge=1)
    bottleneck: int = Field(256, ge=1)


class AttentionMixture(LatentModel):
    """A softmax mixture of the chunks, and a small network's correction of their mean (SPEC §7).

    r = mean + MLP[mean, mixture]; mixture = Σ softmax(q·k_i / √A) x_i, q from the mean, k_i from chunk i
    MLP: 2D → hidden → bottleneck → D, each hidden layer Linear, GELU, LayerNorm
    Blind to order: any permutation of the context gives the same output. 1,510,912 parameters at D = 768. With the
    positional channel, queries and keys see it; mean and mixture are of the chunks.
    """

    family = "amn"
    options_type = AttentionMixtureOptions
    options: AttentionMixtureOptions

    def __init__(self, space: Space, options: Options | None = None, **contract: Any):
        super().__init__(space, options, **contract)
        chosen, dim = self.options, self.dim
        self.query = nn.Linear(self.inputs, chosen.attention)
        self.key = nn.Linear(self.inputs, chosen.attention)
        self.correction = nn.Sequential(
            nn.Linear(2 * dim, chosen.hidden),
            nn.GELU(),
            nn.LayerNorm(chosen.hidden),
            nn.Linear(chosen.hidden, chosen.bottleneck),
            nn.GELU(),
            nn.LayerNorm(chosen.bottleneck),
            nn.Linear(chosen.bottleneck, dim),
        )

    def read(self, context_BCI: Tensor) -> Tensor:
        context_BCD, mean_BI = context_BCI[..., : self.dim], context_BCI.mean(1)
        mean_BD = mean_BI[:, : self.dim]
        # q·(K x_i + b) as (qK)·x_i + q·b: one product with K a window, not one a slot. Sums over slots and channels are
        # written as such: products of matrices this small are slower in bfloat16 than sums in float32.
        query_BA = self.query(mean_BI)
        score_BC = ((query_BA @ self.key.weight)[:, None] * context_BCI).sum(-1) + (query_BA @ self.key.bias)[:, None]
        share_BC = (score_BC / self.options.attention**0.5).softmax(-1)
        mixture_BD = (share_BC[..., None] * context_BCD).sum(1)
        raw_BD: Tensor = mean_BD + self.correction(torch.cat([mean_BD, mixture_BD], -1))
        return raw_BD
