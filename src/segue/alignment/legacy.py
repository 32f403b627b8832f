"""The original harness's arithmetic, to compare with numbers it printed and for nothing else.

It counted offsets from the target: s(+1) is the cosine to the chunk *after* the one that a model was trained to
predict, which is what its gate A wanted to be largest. Every figure here keeps the name it printed. What it computed:

A  s(k), k = −3 … +3 from the target, over the windows that have all seven; margin(+1) = s(+1) − the largest other
B  rank of the target among all chunks of the document, context included, as the number of chunks strictly closer than
   the target plus one. The target's cosine was computed a second time, so that rounding raises some ranks by one
C  cos(ablated, target) − cos(whole, target); `shuffled` from one random.Random(17) for a whole part, which may draw
   the order as it was; `cross_article` put the first slot of the same window into the last
D  rollout of 5 steps, step j against the chunk j after the target, over the windows that have all five
E  cos to the target by the context's mean adjacent cosine: `low` below .45, `normal` to .55; above that, dropped

No intervals: it had none. Source: the statement beside the golden file of tests/alignment/golden.

Legend: B windows of a block, C context, D width, S asks, N chunks of a document, K offsets.
"""

import random
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from segue.alignment.figures import BINS, Figures
from segue.alignment.forwards import STEP, STEPS, WHOLE, Ask, Chance, Questions, answer
from segue.alignment.measure import BLOCK, Part
from segue.models.predictor import Predictor
from segue.windows import Windows
from segue.windows.rows import Rows

SHUFFLE_SEED = 17
SWEPT = range(-3, 4)  # offsets from the target
RANKS = {"R@1": 1, "R@5": 5}
# Its names for the changes of the context, and ours.
CHANGES = {
    "shuffled": "shuffle",
    "reverse": "reverse",
    "loo_avg": "leave_one_out",
    "repeat_pad": "repeat_last",
    "cross_article": "other_document",
}
ROLLED = f"avg_cos@H={STEPS}"
METRICS = (
    *(f"legacy.A.k={k}" for k in SWEPT),
    "legacy.A.margin(+1)",
    *(f"legacy.B.{name}" for name in (*RANKS, "MRR")),
    *(f"legacy.C.{name}" for name in CHANGES),
    f"legacy.D.{ROLLED}",
    "legacy.E.low_mean",
    "legacy.E.normal_mean",
)
Column = tuple[str, str]


def with_legacy(figures: Figures, predictor: Predictor, part: Part, device: str = "cpu") -> Figures:
    """A predictor's figures on a part, and the original harness's beside them under `legacy`."""
    columns = legacy_columns(predictor, part.windows, device)
    draws, n = dict(figures.draws), dict(figures.n)
    for (test, name), values_W in columns.items():
        present = values_W[~np.isnan(values_W)]
        if len(present):
            draws["legacy", test, name] = np.array([present.mean()])
            n["legacy", test, name] = len(present)
    swept = {k: draws["legacy", "A", f"k={k}"] for k in SWEPT if ("legacy", "A", f"k={k}") in draws}
    if swept:
        others = max(float(value[0]) for k, value in swept.items() if k != 1)
        draws["legacy", "A", "margin(+1)"] = swept[1] - others
        n["legacy", "A", "margin(+1)"] = n["legacy", "A", "k=1"]
    return replace(figures, draws=draws, n=n)


def legacy_columns(predictor: Predictor, windows: Windows, device: str = "cpu") -> dict[Column, np.ndarray]:
    """(test, name) → (W,) what the harness took the mean of; NaN where a window is no member. Windows in row order."""
    rows = Rows(windows.store, device)
    asks = _asks(windows.context, windows.horizon)
    order_WC = legacy_orders(len(windows), windows.context)
    blocks: list[dict[Column, np.ndarray]] = []
    for start in range(0, len(windows), BLOCK):
        at = np.arange(start, min(start + BLOCK, len(windows)))
        block = windows.take(at)
        # Its "cross article" took the window's own first slot: the same ablation as ours with another chunk to swap in.
        chance = Chance(order_WC[at], rows(block.context_rows()[:, 0]))
        with torch.inference_mode():
            answer_SBD = torch.empty(len(asks), len(block), rows.dim, device=rows.device)
            answer(predictor, Questions(block, rows, asks, chance), answer_SBD)
            blocks.append(_block_columns(answer_SBD, asks, block, rows))
    return {key: np.concatenate([block[key] for block in blocks]) for key in blocks[0]}


def legacy_orders(windows: int, context: int) -> Tensor:
    """The orders its shuffles drew, one generator for a whole part: (W, C). Some are the identity."""
    rng = random.Random(SHUFFLE_SEED)
    orders = [list(range(context)) for _ in range(windows)]
    for order in orders:
        rng.shuffle(order)
    return torch.tensor(orders)


def _asks(context: int, horizon: int) -> list[Ask]:
    """The whole context, the five changes, steps 2 … 5; a step's offset is the chunk it is compared with."""
    kinds = [kind for kind in CHANGES.values() if kind != "leave_one_out"]
    return [
        Ask(WHOLE, horizon),
        *(Ask(kind, horizon) for kind in kinds),
        *(Ask("leave_one_out", horizon, slot) for slot in range(context)),
        *(Ask(STEP, horizon + j, j) for j in range(2, STEPS + 1)),
    ]


def _block_columns(answer_SBD: Tensor, asks: list[Ask], block: Windows, rows: Rows) -> dict[Column, np.ndarray]:
    whole_BD, target_BD = answer_SBD[0], rows(block.target_rows())
    own_B = _numpy((whole_BD * target_BD).sum(-1))
    columns: dict[Column, np.ndarray] = {}

    swept_BK, rank_B = _swept_and_ranked(whole_BD, target_BD, block, rows)
    all_there = block.has(block.horizon + SWEPT[0]) & block.has(block.horizon + SWEPT[-1])
    for i, k in enumerate(SWEPT):
        columns["A", f"k={k}"] = np.where(all_there, swept_BK[:, i], np.nan)
    for name, rank in RANKS.items():
        columns["B", name] = (rank_B <= rank).astype(float)
    columns["B", "MRR"] = 1 / rank_B

    cos_SB = _numpy((answer_SBD * target_BD).sum(-1))
    for name, kind in CHANGES.items():
        at = [s for s, ask in enumerate(asks) if ask.kind == kind]
        columns["C", name] = cos_SB[at].mean(0) - own_B
    columns["D", ROLLED] = _rolled(answer_SBD, asks, block, rows)

    context_BCD = rows(block.context_rows())
    coherence_B = _numpy((context_BCD[:, 1:] * context_BCD[:, :-1]).sum(-1).mean(1))
    low, high = BINS
    columns["E", "low_mean"] = np.where(coherence_B < low, own_B, np.nan)
    columns["E", "normal_mean"] = np.where((coherence_B >= low) & (coherence_B <= high), own_B, np.nan)
    return columns


def _swept_and_ranked(whole_BD: Tensor, target_BD: Tensor, block: Windows, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Cosines at −3 … +3 from the target, clipped to the document, (B, K); rank in the document (B,)."""
    store = block.store
    swept_BK = np.empty((len(block), len(SWEPT)))
    rank_B = np.empty(len(block))
    for document in block.documents:
        at = np.flatnonzero(block.document_W == document)
        first, length = int(store.first_row_G[document]), int(store.length_G[document])
        similarity_BN = whole_BD[at] @ rows(np.arange(first, first + length)).T
        # Computed apart from the others, as it was: where rounding makes it the smaller, the chunk outranks itself.
        true_B1 = (whole_BD[at] * target_BD[at]).sum(-1, keepdim=True)
        rank_B[at] = _numpy((similarity_BN > true_B1).sum(-1) + 1)
        place_BK = block.target_rows()[at, None] - first + np.asarray(SWEPT)
        place_BK = torch.as_tensor(place_BK.clip(0, length - 1), device=similarity_BN.device)
        swept_BK[at] = _numpy(similarity_BN.gather(1, place_BK))
    return swept_BK, rank_B


def _rolled(answer_SBD: Tensor, asks: list[Ask], block: Windows, rows: Rows) -> np.ndarray:
    """Mean over the steps of the cosine to the chunk that many after the target, (B,); NaN where not all exist."""
    first = block.horizon + 1
    there = np.flatnonzero(block.later_W >= block.horizon + STEPS)
    rolled_B = np.full(len(block), np.nan)
    if not len(there):
        return rolled_B
    steps = [0, *(s for s, ask in enumerate(asks) if ask.kind == STEP)]
    meant = block.last_W[there, None] + np.arange(first, first + STEPS)
    cos_BS = torch.einsum("sbd,bsd->bs", answer_SBD[steps][:, there], rows(meant))
    rolled_B[there] = _numpy(cos_BS.mean(1))
    return rolled_B


def _numpy(values: Tensor) -> np.ndarray:
    array: np.ndarray = values.double().cpu().numpy()
    return array
