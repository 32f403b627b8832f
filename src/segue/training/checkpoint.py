"""Checkpoints: each epoch's folder is a model folder, and the newest can be gone on from.

    RUN/epochs/003/                        weights.safetensors, model.yaml; manifest.json, the last file written
    RUN/epochs/003/optimiser.safetensors   AdamW's moments by parameter
    RUN/epochs/003/state.json              epoch, lr, plateau, best, lines of history
    RUN/best → epochs/002                  relative, replaced atomically

The moments are twice the size of the weights, so only the newest epoch keeps them.
"""

import os
import shutil
from pathlib import Path
from typing import Any

from segue.artifacts import explained, is_finished, make_folder, read_json, write_json
from segue.errors import InputError
from segue.models.saved import BEST, WEIGHTS, load_tensors, load_weights, save_model, save_tensors
from segue.training.state import State

EPOCHS, OPTIMISER, STATE = "epochs", "optimiser.safetensors", "state.json"


def epoch_folder(run: Path, epoch: int) -> Path:
    """Where an epoch's model lies."""
    return run / EPOCHS / f"{epoch:03d}"


def save(state: State, run: Path) -> None:
    """Write the epoch just finished, point `best`, and drop the moments of the epochs before.

    Killed at any moment, the run goes on from the newest folder that has a manifest. Raises InputError (disk full, …).
    """
    folder = make_folder(epoch_folder(run, state.epoch))
    moments = {
        f"{kind}/{name}": tensor
        for name, parameter in state.model.named_parameters()
        for kind, tensor in state.optimiser.state[parameter].items()
    }
    save_tensors(folder / OPTIMISER, moments)
    write_json(folder / STATE, _to_json(state))
    save_model(state.model, folder, made_by="segue train", epoch=state.epoch, recipe=state.recipe.name)
    point_best(run, state.best_epoch)
    for earlier in range(1, state.epoch):
        (epoch_folder(run, earlier) / OPTIMISER).unlink(missing_ok=True)


def _to_json(state: State) -> dict[str, Any]:
    return {
        "epoch": state.epoch,
        "lr": state.lr,
        "plateau": {"best": state.plateau.best, "waited": state.plateau.waited},
        "best": {"epoch": state.best_epoch, "value": state.best_value},
        "history": state.history,
    }


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


def restore(state: State, run: Path) -> None:
    """Bring a new state to the last finished epoch of a run, bit for bit; nothing where there is none.

    Unfinished later folders are removed. Raises InputError when a file is missing or damaged.
    """
    epoch = newest(run)
    for folder in (run / EPOCHS).glob("[0-9]*"):
        if folder.name.isdigit() and int(folder.name) > epoch:
            shutil.rmtree(folder)
    if not epoch:
        return
    folder = epoch_folder(run, epoch)
    device = next(state.model.parameters()).device
    load_weights(state.model, folder / WEIGHTS)
    moments = load_tensors(folder / OPTIMISER, device)
    saved = read_json(folder / STATE)
    try:
        for name, parameter in state.model.named_parameters():
            state.optimiser.state[parameter] = {
                kind: moments[f"{kind}/{name}"] for kind in ("step", "exp_avg", "exp_avg_sq")
            }
        state.epoch, state.lr, state.history = saved["epoch"], saved["lr"], saved["history"]
        state.plateau.best, state.plateau.waited = saved["plateau"]["best"], saved["plateau"]["waited"]
        state.best_epoch, state.best_value = saved["best"]["epoch"], saved["best"]["value"]
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{folder}: lacks {error} of the training state, so training cannot go on from it. "
            f"Remove the folder to go on from the epoch before, or train again."
        ) from None
    point_best(run, state.best_epoch)
