"""A generative head: samples of the next vector from what a network has read, and noise. One forward a sample.

Legend: B batch, C context length, M samples, W width of the network, Z width of the noise, D width of the vectors.
"""

import torch
from torch import Tensor, nn

from segue.geometry import normalise


class Sampler(nn.Module):
    """x = normalise(A·h + B·silu(F·[h, z])), h the normed state, z noise: (…, W), (…, M, Z) → (…, M, D)

    Trained by the term `energy`. The samples of one state differ by their noise alone; at z = 0 it is the centre's.
    """

    def __init__(self, width: int, noise: int, hidden: int, dim: int):
        super().__init__()
        self.noise = noise
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.centre = nn.Linear(width, dim, bias=False)
        self.inward = nn.Linear(width + noise, hidden, bias=False)
        self.outward = nn.Linear(hidden, dim, bias=False)

    def forward(self, hidden_XW: Tensor, noise_XMZ: Tensor) -> Tensor:
        normed_X1W = self.norm(hidden_XW)[..., None, :]
        both_XMI = torch.cat([normed_X1W.expand(*noise_XMZ.shape[:-1], -1), noise_XMZ], -1)
        moved_XMD = self.outward(nn.functional.silu(self.inward(both_XMI)))
        sample_XMD: Tensor = normalise((self.centre(normed_X1W) + moved_XMD).float())
        return sample_XMD

    def drawn(
        self, hidden_BW: Tensor, count: int, temperature: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Samples with noise of its own for each: (B, W) → (B, M, D). The noise is scaled by the temperature."""
        # On the CPU, so that a seed draws the same for every device.
        noise_BMZ = torch.randn(len(hidden_BW), count, self.noise, generator=generator)
        sample_BMD: Tensor = self(hidden_BW, temperature * noise_BMZ.to(hidden_BW.device))
        return sample_BMD
