"""Everything 5CAT asks of a predictor, in few batched calls: whole contexts, ablated ones, rollouts.

Legend: B batch of windows, L chunks handed (C, or more for predictors that read further), C context, D width, H steps.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from segue.models.predictor import Predictor

ABLATIONS = ("shuffle", "reverse", "leave_one_out", "repeat_last", "other_document")
STEPS = 5


@dataclass(frozen=True)
class Draws:
    """What is random in the ablations, drawn once for a split so that every predictor meets the same.

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


def _tail(context_BLD: Tensor, tail_BCD: Tensor) -> Tensor:
    """The same intervention for every predictor: only the last C chunks change, whatever else was handed."""
    return torch.cat([context_BLD[:, : -tail_BCD.shape[1]], tail_BCD], dim=1)


def ablate(name: str, context_BLD: Tensor, context: int, draws: Draws) -> list[Tensor] | None:
    """Contexts of one ablation (SPEC §3 C); the test's value is the mean over the list. None where it cannot be made.

    shuffle         the last C chunks in a random order
    reverse         the last C chunks in reverse
    leave_one_out   one of the C slots dropped and the last chunk appended again, for each slot
    repeat_last     the last chunk in all C slots
    other_document  the last chunk replaced by a chunk of another document
    """
    tail_BCD = context_BLD[:, -context:]
    last_B1D = tail_BCD[:, -1:]
    if name == "shuffle":
        order = draws.order_BC.to(tail_BCD.device)[..., None].expand_as(tail_BCD)
        return [_tail(context_BLD, tail_BCD.gather(1, order))]
    if name == "reverse":
        return [_tail(context_BLD, tail_BCD.flip(1))]
    if name == "repeat_last":
        return [_tail(context_BLD, last_B1D.expand_as(tail_BCD))]
    if name == "leave_one_out":
        keep = [[slot for slot in range(context) if slot != dropped] for dropped in range(context)]
        return [_tail(context_BLD, torch.cat([tail_BCD[:, slots], last_B1D], 1)) for slots in keep]
    if name == "other_document":
        if draws.other_BD is None:
            return None
        return [_tail(context_BLD, torch.cat([tail_BCD[:, :-1], draws.other_BD[:, None].to(tail_BCD.device)], 1))]
    raise KeyError(name)


def rollout(predictor: Predictor, context_BLD: Tensor, first_BD: Tensor, steps: int = STEPS) -> list[Tensor]:
    """Feed predictions back: unit predictions of steps 1 … H, the first of which is `first_BD`. [(B, D)] · H"""
    predictions = [first_BD]
    for _ in range(steps - 1):
        grown = torch.cat([context_BLD, predictions[-1][:, None]], dim=1)
        limit = predictor.reach
        context_BLD = grown if limit is None or grown.shape[1] <= limit else grown[:, -limit:]
        predictions.append(predictor.predict(context_BLD))
    return predictions
