"""`causal`: a pre-norm decoder over whole documents, a prediction at every position in one pass.

Legend: B batch, N chunks of a document, D width of the vectors, I width of the input, W width of the network, H heads,
K width of a head.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn, no_grad

from segue.geometry import normalise
from segue.models.dropout import Dropout
from segue.models.network import LatentModel, Options, Parts, evaluating
from segue.models.precision import autocast
from segue.models.sampler import Sampler
from segue.models.skip import Skip
from segue.models.transformer import sinusoids
from segue.vectors import Space
from segue.windows import Windows
from segue.windows.batches import Batch
from segue.windows.rows import Rows


class CausalOptions(Options):
    width: int = Field(384, ge=2)
    layers: int = Field(4, ge=1)
    heads: int = Field(6, ge=1)
    feed_forward: int = Field(640, ge=1)
    dropout: float = Field(0.3, ge=0, lt=1)
    head_dropout: float = Field(0, ge=0, lt=1)
    positions: Literal["rotary", "sinusoidal", "none"] = "rotary"
    mean_head: bool = False
    mean_skip: tuple[float, ...] | None = Field(default=None, min_length=2)
    noise: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _fit_together(self) -> "CausalOptions":
        if self.width % (2 * self.heads):
            raise ValueError(
                f"width {self.width} is not a multiple of twice the heads {self.heads} (places turn pairs)"
            )
        if self.mean_skip is not None and not self.mean_head:
            raise ValueError("mean_skip is a part of the mean head: set mean_head to true, or mean_skip to null")
        if self.noise is not None and self.codes is not None:
            raise ValueError("codes and noise both draw samples: set one of them to null")
        return self


OfChunks = Callable[[Tensor], Tensor]
Read = Callable[[OfChunks, OfChunks], Tensor]


class Cache:
    """The keys and values of what was read: a step of a generation computes those of its own chunk alone."""

    def __init__(self) -> None:
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}

    def length(self, layer: int = 0) -> int:
        """How many chunks a layer has read."""
        return self.layers[layer][0].shape[2] if layer in self.layers else 0

    def grown(self, layer: int, key_BHNK: Tensor, value_BHNK: Tensor) -> tuple[Tensor, Tensor]:
        """A layer's keys and values with new ones after them."""
        if layer in self.layers:
            before_key, before_value = self.layers[layer]
            key_BHNK = torch.cat([before_key, key_BHNK], 2)
            value_BHNK = torch.cat([before_value, value_BHNK], 2)
        self.layers[layer] = key_BHNK, value_BHNK
        return key_BHNK, value_BHNK


def rotated(x_BHNK: Tensor, first: int = 0) -> Tensor:
    """Rotary positions (Su et al. 2021): pair i of a head's K/2 turned by (first + n)·10,000^(−2i/K) at place n.

    The product of a query and a key so turned depends on their places' difference alone.
    """
    half = x_BHNK.shape[-1] // 2
    place_N = torch.arange(first, first + x_BHNK.shape[2], device=x_BHNK.device)
    rate = 10_000.0 ** (-torch.arange(half, device=x_BHNK.device) / half)
    angle = place_N[:, None] * rate
    cos, sin = angle.cos().to(x_BHNK.dtype), angle.sin().to(x_BHNK.dtype)
    a, b = x_BHNK.split(half, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


class Attention(nn.Module):
    """Every chunk attends to itself and to those before it: (B, N, W) → (B, N, W)"""

    def __init__(self, width: int, heads: int, rotary: bool):
        super().__init__()
        self.heads, self.rotary = heads, rotary
        self.read = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x_BNW: Tensor, layer: int, cache: Cache | None) -> Tensor:
        read_3BHNK = self.read(x_BNW).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query_BHNK, key_BHNK, value_BHNK = read_3BHNK.unbind()
        first = 0 if cache is None else cache.length(layer)
        if self.rotary:
            query_BHNK, key_BHNK = rotated(query_BHNK, first), rotated(key_BHNK, first)
        if cache is not None:
            key_BHNK, value_BHNK = cache.grown(layer, key_BHNK, value_BHNK)
        seen = None
        if first:
            new, every = query_BHNK.shape[2], key_BHNK.shape[2]
            seen = torch.ones(new, every, dtype=torch.bool, device=x_BNW.device).tril(first)
        mixed_BHNK = nn.functional.scaled_dot_product_attention(
            query_BHNK, key_BHNK, value_BHNK, attn_mask=seen, is_causal=seen is None
        )
        out_BNW: Tensor = self.out(mixed_BHNK.transpose(1, 2).flatten(2))
        return out_BNW


class GatedFeedForward(nn.Module):
    """SwiGLU (Shazeer 2020): W → silu(gate) · up → W."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.gate_up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x_BNW: Tensor) -> Tensor:
        gate, up = self.gate_up(x_BNW).chunk(2, -1)
        out_BNW: Tensor = self.down(nn.functional.silu(gate) * up)
        return out_BNW


class Block(nn.Module):
    """x + attention of the normed x, then x + feed-forward of the normed x: (B, N, W) → (B, N, W)"""

    def __init__(self, layer: int, options: CausalOptions):
        super().__init__()
        self.layer = layer
        self.attention_norm = nn.RMSNorm(options.width, eps=1e-6)
        self.attention = Attention(options.width, options.heads, options.positions == "rotary")
        self.feed_forward_norm = nn.RMSNorm(options.width, eps=1e-6)
        self.feed_forward = GatedFeedForward(options.width, options.feed_forward)
        self.dropout = Dropout(options.dropout)
        with no_grad():  # what 2·layers sublayers add must not outgrow what was read
            for last in (self.attention.out, self.feed_forward.down):
                last.weight.mul_((2 * options.layers) ** -0.5)

    def forward(self, x_BNW: Tensor, cache: Cache | None) -> Tensor:
        x_BNW = x_BNW + self.dropout(self.attention(self.attention_norm(x_BNW), self.layer, cache))
        grown_BNW: Tensor = x_BNW + self.dropout(self.feed_forward(self.feed_forward_norm(x_BNW)))
        return grown_BNW


def _fresh_head(width: int, dim: int) -> nn.Sequential:
    return nn.Sequential(nn.RMSNorm(width, eps=1e-6), nn.Linear(width, dim, bias=False))


class Causal(LatentModel):
    """A decoder that reads a document from its beginning and predicts after every chunk (SPEC §7).

    D → W; `layers` blocks of attention and SwiGLU, each after an RMSNorm, no biases; RMSNorm → D. Order comes from
    rotary positions, so any length can be read; `positions` sinusoidal: added to the input in their place; none: a
    place is known by how much can be seen from it alone. A chunk is seen by its own position and later ones only;
    hence what stands after a document, padding too, changes nothing in it and needs no mask.
    5,606,784 parameters at D = 384, 5,901,696 at 768.

    A window's prediction is the one at its last chunk. `reach` is None: 5CAT hands it the whole document so far, as it
    was trained. With the positional channel, that runs from 0 to 1 over the first C chunks and stays: a share of the
    document's length would tell each chunk how many are to come.

    `mean_head` writes a mean beside it. `mean_skip` is what that stands on: weights, learned from these, of the last
    chunks, the last one's first, and after them of the mean of all read.
    """

    family = "causal"
    options_type = CausalOptions
    options: CausalOptions
    reads_documents = True

    def __init__(self, space: Space, options: Options | None = None, **contract: Any):
        super().__init__(space, options, **contract)
        chosen = self.options
        self.reach = None
        self.project = nn.Linear(self.inputs, chosen.width, bias=False)
        self.blocks = nn.ModuleList(Block(layer, chosen) for layer in range(chosen.layers))
        self.head_dropout = Dropout(chosen.head_dropout)  # of what the heads read: they hold a third of a small model
        self.head = _fresh_head(chosen.width, self.dim)
        self.mean_head = _fresh_head(chosen.width, self.dim) if chosen.mean_head else None
        self.mean_skip = Skip(chosen.mean_skip[:-1], chosen.mean_skip[-1]) if chosen.mean_skip else None
        self.two_faced = chosen.mean_head
        sizes = (chosen.width, chosen.noise or 0, chosen.feed_forward, self.dim, chosen.head_dropout)
        self.sampler = None if chosen.noise is None else Sampler(*sizes)
        # It begins as the way in and back, so near copying: that what is read can be written need not be learned. VAL
        # cos after one epoch of 26,358 windows .48 against .37 (MiniLM, width 256), and .51 at width 384, where
        # nothing of a chunk is lost on the way.
        nn.init.orthogonal_(self.project.weight)
        # Beside a skip the network begins by saying nothing: the model begins as the control of the skip's weights.
        with no_grad():
            back = self.project.weight[:, : self.dim].T
            for head, skip in ((self.head, self.skip), (self.mean_head, self.mean_skip)):
                if head is not None:
                    head.get_parameter("1.weight").copy_(back if skip is None else 0 * back)

    def slots(self, length: int) -> Tensor:
        return (torch.arange(length) / max(1, self.context - 1)).clamp(max=1)

    def hidden(self, document_BNI: Tensor, cache: Cache | None = None) -> Tensor:
        """What the head reads at every position: (B, N, I) → (B, N, W). With a cache, N follow what it holds."""
        # A unit vector's numbers are of size D^−½: brought to 1, as the blocks' are, and in `written` back.
        # The blocks' sum stays float32 under autocast.
        hidden_BNW: Tensor = self.project(document_BNI * self.dim**0.5).to(document_BNI.dtype)
        if self.options.positions == "sinusoidal":
            first = 0 if cache is None else cache.length()
            sinusoids_NW = sinusoids(first + hidden_BNW.shape[1], self.options.width, hidden_BNW.device)[first:]
            hidden_BNW = hidden_BNW + sinusoids_NW.to(hidden_BNW.dtype)
        for block in self.blocks:
            hidden_BNW = block(hidden_BNW, cache)
        return hidden_BNW

    def written(self, hidden_XW: Tensor, head: nn.Sequential | None = None) -> Tensor:
        """The output of a head, its own without one, at any positions: (…, W) → (…, D)"""
        # Without the factor an RMSNorm's output of length √W makes outputs ten times too long, and the first epochs go
        # into shrinking them: VAL cos .06 after one epoch of 26,358 windows, .37 with it (MiniLM, width 256, lr 5e-4).
        norm, out = head or self.head
        out_XD: Tensor = out(self.head_dropout(norm(hidden_XW))) * self.dim**-0.5
        return out_XD

    def read(self, context_BCI: Tensor) -> Tensor:
        return self.written(self.hidden(context_BCI)[:, -1])

    def positions(self, document_BND: Tensor) -> Tensor:
        """Raw output after every chunk, from all chunks up to it: (B, N, D) → (B, N, D). Padding goes at the end."""
        read_BND = self.written(self.hidden(self.with_channel(document_BND)))
        return self.made_of(read_BND, self.carried(document_BND)).raw_BD

    def raw_of(self, batch: Batch) -> Parts:
        if batch.documents is None:
            return super().raw_of(batch)
        vectors_GND, document_B, place_B = batch.documents
        hidden_BW = self.hidden(self.with_channel(vectors_GND))[document_B, place_B]
        parts = self.made_of(self.written(hidden_BW), self.carried(vectors_GND)[document_B, place_B])
        return self._with_heads(parts, hidden_BW, lambda whole, last: whole(vectors_GND)[document_B, place_B])

    def parts(self, context_BCD: Tensor) -> Parts:
        hidden_BW = self.hidden(self.with_channel(context_BCD))[:, -1]
        parts = self.made_of(self.written(hidden_BW), self.carried_last(context_BCD))
        return self._with_heads(parts, hidden_BW, lambda whole, last: last(context_BCD))

    def _with_heads(self, parts: Parts, hidden_BW: Tensor, read: Read) -> Parts:
        """The parts with what the other heads make of the same state.

        read   asks, of a function of whole documents and the same one of their last place, the one that there is
               something to ask for
        """
        if self.mean_head is not None:
            mean_BD = self.written(hidden_BW, self.mean_head)
            if self.mean_skip is not None:
                mean_BD = mean_BD + read(self.mean_skip, self.mean_skip.at_end)
            parts = parts._replace(mean_BD=mean_BD)
        if self.sampler is not None:
            read_B3D = read(self.sampler.read, self.sampler.read_last)
            parts = parts._replace(drawn=partial(self.sampler.drawn, hidden_BW, read_B3D))
        return parts

    def prepare(self, train: Windows, rows: Rows, seed: int) -> None:
        super().prepare(train, rows, seed)
        if self.sampler is not None:
            self.sampler.fit(train, rows, seed)

    def mean_raw(self, context_BCD: Tensor) -> Tensor:
        mean_BD = self.parts(context_BCD).mean_BD
        assert mean_BD is not None  # asked of a model of two faces alone
        return mean_BD

    def generate(self, context_BCD: Tensor, steps: int) -> Tensor:
        """Unit predictions, each read after those before it: (B, C, D) → (B, steps, D)

        Equal to `predict` on contexts that grow by each prediction, but every chunk is read once.
        """
        cache, read = Cache(), context_BCD.shape[1]
        with evaluating(self), no_grad(), autocast(self.precision, context_BCD.device):
            for _ in range(steps):
                unread_BNI = self.with_channel(context_BCD)[:, cache.length() :]
                read_BD = self.written(self.hidden(unread_BNI, cache)[:, -1])
                raw_BD = self.made_of(read_BD, self.carried_last(context_BCD)).raw_BD.float()
                context_BCD = torch.cat([context_BCD, normalise(raw_BD)[:, None]], 1)
        return context_BCD[:, read:]
