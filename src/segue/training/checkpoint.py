"""Checkpoints: each epoch's folder is a model folder, and the newest can be gone on from.

    RUN/epochs/003/                        weights.safetensors, model.yaml; manifest.json, the last file written,
                                           with the hashes of all four and of what the model was trained on
    RUN/epochs/003/optimiser.safetensors   AdamW's moments by parameter; the weights, where the model is an average
    RUN/epochs/003/heads.safetensors       what terms of the objective train of their own, where they do
    RUN/epochs/003/state.json              epoch, lr, plateau, best, lines of history, tripwires, controllers, …
    RUN/best → epochs/002                  relative, replaced atomically

The moments are twice the size of the weights, so only the newest two epochs keep them (where the newest is damaged,
the one before can be gone on from), and those that a tripwire may yet roll back to.

A rollback is part of the checkpoint of the epoch that it follows: that one is saved as it was trained, with `go_back`.
Then the state is brought to the earlier epoch and the folders between are removed: of what was rolled back only the
history keeps a line. The folder that says so goes once a newer epoch is saved. Killed at any moment between, a run
either goes back again or trains again, bit for bit, what made it go back (`docs/decisions/011-rollbacks.md`).
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from segue.artifacts import MANIFEST, explained, hash_file, is_finished, make_folder, read_json, write_json
from segue.errors import InputError
from segue.models.saved import (
    BEST,
    REMEDY,
    WEIGHTS,
    load_tensors,
    load_weights,
    read_description,
    save_model,
    save_tensors,
    verify,
)
from segue.training.averaging import Averaged
from segue.training.state import State, Stopped
from segue.training.trips import Watch
from segue.vectors import Space

EPOCHS, OPTIMISER, HEADS, STATE = "epochs", "optimiser.safetensors", "heads.safetensors", "state.json"
# Field of an epoch's manifest. Not among its `hashes`: those are the model's, and outlive the moments.
RESUME_HASHES = "resume_hashes"
TRAINED = "trained"  # what an average is of: the weights that training goes on from
WITH_MOMENTS = 2  # newest epochs


class _Section(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class _Waiting(_Section):
    best: float | None
    waited: int


class _Best(_Section):
    epoch: int = Field(ge=1)
    value: float | None


class _Stopped(_Section):
    tripwire: str | None
    verdict: str


class _Saved(_Section):
    """What `state.json` holds. What has a default is not in the files of older runs."""

    epoch: int
    lr: float
    plateau: _Waiting
    best: _Best
    history: int
    attempt: int = Field(1, ge=1)
    early_stop: _Waiting | None = None
    watch: Watch = Watch()
    go_back: int | None = Field(None, ge=1)
    stopped: _Stopped | None = None
    controls: dict[str, Any] = {}
    averaged: int = Field(0, ge=0)


def epoch_folder(run: Path, epoch: int) -> Path:
    """Where an epoch's model lies."""
    return run / EPOCHS / f"{epoch:03d}"


def save(state: State, run: Path, trained_on: dict[str, str]) -> None:
    """Write the epoch just finished, point `best`, and drop moments and epochs that nothing can go back to.

    Killed at any moment, the run goes on from the newest folder that has a manifest. Raises InputError (disk full, …).
    """
    folder = make_folder(epoch_folder(run, state.epoch))
    (folder / MANIFEST).unlink(missing_ok=True)  # one that asked to go back is written anew
    moments = {
        f"{kind}/{name}": tensor
        for name, parameter in state.named_parameters()
        for kind, tensor in state.optimiser.state[parameter].items()
    }
    trained = state.average.trained() if state.average else {}
    save_tensors(folder / OPTIMISER, moments | {f"{TRAINED}/{name}": tensor for name, tensor in trained.items()})
    if len(state.heads):
        save_tensors(folder / HEADS, state.heads.state_dict())
    write_json(folder / STATE, _saved(state).model_dump())
    names = (OPTIMISER, *([HEADS] if len(state.heads) else []), STATE)
    fields = {RESUME_HASHES: {name: hash_file(folder / name) for name in names}, "trained_on": trained_on}
    save_model(state.model, folder, made_by="segue train", epoch=state.epoch, recipe=state.recipe.name, **fields)
    point_best(run, state.best_epoch)
    wanted = _wanted_moments(state, run)
    for epoch in _epochs(run):
        if epoch > state.epoch:
            _remove(epoch_folder(run, epoch))
        elif epoch not in wanted:
            (epoch_folder(run, epoch) / OPTIMISER).unlink(missing_ok=True)


def _wanted_moments(state: State, run: Path) -> set[int]:
    """The newest two epochs, and those that a tripwire may roll back to.

    After a rollback to a named epoch the best is the one that was it then.
    """
    targets = {tripwire.do.roll_back_to for tripwire in state.watch.armed(state.recipe)}
    named = {target for target in targets if isinstance(target, int)} | ({state.go_back} if state.go_back else set())
    wanted = {*range(state.epoch - WITH_MOMENTS + 1, state.epoch + 1), *named}
    if "best" in targets:
        then = [
            _read_state(epoch_folder(run, epoch)).best.epoch for epoch in named if is_finished(epoch_folder(run, epoch))
        ]
        wanted |= {state.best_epoch, *then}
    return wanted


def _epochs(run: Path) -> list[int]:
    """Numbers of the epochs' folders, finished or not, ascending."""
    folders = (run / EPOCHS).glob("[0-9]*") if (run / EPOCHS).is_dir() else []
    return sorted(int(folder.name) for folder in folders if folder.name.isdigit())


def _remove(folder: Path) -> None:
    """Remove an epoch: its manifest first, so that half a folder is never taken for a whole one."""
    with explained(folder):
        (folder / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(folder)


def _saved(state: State) -> _Saved:
    patience, stopped = state.patience, state.stopped
    return _Saved(
        epoch=state.epoch,
        lr=state.lr,
        plateau=_Waiting(best=state.plateau.best, waited=state.plateau.waited),
        best=_Best(epoch=state.best_epoch, value=state.best_value),
        history=state.history,
        attempt=state.attempt,
        early_stop=_Waiting(best=patience.best, waited=patience.waited) if patience else None,
        watch=state.watch,
        go_back=state.go_back,
        stopped=_Stopped(tripwire=stopped.tripwire, verdict=stopped.verdict) if stopped else None,
        controls=state.objective.controls() if state.objective else {},
        averaged=state.average.steps if state.average else 0,
    )


def point_best(run: Path, epoch: int) -> None:
    """Make `best` a relative link to an epoch, in one step: a reader sees the old one or the new."""
    with explained(run / BEST):
        partial = run / f".{BEST}.partial"
        partial.unlink(missing_ok=True)
        partial.symlink_to(os.path.relpath(epoch_folder(run, epoch), run))
        partial.replace(run / BEST)


def newest(run: Path) -> int:
    """The last finished epoch of a run; 0 when there is none."""
    return max((epoch for epoch in _epochs(run) if is_finished(epoch_folder(run, epoch))), default=0)


@contextmanager
def _or_before(run: Path, epoch: int) -> Iterator[None]:
    """To what is refused about an epoch, add how to go on without it."""
    try:
        yield
    except InputError as error:
        before = max((e for e in _epochs(run) if e < epoch and is_finished(epoch_folder(run, e))), default=0)
        if epoch == 1:
            remedy = f"Or remove {epoch_folder(run, 1)} and resume: training begins anew."
        elif before and (epoch_folder(run, before) / OPTIMISER).is_file():
            remedy = f"Or remove {epoch_folder(run, epoch)} and resume: training goes on from epoch {before}."
        else:
            remedy = "No earlier epoch has kept its moments, so without it the run cannot be gone on with."
        raise InputError(f"{error} {remedy}") from None


def space_of(run: Path, epoch: int) -> Space:
    """The embedding space of an epoch's model. Raises InputError when its description is missing or damaged."""
    folder = epoch_folder(run, epoch)
    with _or_before(run, epoch):
        try:
            return Space.from_json(read_description(folder)["space"])
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{folder}: its model.yaml names no embedding space ({error}). {REMEDY}") from None


def _read_state(folder: Path) -> _Saved:
    path = folder / STATE
    try:
        found = _Saved.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "it"
        raise InputError(f"{path}: is not a training state: {key}: {first['msg']}. {REMEDY}") from None
    if found.epoch != int(folder.name):
        raise InputError(f"{path}: is of epoch {found.epoch}, its folder of {int(folder.name)}. {REMEDY}")
    return found


def restore(state: State, run: Path) -> None:
    """Bring a new state to the last finished epoch of a run, bit for bit; nothing where there is none.

    Unfinished later folders are removed. Raises InputError when a file of that epoch, or of the best epoch's model, is
    missing or not the one that was written.
    """
    epoch = newest(run)
    for later in _epochs(run):
        if later > epoch:
            _remove(epoch_folder(run, later))
    if not epoch:
        return
    with _or_before(run, epoch):
        saved = _load(state, run, epoch)
    state.history, state.attempt, state.watch, state.go_back = saved.history, saved.attempt, saved.watch, saved.go_back
    state.stopped = Stopped(saved.stopped.tripwire, saved.stopped.verdict) if saved.stopped else None
    if state.go_back is None:
        _point_best_of(state, run)
    roll_back(state, run)


def roll_back(state: State, run: Path) -> None:
    """Where a tripwire asked for it, bring the state to the epoch to go back to, as that was saved.

    History, attempts and what tripwires have done stay. Raises InputError as `restore` does.
    """
    if state.go_back is None:
        return
    left, epoch, state.go_back = state.epoch, state.go_back, None
    if not is_finished(epoch_folder(run, epoch)):
        raise InputError(f"{epoch_folder(run, epoch)}: missing or not whole, and a tripwire rolls back to it. {REMEDY}")
    _load(state, run, epoch)
    state.attempt, state.stopped = state.attempt + 1, None
    state.watch.forget_after(epoch)
    _point_best_of(state, run)
    for between in range(epoch + 1, left):
        if epoch_folder(run, between).is_dir():
            _remove(epoch_folder(run, between))


def _load(state: State, run: Path, epoch: int) -> _Saved:
    """Weights, moments, heads, controllers, rate, counters and best of a saved epoch into a state."""
    folder = epoch_folder(run, epoch)
    verify(folder)
    verify(folder, RESUME_HASHES)
    saved = _read_state(folder)
    device = next(state.model.parameters()).device
    load_weights(state.model, folder / WEIGHTS)
    if len(state.heads):
        _load_heads(state, folder)
    moments = load_tensors(folder / OPTIMISER, device)
    for name, parameter in state.named_parameters():
        its = {kind: moments.get(f"{kind}/{name}") for kind in ("step", "exp_avg", "exp_avg_sq")}
        missing = [kind for kind, tensor in its.items() if tensor is None]
        if len(missing) == len(its) and name.startswith("heads."):
            state.optimiser.state.pop(parameter, None)  # of a term that had no weight yet
        elif missing:
            raise InputError(f"{folder / OPTIMISER}: lacks the moments '{missing[0]}/{name}'. {REMEDY}")
        else:
            state.optimiser.state[parameter] = its
    if state.average is not None:
        _restore_average(state.average, moments, saved.averaged, folder)
    if state.objective is not None:
        state.objective.restore(saved.controls)
    state.epoch, state.lr = epoch, saved.lr
    state.plateau.best, state.plateau.waited = saved.plateau.best, saved.plateau.waited
    if state.patience is not None and saved.early_stop is not None:
        state.patience.best, state.patience.waited = saved.early_stop.best, saved.early_stop.waited
    state.best_epoch, state.best_value = saved.best.epoch, saved.best.value
    return saved


def _restore_average(average: Averaged, saved: Mapping[str, Tensor], steps: int, folder: Path) -> None:
    own = {name.removeprefix(f"{TRAINED}/"): its for name, its in saved.items() if name.startswith(f"{TRAINED}/")}
    try:
        average.restore(own, steps)
    except KeyError as error:
        raise InputError(f"{folder / OPTIMISER}: lacks the weights that {error} is the average of. {REMEDY}") from None


def _load_heads(state: State, folder: Path) -> None:
    found = load_tensors(folder / HEADS)
    wanted = state.heads.state_dict()
    if {name: tensor.shape for name, tensor in found.items()} != {name: its.shape for name, its in wanted.items()}:
        raise InputError(f"{folder / HEADS}: does not hold what the recipe's terms train of their own. {REMEDY}")
    state.heads.load_state_dict(found)


def _point_best_of(state: State, run: Path) -> None:
    """Point `best`, once its model is known to be whole: found out now, not by the test at the end."""
    best = epoch_folder(run, state.best_epoch)
    if state.best_epoch != state.epoch:
        if not is_finished(best):
            raise InputError(f"{best}: the best epoch's model is missing or not whole. {REMEDY}")
        verify(best)
    point_best(run, state.best_epoch)
