"""Checkpoints: each epoch's folder is a model folder, and the newest can be gone on from.

    RUN/epochs/003/                        weights.safetensors, model.yaml; manifest.json, the last file written,
                                           with the hashes of all four and of what the model was trained on
    RUN/epochs/003/optimiser.safetensors   AdamW's moments by parameter
    RUN/epochs/003/state.json              epoch, lr, plateau, best, lines of history
    RUN/best → epochs/002                  relative, replaced atomically

The moments are twice the size of the weights, so only the newest two epochs keep them: where the newest is damaged,
the one before can be gone on from.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from segue.artifacts import explained, hash_file, is_finished, make_folder, read_json, write_json
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
from segue.training.state import State
from segue.vectors import Space

EPOCHS, OPTIMISER, STATE = "epochs", "optimiser.safetensors", "state.json"
# Field of an epoch's manifest. Not among its `hashes`: those are the model's, and outlive the moments.
RESUME_HASHES = "resume_hashes"
WITH_MOMENTS = 2  # newest epochs


class _Section(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class _Plateau(_Section):
    best: float | None
    waited: int


class _Best(_Section):
    epoch: int = Field(ge=1)
    value: float | None


class _Saved(_Section):
    """What `state.json` holds."""

    epoch: int
    lr: float
    plateau: _Plateau
    best: _Best
    history: int


def epoch_folder(run: Path, epoch: int) -> Path:
    """Where an epoch's model lies."""
    return run / EPOCHS / f"{epoch:03d}"


def save(state: State, run: Path, trained_on: dict[str, str]) -> None:
    """Write the epoch just finished, point `best`, and drop the moments of all but the newest two epochs.

    Killed at any moment, the run goes on from the newest folder that has a manifest. Raises InputError (disk full, …).
    """
    folder = make_folder(epoch_folder(run, state.epoch))
    moments = {
        f"{kind}/{name}": tensor
        for name, parameter in state.model.named_parameters()
        for kind, tensor in state.optimiser.state[parameter].items()
    }
    save_tensors(folder / OPTIMISER, moments)
    write_json(folder / STATE, _saved(state).model_dump())
    fields = {RESUME_HASHES: {name: hash_file(folder / name) for name in (OPTIMISER, STATE)}, "trained_on": trained_on}
    save_model(state.model, folder, made_by="segue train", epoch=state.epoch, recipe=state.recipe.name, **fields)
    point_best(run, state.best_epoch)
    for earlier in range(1, state.epoch - WITH_MOMENTS + 1):
        (epoch_folder(run, earlier) / OPTIMISER).unlink(missing_ok=True)


def _saved(state: State) -> _Saved:
    return _Saved(
        epoch=state.epoch,
        lr=state.lr,
        plateau=_Plateau(best=state.plateau.best, waited=state.plateau.waited),
        best=_Best(epoch=state.best_epoch, value=state.best_value),
        history=state.history,
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
    folders = (run / EPOCHS).glob("[0-9]*") if (run / EPOCHS).is_dir() else []
    return max((int(folder.name) for folder in folders if folder.name.isdigit() and is_finished(folder)), default=0)


@contextmanager
def _or_before(run: Path, epoch: int) -> Iterator[None]:
    """To what is refused about an epoch, add how to go on without it."""
    try:
        yield
    except InputError as error:
        if epoch == 1:
            remedy = f"Or remove {epoch_folder(run, 1)} and resume: training begins anew."
        elif (epoch_folder(run, epoch - 1) / OPTIMISER).is_file():
            remedy = f"Or remove {epoch_folder(run, epoch)} and resume: training goes on from epoch {epoch - 1}."
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
    for folder in (run / EPOCHS).glob("[0-9]*"):
        if folder.name.isdigit() and int(folder.name) > epoch:
            shutil.rmtree(folder)
    if not epoch:
        return
    folder = epoch_folder(run, epoch)
    with _or_before(run, epoch):
        verify(folder)
        verify(folder, RESUME_HASHES)
        saved = _read_state(folder)
        moments = load_tensors(folder / OPTIMISER, next(state.model.parameters()).device)
        load_weights(state.model, folder / WEIGHTS)
        try:
            for name, parameter in state.model.named_parameters():
                state.optimiser.state[parameter] = {
                    kind: moments[f"{kind}/{name}"] for kind in ("step", "exp_avg", "exp_avg_sq")
                }
        except KeyError as error:
            raise InputError(f"{folder / OPTIMISER}: lacks the moments {error}. {REMEDY}") from None
    best = epoch_folder(run, saved.best.epoch)
    if best != folder:  # found out now, not by the test at the end
        if not is_finished(best):
            raise InputError(f"{best}: the best epoch's model is missing or not whole. {REMEDY}")
        verify(best)
    state.epoch, state.lr, state.history = epoch, saved.lr, saved.history
    state.plateau.best, state.plateau.waited = saved.plateau.best, saved.plateau.waited
    state.best_epoch, state.best_value = saved.best.epoch, saved.best.value
    point_best(run, state.best_epoch)
