"""VAL after each epoch: the loss, and the mini-5CAT.

Legend: B batch, L chunks handed, D width, S steps.
"""

import math
from typing import TYPE_CHECKING

import numpy as np
from torch import no_grad, stack

from segue.alignment import mini_5cat
from segue.alignment.fivecat import MINI_SAMPLES
from segue.alignment.forwards import STEP, WHOLE, asks_of, contexts, grown
from segue.models.network import batches_for, evaluating
from segue.objectives import Objective
from segue.training.diverged import DivergedError
from segue.windows import Windows
from segue.windows.rows import Rows

if TYPE_CHECKING:
    from segue.models import LatentModel
    from segue.training.data import Data

# What a history's `val` names, so what a recipe can choose its best epoch by.
METRICS = (
    "loss",
    "mse",
    "cos",
    "margin",
    "margin_last",
    "win_last",
    "direction",
    "peak",
    "mrr_future",
    "r1_future",
    "r5_future",
    "rollout",  # only at epochs at which something asks for it: null elsewhere
)
MAX_WINDOWS = 5_000
BATCH = 1024  # no gradients are kept, so a larger batch than training's fits and is faster


def validate(
    model: "LatentModel", objective: Objective, data: "Data", epoch: int, *, rollout: bool = False
) -> dict[str, float | None]:
    """`METRICS` of a model: the first three over at most 5,000 VAL windows, the rest over the mini-5CAT's 500.

    rollout   whether that is measured too; else it is null: five more forward passes of the 500
    In float32 whatever the recipe's precision, as 5CAT and serving compute. The sample is the same for every run.
    Raises DivergedError when the loss is not finite.
    """
    windows = data.val.sample(MAX_WINDOWS, seed=0)
    sums = dict.fromkeys(("loss", "mse", "cos"), 0.0)
    with evaluating(model), no_grad():
        for batch in batches_for(model, windows, data.rows, BATCH):
            step = objective(model, batch, epoch)
            face = step.made.mean_face  # of a model of two faces the one that lies close
            mse, cos = face.squared_error_B.mean(), face.cos_target_B.mean()
            for name, value in (("loss", step.total), ("mse", mse), ("cos", cos)):
                sums[name] += value.item() * len(batch)
    means: dict[str, float | None] = {name: total / len(windows) for name, total in sums.items()}
    if not all(math.isfinite(total) for total in sums.values()):
        raise DivergedError(f"epoch {epoch}: the VAL loss is {sums['loss']}. Lower lr or the weight of a term.")
    rolled = mean_rollout(model, data.val.sample(MINI_SAMPLES, seed=0), data.rows) if rollout else None
    return {**mini_5cat(model, data.val, device=str(data.rows.device)), "rollout": rolled, **means}


def mean_rollout(model: "LatentModel", windows: Windows, rows: Rows) -> float | None:
    """Mean cosine of the five steps of test D (SPEC §3), over the windows that have the furthest; None without one."""
    offsets = [ask.offset for ask in asks_of(windows.context, windows.horizon) if ask.kind in (WHOLE, STEP)]
    far = windows.take(windows.has(max(offsets)))
    total = 0.0
    for at, context_BLD in contexts(far, model.reach, rows):
        answers = []
        for _ in offsets:
            answers.append(model.predict(context_BLD))
            context_BLD = grown(context_BLD, answers[-1], model.reach)
        true_SBD = rows(far.last_W[at] + np.array(offsets)[:, None])
        total += (stack(answers) * true_SBD).sum(-1).double().sum().item()
    return total / (len(offsets) * len(far)) if len(far) else None
