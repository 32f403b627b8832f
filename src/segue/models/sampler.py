"""A generative head: samples of the next vector from what a network has read, and noise. One forward a sample.

Legend: B batch, G documents, N chunks of a document, M samples, W width of the network, Z width of the noise, D width
of the vectors, F the fitted numbers.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn, no_grad

from segue.errors import InputError
from segue.geometry import normalise
from segue.models.dropout import Dropout
from segue.models.skip import Skip
from segue.windows import Windows
from segue.windows.batches import document_batches
from segue.windows.rows import Rows

SLOTS = 5
FITTED_ON = 20_000  # windows: six numbers and a covariance are settled by then
BATCH = 2048


class Sampler(nn.Module):
    """x = normalise(u + A·h + e^(g·h)·S·z + O·silu(F·[h, z])), h the normed state, z noise: (…, M, Z) → (…, M, D)

    carried  u, weights of the last chunks and of the mean of all read, as a `Skip`; `fit` to the train chunks
    spread   S, whose columns begin as the principal axes of the residuals y − u on train, each as long as their spread
             along it; g says where the next vector is less sure than elsewhere
    The network's parts A, g and O begin at 0. So the head begins as a Gaussian around a linear regression, cut to the
    sphere, and can only be better for what it learns. Trained by the term `energy`. The samples of one state differ by
    their noise alone; temperature scales the noise, at 0 they are all the same.
    """

    def __init__(self, width: int, noise: int, hidden: int, dim: int, dropout: float = 0.0):
        super().__init__()
        self.noise = noise
        self.carried = Skip([0.2] + [0.1] * (SLOTS - 1), 0.2)
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.dropout = Dropout(dropout)
        self.centre = nn.Linear(width, dim, bias=False)
        self.gain = nn.Linear(width, 1, bias=False)
        self.spread = nn.Linear(noise, dim, bias=False)
        self.inward = nn.Linear(width + noise, hidden, bias=False)
        self.outward = nn.Linear(hidden, dim, bias=False)
        with no_grad():
            self.spread.weight.mul_(dim**-0.5)
            for silent in (self.centre, self.gain, self.outward):
                silent.weight.zero_()

    def forward(self, hidden_XW: Tensor, carried_XD: Tensor, noise_XMZ: Tensor) -> Tensor:
        normed_X1W = self.dropout(self.norm(hidden_XW))[..., None, :]
        both_XMI = torch.cat([normed_X1W.expand(*noise_XMZ.shape[:-1], -1), noise_XMZ], -1)
        moved_XMD = self.outward(nn.functional.silu(self.inward(both_XMI)))
        spread_XMD = self.gain(normed_X1W).exp() * self.spread(noise_XMZ)
        centre_X1D = carried_XD[..., None, :] + self.centre(normed_X1W)
        sample_XMD: Tensor = normalise((centre_X1D + spread_XMD + moved_XMD).float())
        return sample_XMD

    def drawn(
        self,
        hidden_BW: Tensor,
        carried_BD: Tensor,
        count: int,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Samples with noise of its own for each: (B, W), (B, D) → (B, M, D). The temperature scales the noise."""
        # On the CPU, so that a seed draws the same for every device.
        noise_BMZ = torch.randn(len(hidden_BW), count, self.noise, generator=generator)
        sample_BMD: Tensor = self(hidden_BW, carried_BD, temperature * noise_BMZ.to(hidden_BW.device))
        return sample_BMD

    def fit(self, train: Windows, rows: Rows, seed: int) -> None:
        """Set the carried numbers by least squares, and the spread by the residuals' principal axes.

        Raises InputError where the noise is wider than the vectors: they have no more axes.
        """
        if self.noise > rows.dim:
            raise InputError(
                f"model.noise: found {self.noise}, the vectors are {rows.dim} wide; at most that is wanted. Set "
                f"model.noise to {rows.dim} or less."
            )
        windows = train.sample(FITTED_ON, seed)
        square_FF, with_target_F = torch.zeros(SLOTS + 1, SLOTS + 1).double(), torch.zeros(SLOTS + 1).double()
        for read_BFD, target_BD in _read(windows, rows):
            square_FF += torch.einsum("bfd,bgd->fg", read_BFD, read_BFD)
            with_target_F += torch.einsum("bfd,bd->f", read_BFD, target_BD)
        number_F = torch.linalg.lstsq(square_FF, with_target_F, driver="gelsd").solution
        scatter_DD = torch.zeros(rows.dim, rows.dim).double()
        for read_BFD, target_BD in _read(windows, rows):
            off_BD = target_BD - torch.einsum("f,bfd->bd", number_F, read_BFD)
            scatter_DD += off_BD.T @ off_BD
        variance_D, axis_DD = torch.linalg.eigh(scatter_DD / len(windows))
        length_Z = variance_D[-self.noise :].clamp(min=0).sqrt()
        with no_grad():
            self.carried.weight_K.copy_(number_F[:-1])
            self.carried.get_parameter("mean").copy_(number_F[-1])
            self.spread.weight.copy_(axis_DD[:, -self.noise :] * length_Z)


def _read(windows: Windows, rows: Rows) -> Iterator[tuple[Tensor, Tensor]]:
    """The last chunks, the mean of all read, and the target, float64 on the CPU: (B, F, D), (B, D)"""
    for batch in document_batches(windows, rows, BATCH):
        assert batch.documents is not None
        vectors_GND, document_B, place_B = (part.cpu() for part in batch.documents)
        so_far_BD = vectors_GND.cumsum(1)[document_B, place_B] / (place_B + 1)[:, None]
        before_GND = nn.functional.pad(vectors_GND, (0, 0, SLOTS - 1, 0))  # what lies before the document counts as 0
        recent_BFD = before_GND[document_B[:, None], place_B[:, None] + torch.arange(SLOTS - 1, -1, -1)]
        yield torch.cat([recent_BFD, so_far_BD[:, None]], 1).double(), batch.target_BD.cpu().double()
