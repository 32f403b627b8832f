"""Rollouts in which what is fed back is brought to where real chunks lie: snapped to the corpus, or written and read.

    raw         the prediction as it is (`forwards.answer`): what a chain of means drifts to
    snapped     the nearest stored chunk of the part instead
    reencoded   the text that a decoder makes of the prediction, encoded again

In each mode the figure of step j is that of the *prediction* at step j, before it is snapped or written: the modes then
differ in the context alone, and step 1 is the same in all three.

Legend: P predictors, J steps, X windows, B windows of a block, L chunks handed, T chunks taken, N chunks of the corpus,
D width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from segue.alignment.compare import SIMILARITIES, Corpus, Path, documents_of
from segue.alignment.forwards import STEPS, asks_of, contexts, grown
from segue.geometry import normalise, rank_of_true
from segue.models.predictor import Predictor, WindowPredictor
from segue.windows import Windows
from segue.windows.rows import Rows


class Decode(Protocol):
    """Vectors to texts, as a vector inverter does it: (B, D) float32 unit → B texts."""

    def __call__(self, vectors_BD: np.ndarray) -> Sequence[str]: ...


class Encode(Protocol):
    """Texts to vectors of the predictor's own space: B texts → (B, D), of any length."""

    def __call__(self, texts: Sequence[str]) -> np.ndarray: ...


@dataclass(frozen=True)
class Reencoder:
    """A decoder and an encoder, handed in by the caller: alignment knows neither.

    windows   at most so many windows are rolled out, for a decoder takes long; five texts each, for every predictor
    """

    decode: Decode
    encode: Encode
    windows: int = 100

    def feed(self, prediction_BD: Tensor, taken_BT: Tensor) -> tuple[Tensor, Tensor]:
        """The vector of the text of a prediction; nothing is taken from the corpus."""
        texts = self.decode(prediction_BD.cpu().numpy())
        vectors = np.asarray(self.encode(texts))
        if vectors.shape != tuple(prediction_BD.shape):
            raise ValueError(f"decoder and encoder gave {vectors.shape} for {tuple(prediction_BD.shape)} vectors")
        return normalise(torch.as_tensor(vectors, dtype=torch.float32, device=prediction_BD.device)), taken_BT


@dataclass(frozen=True)
class Snap:
    """The nearest chunk of the part, found by exact search, but for the chunks this rollout has read or taken already.

    They are masked because the nearest chunk to a prediction that leans on its context (every regression does) is a
    chunk of that context: it would be fed back, be still nearer the next time, and from then on the rollout would
    measure nothing but that it is stuck. The rest of the document is not masked: the truth lies there, and finding it
    is what is asked. A copy of a masked chunk under another row is not masked either; `segue check` counts those.
    """

    corpus: Corpus

    def places(self, rows_BL: np.ndarray) -> Tensor:
        """Places in the corpus of rows of the part."""
        return torch.as_tensor(np.searchsorted(self.corpus.rows_N, rows_BL), device=self.corpus.vectors_ND.device)

    def feed(self, prediction_BD: Tensor, taken_BT: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest chunk that is not taken, (B, D), and the places taken with it, (B, T + 1)."""
        step = max(1, SIMILARITIES // len(self.corpus.rows_N))
        nearest = []
        for low in range(0, len(prediction_BD), step):
            similarity_BN = prediction_BD[low : low + step] @ self.corpus.vectors_ND.T
            similarity_BN.scatter_(1, taken_BT[low : low + step], -torch.inf)
            nearest.append(similarity_BN.argmax(1))
        nearest_B = torch.cat(nearest)
        return self.corpus.vectors_ND[nearest_B], torch.cat([taken_BT, nearest_B[:, None]], dim=1)


def fed_rollouts(
    mode: str, predictors: Mapping[str, Predictor], windows: Windows, rows: Rows, feed: Snap | Reencoder
) -> dict[Path, np.ndarray]:
    """`rollout.MODE.{steps, mrr_steps}.J`, `.mean` and `.mrr` as for the raw mode (SPEC §3 D): (P, X) each.

    windows   all of them long enough for the furthest step
    """
    offsets = [ask.offset for ask in asks_of(windows.context, windows.horizon) if ask.kind == "step"]
    offsets = [windows.horizon, *offsets]
    shape = (len(predictors), STEPS, len(windows))
    cos_PJX, rank_PJX = np.full(shape, np.nan), np.full(shape, np.nan)
    for start in range(0, len(windows), BLOCK):
        at = np.arange(start, min(start + BLOCK, len(windows)))
        block = windows.take(at)
        answer_PJBD = torch.stack([_rolled(predictor, block, rows, feed) for predictor in predictors.values()])
        cos_PJX[..., at], rank_PJX[..., at] = _compared(answer_PJBD, offsets, block, rows)
    mrr_PJX = 1 / rank_PJX
    columns: dict[Path, np.ndarray] = {("rollout", mode, "steps", str(j + 1)): cos_PJX[:, j] for j in range(STEPS)}
    columns |= {("rollout", mode, "mrr_steps", str(j + 1)): mrr_PJX[:, j] for j in range(STEPS)}
    columns["rollout", mode, "mean"] = cos_PJX.mean(1)
    columns["rollout", mode, "mrr"] = mrr_PJX[:, 1:].mean(1)
    return columns


BLOCK = 512  # windows a block, as `forwards.contexts` has them


def _rolled(predictor: Predictor, windows: Windows, rows: Rows, feed: Snap | Reencoder) -> Tensor:
    """The predictions of every step, (J, B, D); NaN from a predictor that cannot be fed anything."""
    answer_JBD = torch.full((STEPS, len(windows), rows.dim), torch.nan, device=rows.device)
    if isinstance(predictor, WindowPredictor):
        return answer_JBD
    for at, context_BLD in contexts(windows, predictor.reach, rows):
        length = context_BLD.shape[1]
        handed_BL = windows.last_W[at, None] + np.arange(1 - length, 1)
        taken_BT = feed.places(handed_BL) if isinstance(feed, Snap) else torch.empty(len(at), 0, dtype=torch.int64)
        for j in range(STEPS):
            prediction_BD = predictor.predict(context_BLD)
            answer_JBD[j, at] = prediction_BD
            if j < STEPS - 1:
                fed_BD, taken_BT = feed.feed(prediction_BD, taken_BT)
                context_BLD = grown(context_BLD, fed_BD, predictor.reach)
    return answer_JBD


def _compared(answer_PJBD: Tensor, offsets: list[int], block: Windows, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Cosine of each step to the chunk it is compared with, and that chunk's rank in the pool `future`: (P, J, B)"""
    predictors, steps, size, _ = answer_PJBD.shape
    cos_PJB, rank_PJB = (torch.empty(predictors, steps, size, device=rows.device) for _ in range(2))
    offset_J1 = torch.as_tensor(offsets, device=rows.device)[:, None]
    for at, first, vectors_ND in documents_of(block, rows, predictors * steps):
        last_B = torch.as_tensor(block.last_W[at.start : at.stop] - first, device=rows.device)
        similarity_PJBN = answer_PJBD[:, :, at] @ vectors_ND.T
        true_JB1 = (last_B + offset_J1)[..., None]
        true_PJB1 = similarity_PJBN.gather(3, true_JB1.expand(predictors, -1, -1, -1))
        future_BN = torch.arange(len(vectors_ND), device=rows.device) > last_B[:, None]
        cos_PJB[:, :, at] = true_PJB1[..., 0]
        rank_PJB[:, :, at] = rank_of_true(similarity_PJBN, true_PJB1, future_BN)
    rank_PJB[cos_PJB.isnan()] = torch.nan
    return cos_PJB.double().cpu().numpy(), rank_PJB.double().cpu().numpy()
