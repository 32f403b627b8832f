"""Dropout whose random numbers cost little on a CPU."""

import torch
from torch import Tensor, nn

LEVELS = 1 << 16


class Dropout(nn.Module):
    """Zero each number with probability p and scale the rest to the same mean, in training only: x → x, same shape.

    On a CPU torch draws one random number an element, serially: a tenth of the transformer's training step (one core,
    B 64, D 768). Here one draw of 64 bits decides four elements, so p is rounded to a multiple of 1/65,536; what is
    kept is scaled by the rounded share. On other devices torch's own.
    """

    def __init__(self, p: float):
        super().__init__()
        self.p = p
        self.dropped = round(p * LEVELS)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.dropped:
            return x
        if x.device.type != "cpu":
            return nn.functional.dropout(x, self.p)
        bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        level = bits.view(torch.int16)[: x.numel()].view(x.shape)
        scale = LEVELS / (LEVELS - self.dropped)
        return x * ((level >= self.dropped - LEVELS // 2) * scale).to(x.dtype)

    def extra_repr(self) -> str:
        return f"p={self.p}"
