"""The term that asks which of some chunks is the target.

Legend: B batch, N candidates, D width.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from segue.objectives.forward import Pass
from segue.objectives.term import Term
from segue.windows import Windows


class LogTemperature(nn.Module):
    """A temperature that stays above 0, by its logarithm."""

    def __init__(self, temperature: float):
        super().__init__()
        self.log = nn.Parameter(torch.tensor(temperature).log())

    def forward(self) -> Tensor:
        return self.log.exp()


class InfoNCE(Term):
    """Name the target among candidates: the cross-entropy of a softmax over cosines.

    value     mean of −log softmax(cos(p, candidates) / τ)[y]    scalar > 0; log of their number for a blind p
    inputs    raw_BD any norm, target_BD unit; candidates beside the target:
              `batch` the targets of the batch's other windows · `future` the document's chunks after offset 0, the pool
              that matters (SPEC §2) · `outside` all the document's chunks outside the window's context ·
              `batch+future`, `batch+outside` both; with `hard_negative` x_t too. Each chunk counts once, and the
              target's own row is nobody's negative
    learned   τ is trained along from `temperature` on, as a part of the term's own. A model that grows surer or less
              sure in training then need not move its predictions to say so, and VAL loss says what it knows
    gradient  (Σ softmax · candidate − y) / τ on p: at τ = .07 some 10,000 times MSE's, so its weight decides for MSE
    caution   leaves ‖r‖ free, so r no longer estimates a mean: `steer` warns. A window whose pool holds the target
              alone has value and gradient 0 (the last of its document, candidates `future`)
    numbers   float32 also under autocast: in bfloat16 cosines come in steps of .004, at τ = .07 of 6 % of a share
    source    SPEC §8; van den Oord et al. 2018, arXiv 1807.03748
    """

    temperature: float = Field(gt=0)
    candidates: Literal["batch", "future", "outside", "batch+future", "batch+outside"]
    hard_negative: bool = False
    learned: bool = False

    def head(self, dim: int) -> nn.Module | None:
        return LogTemperature(self.temperature) if self.learned else None

    def per_window(self, made: Pass) -> Tensor:
        windows, device = made.batch.windows, made.raw_BD.device
        row_N = np.unique(np.concatenate(list(self._rows(windows))))
        negative_BN = self._negative(windows, row_N)
        with torch.autocast(device.type, enabled=False):
            cos_BN = made.pred_BD @ self._vectors(made, row_N).T
        beside_B1 = made.cos_target_B[:, None]
        if self.hard_negative:
            beside_B1 = torch.cat([beside_B1, made.cos_last_B[:, None]], 1)
        # The target stands in the softmax by its own cosine: of a row that is masked among the negatives, always.
        logits_BN = torch.cat([beside_B1, cos_BN], 1) / self._temperature(made)
        # Masked once divided: −∞ / τ would make a learned τ's gradient a NaN.
        masked_BN = torch.as_tensor(~negative_BN, device=device)
        logits_BN = logits_BN.masked_fill(nn.functional.pad(masked_BN, (beside_B1.shape[1], 0)), -torch.inf)
        return logits_BN.logsumexp(1) - logits_BN[:, 0]

    def _temperature(self, made: Pass) -> Tensor | float:
        temperature: Tensor | float = made.heads["info_nce"]() if self.learned else self.temperature
        return temperature

    @property
    def _pools(self) -> list[str]:
        return self.candidates.split("+")

    def _rows(self, windows: Windows) -> Iterator[np.ndarray]:
        """Rows of all chunks that are a candidate of some window."""
        if "batch" in self._pools:
            yield windows.target_rows()
        first_B, past_B = _document(windows)
        if "future" in self._pools:
            yield _ranges(windows.last_W + 1, past_B)
        if "outside" in self._pools:
            yield _ranges(first_B, past_B)

    def _negative(self, windows: Windows, row_N: np.ndarray) -> np.ndarray:
        """(B, N) bool, whether a row is a negative of a window."""
        last_B1 = windows.last_W[:, None]
        first_B1, past_B1 = (bound_B[:, None] for bound_B in _document(windows))
        negative_BN = np.zeros((len(windows), len(row_N)), dtype=bool)
        if "batch" in self._pools:
            negative_BN |= np.isin(row_N, windows.target_rows())
        if "future" in self._pools:
            negative_BN |= (row_N > last_B1) & (row_N < past_B1)
        if "outside" in self._pools:
            in_document_BN = (row_N >= first_B1) & (row_N < past_B1)
            negative_BN |= in_document_BN & ((row_N > last_B1) | (row_N <= last_B1 - windows.context))
        negative_BN &= row_N != windows.target_rows()[:, None]
        if self.hard_negative:
            negative_BN &= row_N != last_B1
        return negative_BN

    def _vectors(self, made: Pass, row_N: np.ndarray) -> Tensor:
        """(N, D): from the batch where it has them all, else gathered."""
        if self.candidates != "batch":
            return made.rows(row_N)
        _, first_N = np.unique(made.batch.windows.target_rows(), return_index=True)
        return made.batch.target_BD[torch.as_tensor(first_N, device=made.batch.target_BD.device)]


def _document(windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    """First row of each window's document, and the row past its end: (B,), (B,)"""
    first_B = windows.store.first_row_G[windows.document_W]
    return first_B, first_B + windows.store.length_G[windows.document_W]


def _ranges(first_B: np.ndarray, past_B: np.ndarray) -> np.ndarray:
    """first … past − 1 of each pair, one after the other."""
    length_B = past_B - first_B
    starts_B = np.cumsum(length_B) - length_B
    return np.repeat(first_B - starts_B, length_B) + np.arange(length_B.sum())
