"""Everything 5CAT asks of a predictor, in few batched calls: whole contexts, ablated ones, rollouts.

Legend: S asks, B batch of windows, L chunks handed (C, or more for predictors that read further), C context, D width,
H steps.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from segue.models.predictor import Predictor, RawPredictor, WindowPredictor
from segue.windows import Windows
from segue.windows.rows import Rows

WHOLE, STEP = "whole", "step"
STEPS = 5
BLOCK = 256  # windows that go through a predictor together


@dataclass(frozen=True)
class Ask:
    """One prediction wanted of every window: from which context, and the offset of the chunk it is compared with."""

    kind: str
    offset: int
    number: int = 0  # which slot is dropped (from 0), which step of the rollout (from 2)


def asks_of(context: int, horizon: int, only_whole: bool = False) -> list[Ask]:
    """What is asked, in the order of the axis S; the whole context first.

    shuffle         the last C chunks in a random order, never their own
    reverse         the last C chunks in reverse
    leave_one_out   one of the C slots dropped and the last chunk appended again, for each slot
    repeat_last     the last chunk in all C slots
    other_document  the last chunk replaced by a chunk of another document
    step            predictions fed back; step j is compared with h + j − 1, for h > 1 a step moves h chunks: with j·h
    """
    whole = [Ask(WHOLE, horizon)]
    if only_whole:
        return whole
    dropped = [Ask("leave_one_out", horizon, slot) for slot in range(context)]
    others = [Ask(kind, horizon) for kind in ("shuffle", "reverse", "repeat_last", "other_document")]
    steps = [Ask(STEP, j * horizon if horizon > 1 else j, j) for j in range(2, STEPS + 1)]
    return whole + dropped + others + steps


@dataclass(frozen=True)
class Chance:
    """What is random in the ablations, drawn once for a part so that every predictor meets the same.

    order_BC  a permutation of the slots for each window, never the identity
    other_BD  a chunk of another document for each window; None where there is only one document
    """

    order_BC: Tensor
    other_BD: Tensor | None


def shuffled_orders(batch: int, context: int, generator: torch.Generator) -> Tensor:
    """Random permutations of the slots without the identity, evenly: (B, C) int64. C ≥ 2."""
    identity = torch.arange(context)
    order_BC = torch.rand(batch, context, generator=generator).argsort(1)
    while len(same := (order_BC == identity).all(1).nonzero().flatten()):
        order_BC[same] = torch.rand(len(same), context, generator=generator).argsort(1)
    return order_BC


def ablated(ask: Ask, context_BLD: Tensor, context: int, chance: Chance) -> Tensor | None:
    """The context of an ablation; None where it cannot be made. (B, L, D) → (B, L, D)

    The intervention is the same for every predictor: only the last C chunks change, whatever else was handed.
    """
    tail_BCD = context_BLD[:, -context:]
    last_B1D = tail_BCD[:, -1:]
    if ask.kind == "shuffle":
        changed = tail_BCD.gather(1, chance.order_BC.to(tail_BCD.device)[..., None].expand_as(tail_BCD))
    elif ask.kind == "reverse":
        changed = tail_BCD.flip(1)
    elif ask.kind == "repeat_last":
        changed = last_B1D.expand_as(tail_BCD)
    elif ask.kind == "leave_one_out":
        kept = [slot for slot in range(context) if slot != ask.number]
        changed = torch.cat([tail_BCD[:, kept], last_B1D], dim=1)
    elif ask.kind == "other_document":
        if chance.other_BD is None:
            return None
        changed = torch.cat([tail_BCD[:, :-1], chance.other_BD[:, None].to(tail_BCD.device)], dim=1)
    else:
        raise KeyError(ask.kind)
    return torch.cat([context_BLD[:, :-context], changed], dim=1)


def grown(context_BLD: Tensor, prediction_BD: Tensor, reach: int | None) -> Tensor:
    """The context after a prediction was fed back: longer by one, or moved on where the predictor's reach ends."""
    longer = torch.cat([context_BLD, prediction_BD[:, None]], dim=1)
    return longer if reach is None or longer.shape[1] <= reach else longer[:, -reach:]


def handed(windows: Windows, reach: int | None) -> np.ndarray:
    """How many chunks, up to offset 0, a predictor of this reach is handed for each window: (W,)"""
    so_far = windows.earlier_W + 1
    return so_far if reach is None else np.minimum(so_far, reach)


def contexts(windows: Windows, reach: int | None, rows: Rows) -> Iterator[tuple[np.ndarray, Tensor]]:
    """The windows in blocks of those handed equally many chunks: positions (B,), context (B, L, D)."""
    length_W = handed(windows, reach)
    for length in np.unique(length_W):
        every = np.flatnonzero(length_W == length)
        for at in np.array_split(every, -(-len(every) // BLOCK)):
            yield at, rows(windows.last_W[at, None] + np.arange(1 - length, 1))


def predicted(predictor: Predictor, windows: Windows, rows: Rows) -> Tensor:
    """Unit predictions for the whole contexts: (W, D)"""
    if isinstance(predictor, WindowPredictor):
        return predictor.predict_windows(windows).to(rows.device)
    prediction_WD = torch.empty(len(windows), rows.dim, device=rows.device)
    for at, context_BLD in contexts(windows, predictor.reach, rows):
        prediction_WD[at] = predictor.predict(context_BLD)
    return prediction_WD


def answer(
    predictor: Predictor, block: Windows, rows: Rows, asks: list[Ask], chance: Chance
) -> tuple[Tensor, Tensor | None]:
    """A predictor's unit predictions for every ask and window, NaN where there is nothing to compare with.

    Windows handed equally many chunks go through the predictor together.
    → (S, B, D), and (B, D) the raw outputs for the whole context where the predictor tells them
    """
    nothing = float("nan")
    answer_SBD = torch.full((len(asks), len(block), rows.dim), nothing, device=rows.device)
    raw_BD: Tensor | None = None
    if isinstance(predictor, WindowPredictor):
        answer_SBD[0] = predictor.predict_windows(block)
        return answer_SBD, None
    length_B = handed(block, predictor.reach)
    furthest = max(ask.offset for ask in asks)
    for length in np.unique(length_B):
        at_B = np.flatnonzero(length_B == length)  # NumPy would take a tensor of one number for that number
        at = torch.as_tensor(at_B)
        context_BLD = rows(block.last_W[at_B, None] + np.arange(1 - length, 1))
        if isinstance(predictor, RawPredictor):
            whole_BD, raw = predictor.predict_with_raw(context_BLD)
            raw_BD = torch.empty_like(answer_SBD[0]) if raw_BD is None else raw_BD
            raw_BD[at] = raw
        else:
            whole_BD = predictor.predict(context_BLD)
        answer_SBD[0, at] = whole_BD
        here = Chance(chance.order_BC[at], None if chance.other_BD is None else chance.other_BD[at])
        far = torch.as_tensor(block.later_W[at_B] >= furthest)
        rolled_BLD, step_BD = context_BLD[far], whole_BD[far]
        for s, ask in enumerate(asks):
            if ask.kind == STEP and len(step_BD):
                rolled_BLD = grown(rolled_BLD, step_BD, predictor.reach)
                step_BD = predictor.predict(rolled_BLD)
                answer_SBD[s, at[far]] = step_BD
            elif ask.kind not in (WHOLE, STEP):
                changed_BLD = ablated(ask, context_BLD, block.context, here)
                if changed_BLD is not None:
                    answer_SBD[s, at] = predictor.predict(changed_BLD)
    return answer_SBD, raw_BD
