"""The loop."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from segue.models.precision import autocast
from segue.objectives import Objective
from segue.progress import Progress, silent
from segue.training import checkpoint
from segue.training.data import Data
from segue.training.log import Entry, RunLog
from segue.training.state import State, new_state
from segue.training.validate import validate
from segue.windows.batches import batches

if TYPE_CHECKING:
    from segue.recipe import Recipe


def train(
    recipe: "Recipe",
    data: Data,
    run: Path,
    progress: Progress = silent,
    listen: Callable[[Entry], None] = lambda entry: None,
) -> State:
    """Train a recipe's model in a run folder, from its last finished epoch where it has one.

    The same seed gives the same bits on the CPU with the same number of threads, interrupted or not. `listen` is
    handed each line of the history. Raises DivergedError before an update that would not be finite, InputError
    where the folder cannot be written.
    """
    device = data.rows.device
    state = new_state(recipe, data.train.store.space, device)
    checkpoint.restore(state, run)
    objective = Objective(recipe.objective, data.rows, recipe.context_drop)
    windows, total = state.epoch * len(data.train), recipe.epochs * len(data.train)
    with RunLog(run, state, listen) as log:
        while state.epoch < recipe.epochs:
            state.begin_epoch()
            lr = state.lr
            for batch in batches(data.train, data.rows, recipe.batch, seed=recipe.seed, epoch=state.epoch):
                with autocast(recipe.precision, device):
                    step = objective(state.model, batch, state.epoch)
                log.step(step)
                state.update(step.total)
                windows += len(batch)
                progress("training", windows, total, "windows")
            log.trained()
            val = validate(state.model, objective, data, state.epoch)
            state.judge(val)
            log.epoch(val, lr)
            checkpoint.save(state, run, data.trained_on)  # last, so that a kill loses no more than the epoch it hit
    return state
