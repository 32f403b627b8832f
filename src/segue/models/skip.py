"""A learned way past the network: the output begins from a weighted sum of the chunks just read.

Legend: B batch, N chunks of a document, K weights, D width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Skip(nn.Module):
    """u_n = Σ_k w_k·x_{n−k}, w learned from the values given, the last chunk's first: (B, N, D) → (B, N, D)

    What lies before the document counts as 0. A chunk reaches its own place and later ones alone.
    """

    def __init__(self, weights: Sequence[float]):
        super().__init__()
        self.weight_K = nn.Parameter(torch.tensor(weights))

    def __len__(self) -> int:
        return len(self.weight_K)

    def forward(self, document_BND: Tensor) -> Tensor:
        u_BND = self.weight_K[0] * document_BND
        for back in range(1, min(len(self), document_BND.shape[1])):
            carried_BND = self.weight_K[back] * document_BND[:, :-back]
            u_BND = u_BND + nn.functional.pad(carried_BND, (0, 0, back, 0))
        return u_BND

    def at_end(self, context_BCD: Tensor) -> Tensor:
        """The last place's alone: (B, C, D) → (B, D)"""
        u_BD: Tensor = self(context_BCD[:, -len(self) :])[:, -1]
        return u_BD
