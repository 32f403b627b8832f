"""A learned way past the network: the output begins from a weighted sum of chunks that were read.

Legend: B batch, N chunks of a document, K weights, P place vectors, D width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Skip(nn.Module):
    """u_n = Σ_k w_k·x_{n−k} + m·(mean of x_0 … x_n) + v(n): (B, N, D) → (B, N, D)

    weights  w, learned from the values given, the last chunk's first; what lies before the document counts as 0
    mean     m, learned from this value; None: no such summand. Below 0 it takes off what all of the document shares,
             and with it what makes a candidate near to every place. From 0 at the first chunk it comes in evenly up to
             the K-th: the mean of few chunks is those chunks, and less than nothing would be left of them
    places   P vectors of width `dim`, learned from 0, for places 1, 2, 4, 8 … from the beginning, linear in the
             logarithm between them, the last from its place on: what comes early in a document and what late,
             whatever it is about. 1: the same vector everywhere; 0: none

    A chunk reaches its own place and later ones alone.
    """

    def __init__(self, weights: Sequence[float], mean: float | None = None, places: int = 0, dim: int = 0):
        super().__init__()
        self.weight_K = nn.Parameter(torch.tensor(weights))
        self.mean = None if mean is None else nn.Parameter(torch.tensor(mean))
        self.place_PD = nn.Parameter(torch.zeros(places, dim)) if places else None

    def __len__(self) -> int:
        return len(self.weight_K)

    def forward(self, document_BND: Tensor) -> Tensor:
        u_BND = self.weight_K[0] * document_BND
        for back in range(1, min(len(self), document_BND.shape[1])):
            carried_BND = self.weight_K[back] * document_BND[:, :-back]
            u_BND = u_BND + nn.functional.pad(carried_BND, (0, 0, back, 0))
        if self.mean is not None:
            read_N1 = torch.arange(1, document_BND.shape[1] + 1, device=document_BND.device)[:, None]
            u_BND = u_BND + self.mean * self._share(read_N1) * (document_BND.cumsum(1) / read_N1)
        return u_BND + self._at_places(0, document_BND)

    def at_end(self, context_BCD: Tensor) -> Tensor:
        """The last place's alone, float32 under autocast as `forward` is: (B, C, D) → (B, D)"""
        recent_BKD = context_BCD[:, -len(self) :].flip(1)
        with torch.autocast(context_BCD.device.type, enabled=False):
            u_BD = torch.einsum("k,bkd->bd", self.weight_K[: recent_BKD.shape[1]], recent_BKD)
        if self.mean is not None:
            read = torch.tensor(context_BCD.shape[1], device=context_BCD.device)
            u_BD = u_BD + self.mean * self._share(read) * context_BCD.mean(1)
        return u_BD + self._at_places(context_BCD.shape[1] - 1, context_BCD)[0]

    def _share(self, read: Tensor) -> Tensor:
        """How much of the mean counts where so many chunks were read."""
        return ((read - 1) / max(1, len(self) - 1)).clamp(max=1)

    def _at_places(self, first: int, document_BND: Tensor) -> Tensor:
        """v from a place to a document's last: (N − first, D); without place vectors 0."""
        if self.place_PD is None:
            return document_BND.new_zeros(1, 1)
        read_N = torch.arange(first + 1, document_BND.shape[1] + 1, device=document_BND.device)
        level_N = read_N.float().log2().clamp(max=len(self.place_PD) - 1)
        low_N = level_N.long()
        above_N1 = (level_N - low_N)[:, None].to(document_BND.dtype)
        high_N = (low_N + 1).clamp(max=len(self.place_PD) - 1)
        return (1 - above_N1) * self.place_PD[low_N] + above_N1 * self.place_PD[high_N]
