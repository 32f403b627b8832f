"""What a run writes down.

RUN/history.jsonl   one object an epoch
RUN/steps.jsonl     one object every 200 steps: each term's value, weight and pull; `line`: its epoch's line of history
RUN/events/         TensorBoard, where it is installed
"""

import importlib.util
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from segue.artifacts import explained, write_atomic
from segue.errors import InputError
from segue.objectives import Step, gradient_ratios
from segue.training.state import State

HISTORY, STEPS, EVENTS = "history.jsonl", "steps.jsonl", "events"
EVERY = 200  # steps between two of `steps.jsonl`: gradients of each term apart cost a backward pass a term
MEND = "Put the file back as it was, or train again with another --out."
Entry = dict[str, Any]


def read_history(run: str | Path) -> list[Entry]:
    """The epochs of a run so far, in the order they ran. Raises InputError when there are none."""
    path = Path(run) / HISTORY
    if not path.is_file():
        raise InputError(f"{path}: no such file, so {run} is not a run that has begun. Check the path.")
    return [_entry(path, number, line) for number, line in enumerate(path.read_bytes().splitlines(), start=1)]


def _entry(path: Path, number: int, line: bytes) -> Entry:
    """An epoch's line. Raises InputError when it is not one."""
    try:
        found = json.loads(line)
        kinds = (("epoch", int), ("seconds", int | float), ("train", dict), ("val", dict), ("events", list))
        wrong = [key for key, kind in kinds if not isinstance(found[key], kind)]
        said = f"{wrong[0]} is {found[wrong[0]]!r}" if wrong else ""
    except KeyError as error:
        said = f"it has no {error}"
    except (ValueError, TypeError) as error:
        said = str(error)
    if said:
        raise InputError(f"{path}: line {number} is not an epoch's ({said}). {MEND}")
    return found


def _line_of(line: bytes) -> float:
    """Which line of the history a line of `steps.jsonl` belongs to; none, for one cut by a kill."""
    try:
        return int(json.loads(line)["line"])
    except (ValueError, TypeError, KeyError):
        return math.inf


def _write_lines(path: Path, lines: list[bytes]) -> None:
    with write_atomic(path) as file:
        file.write(b"".join(lines))


def _append(path: Path, entry: Entry) -> None:
    """Add a line and see it onto the disk."""
    with explained(path), path.open("ab") as file:
        file.write((json.dumps(entry, ensure_ascii=False, allow_nan=False) + "\n").encode())
        file.flush()
        os.fsync(file.fileno())


class RunLog:
    """Collects the steps of an epoch and writes its line. A context: events are flushed when it closes.

    `listen` is handed each entry as it is written.
    """

    def __init__(self, run: Path, state: State, listen: Callable[[Entry], None] = lambda entry: None):
        self._path, self._steps_path, self._state, self._listen = run / HISTORY, run / STEPS, state, listen
        self._keep(state.history)
        self._events = _event_writer(run / EVENTS, state.history + 1)
        self._begin()

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._events is not None:
            self._events.close()

    def _keep(self, lines: int) -> None:
        """Cut what is written to the epochs that the checkpoint knows of: one killed after its line runs again.

        Raises InputError when there are fewer, or one is damaged.
        """
        found = self._path.read_bytes().splitlines(keepends=True) if self._path.exists() else []
        if len(found) < lines:
            raise InputError(f"{self._path}: has {len(found)} of the {lines} lines that the run has written. {MEND}")
        for number, line in enumerate(found[:lines], start=1):
            _entry(self._path, number, line)
        if len(found) != lines or not self._path.exists():
            _write_lines(self._path, found[:lines])
        steps = self._steps_path.read_bytes().splitlines(keepends=True) if self._steps_path.exists() else []
        kept = [line for line in steps if _line_of(line) <= lines]
        if len(kept) != len(steps):
            _write_lines(self._steps_path, kept)

    def _begin(self) -> None:
        self._sums: dict[tuple[str, str], float] = {}
        self._seen: dict[tuple[str, str], int] = {}
        self._skipped: dict[str, int] = {}
        self._steps, self._windows, self._began = 0, 0, time.perf_counter()

    def step(self, step: Step) -> None:
        """Take in one step, before its backward pass: every 200th its gradients are compared."""
        made, windows = step.made, len(step.made.batch)
        tensors = [step.total, made.squared_error_B.mean(), made.cos_target_B.mean(), made.gap_B.mean()]
        told = torch.stack([*tensors, *step.values.values()]).tolist()
        (loss, mse, cos, gap), values = told[:4], dict(zip(step.values, told[4:], strict=True))
        if not all(map(math.isfinite, told)):
            return  # the update that follows refuses it
        self._add("", {"loss": loss, "cos": cos, "gap": gap}, windows)
        terms: dict[str, dict[str, float | None]] = {
            name: {
                "value": value,
                "weight": step.weights[name],
                "rho": step.weights[name] * value / mse if mse else None,
            }
            for name, value in values.items()
        }
        due = self._steps % EVERY == 0
        for name, ratio in (gradient_ratios(step) if due else {}).items():
            terms[name]["gradient_ratio"] = ratio
        for name, its in terms.items():
            self._add(name, its, windows)
        for name in step.skipped:
            self._skipped[name] = self._skipped.get(name, 0) + 1
        self._steps, self._windows = self._steps + 1, self._windows + windows
        if due:
            figures = {"loss": loss, "mse": mse, "cos": cos, "gap": gap, "terms": terms, "skipped": list(step.skipped)}
            at = {"line": self._state.history + 1, "epoch": self._state.epoch, "step": self._steps}
            _append(self._steps_path, {**at, **figures})

    def _add(self, name: str, figures: Mapping[str, float | None], windows: int) -> None:
        """Into the epoch's means, each weighted by its windows."""
        for key, value in figures.items():
            if value is not None:
                self._sums[name, key] = self._sums.get((name, key), 0.0) + value * windows
                self._seen[name, key] = self._seen.get((name, key), 0) + windows

    def _mean(self, name: str, key: str) -> float | None:
        return self._sums[name, key] / self._seen[name, key] if (name, key) in self._sums else None

    def _terms(self) -> dict[str, dict[str, float | int | None]]:
        """Each term's means over the epoch; null for one of weight 0, which was not computed."""
        return {
            name: {
                "value": self._mean(name, "value"),
                "weight": self._mean(name, "weight") or 0.0,
                "rho": self._mean(name, "rho"),
                "gradient_ratio": self._mean(name, "gradient_ratio"),
                "skipped": self._skipped.get(name, 0),
            }
            for name in self._state.recipe.objective
        }

    def trained(self) -> None:
        """The steps of the epoch are done: what follows is not counted into windows per second."""
        self._train_seconds = time.perf_counter() - self._began

    def epoch(self, val: Mapping[str, float | None], lr: float) -> None:
        """Write the epoch's line. `lr` is the one it ran with."""
        entry: Entry = {
            "epoch": self._state.epoch,
            "attempt": self._state.attempt,  # one more after each rollback
            "train": {key: self._mean("", key) for key in ("loss", "cos", "gap")} | {"terms": self._terms()},
            "val": dict(val),
            "lr": lr,
            "steps": self._steps,
            "seconds": round(time.perf_counter() - self._began, 3),
            "windows_per_second": round(self._windows / self._train_seconds, 1),
            "events": list(self._state.events),
        }
        _append(self._path, entry)
        self._state.history += 1
        self._record(entry)
        self._listen(entry)
        self._begin()

    def _record(self, entry: Entry) -> None:
        if self._events is None:
            return
        terms = {
            f"terms/{name}/{key}": value for name, its in entry["train"]["terms"].items() for key, value in its.items()
        }
        scalars = {
            "train/loss": entry["train"]["loss"],
            "train/cos": entry["train"]["cos"],
            "train/gap": entry["train"]["gap"],
            **terms,
            **{f"val/{name}": value for name, value in entry["val"].items()},
            "epoch": entry["epoch"],
            "lr": entry["lr"],
            "windows_per_second": entry["windows_per_second"],
        }
        # At its line of the history, the epoch until one runs again: two values at one step would be drawn as a knot.
        for name, value in scalars.items():
            if value is not None:
                self._events.add_scalar(name, value, self._state.history)
        self._events.flush()


def _event_writer(folder: Path, first_line: int) -> Any | None:
    """A TensorBoard writer, or None where it is not installed. Events of lines that are written again are purged."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    with explained(folder):
        return SummaryWriter(str(folder), purge_step=first_line if first_line > 1 else None)
