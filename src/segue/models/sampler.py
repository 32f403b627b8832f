"""A generative head: samples of the next vector from what a network has read, and noise. One forward a sample.

Legend: B batch, G documents, N chunks of a document, M samples, W width of the network (in `fit` windows, V some of
them), Z width of the noise, D width of the vectors, F the fitted numbers.
"""

import torch
from torch import Tensor, nn, no_grad

from segue.errors import InputError
from segue.geometry import normalise
from segue.models.dropout import Dropout
from segue.models.skip import Skip
from segue.windows import Windows
from segue.windows.batches import document_batches
from segue.windows.rows import Rows

SLOTS, OWN = 5, 3
FITTED_ON = 12_000  # windows: some numbers and a covariance are settled by then
BATCH = 2048
ALIKE = 1e-4  # of two vectors this near to one line (1 − cos²) nobody can say how much of a residual lies along which


class Sampler(nn.Module):
    """x = normalise(u + l·x_t·z₂ + m·mean·z₃ + D^−½·(A·h + e^(g·h + s·z₁)·S·z + O·silu(F·[h, z])))

    (…, M, Z) → (…, M, D)

    h the normed state, x_t the last chunk, mean of all that was read, z noise, of which three numbers have their place:
    carried  u, weights of the last chunks and of the mean, as a `Skip`
    lean     l and m: some chunks follow the last one closely and some do not, some keep to the document's subject
    spread   S, whose columns begin as the principal axes of what is then left, each as long as the spread along it; g
             says where the next vector is less sure than elsewhere, s (`stretch`) how much that varies by itself
    All of these are first set by moments of the train chunks (`fit`), and the network's parts A, g and O begin at 0. So
    the head begins as a random linear regression with a mixture of Gaussians around it, cut to the sphere, and can
    only be better for what it learns. Without lean and stretch, samples in hundreds of dimensions all lie equally far
    from all that was read, as no true chunks do. Trained by the term `energy`. The samples of one state differ by their
    noise alone; the temperature scales the noise, at 0 they are all the same.
    """

    def __init__(self, width: int, noise: int, hidden: int, dim: int, dropout: float = 0.0):
        super().__init__()
        self.noise = noise
        self.carried = Skip([0.2] + [0.1] * (SLOTS - 1), 0.2)
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.dropout = Dropout(dropout)
        self.centre = nn.Linear(width, dim, bias=False)
        self.gain = nn.Linear(width, 1, bias=False)
        self.lean = nn.Parameter(torch.full((2,), 0.1))
        self.stretch = nn.Parameter(torch.tensor(0.1))
        self.spread = nn.Linear(noise, dim, bias=False)
        self.inward = nn.Linear(width + noise + OWN, hidden, bias=False)
        self.outward = nn.Linear(hidden, dim, bias=False)
        # A unit vector's numbers are of size D^−½: without the factor a hundred steps of Adam move S by all its size.
        # VAL energy .563 after three epochs at lr 3e-4, where it was .558 before the first (MiniLM, 700 documents).
        self.scale = dim**-0.5
        with no_grad():
            for silent in (self.centre, self.gain, self.outward):
                silent.weight.zero_()

    def read(self, document_BND: Tensor) -> Tensor:
        """What samples stand on at every place, u, the chunk and the mean of all up to it: (B, N, D) → (B, N, 3, D)"""
        count_N1 = torch.arange(1, document_BND.shape[1] + 1, device=document_BND.device)[:, None]
        mean_BND = document_BND.cumsum(1) / count_N1
        return torch.stack([self.carried(document_BND), document_BND, mean_BND], -2)

    def read_last(self, context_BCD: Tensor) -> Tensor:
        """`read` at the last place alone: (B, C, D) → (B, 3, D)"""
        return torch.stack([self.carried.at_end(context_BCD), context_BCD[:, -1], context_BCD.mean(1)], -2)

    def forward(self, hidden_XW: Tensor, read_X3D: Tensor, noise_XMZ: Tensor) -> Tensor:
        normed_X1W = self.dropout(self.norm(hidden_XW))[..., None, :]
        both_XMI = torch.cat([normed_X1W.expand(*noise_XMZ.shape[:-1], -1), noise_XMZ], -1)
        moved_XMD = self.centre(normed_X1W) + self.outward(nn.functional.silu(self.inward(both_XMI)))
        own_XM3, rest_XMZ = noise_XMZ.split([OWN, self.noise], -1)
        spread_XMD = (self.gain(normed_X1W) + self.stretch * own_XM3[..., :1]).exp() * self.spread(rest_XMZ)
        leaning_XMD = (own_XM3[..., 1:] * self.lean) @ read_X3D[..., 1:, :]
        made_XMD = read_X3D[..., :1, :] + leaning_XMD + self.scale * (spread_XMD + moved_XMD)
        sample_XMD: Tensor = normalise(made_XMD.float())
        return sample_XMD

    def drawn(
        self,
        hidden_BW: Tensor,
        read_B3D: Tensor,
        count: int,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Samples with noise of its own for each: (B, W), (B, 3, D) → (B, M, D). The temperature scales the noise."""
        # On the CPU, so that a seed draws the same for every device.
        noise_BMZ = torch.randn(len(hidden_BW), count, self.noise + OWN, generator=generator)
        sample_BMD: Tensor = self(hidden_BW, read_B3D, temperature * noise_BMZ.to(hidden_BW.device))
        return sample_BMD

    def fit(self, train: Windows, rows: Rows, seed: int) -> None:
        """Set the carried numbers by least squares, lean, stretch and spread by moments of the residuals.

        Raises InputError where the noise is wider than the vectors: they have no more axes.
        """
        if self.noise > rows.dim:
            raise InputError(
                f"model.noise: found {self.noise}, the vectors are {rows.dim} wide; at most that is wanted. Set "
                f"model.noise to {rows.dim} or less."
            )
        read_WFD, target_WD = _read(train.sample(FITTED_ON, seed), rows)
        square_FF = torch.einsum("wfd,wgd->fg", read_WFD, read_WFD)
        with_target_F = torch.einsum("wfd,wd->f", read_WFD, target_WD)
        number_F = torch.linalg.lstsq(square_FF, with_target_F[:, None], driver="gelsd").solution[:, 0]
        off_WD = target_WD - torch.einsum("f,wfd->wd", number_F, read_WFD)
        lean_2, stretch, left_DD = _moments(off_WD, read_WFD[:, [0, SLOTS]])
        variance_D, axis_DD = torch.linalg.eigh(left_DD)
        with no_grad():
            self.carried.weight_K.copy_(number_F[:-1])
            self.carried.get_parameter("mean").copy_(number_F[-1])
            self.lean.copy_(lean_2)
            self.stretch.copy_(stretch)
            length_Z = variance_D[-self.noise :].clamp(min=0).sqrt() / self.scale
            self.spread.weight.copy_(axis_DD[:, -self.noise :] * length_Z)


def _read(windows: Windows, rows: Rows) -> tuple[Tensor, Tensor]:
    """The last chunks, the mean of all read, and the target, float64 on the CPU: (W, F, D), (W, D)"""
    read, target = [], []
    for batch in document_batches(windows, rows, BATCH):
        assert batch.documents is not None
        vectors_GND, document_B, place_B = (part.cpu() for part in batch.documents)
        so_far_BD = vectors_GND.cumsum(1)[document_B, place_B] / (place_B + 1)[:, None]
        before_GND = nn.functional.pad(vectors_GND, (0, 0, SLOTS - 1, 0))  # what lies before the document counts as 0
        recent_BFD = before_GND[document_B[:, None], place_B[:, None] + torch.arange(SLOTS - 1, -1, -1)]
        read.append(torch.cat([recent_BFD, so_far_BD[:, None]], 1))
        target.append(batch.target_BD.cpu())
    return torch.cat(read).double(), torch.cat(target).double()


def _moments(off_WD: Tensor, on_W2D: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of residuals y − u: lean, stretch and the covariance of what is left: (2,), (), (D, D)

    on_W2D   the last chunk and the mean of all read
    lean     how far a residual's weights on these two vary, beyond what their errors would if all residuals had one
             covariance; a residual gives off of its weights the share that is no error. Where the two are one vector,
             a chunk repeated from the beginning, there are no such weights; where that is everywhere, lean is 0
    stretch  the spread of the logarithm of the length of what is left
    """
    square_W22 = on_W2D @ on_W2D.mT
    told_W = torch.linalg.det(square_W22) > ALIKE * square_W22.diagonal(dim1=1, dim2=2).prod(1)
    left_WD, lean_2 = off_WD.clone(), off_WD.new_zeros(2)
    if told_W.any():
        solve_V2D = torch.linalg.solve(square_W22[told_W], on_W2D[told_W])
        weight_V2 = torch.einsum("vkd,vd->vk", solve_V2D, off_WD[told_W])
        error_V2 = (solve_V2D @ (off_WD.T @ off_WD / len(off_WD)) * solve_V2D).sum(-1)
        lean_2 = (weight_V2.square().mean(0) - error_V2.mean(0)).clamp(min=0).sqrt()
        given_V2 = weight_V2 * lean_2.square() / weight_V2.square().mean(0)
        left_WD[told_W] -= torch.einsum("vk,vkd->vd", given_V2, on_W2D[told_W])
    stretch = left_WD.norm(dim=1).log().std(correction=0)
    return lean_2, stretch, left_WD.T @ left_WD / len(left_WD) * (-2 * stretch.square()).exp()
