"""The term that asks on which side of the prediction's place a chunk lies.

Legend: B batch, D width.
"""

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import softplus

from segue.objectives.forward import Pass
from segue.objectives.term import Term


class PairClassifier(nn.Module):
    """A score of a pair of unit vectors (p, chunk), above 0 for "the chunk is next": (B, D), (B, D) → (B,)"""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.dim = dim
        # Entries of unit vectors are about 1/√D: scaled up, or their products would lie below the layer's own noise.
        self.layers = nn.Sequential(nn.Linear(3 * dim, hidden), nn.GELU(), nn.Linear(hidden, 1))

    def forward(self, pred_BD: Tensor, chunk_BD: Tensor) -> Tensor:
        p_BD, chunk_BD = pred_BD * self.dim**0.5, chunk_BD * self.dim**0.5
        return self.layers(torch.cat([p_BD, chunk_BD, p_BD * chunk_BD], -1))[:, 0]


class NextVsPrevious(Term):
    """Let a small network, trained along, tell from the prediction and a chunk whether the chunk is next or previous.

    value     mean of ½ softplus(−f(p, y)) + ½ softplus(f(p, x_t)): the cross-entropy of f on both pairs, ln 2 for an
              f that cannot tell                                 scalar > 0
    inputs    raw_BD any norm, target_BD and last_BD unit; f is the term's head, `made.heads["next_vs_prev"]`
    gradient  on the model through p, and on the head
    caution   asks that the two can be told apart, not that p is near the next: a p that copies x_t satisfies it (its
              pair with x_t is known by cosine 1). "Previous" is x_t, as the experiments called our offset 0
    source    SPEC §8
    """

    hidden: int = Field(256, ge=1)

    def head(self, dim: int) -> nn.Module:
        return PairClassifier(dim, self.hidden)

    def per_window(self, made: Pass) -> Tensor:
        score = made.heads["next_vs_prev"]
        with torch.autocast(made.raw_BD.device.type, enabled=False):
            return (
                softplus(-score(made.pred_BD, made.batch.target_BD)) + softplus(score(made.pred_BD, made.last_BD))
            ) / 2
