"""A quantised head: the next vector as one of K codes, centroids of the train chunks.

Legend: B batch, C context length, M samples, K codes, N chunks, D width of the vectors.
"""

import numpy as np
import torch
from torch import Tensor, nn, no_grad

from segue.errors import InputError
from segue.geometry import normalise
from segue.models.clusters import kmeans, nearest
from segue.windows import Windows
from segue.windows.rows import Rows

# Chunks that codes are fitted on: as many for each as faiss takes, or all of a small corpus.
EACH, FEWEST = 256, 1 << 16
SHARPNESS = 10.0  # of the first logits: a vector one unit along a centroid makes its code e¹⁰ times as likely


class Codes(nn.Module):
    """logits l = W·r + b over K codes, r the model's raw output; the prediction is Σ softmax(l)_k c_k.

    centroid_KD  c, fitted on the train chunks before the first step (`fit`) and fixed; saved with the weights
    logit        W and b, trained; they begin as SHARPNESS·c and the log of the codes' shares

    The expected centroid estimates the mean of the next vector, as a regression's output does: its length says how sure
    it is. Until it is fitted the codes are random directions.
    """

    centroid_KD: Tensor

    def __init__(self, count: int, dim: int):
        super().__init__()
        self.register_buffer("centroid_KD", normalise(torch.randn(count, dim)))
        self.logit = nn.Linear(dim, count)

    def forward(self, raw_BD: Tensor) -> tuple[Tensor, Tensor]:
        """The expected centroid and the logits, float32 whatever the precision: (B, D) → (B, D), (B, K)"""
        with torch.autocast(raw_BD.device.type, enabled=False):
            logits_BK = self.logit(raw_BD.float())
            expected_BD: Tensor = logits_BK.softmax(-1) @ self.centroid_KD
        return expected_BD, logits_BK

    def of(self, chunk_BD: Tensor) -> Tensor:
        """The code of each chunk, the one with the nearest centroid, whatever the precision: (B, D) → (B,) int64"""
        with torch.autocast(chunk_BD.device.type, enabled=False):
            return nearest(chunk_BD, self.centroid_KD)

    def drawn(
        self, logits_BK: Tensor, count: int, temperature: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Unit centroids of codes drawn by softmax(l / temperature), at 0 the likeliest: (B, K) → (B, M, D)"""
        if temperature == 0:
            code_BM = logits_BK.argmax(-1, keepdim=True).expand(-1, count)
        else:  # on the CPU, so that a seed draws the same for every device
            share_BK = (logits_BK.detach() / temperature).softmax(-1).cpu()
            code_BM = torch.multinomial(share_BK, count, replacement=True, generator=generator).to(logits_BK.device)
        drawn_BMD: Tensor = normalise(self.centroid_KD[code_BM])
        return drawn_BMD

    @property
    def most(self) -> int:
        """How many chunks it is fitted on at most."""
        return max(FEWEST, EACH * len(self.centroid_KD))

    def fit(self, chunk_ND: Tensor, seed: int) -> None:
        """Place the centroids among chunks, and begin from them. Raises InputError where there are fewer than codes."""
        count = len(self.centroid_KD)
        if len(chunk_ND) < count:
            raise InputError(
                f"model.codes: found {count} codes, the train documents have {len(chunk_ND)} chunks; fewer codes than "
                f"chunks are wanted. Set model.codes to {max(2, len(chunk_ND) // 10)}, or train on more documents."
            )
        centroid_KD, share_K = kmeans(chunk_ND, count, seed)
        with no_grad():
            self.centroid_KD.copy_(centroid_KD)
            self.logit.weight.copy_(SHARPNESS * centroid_KD)
            self.logit.bias.copy_(((share_K * len(chunk_ND) + 1) / (len(chunk_ND) + count)).log())


def chunks_of(windows: Windows, rows: Rows, most: int, seed: int) -> Tensor:
    """Chunks of the documents that windows come from, once each, of more than `most` so many at random: (N, D)"""
    store = windows.store
    row_N = np.concatenate([store.first_row_G[g] + np.arange(store.length_G[g]) for g in np.sort(windows.documents)])
    if len(row_N) > most:
        row_N = np.sort(np.random.default_rng(seed).choice(row_N, most, replace=False))
    return rows(row_N)
