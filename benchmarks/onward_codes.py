"""The quantised head by its codes and by its vectors: perplexity beside controls that count, and 5CAT's figures.

Legend: W windows, K codes, D width, N chunks of the store, F parts of a mixture.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, no_grad

from segue.alignment.figures import Figures, figures
from segue.alignment.forwards import contexts
from segue.alignment.measure import Part, measure_judged
from segue.geometry import normalise
from segue.models import LatentModel, Predictor
from segue.statistics import DocumentBootstrap, Result
from segue.windows import Windows
from segue.windows.rows import Rows

Figure = tuple[str, ...]
TOLD: tuple[Figure, ...] = (("cos",), ("margin_last",), ("retrieval", "future", "mrr"), ("par",))
STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)


@dataclass
class ByWindow:
    """A predictor that is asked by window: what it says may depend on the truth, or on a draw."""

    name: str
    said: Callable[[Windows], Tensor]
    dim: int
    context: int = 5
    horizon: int = 1
    facets: tuple[str, ...] = ("rank",)
    reach: int | None = 5

    def predict_windows(self, windows: Windows) -> Tensor:
        return normalise(self.said(windows))

    def predict(self, context_BCD: Tensor) -> Tensor:
        raise NotImplementedError("asked by window, never by context")


def logits_of(model: LatentModel, windows: Windows, rows: Rows) -> Tensor:
    """What the head gives each code, one forward a window: (W, K)"""
    assert model.codes is not None
    logits_WK = torch.empty(len(windows), len(model.codes.centroid_KD))
    with no_grad():
        for at, context_BLD in contexts(windows, model.reach, rows):
            logits_BK = model.eval().parts(context_BLD).logits_BK
            assert logits_BK is not None
            logits_WK[at] = logits_BK
    return logits_WK


def code_predictors(model: LatentModel, logits_WK: Tensor, windows: Windows, code_N: np.ndarray) -> list[Predictor]:
    """What the head says (expected centroid, likeliest code, one drawn) and what codes could (true, last, random).

    logits_WK  of the windows that will be asked, or some of them
    code_N     the code of every chunk of the store
    """
    codes = model.codes
    assert codes is not None
    centroid_KD, draw = codes.centroid_KD, torch.Generator().manual_seed(0)
    count, dim = centroid_KD.shape
    share_K = torch.as_tensor(np.bincount(code_N, minlength=count), dtype=torch.float32)

    def asked(some: Windows) -> Tensor:
        return logits_WK[np.searchsorted(windows.last_W, some.last_W)]

    def by(name: str, said: Callable[[Windows], Tensor], reach: int | None = 5) -> ByWindow:
        return ByWindow(f"{name} of {count}", said, dim, reach=reach)

    return [
        by("expected centroid", lambda some: asked(some).softmax(-1) @ centroid_KD, None),
        by("likeliest code", lambda some: centroid_KD[asked(some).argmax(-1)], None),
        by("a drawn code", lambda some: codes.drawn(asked(some), 1, 1.0, draw)[:, 0], None),
        by("true code", lambda some: centroid_KD[code_N[some.target_rows()]]),
        by("last chunk's code", lambda some: centroid_KD[code_N[some.last_W]]),
        by("random code", lambda some: centroid_KD[torch.multinomial(share_K, len(some), True, generator=draw)]),
    ]


def judged(predictors: Mapping[str, Predictor], part: Part) -> dict[str, Figures]:
    """Tests A and B of each."""
    bootstrap = DocumentBootstrap(part.windows.document_W)
    return {
        name: figures(measure_judged(one, part, only_whole=True), 0, part.windows, bootstrap, one.reach)
        for name, one in predictors.items()
    }


@dataclass
class Counted:
    """Controls that know codes alone, fitted on train windows: each gives the true next code a share.

    code_N  the code of every chunk of the store
    """

    code_N: np.ndarray
    codes: int
    train: Windows

    def __post_init__(self) -> None:
        first, after = self.code_N[self.train.last_W], self.code_N[self.train.target_rows()]
        self.unigram_K = (np.bincount(after, minlength=self.codes) + 1) / (len(after) + self.codes)
        self.pair_KK = np.zeros((self.codes, self.codes))
        np.add.at(self.pair_KK, (first, after), 1)

    def parts(self, windows: Windows) -> np.ndarray:
        """What the unigram, the last code and the codes read so far each give the true one: (W, 3)"""
        after_W = self.code_N[windows.target_rows()]
        last_W = self.code_N[windows.last_W] == after_W
        read_W = [
            (self.code_N[last - earlier : last + 1] == after).mean()
            for last, earlier, after in zip(windows.last_W, windows.earlier_W, after_W, strict=True)
        ]
        return np.stack([self.unigram_K[after_W], last_W, read_W], 1).astype(float)

    def mixed(self, windows: Windows, among: tuple[int, ...]) -> np.ndarray:
        """−log of the share by a mixture of some of `parts`, its weights the likeliest on train (EM): (W,)"""
        known_WF, weight_F = self.parts(self.train)[:, among], np.full(len(among), 1 / len(among))
        for _ in range(200):
            own_WF = known_WF * weight_F
            weight_F = (own_WF / own_WF.sum(1, keepdims=True)).mean(0)
        nats_W: np.ndarray = -np.log(self.parts(windows)[:, among] @ weight_F)
        return nats_W

    def pairs(self, windows: Windows, strength: float) -> np.ndarray:
        """−log of the share by how often codes followed each other, `strength` counts of the unigram added: (W,)"""
        first, after = self.code_N[windows.last_W], self.code_N[windows.target_rows()]
        total = self.pair_KK.sum(1)[first] + strength
        nats_W: np.ndarray = -np.log((self.pair_KK[first, after] + strength * self.unigram_K[after]) / total)
        return nats_W

    def nats(self, windows: Windows, val: Windows) -> dict[str, np.ndarray]:
        """All controls on some windows; the strength of the pairs is chosen on VAL."""
        strength = min(STRENGTHS, key=lambda one: self.pairs(val, one).mean())
        return {
            "unigram": self.mixed(windows, (0,)),
            "repeat the last code": self.mixed(windows, (0, 1)),
            "pairs of codes": self.pairs(windows, strength),
            "codes read so far": self.mixed(windows, (0, 2)),
            "last and read": self.mixed(windows, (0, 1, 2)),
        }


def perplexity(nats_W: np.ndarray, bootstrap: DocumentBootstrap) -> Result:
    """The exponential of the mean, with its interval over documents."""
    draws = np.exp(bootstrap.means(nats_W[:, None])[:, 0])
    low, high = np.percentile(draws[1:], (2.5, 97.5))
    return Result(float(draws[0]), float(low), float(high), len(nats_W))


def ratio(ours_W: np.ndarray, theirs_W: np.ndarray, bootstrap: DocumentBootstrap) -> Result:
    """Our perplexity over another's, paired over documents; below 1 ours is better."""
    return perplexity(ours_W - theirs_W, bootstrap)
