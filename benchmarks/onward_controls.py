"""Controls of the study of `onward` beyond SPEC §6's: the document so far, and cheats that know the pool.

Legend: B batch, C chunks handed, D width, W windows, P pairs of a window and a candidate, F features.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from segue.alignment.forwards import predicted
from segue.geometry import normalise
from segue.models import Predictor
from segue.models.controls import SlotWeights, _Control
from segue.models.fitting import _conditional_logit
from segue.models.network import evaluating
from segue.windows import Windows
from segue.windows.rows import Rows

HAND = (-0.1, -0.1, 0.0, 0.2, 1.0)  # SPEC §10, oldest slot first
MAX_WINDOWS = 12_000  # six weights are settled long before


class DocumentWeights(_Control):
    """p ∝ Σ w_i x_i over the last C chunks + m·(mean of all chunks read): C + 1 numbers, fitted on train."""

    def __init__(self, weights_F: np.ndarray, dim: int, name: str = "document_weights"):
        super().__init__(name, dim, len(weights_F) - 1, 1)
        self.weights_F, self.reach = weights_F, None

    def direction(self, context_BCD: Tensor) -> Tensor:
        weight_F = torch.as_tensor(self.weights_F, dtype=context_BCD.dtype)
        return weight_F[:-1] @ context_BCD[:, -self.context :] + weight_F[-1] * context_BCD.mean(1)

    def positions(self, document_BND: Tensor) -> Tensor:
        """The same at every place of documents from the C-th on: (B, N, D) → (B, N, D), before it zeros."""
        weight_F = torch.as_tensor(self.weights_F, dtype=document_BND.dtype)
        read_N1 = torch.arange(1, document_BND.shape[1] + 1)[:, None]
        raw_BND = weight_F[-1] * document_BND.cumsum(1) / read_N1
        raw_BND[:, self.context - 1 :] += document_BND.unfold(1, self.context, 1) @ weight_F[:-1]
        raw_BND[:, : self.context - 1] = 0
        return raw_BND


def document_weights(windows: Windows, rows: Rows) -> np.ndarray:
    """C + 1 numbers, the largest 1.

    The conditional logit −log softmax(Σ w_i cos(x_i, ·) + m mean·(·))[true] over the pool `future` on train.
    """
    chosen = windows.sample(MAX_WINDOWS, seed=0)
    parts, lengths = [], []
    for document in chosen.documents:
        vectors_ND = document_vectors(chosen, rows, document)
        at_W = chosen.last_W[chosen.document_W == document] - chosen.store.first_row_G[document]
        mean_ND = vectors_ND.cumsum(0) / torch.arange(1, len(vectors_ND) + 1)[:, None]
        for t in at_W:
            read_FD = torch.cat([vectors_ND[t - chosen.context + 1 : t + 1], mean_ND[t : t + 1]])
            parts.append((vectors_ND[t + 1 :] @ read_FD.T).numpy())
            lengths.append(len(parts[-1]))
    first_W = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
    return _conditional_logit(np.concatenate(parts), first_W, first_W)


def mean_weights(windows: Windows, rows: Rows) -> np.ndarray:
    """C + 1 numbers for the last C chunks and the mean of all read: least squares of the next chunk on train."""
    chosen = windows.sample(MAX_WINDOWS, seed=0)
    square_FF, product_F = np.zeros((chosen.context + 1,) * 2), np.zeros(chosen.context + 1)
    for document in chosen.documents:
        vectors_ND = document_vectors(chosen, rows, document).double()
        mean_ND = vectors_ND.cumsum(0) / torch.arange(1, len(vectors_ND) + 1)[:, None]
        for t in chosen.last_W[chosen.document_W == document] - chosen.store.first_row_G[document]:
            read_FD = torch.cat([vectors_ND[t - chosen.context + 1 : t + 1], mean_ND[t : t + 1]]).numpy()
            square_FF += read_FD @ read_FD.T
            product_F += read_FD @ vectors_ND[t + 1].numpy()
    solved_F: np.ndarray = np.linalg.solve(square_FF, product_F)
    return solved_F


def document_vectors(windows: Windows, rows: Rows, document: int) -> Tensor:
    """All chunks of a document: (N, D)"""
    first = int(windows.store.first_row_G[document])
    return rows(np.arange(first, first + int(windows.store.length_G[document])))


class Positions(Predictor, Protocol):
    """What predicts at every place of a document in one pass, too: (B, N, D) → (B, N, D) raw."""

    def positions(self, document_BND: Tensor) -> Tensor: ...


class OnePass:
    """What predicts at every place, asked once a document: the last windows of a novel read two thousand chunks each.

    It has the first face alone.
    """

    def __init__(self, of: Positions):
        self.of, self.name, self.facets = of, of.name, of.facets
        self.dim, self.context, self.horizon, self.reach = of.dim, of.context, of.horizon, of.reach

    def predict_windows(self, windows: Windows) -> Tensor:
        rows, first_W = Rows(windows.store), windows.last_W - windows.earlier_W
        prediction_WD = torch.empty(len(windows), self.dim)
        still = evaluating(self.of) if isinstance(self.of, nn.Module) else nullcontext()
        with still, torch.no_grad():
            for first in np.unique(first_W):
                at = np.flatnonzero(first_W == first)
                place = torch.as_tensor(windows.last_W[at] - first)
                document_ND = rows(np.arange(first, first + int(place.max()) + 1))
                prediction_WD[torch.as_tensor(at)] = normalise(self.of.positions(document_ND[None])[0, place])
        return prediction_WD

    def predict(self, context_BCD: Tensor) -> Tensor:
        raise NotImplementedError("asked by window, never by context")


@dataclass
class PoolCentred:
    """Cheat: knows the pool `future` of each window, and takes a share of its mean off what another predicts.

    No predictor of a context can have it, but whoever is handed candidates to order has: `segue rank`.
    """

    base: Predictor
    share: float

    def __post_init__(self) -> None:
        self.name = f"{self.base.name}, pool-centred {self.share:g}"
        self.dim, self.context, self.horizon = self.base.dim, self.base.context, self.base.horizon
        self.facets, self.reach = ("rank",), self.base.reach

    def predict_windows(self, windows: Windows) -> Tensor:
        rows = Rows(windows.store)
        answer_WD = predicted(self.base, windows, rows)
        for document in windows.documents:
            at = np.flatnonzero(windows.document_W == document)
            vectors_ND = document_vectors(windows, rows, document).double()
            left_N1 = torch.arange(len(vectors_ND), 0, -1)[:, None]
            pool_ND = vectors_ND.flip(0).cumsum(0).flip(0) / left_N1  # the mean from each row to the end
            after = windows.last_W[at] + 1 - windows.store.first_row_G[document]
            answer_WD[torch.as_tensor(at)] -= self.share * pool_ND[torch.as_tensor(after)].float()
        return normalise(answer_WD)

    def predict(self, context_BCD: Tensor) -> Tensor:
        raise NotImplementedError("asked by window, never by context")


class Together:
    """Several models' unit predictions, added: what their disagreement costs, and what one model might still learn."""

    def __init__(self, name: str, models: Sequence[Predictor]):
        first = models[0]
        self.name, self.models, self.facets = name, models, first.facets
        self.dim, self.context, self.horizon, self.reach = first.dim, first.context, first.horizon, first.reach

    def predict(self, context_BCD: Tensor) -> Tensor:
        return normalise(torch.stack([model.predict(context_BCD) for model in self.models]).sum(0))


def by_hand(dim: int) -> SlotWeights:
    """SPEC §10's weights by hand."""
    return SlotWeights("by_hand", np.array(HAND), dim, 1)
