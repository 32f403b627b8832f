"""The runs under a folder. A request names a run; only what was found here is ever opened.

A run is a folder with a `recipe.yaml`, in the folder itself or one level further down.
"""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from segue.artifacts import MANIFEST, is_held
from segue.errors import InputError
from segue.report.compare import Row, compare
from segue.report.run import FIVE_CAT, HISTORY, RECIPE, read_begun, result
from segue.report.standing import DIVERGED, STEPS
from segue.report.verdict import verdict
from segue.report.watch import View, duration, view
from segue.serving.refusals import Refusal

FRONTIER = "frontier.json"
FILES = (RECIPE, HISTORY, STEPS, MANIFEST, FIVE_CAT, FRONTIER, DIVERGED)
WORKED = (HISTORY, STEPS, RECIPE)  # what training writes: when it last did is how new a run is
AGAIN = 15.0  # seconds after which the time left of a run in training is said anew though no file changed
PART = "VAL"
Mark = tuple[object, ...]
T = TypeVar("T")


@dataclass(frozen=True)
class Card:
    """A run in a list. `row`, `view`: as `segue compare` and `segue watch` have it; absent where `problem` says why.

    when      seconds since 1970, of the last work on it
    curve     VAL cos by epoch
    tone      of the verdict: good, bad, open; empty where it was not tested
    """

    name: str
    when: float
    problem: str = ""
    row: Row | None = None
    view: View | None = None
    curve: tuple[float | None, ...] = ()
    headline: str = ""
    tone: str = ""

    @property
    def state(self) -> str:
        return self.view.standing.state if self.view else "damaged"

    @property
    def more(self) -> str:
        """What there is to say besides the state: `epoch 3 of 20 · about 5 min left`."""
        if self.view is None:
            return ""
        said = self.view.standing.said.removeprefix(self.state).lstrip(", ")
        left = self.view.seconds
        return f"{said} · {duration(left)} left" if left is not None else said

    @property
    def live(self) -> bool:
        return self.state in ("training", "testing")


class Runs:
    """`folders` lists them anew at each call; `card` remembers what it made until a file of the run changes."""

    def __init__(self, folder: str | Path):
        self.root = Path(folder)
        if not self.root.is_dir():
            raise InputError(f"--runs {folder}: no such folder. Give the one your runs lie in.")
        self._cards: dict[str, tuple[Mark, Card]] = {}
        self._lock = threading.Lock()

    def folders(self) -> dict[str, Path]:
        """Name → folder. A run one level down is `GROUP/NAME`."""
        if _is_run(self.root):
            return {self.root.resolve().name: self.root}
        found: dict[str, Path] = {}
        for path in _inside(self.root):
            if _is_run(path):
                found[path.name] = path
            else:
                found |= {f"{path.name}/{inner.name}": inner for inner in _inside(path) if _is_run(inner)}
        return found

    def folder(self, name: str) -> Path:
        """Raises Refusal 404 for a name that is not in the listing."""
        found = self.folders().get(name)
        if found is None:
            raise Refusal(404, "no such run in this folder; / lists those there are.", code="unknown_run")
        return found

    def cards(self) -> list[Card]:
        """In training first, then the newest."""
        made = [self.card(name, folder) for name, folder in self.folders().items()]
        return sorted(made, key=lambda card: (not card.live, -card.when))

    def card(self, name: str, folder: Path) -> Card:
        mark = mark_of(folder)
        with self._lock:
            known = self._cards.get(name)
        if known and known[0] == mark:
            return known[1]
        card = _card(name, folder)
        with self._lock:
            self._cards[name] = (mark, card)
        return card


class Kept:
    """What was made of some runs, until a file of one changes: `kept.of(key, folders, make)`. A few at a time."""

    def __init__(self, most: int = 16):
        self._most, self._found = most, dict[object, tuple[Mark, object]]()
        self._lock = threading.Lock()

    def of(self, key: object, folders: list[Path], make: Callable[[], T]) -> T:
        mark = tuple(mark_of(folder) for folder in folders)
        with self._lock:
            known = self._found.pop(key, None)
            if known and known[0] == mark:
                self._found[key] = known
                return known[1]  # type: ignore[return-value]
        made = make()
        with self._lock:
            self._found[key] = (mark, made)
            while len(self._found) > self._most:
                del self._found[next(iter(self._found))]
        return made


def mark_of(folder: Path) -> Mark:
    """Differs when a file of the run has changed, or its being trained."""
    held = is_held(folder)
    found = [_stat(folder / name) for name in FILES]
    files = tuple((stat.st_mtime_ns, stat.st_size) if stat else None for stat in found)
    best = folder / "best"
    return (*files, str(best.readlink()) if best.is_symlink() else "", held, time.time() // AGAIN if held else 0)


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.is_dir())
    except PermissionError:
        return []


def _is_run(folder: Path) -> bool:
    return (folder / RECIPE).is_file()


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _worked(folder: Path) -> float:
    return max((stat.st_mtime for name in WORKED if (stat := _stat(folder / name))), default=0.0)


def _card(name: str, folder: Path) -> Card:
    when = _worked(folder)
    try:
        seen, run = view(folder, time.time()), read_begun(folder)
        rows = compare([folder], parts=(PART,), labels=[name]).groups[0].tables.get(PART) or []
    except InputError as error:
        return Card(name, when, problem=str(error).replace(str(folder), name))
    judged = verdict(run) if run.splits else None
    return Card(
        name=name,
        when=when,
        row=next((row for row in rows if row.kind == "run"), None),
        view=seen,
        curve=tuple(result(entry, "val.cos").value for entry in run.history),
        headline=judged.headline if judged else "",
        tone=judged.tone if judged else "",
    )
