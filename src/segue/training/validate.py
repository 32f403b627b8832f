"""VAL after each epoch: the loss, and the mini-5CAT.

Legend: B batch, D width.
"""

import math
from typing import TYPE_CHECKING

from torch import no_grad

from segue.alignment import mini_5cat
from segue.models.network import evaluating
from segue.objectives import Objective
from segue.training.diverged import DivergedError
from segue.windows.batches import batches

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
)
MAX_WINDOWS = 5_000
BATCH = 1024  # no gradients are kept, so a larger batch than training's fits and is faster


def validate(model: "LatentModel", objective: Objective, data: "Data", epoch: int) -> dict[str, float | None]:
    """`METRICS` of a model: the first three over at most 5,000 VAL windows, the rest over the mini-5CAT's 500.

    In float32 whatever the recipe's precision, as 5CAT and serving compute. The sample is the same for every run.
    Raises DivergedError when the loss is not finite.
    """
    windows = data.val.sample(MAX_WINDOWS, seed=0)
    sums = dict.fromkeys(("loss", "mse", "cos"), 0.0)
    with evaluating(model), no_grad():
        for batch in batches(windows, data.rows, BATCH):
            step = objective(model, batch, epoch)
            mse, cos = step.made.squared_error_B.mean(), step.made.cos_target_B.mean()
            for name, value in (("loss", step.total), ("mse", mse), ("cos", cos)):
                sums[name] += value.item() * len(batch)
    means: dict[str, float | None] = {name: total / len(windows) for name, total in sums.items()}
    if not all(math.isfinite(total) for total in sums.values()):
        raise DivergedError(f"epoch {epoch}: the VAL loss is {sums['loss']}. Lower lr or the weight of a term.")
    return {**mini_5cat(model, data.val, device=str(data.rows.device)), **means}
