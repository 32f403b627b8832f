"""Controls of the study of `onward` beyond SPEC §6's: the document so far, and cheats that know the pool.

Legend: B batch, C chunks handed, D width, W windows, P pairs of a window and a candidate, F features.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from segue.geometry import normalise
from segue.models import Predictor
from segue.models.controls import SlotWeights, _Control
from segue.models.fitting import _conditional_logit
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
        rows, answers = Rows(windows.store), []
        for last, earlier, document in zip(windows.last_W, windows.earlier_W, windows.document_W, strict=True):
            past = windows.store.first_row_G[document] + windows.store.length_G[document]
            read = earlier + 1 if self.reach is None else self.reach
            base_D = self.base.predict(rows(np.arange(last - read + 1, last + 1))[None])[0]
            pool_D = rows(np.arange(last + 1, past)).mean(0)
            answers.append(base_D - self.share * pool_D)
        return normalise(torch.stack(answers))

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
