"""What windows are chosen by: the cosine of the target to the last chunk, the coherence of the context (SPEC §5).

Rows are gathered a block of windows at a time: of a store of any size one block is held, and one number a window.

Legend: W windows, B windows of a block, C context length.
"""

import numpy as np

from segue.windows.index import Windows
from segue.windows.rows import Rows

BLOCK = 8192  # windows; of 768-D vectors 48 MB for pairs


def step_cosines(windows: Windows, rows: Rows) -> np.ndarray:
    """cos(x_t, y) of each window: (W,) float32"""
    cosine_W = np.empty(len(windows), dtype=np.float32)
    for start in range(0, len(windows), BLOCK):
        here = slice(start, start + BLOCK)
        last_BD, target_BD = rows(windows.last_W[here]), rows(windows.target_rows()[here])
        cosine_W[here] = (last_BD * target_BD).sum(-1).cpu().numpy()
    return cosine_W


def coherences(windows: Windows, rows: Rows) -> np.ndarray:
    """Mean cosine of adjacent context chunks of each window: (W,) float32"""
    coherence_W = np.empty(len(windows), dtype=np.float32)
    step = max(1, BLOCK // windows.context)
    for start in range(0, len(windows), step):
        here = np.arange(start, min(start + step, len(windows)))
        context_BCD = rows(windows.last_W[here, None] + np.arange(1 - windows.context, 1))
        coherence_W[here] = (context_BCD[:, 1:] * context_BCD[:, :-1]).sum(-1).mean(1).cpu().numpy()
    return coherence_W


def top(score_W: np.ndarray, share: float) -> np.ndarray:
    """(W,) bool, the share of windows with the largest scores, at least one; of equals the first in row order."""
    count = min(len(score_W), max(1, round(share * len(score_W))))
    kept_W = np.zeros(len(score_W), dtype=bool)
    kept_W[np.argsort(-score_W, kind="stable")[:count]] = True
    return kept_W
