"""What samples of the next chunk are like: energy score, spread, calibration, copying, and whether a rollout freezes.

Forecasts are measured alike: the generative head, and controls that draw from what is at hand. A forecast gives M
samples for each window; where it is right, the truth is one more of them: as near to a sample as samples are to each
other, and of any rank among them along any line. `onward_heads.py` trains, asks and writes the page.

Legend: W windows, B windows of a block, M samples, P lines, S steps, D width, T train windows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from segue.alignment.forwards import contexts
from segue.geometry import normalise
from segue.models import LatentModel
from segue.statistics import DocumentBootstrap, Result, result_of
from segue.windows import Windows
from segue.windows.rows import Rows

SAMPLES, STEPS, LINES = 99, 10, 32
TRAIN = 20_000  # train windows whose residuals and successors the controls draw from
Draw = Callable[[Tensor], Tensor]  # contexts (B, L, D) → samples (B, M, D)
Forecast = Callable[[Windows], Tensor]  # windows → samples (W, M, D)


def by_context(draw: Draw, rows: Rows) -> Forecast:
    """A forecast from what draws for contexts of one length."""

    def forecast(windows: Windows) -> Tensor:
        blocks = [(at, draw(context_BLD)) for at, context_BLD in contexts(windows, None, rows)]
        sample_WMD = torch.empty(len(windows), *blocks[0][1].shape[1:])
        for at, drawn_BMD in blocks:
            sample_WMD[at] = drawn_BMD
        return sample_WMD

    return forecast


@dataclass
class Residuals:
    """A regression, and how far off it was on train windows: the raw output r, y − r, and y."""

    model: LatentModel
    raw_TD: Tensor
    off_TD: Tensor
    target_TD: Tensor

    @classmethod
    def of(cls, model: LatentModel, train: Windows, rows: Rows) -> "Residuals":
        raw_W1D = by_context(lambda context_BLD: model.predict_with_raw(context_BLD)[1][:, None], rows)(train)
        target_WD = rows(train.target_rows())
        return cls(model, raw_W1D[:, 0], target_WD - raw_W1D[:, 0], target_WD)

    def raw(self, context_BLD: Tensor) -> Tensor:
        return self.model.predict_with_raw(context_BLD)[1]

    def gaussian(self, draw: torch.Generator, count: int = SAMPLES) -> Draw:
        """Around r a Gaussian of the residuals' covariance, cut to the sphere."""
        variance_D, axis_DD = torch.linalg.eigh(self.off_TD.T.double() @ self.off_TD.double() / len(self.off_TD))
        root_DD = (axis_DD * variance_D.clamp(min=0).sqrt()).float()

        def drawn(context_BLD: Tensor) -> Tensor:
            noise_BMD = torch.randn(len(context_BLD), count, len(root_DD), generator=draw)
            return normalise(self.raw(context_BLD)[:, None] + noise_BMD @ root_DD.T)

        return drawn

    def resampled(self, draw: torch.Generator) -> Draw:
        """r and the residual of a train window drawn at random."""

        def drawn(context_BLD: Tensor) -> Tensor:
            chosen_BM = torch.randint(len(self.off_TD), (len(context_BLD), SAMPLES), generator=draw)
            return normalise(self.raw(context_BLD)[:, None] + self.off_TD[chosen_BM])

        return drawn

    def successors(self) -> Draw:
        """What followed in the M train windows whose r is nearest to this one's."""
        unit_TD = normalise(self.raw_TD)

        def drawn(context_BLD: Tensor) -> Tensor:
            nearest_BM = (normalise(self.raw(context_BLD)) @ unit_TD.T).topk(SAMPLES, 1).indices
            return self.target_TD[nearest_BM]

        return drawn

    def point(self, context_BLD: Tensor) -> Tensor:
        """The regression itself: one sample, always the same."""
        return normalise(self.raw(context_BLD))[:, None]


def train_chunks(target_TD: Tensor, draw: torch.Generator) -> Draw:
    """Train chunks drawn at random, whatever was read."""
    return lambda context_BLD: target_TD[torch.randint(len(target_TD), (len(context_BLD), SAMPLES), generator=draw)]


def chunks_read(draw: torch.Generator) -> Draw:
    """Chunks of the document so far, drawn at random."""

    def drawn(context_BLD: Tensor) -> Tensor:
        chosen_BM = torch.randint(context_BLD.shape[1], (len(context_BLD), SAMPLES), generator=draw)
        return context_BLD[torch.arange(len(context_BLD))[:, None], chosen_BM]

    return drawn


def apart(cosine: Tensor) -> Tensor:
    """‖a − b‖ of unit vectors by their cosine."""
    return (2 - 2 * cosine).clip(min=0).sqrt()


@dataclass
class Truth:
    """What the samples of some windows are compared with.

    line_PD    chunks of train documents: directions that have nothing to do with the window
    context    (W, C, D) the last chunks; mean_WD of all that was read
    """

    windows: Windows
    target_WD: Tensor
    context_WCD: Tensor
    mean_WD: Tensor
    line_PD: Tensor
    bootstrap: DocumentBootstrap = field(init=False)

    def __post_init__(self) -> None:
        self.bootstrap = DocumentBootstrap(self.windows.document_W)

    @classmethod
    def of(cls, windows: Windows, rows: Rows, line_PD: Tensor) -> "Truth":
        mean_WD = by_context(lambda context_BLD: context_BLD.mean(1, keepdim=True), rows)(windows)[:, 0]
        return cls(windows, rows(windows.target_rows()), rows(windows.context_rows()), normalise(mean_WD), line_PD)

    def result(self, value_W: np.ndarray) -> Result:
        return result_of(self.bootstrap.means(value_W[:, None])[:, 0], len(value_W))


def scores(sample_WMD: Tensor, truth: Truth) -> dict[str, np.ndarray]:
    """Per window: the energy score (Gneiting & Raftery 2007), the cosine among samples and to the truth, PAR (SPEC §2).

    A forecast of one sample is a point mass: nothing lies between its samples.
    """
    count = sample_WMD.shape[1]
    near_WM = torch.einsum("wmd,wd->wm", sample_WMD, truth.target_WD)
    i, j = torch.triu_indices(count, count, 1)
    pair_WQ = torch.stack([(own_MD @ own_MD.T)[i, j] for own_MD in sample_WMD]) if count > 1 else None
    between_W = torch.zeros(len(near_WM)) if pair_WQ is None else apart(pair_WQ).mean(1)
    own_W = torch.einsum("wd,wcd->wc", truth.target_WD, truth.context_WCD).amax(1)
    copied_W = torch.einsum("wmd,wcd->wmc", sample_WMD, truth.context_WCD).amax(2).mean(1)
    found = {
        "energy": apart(near_WM).mean(1) - between_W / 2,
        "to truth": near_WM.mean(1),
        "par": torch.where(own_W > 0, copied_W / own_W, torch.nan),
    }
    if pair_WQ is not None:
        found["among"] = pair_WQ.mean(1)
    return {name: its.double().numpy() for name, its in found.items()}


def ranks(sample_WMD: Tensor, truth: Truth, seed: int = 0) -> dict[str, np.ndarray]:
    """Where the truth stands among the samples, 0 … 1, (W, 1 or P): evenly spread where the forecast is right.

    lines    along the chunks of train documents
    last     by cosine to the last chunk; read: to the mean of all read
    centre   by cosine to the mean of the samples and the truth
    average  multivariate: by the mean over dimensions of the ranks in each (Thorarinsdottir et al. 2016)
    depth    multivariate: by the mean distance to all others
    Each treats the truth as it treats a sample, so a right forecast is even on all. Ties are broken at random.
    """
    both_WMD = torch.cat([truth.target_WD[:, None], sample_WMD], 1)  # the truth first
    centre_WD = normalise(both_WMD.mean(1))
    said: dict[str, Tensor] = {
        "lines": both_WMD @ truth.line_PD.T,
        "last": (both_WMD * truth.context_WCD[:, -1:]).sum(-1, keepdim=True),
        "read": (both_WMD * truth.mean_WD[:, None]).sum(-1, keepdim=True),
        "centre": (both_WMD * centre_WD[:, None]).sum(-1, keepdim=True),
        "average": torch.stack([one.argsort(0).argsort(0).float().mean(1) for one in both_WMD])[..., None],
        "depth": torch.stack([apart(one @ one.T).mean(1) for one in both_WMD])[..., None],
    }
    tie = np.random.default_rng(seed)
    found = {}
    for name, its_WMP in said.items():
        its = its_WMP.double().numpy() if name == "average" else its_WMP.numpy().round(6)
        below, level = (its[:, 1:] < its[:, :1]).sum(1), (its[:, 1:] == its[:, :1]).sum(1)
        found[name] = (below + tie.random(below.shape) * (level + 1)) / its.shape[1]
    return found


def evenness(rank_WP: np.ndarray, truth: Truth) -> dict[str, Result | float]:
    """Of ranks that should be even on 0 … 1: their mean (.5); their spread 12·E(u − ½)² (1; above, the truth lies
    outside too often, so samples are too alike); `off`, the mean distance of the ten deciles' shares from .1."""
    share_10 = np.histogram(rank_WP, bins=10, range=(0, 1))[0] / rank_WP.size
    return {
        "mean": truth.result(rank_WP.mean(1)),
        "spread": truth.result(12 * ((rank_WP - 0.5) ** 2).mean(1)),
        "off": float(abs(share_10 - 0.1).mean()),
    }


def shares(rank_WP: np.ndarray, truth: Truth) -> list[Result]:
    """The share of each decile, with its interval: ten."""
    at_WP = np.minimum((rank_WP * 10).astype(int), 9)
    return [truth.result((at_WP == decile).mean(1)) for decile in range(10)]


def rolled(draw: Draw, windows: Windows, rows: Rows) -> Tensor:
    """Each step the first sample, read by the next; the last chunk first: (W, 1 + S, D)"""

    def path(context_BLD: Tensor) -> Tensor:
        length = context_BLD.shape[1]
        for _ in range(STEPS):
            context_BLD = torch.cat([context_BLD, draw(context_BLD)[:, :1]], 1)
        return context_BLD[:, length - 1 :]

    return by_context(path, rows)(windows)


def adjacent(path_WSD: Tensor) -> np.ndarray:
    """Cosine of each step to the one before: (W, S)"""
    return (path_WSD[:, 1:] * path_WSD[:, :-1]).sum(-1).double().numpy()


def paths(draws: Mapping[str, Draw], windows: Windows, rows: Rows) -> dict[str, Tensor]:
    """Rollouts of all, and the corpus's own way on, for windows that have as many chunks to come."""
    own = rows(windows.last_W[:, None] + np.arange(STEPS + 1))
    return {"corpus": own} | {name: rolled(draw, windows, rows) for name, draw in draws.items()}
