"""`segue watch`: a run in training, live."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from segue.cli.console import out, show
from segue.cli.options import Json
from segue.errors import InputError

if TYPE_CHECKING:
    from segue.report.watch import View

EVENTS = 5  # the last ones
FIXED = 16  # lines of a screen that the epochs cannot have


def watch(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run, in training or not.")],
    once: Annotated[bool, typer.Option("--once", help="Show the present state and end.")] = False,
    every: Annotated[float, typer.Option(metavar="SECONDS", help="How often to look.")] = 2.0,
    json: Json = None,
) -> None:
    """Follow a run until it has finished: epochs, curves, terms, tripwires, speed. Reads only; ends by Ctrl-C.

    In no terminal: a line an epoch as it comes. `--json` shows the present state. Exit status 1 when it diverged.
    """
    from segue.report.watch import view

    if every < 0.05:
        raise InputError(f"--every: found {every:g}, seconds from 0.05 are wanted.")
    seen = view(run, time.time())
    if once or json:
        show(_drawn(seen, rows=None), seen.to_json(), json)
    elif out.is_terminal:
        seen = _live(run, seen, every)
    else:
        seen = _plain(run, seen, every)
    if seen.standing.state == "diverged":
        raise typer.Exit(1)


def _live(run: Path, seen: "View", every: float) -> "View":
    """Drawn anew each time, in place."""
    from segue.report.watch import view

    with Live(_drawn(seen, _rows(seen)), console=out, auto_refresh=False) as live:
        while not seen.standing.is_over:
            time.sleep(every)
            seen = view(run, time.time())
            live.update(_drawn(seen, _rows(seen)), refresh=True)
    return seen


def _plain(run: Path, seen: "View", every: float) -> "View":
    """A line for each epoch and event, once, and for each change of where the run stands."""
    from segue.report.watch import view

    told_lines = told_events = 0
    told_standing = ""
    while True:
        for line in seen.lines[told_lines:]:
            _say(_line(line))
        for event in seen.events[told_events:]:
            _say(f"  {event}")
        told_lines, told_events = len(seen.lines), len(seen.events)
        if seen.standing.said != told_standing:
            told_standing = seen.standing.said
            _say(f"{seen.name}: {told_standing}")
        if seen.standing.is_over:
            return seen
        time.sleep(every)
        seen = view(run, time.time())


def _say(text: str) -> None:
    typer.echo(text)


def _line(line: list[str]) -> str:
    from segue.report.watch import COLUMNS

    return "  ".join(
        [f"epoch {line[0]}", *(f"{head} {cell}" for (head, _, _), cell in zip(COLUMNS, line[1:], strict=True))]
    )


def _rows(seen: "View") -> int:
    """How many epochs fit the screen."""
    return max(3, out.size.height - FIXED - len(seen.terms) - min(EVENTS, len(seen.events)))


def _drawn(seen: "View", rows: int | None) -> RenderableType:
    parts: list[RenderableType] = [_head(seen)]
    if seen.lines:
        parts += [_epochs(seen, rows), _curves(seen)]
    if seen.terms:
        parts.append(_terms(seen))
    if seen.events:
        parts += [Text("happened", style="bold"), *(Text(f"  {event}") for event in seen.events[-EVENTS:])]
    if seen.tripwires:
        tripped = f": {', '.join(seen.tripped)}" if seen.tripped else ""
        parts.append(Text(f"tripwires: {len(seen.tripped)} of {seen.tripwires} tripped{tripped}", style="dim"))
    return Group(*parts)


def _head(seen: "View") -> Text:
    from segue.report.watch import duration

    text = Text.assemble((seen.name, "bold"), f"  {seen.approach}\n")
    speed = f"{seen.speed:,.0f} windows/s" if seen.speed is not None else ""
    left = f"{duration(seen.seconds)} left" if seen.seconds is not None else ""
    skipped = f"skipped: {', '.join(seen.skipped)}" if seen.skipped else ""
    bad = seen.standing.state == "diverged"
    text.append(seen.standing.said, style="red" if bad else "green" if seen.standing.is_over else "cyan")
    text.append("".join(f" · {part}" for part in (seen.step, speed, left, skipped) if part))
    if seen.why:
        text.append(f"\n{seen.why}", style="red")
    return text


def _table() -> Table:
    return Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)


def _epochs(seen: "View", rows: int | None) -> Table:
    from segue.report.watch import COLUMNS

    table = _table()
    table.add_column("epoch", no_wrap=True)
    for head, _, _ in COLUMNS:
        table.add_column(head.replace("_", "_\n").replace(" ", "\n"), justify="right", no_wrap=True)
    lines = seen.lines if rows is None else seen.lines[-rows:]
    for line in lines:
        best = line[0] == seen.best
        table.add_row(line[0] + (" best" if best else ""), *line[1:], style="bold" if best else "")
    return table


def _curves(seen: "View") -> Table:
    table = Table.grid(padding=(0, 1))
    for one in seen.curves:
        table.add_row(one.label, Text(one.first, style="dim"), Text(one.bars[-60:], style="cyan"), one.last)
    return table


def _terms(seen: "View") -> Table:
    from segue.report.watch import TERM

    table = _table()
    table.add_column("term")
    for head, _ in TERM:
        table.add_column({"gradient_ratio": "gradient, to mse's", "rho": "ρ"}.get(head, head), justify="right")
    for name, cells in seen.terms.items():
        table.add_row(Text(name), *cells)
    return table
