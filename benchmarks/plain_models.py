"""The families as SPEC §7 writes them, of torch's own modules: what `training_speed.py` races beside ours.

Same parameters, same function, none of our shortcuts: keys for every slot, `nn.GRU` as it is, a decoder that computes
every step of every layer, torch's dropout. `plain` takes its weights from ours and holds its output to ours.

Legend: B batch, C context length, D width, A width of queries and keys.
"""

import math

import torch
from torch import Tensor, nn

from segue.models import LatentModel
from segue.models.transformer import sinusoids


class Mixture(nn.Module):
    """`amn`"""

    def __init__(self, ours: LatentModel):
        super().__init__()
        dim, attention = ours.dim, ours.options.attention
        hidden, bottleneck = ours.options.hidden, ours.options.bottleneck
        self.query, self.key = nn.Linear(dim, attention), nn.Linear(dim, attention)
        self.correction = nn.Sequential(
            nn.Linear(2 * dim, hidden),
            nn.GELU(),
            nn.LayerNorm(hidden),
            nn.Linear(hidden, bottleneck),
            nn.GELU(),
            nn.LayerNorm(bottleneck),
            nn.Linear(bottleneck, dim),
        )

    def forward(self, context_BCD: Tensor) -> Tensor:
        mean_BD = context_BCD.mean(1)
        key_BCA, query_BA = self.key(context_BCD), self.query(mean_BD)
        score_BC = (key_BCA @ query_BA[..., None]).squeeze(-1) / math.sqrt(query_BA.shape[-1])
        mixture_BD = (score_BC.softmax(-1)[..., None] * context_BCD).sum(1)
        return mean_BD + self.correction(torch.cat([mean_BD, mixture_BD], -1))


class Recurrent(nn.Module):
    """`lstm`"""

    def __init__(self, ours: LatentModel):
        super().__init__()
        chosen = ours.options
        self.layers = nn.LSTM(ours.dim, chosen.width, chosen.layers, batch_first=True, dropout=chosen.dropout)
        self.head = nn.Linear(chosen.width, ours.dim)

    def forward(self, context_BCD: Tensor) -> Tensor:
        return self.head(self.layers(context_BCD)[0][:, -1])


class GatedBlock(nn.Module):
    """A GRU, its input added, LayerNorm."""

    def __init__(self, width: int):
        super().__init__()
        self.recurrent, self.norm = nn.GRU(width, width, batch_first=True), nn.LayerNorm(width)

    def forward(self, x_BCW: Tensor) -> Tensor:
        return self.norm(x_BCW + self.recurrent(x_BCW)[0])


class GatedRecurrent(nn.Module):
    """`gru`"""

    def __init__(self, ours: LatentModel):
        super().__init__()
        chosen = ours.options
        self.project = nn.Linear(ours.dim, chosen.width)
        self.blocks = nn.Sequential(*(GatedBlock(chosen.width) for _ in range(chosen.layers)))
        self.head = nn.Linear(chosen.width, ours.dim)

    def forward(self, context_BCD: Tensor) -> Tensor:
        return self.head(self.blocks(self.project(context_BCD))[:, -1])


class Decoder(nn.Module):
    """`transformer`"""

    def __init__(self, ours: LatentModel):
        super().__init__()
        chosen = ours.options
        self.project = nn.Linear(ours.dim, chosen.width)
        self.layers = nn.ModuleList(
            nn.TransformerDecoderLayer(
                chosen.width, chosen.heads, chosen.feed_forward, chosen.dropout, batch_first=True
            )
            for _ in range(chosen.layers)
        )
        self.head = nn.Sequential(
            nn.Linear(chosen.width, chosen.width),
            nn.GELU(),
            nn.LayerNorm(chosen.width),
            nn.Linear(chosen.width, ours.dim),
        )
        self.register_buffer("place_CW", sinusoids(ours.context, chosen.width), persistent=False)
        later_CC = nn.Transformer.generate_square_subsequent_mask(ours.context)
        self.register_buffer("later_CC", later_CC, persistent=False)

    def forward(self, context_BCD: Tensor) -> Tensor:
        memory_BCW = self.project(context_BCD) + self.place_CW
        hidden_BCW = memory_BCW
        for layer in self.layers:
            hidden_BCW = layer(hidden_BCW, memory_BCW, tgt_mask=self.later_CC, memory_mask=self.later_CC)
        return self.head(hidden_BCW[:, -1])


PLAIN = {"amn": Mixture, "lstm": Recurrent, "gru": GatedRecurrent, "transformer": Decoder}


def plain(ours: LatentModel, context_BCD: Tensor) -> nn.Module:
    """The plain model with the weights of ours. Raises ValueError where the two answer a context differently."""
    model = PLAIN[ours.family](ours).to(context_BCD.device)
    model.load_state_dict(ours.state_dict())
    with torch.no_grad():
        apart = (model.eval()(context_BCD) - ours.eval()(context_BCD)).abs().max().item()
    if apart > 1e-4:
        raise ValueError(f"{ours.family}: the plain model's output is {apart:g} from ours; the same function is wanted")
    return model
