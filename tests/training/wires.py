"""Tripwires as recipes write them, and runs that end in the middle of an epoch."""

from pathlib import Path

import pytest

from segue.training import open_data, open_run, train
from segue.windows import split_by_fractions

ALWAYS = "metric: cos, above: -2"
NEVER = "metric: cos, above: 2"
TERMS = (
    "objective.next_vs_prev={weight: {1: 0, 2: 0.1}, hidden: 8}",
    "objective.directional={weight: {rho: 0.2, least: 1e-4, most: 0.05}, margin: 0.05}",
    "context_drop=0.1",
)


def wire(when: str, do: str, name: str = "wire") -> str:
    return f"{{name: {name}, when: {{{when}}}, do: {{{do}}}}}"


def wired(*wires: str) -> str:
    return f"tripwires=[{', '.join(wires)}]"


class Killed(Exception):  # noqa: N818
    pass


def killed(recipe, store, run: Path, when) -> Path:
    """A run that ends where `when(attempt and epoch so far, windows)` says so, in the middle of an epoch."""
    split = split_by_fractions(store)
    lines: list[dict] = []

    def progress(what, done, total, unit=""):
        if when(lines):
            raise Killed

    with pytest.raises(Killed):
        train(recipe, open_data(recipe, store, split), open_run(run, recipe, store, split), progress, lines.append)
    return run
