"""Ordering: does the predictor know which of the chunks to come is next?

    spans    the five chunks after a context, shuffled. From the context the predictor says what comes next, the nearest
             of the five is taken and its true vector appended to the context, and so on until one is left. Kendall's τ
             of the order taken against the true one (chance 0), and the share of spans in perfect order (chance 1/120).
    binary   the two chunks after the context: is the first nearer to the prediction than the second? Ties count half.

What is appended is a true chunk, though perhaps a wrong one: unlike a rollout, the predictor is never off the manifold
of real chunks. Sentence ordering in this form goes back to Lapata (2003), τ as its measure to Lapata (2006).
Only for h = 1: who predicts the chunk after next says nothing of the next.

Legend: P predictors, X windows, B windows of a block, L chunks handed, F = 5 chunks of a span, D width.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from segue.alignment.compare import Path
from segue.alignment.forwards import contexts, grown
from segue.models.predictor import Predictor, WindowPredictor
from segue.windows import Windows
from segue.windows.rows import Rows

SPAN = 5
CHANCE: dict[Path, float] = {
    ("ordering", "kendall_tau"): 0.0,
    ("ordering", "perfect_match"): 1 / 120,
    ("ordering", "binary"): 0.5,
}


def binary_order(first_W: np.ndarray, second_W: np.ndarray) -> np.ndarray:
    """1 where the similarity to x_{t+1} is larger than to x_{t+2}, .5 where they tie, NaN where one is missing."""
    missing = np.isnan(first_W) | np.isnan(second_W)
    return np.where(missing, np.nan, (first_W > second_W) + 0.5 * (first_W == second_W))


def kendall_tau(order_BF: np.ndarray) -> np.ndarray:
    """Pairs in the right order less pairs in the wrong one, over all pairs: permutations (B, F) → (B,) in [−1, 1]."""
    later_BFF = np.sign(order_BF[:, None, :] - order_BF[:, :, None])
    first, second = np.triu_indices(order_BF.shape[1], k=1)
    tau: np.ndarray = later_BFF[:, first, second].mean(1)
    return tau


def greedy_order(predictor: Predictor, context_BLD: Tensor, span_BFD: Tensor) -> Tensor:
    """Places of the shuffled span in the order in which the predictor takes them: (B, F) int64.

    The last needs no prediction. Of equally near ones the first as presented, so that a tie is broken by the shuffle.
    """
    size, span, _ = span_BFD.shape
    everyone = torch.arange(size, device=span_BFD.device)
    taken_BF = torch.zeros(size, span, dtype=torch.bool, device=span_BFD.device)
    picks = []
    for step in range(span):
        if step < span - 1:
            near_BF = torch.einsum("bd,bfd->bf", predictor.predict(context_BLD), span_BFD)
            pick_B = near_BF.masked_fill(taken_BF, -torch.inf).argmax(1)
            context_BLD = grown(context_BLD, span_BFD[everyone, pick_B], predictor.reach)
        else:
            pick_B = (~taken_BF).int().argmax(1)
        taken_BF[everyone, pick_B] = True
        picks.append(pick_B)
    return torch.stack(picks, dim=1)


def span_orders(
    predictors: Mapping[str, Predictor], windows: Windows, rows: Rows, seed: int = 0
) -> dict[Path, np.ndarray]:
    """`ordering.kendall_tau` and `ordering.perfect_match` of each window: (P, X); NaN where no span follows."""
    tau, perfect = (np.full((len(predictors), len(windows)), np.nan) for _ in range(2))
    long_enough = np.flatnonzero(windows.later_W >= SPAN)
    judged = windows.take(long_enough)
    # Every predictor is shown the same shuffles.
    shuffle_BF = np.random.default_rng(seed).permuted(np.tile(np.arange(SPAN), (len(judged), 1)), axis=1)
    for p, predictor in enumerate(predictors.values()):
        if isinstance(predictor, WindowPredictor):
            continue  # it knows the context as it stands, and no other
        for at, context_BLD in contexts(judged, predictor.reach, rows):
            span_BFD = rows(judged.last_W[at, None] + 1 + shuffle_BF[at])
            picks_BF = greedy_order(predictor, context_BLD, span_BFD).cpu().numpy()
            order_BF = np.take_along_axis(shuffle_BF[at], picks_BF, axis=1)
            tau[p, long_enough[at]] = kendall_tau(order_BF)
            perfect[p, long_enough[at]] = (order_BF == np.arange(SPAN)).all(1)
    return {("ordering", "kendall_tau"): tau, ("ordering", "perfect_match"): perfect}
