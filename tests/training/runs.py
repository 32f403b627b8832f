"""Small real training: stores of a world that can be learnt, a recipe that trains in a second, and the command line."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segue.alignment.worlds import rotation_world
from segue.cli import main
from segue.recipe import Recipe, resolve
from segue.training import finish_run, open_data, open_run, train
from segue.vectors import Store
from segue.windows import split_by_fractions

DIM, DOCUMENTS, LENGTH = 16, 24, 30
SMALL = ("model={family: transformer, width: 16, layers: 1, heads: 2, feed_forward: 16}", "epochs=3", "batch=32")
# What differs between equal runs.
CLOCK = ("seconds", "windows_per_second")


def world(documents: int = DOCUMENTS, seed: int = 1, dim: int = DIM, noise: float = 1.5) -> list[np.ndarray]:
    return rotation_world(documents, LENGTH, dim, seed=seed, noise=noise)


def small_recipe(*sets: str, name: str = "p1") -> Recipe:
    return resolve(name, (*SMALL, *sets))


def run_here(recipe: Recipe, store: Store, out: Path, *, resume: bool = False, finish: bool = True) -> Path:
    """What `segue train` does before its 5CAT, on the CPU."""
    split = split_by_fractions(store)
    run = open_run(out, recipe, store, split, resume=resume)
    state = train(recipe, open_data(recipe, store, split), run)
    if finish:
        finish_run(run, state, store, split)
    return run


class _Cut(Exception):  # noqa: N818
    """Raised inside a training run in place of a kill."""


def cut_short(recipe: Recipe, store: Store, out: Path, *, epoch: int) -> Path:
    """A run that ended after an epoch's line of the history and before its checkpoint: the worst place."""

    def cut(entry: dict[str, Any]) -> None:
        if entry["epoch"] == epoch:
            raise _Cut

    split = split_by_fractions(store)
    run = open_run(out, recipe, store, split)
    with pytest.raises(_Cut):
        train(recipe, open_data(recipe, store, split), run, listen=cut)
    return run


def history(run: Path) -> list[dict]:
    """The history without the clock."""
    entries = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    return [{key: value for key, value in entry.items() if key not in CLOCK} for entry in entries]


def weights(run: Path, epoch: int) -> bytes:
    return (run / "epochs" / f"{epoch:03d}" / "weights.safetensors").read_bytes()


def segue(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run the command line in this process; its exit status."""
    monkeypatch.setattr(sys, "argv", ["segue", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)
