"""A learned way past the network: the output begins from a weighted sum of chunks that were read.

Legend: B batch, N chunks of a document, K weights, D width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Skip(nn.Module):
    """u_n = Σ_k w_k·x_{n−k} + m·(mean of x_0 … x_n): (B, N, D) → (B, N, D)

    weights  w, learned from the values given, the last chunk's first; what lies before the document counts as 0
    mean     m, learned from this value; None: no such summand. Below 0 it takes off what all of the document shares,
             and with it what makes a candidate near to every place

    A chunk reaches its own place and later ones alone.
    """

    def __init__(self, weights: Sequence[float], mean: float | None = None):
        super().__init__()
        self.weight_K = nn.Parameter(torch.tensor(weights))
        self.mean = None if mean is None else nn.Parameter(torch.tensor(mean))

    def __len__(self) -> int:
        return len(self.weight_K)

    def forward(self, document_BND: Tensor) -> Tensor:
        u_BND = self.weight_K[0] * document_BND
        for back in range(1, min(len(self), document_BND.shape[1])):
            carried_BND = self.weight_K[back] * document_BND[:, :-back]
            u_BND = u_BND + nn.functional.pad(carried_BND, (0, 0, back, 0))
        if self.mean is None:
            return u_BND
        read_N1 = torch.arange(1, document_BND.shape[1] + 1, device=document_BND.device)[:, None]
        return u_BND + self.mean * (document_BND.cumsum(1) / read_N1)

    def at_end(self, context_BCD: Tensor) -> Tensor:
        """The last place's alone: (B, C, D) → (B, D)"""
        recent_BKD = context_BCD[:, -len(self) :].flip(1)
        u_BD = torch.einsum("k,bkd->bd", self.weight_K[: recent_BKD.shape[1]], recent_BKD)
        return u_BD if self.mean is None else u_BD + self.mean * context_BCD.mean(1)
