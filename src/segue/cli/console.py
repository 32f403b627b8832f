"""What the command line says and where: results on stdout, progress, warnings and errors on stderr."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from segue.artifacts import write_json
from segue.progress import Progress

out = Console(soft_wrap=False)
err = Console(stderr=True)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        unit = task.fields.get("unit", "")
        return Text(f"{task.speed:,.0f} {unit}/s" if task.speed and unit else "", style="dim")


@contextmanager
def progress() -> Iterator[Progress]:
    """Progress bars on stderr, one for each `what`; plain lines every so often where stderr is no terminal."""
    bars = Bars(
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=err,
        disable=not err.is_terminal,
    )
    tasks: dict[str, Any] = {}
    told: dict[str, int] = {}

    def report(what: str, done: int, total: int, unit: str = "") -> None:
        if what not in tasks:
            tasks[what] = bars.add_task(what, total=total or None, unit=unit)
        bars.update(tasks[what], completed=done, total=total or None)
        tenth = 10 * done // total if total else 0
        if not err.is_terminal and total and tenth > told.get(what, 0):
            told[what] = tenth
            err.print(f"{what}: {done:,} of {total:,} {unit}".rstrip(), highlight=False)

    with bars:
        yield report


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        style = "yellow" if record.levelno >= logging.WARNING else "dim"
        mark = "warning: " if record.levelno >= logging.WARNING else ""
        err.print(Text(f"{mark}{record.getMessage()}", style=style), soft_wrap=True)


def listen_to_log() -> None:
    """Show the package's log records on stderr: warnings as `warning: …`, the rest dimmed.

    Called once, before anything is said: what the terminal's encoding lacks (· … × in ASCII) comes out as `?`.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    log = logging.getLogger("segue")
    log.handlers = [_Lines()]
    log.setLevel(logging.INFO)
    log.propagate = False


def show(table: RenderableType, value: Any, json_to: str | None) -> None:
    """A table for people; with `--json FILE` the value for machines, `-` for stdout and then no table."""
    if json_to == "-":
        escaped = not (sys.stdout.encoding or "").lower().startswith("utf")  # a machine must not read `?` for é
        sys.stdout.write(json.dumps(value, indent=1, ensure_ascii=escaped, allow_nan=False) + "\n")
        return
    out.print(table)
    if json_to:
        write_json(Path(json_to), value)
