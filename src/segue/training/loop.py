"""The loop."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from segue.models.network import batches_for
from segue.models.precision import autocast
from segue.objectives import Objective
from segue.progress import Progress, silent
from segue.training import checkpoint
from segue.training.data import Data
from segue.training.log import Entry, RunLog
from segue.training.state import State, new_state
from segue.training.trips import asks_rollout, tripped
from segue.training.validate import validate

if TYPE_CHECKING:
    from segue.recipe import Recipe


def train(
    recipe: "Recipe",
    data: Data,
    run: Path,
    progress: Progress = silent,
    listen: Callable[[Entry], None] = lambda entry: None,
    *,
    force: bool = False,
) -> State:
    """Train a recipe's model in a run folder, from its last finished epoch where it has one.

    The same seed gives the same bits on the CPU with the same number of threads, interrupted or not. `listen` is
    handed each line of the history; `force` goes on where a tripwire would stop. Raises DivergedError before an update
    that would not be finite, InputError where the folder cannot be written.
    """
    device = data.rows.device
    state = new_state(recipe, data.train.store.space, device)
    objective = state.pursue(Objective(recipe.objective, data.rows, recipe.context_drop))
    checkpoint.restore(state, run)
    if not state.epoch:
        state.prepare(data.train, data.rows)
    state.force = force
    with RunLog(run, state, listen) as log:
        while state.goes_on:
            recipe, lr = state.begin_epoch(), state.lr  # with what tripwires have changed
            chosen = data.windows(recipe, state.epoch)
            windows, total = data.progress(recipe, state.epoch)
            for batch in batches_for(state.model, chosen, data.rows, recipe.batch, seed=state.seed, epoch=state.epoch):
                with autocast(recipe.precision, device):
                    step = objective(state.model, batch, state.epoch)
                log.step(step)
                state.update(step.total, (windows + len(batch) / 2) / total)
                windows += len(batch)
                progress("training", windows, total, "windows")
            log.trained()
            rollout = asks_rollout(state.recipe, state.epoch)
            with state.averaged():
                val = validate(state.model, objective, data, state.epoch, rollout=rollout)
                state.judge(val)
                for trip in tripped(state, val):
                    trip.apply(state)
                log.epoch(val, lr)
                checkpoint.save(state, run, data.trained_on)  # last, so that a kill loses no more than the epoch it hit
            checkpoint.roll_back(state, run)  # where a tripwire said so; a resume does it from what was saved
    return state
