"""What a run writes down: `history.jsonl`, one object an epoch, and TensorBoard events where it is installed."""

import importlib.util
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import Tensor

from segue.artifacts import explained, write_atomic
from segue.errors import InputError
from segue.training.state import State

HISTORY, EVENTS = "history.jsonl", "events"
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


class RunLog:
    """Collects the steps of an epoch and writes its line. A context: events are flushed when it closes.

    `listen` is handed each entry as it is written.
    """

    def __init__(self, run: Path, state: State, listen: Callable[[Entry], None] = lambda entry: None):
        self._path, self._state, self._listen = run / HISTORY, state, listen
        self._keep(state.history)
        self._events = _event_writer(run / EVENTS, state.epoch + 1)
        self._begin()

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._events is not None:
            self._events.close()

    def _keep(self, lines: int) -> None:
        """Cut the history to the lines that the checkpoint knows of: an epoch killed after its line runs again.

        Raises InputError when there are fewer, or one is damaged.
        """
        found = self._path.read_bytes().splitlines(keepends=True) if self._path.exists() else []
        if len(found) < lines:
            raise InputError(f"{self._path}: has {len(found)} of the {lines} lines that the run has written. {MEND}")
        for number, line in enumerate(found[:lines], start=1):
            _entry(self._path, number, line)
        if len(found) != lines or not self._path.exists():
            with write_atomic(self._path) as file:
                file.write(b"".join(found[:lines]))

    def _begin(self) -> None:
        self._sums: dict[str, float] = {}
        self._seen: dict[str, int] = {}
        self._windows, self._began = 0, time.perf_counter()

    def step(self, step: Mapping[str, Tensor], windows: int) -> None:
        """One step's named scalars, weighted by its windows."""
        for name, value in step.items():
            self._sums[name] = self._sums.get(name, 0.0) + value.item() * windows
            self._seen[name] = self._seen.get(name, 0) + windows
        self._windows += windows

    def trained(self) -> None:
        """The steps of the epoch are done: what follows is not counted into windows per second."""
        self._train_seconds = time.perf_counter() - self._began

    def epoch(self, val: Mapping[str, float | None], weights: Mapping[str, float], lr: float) -> None:
        """Write the epoch's line. `weights` and `lr` are those it ran with."""
        means = {name: total / self._seen[name] for name, total in self._sums.items()}
        entry: Entry = {
            "epoch": self._state.epoch,
            "train": {
                "loss": means["total"],
                "cos": means["cos"],
                "terms": {
                    # The ratio to mse's gradient is null until it is computed: never a made-up 0.
                    name: {"value": means.get(name), "weight": weight, "gradient_ratio": None}
                    for name, weight in weights.items()
                },
            },
            "val": dict(val),
            "lr": lr,
            "seconds": round(time.perf_counter() - self._began, 3),
            "windows_per_second": round(self._windows / self._train_seconds, 1),
            "events": list(self._state.events),
        }
        with explained(self._path), self._path.open("ab") as file:
            file.write((json.dumps(entry, ensure_ascii=False, allow_nan=False) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())
        self._state.history += 1
        self._record(entry)
        self._listen(entry)
        self._begin()

    def _record(self, entry: Entry) -> None:
        if self._events is None:
            return
        terms = {f"train/{name}": term["value"] for name, term in entry["train"]["terms"].items()}
        scalars = {
            "train/loss": entry["train"]["loss"],
            "train/cos": entry["train"]["cos"],
            **terms,
            **{f"val/{name}": value for name, value in entry["val"].items()},
            "lr": entry["lr"],
            "windows_per_second": entry["windows_per_second"],
        }
        for name, value in scalars.items():
            if value is not None:
                self._events.add_scalar(name, value, entry["epoch"])
        self._events.flush()


def _event_writer(folder: Path, first_epoch: int) -> Any | None:
    """A TensorBoard writer, or None where it is not installed. Events of epochs that run again are purged."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    with explained(folder):
        return SummaryWriter(str(folder), purge_step=first_epoch if first_epoch > 1 else None)
