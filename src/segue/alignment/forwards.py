"""Everything 5CAT asks of a predictor, in few batched calls: whole contexts, ablated ones, rollouts.

Legend: S asks, B batch of windows, L chunks handed (C, or more for predictors that read further), C context, D width,
H steps.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from segue.models.predictor import Predictor, RawPredictor, WindowPredictor
from segue.windows import Windows
from segue.windows.rows import Rows

WHOLE, STEP = "whole", "step"
STEPS = 5
# Contexts that go through a predictor together. The 17.9 M transformer on two cores takes for each, at 256 and at 512:
# 0.64 and 0.55 ms in bfloat16, 1.10 and 1.00 ms in float32; more of them save nothing.
BLOCK = 512


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


@dataclass(frozen=True)
class Handed:
    """Some windows of a block, handed equally many chunks, and the contexts that the asks make of theirs.

    at_B          which windows of the block
    context_BLD   what they are handed as it stands in the corpus
    chance        what is random for them
    kept          changed contexts made so far, for the next predictor; None: not kept
    """

    at_B: np.ndarray
    context_BLD: Tensor
    chance: Chance
    kept: dict[Ask, Tensor | None] | None = None

    def changed(self, ask: Ask, context: int) -> Tensor | None:
        """The context of an ablation: (B, L, D), None where it cannot be made."""
        if self.kept is None:
            return ablated(ask, self.context_BLD, context, self.chance)
        if ask not in self.kept:
            self.kept[ask] = ablated(ask, self.context_BLD, context, self.chance)
        return self.kept[ask]


@dataclass
class Questions:
    """What a block of windows is asked: the same for all predictors, so that contexts are gathered and changed once."""

    block: Windows
    rows: Rows
    asks: list[Ask]
    chance: Chance
    _shared: list[Handed] = field(default_factory=list)

    def handed(self, reach: int | None) -> Iterable[Handed]:
        """The windows by how many chunks they are handed. Contexts of C chunks are kept, longer ones need too much."""
        if reach != self.block.context:
            return self._gathered(reach, keep=False)
        if not self._shared:
            self._shared.extend(self._gathered(reach, keep=True))
        return self._shared

    def _gathered(self, reach: int | None, keep: bool) -> Iterator[Handed]:
        order_BC, other_BD = self.chance.order_BC, self.chance.other_BD
        length_B = handed(self.block, reach)
        for length in np.unique(length_B):
            at_B = np.flatnonzero(length_B == length)  # NumPy would take a tensor of one number for that number
            at = torch.as_tensor(at_B)
            here = Chance(order_BC[at], None if other_BD is None else other_BD[at])
            context_BLD = self.rows(self.block.last_W[at_B, None] + np.arange(1 - length, 1))
            yield Handed(at_B, context_BLD, here, {} if keep else None)


def answer(predictor: Predictor, questions: Questions, answer_SBD: Tensor) -> Tensor | None:
    """A predictor's unit predictions for every ask and window, NaN where there is nothing to compare with.

    Windows handed equally many chunks go through the predictor together. Dropping the last slot and appending the last
    chunk changes nothing, so that answer is the whole context's and is not asked for again (decision 009).

    answer_SBD   (S, B, D), filled
    → (B, D) the raw outputs for the whole context where the predictor tells them
    """
    block, asks = questions.block, questions.asks
    answer_SBD.fill_(float("nan"))
    if isinstance(predictor, WindowPredictor):
        answer_SBD[0] = predictor.predict_windows(block)
        return None
    raw_BD = torch.empty_like(answer_SBD[0]) if isinstance(predictor, RawPredictor) else None
    furthest = max(ask.offset for ask in asks)
    for some in questions.handed(predictor.reach):
        at = torch.as_tensor(some.at_B)
        if isinstance(predictor, RawPredictor) and raw_BD is not None:
            whole_BD, raw_BD[at] = predictor.predict_with_raw(some.context_BLD)
        else:
            whole_BD = predictor.predict(some.context_BLD)
        far = torch.as_tensor(block.later_W[some.at_B] >= furthest)
        rolled_BLD, step_BD = some.context_BLD[far], whole_BD[far]
        for s, ask in enumerate(asks):
            if ask.kind == STEP:
                if len(step_BD):
                    rolled_BLD = grown(rolled_BLD, step_BD, predictor.reach)
                    step_BD = predictor.predict(rolled_BLD)
                    answer_SBD[s, at[far]] = step_BD
            elif ask.kind == WHOLE or ask == Ask("leave_one_out", ask.offset, block.context - 1):
                answer_SBD[s, at] = whole_BD
            elif (changed_BLD := some.changed(ask, block.context)) is not None:
                answer_SBD[s, at] = predictor.predict(changed_BLD)
    return raw_BD
