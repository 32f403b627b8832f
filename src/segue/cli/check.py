"""`segue check`: is there something to learn in a store."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.table import Table

from segue.cli.console import progress, show
from segue.cli.options import Device, Json, StorePath, Threads, pick_device
from segue.errors import InputError

if TYPE_CHECKING:
    from segue.statistics import Result


def check(
    store: StorePath,
    context: Annotated[int, typer.Option(help="Context chunks C.")] = 5,
    horizon: Annotated[int, typer.Option(help="Offset h of the target; 1 is the next chunk.")] = 1,
    split: Annotated[Path | None, typer.Option(help="Check only the documents of a split.")] = None,
    device: Device = "auto",
    threads: Threads = None,
    json: Json = None,
) -> None:
    """Check a store's coherence, temporal signal, monotone slots, near-duplicates and padding; print its lag curve.

    Exit status 1 when a check fails.
    """
    import numpy as np

    from segue.vectors import Store
    from segue.windows import load_split, windows_of
    from segue.windows.checks import check_windows

    if context < 2 or horizon < 1:
        raise InputError(f"--context {context} --horizon {horizon}: at least 2 and 1 are wanted.")
    opened = Store(store)
    if split:
        frozen = load_split(split)
        documents = np.concatenate([frozen.documents(opened, part) for part in ("train", "VAL", "OOD")])
    else:
        documents = np.arange(opened.n_documents)
    windows = windows_of(opened, documents, context, horizon)
    if not len(windows):
        raise InputError(
            f"{store}: no document has {context + horizon} chunks in a row, so there is no window to check. "
            f"Chunk more finely, or use longer documents."
        )
    with progress() as report:
        checked = check_windows(windows, pick_device(device, threads), report)

    table = Table(
        title=f"{store}: {checked.windows:,} windows of {checked.documents:,} documents", title_justify="left"
    )
    for column in ("check", "found", "95 % interval", "wanted", ""):
        table.add_column(column)
    for one in checked.checks:
        verdict = "[red]fails[/]" if not one.passed else "[green]good[/]" if one.good else "[green]passes[/]"
        table.add_row(one.name, _value(one.found), _interval(one.found), one.wanted, verdict)
    curve = Table(title="lag curve: mean cos(x_t, x_t+k)", title_justify="left")
    for lag in range(1, len(checked.lags) + 1):
        curve.add_column(str(lag), justify="right")
    curve.add_row(*(_value(result) for result in checked.lags))
    slots = Table(title="cos(slot, next), oldest to last", title_justify="left")
    for offset in range(1 - context, 1):
        slots.add_column(str(offset), justify="right")
    slots.add_row(*(_value(result) for result in checked.slots))
    show(Group(table, slots, curve), {"store": str(store), **checked.to_json()}, json)
    if not checked.passed:
        raise typer.Exit(1)


def _value(result: "Result") -> str:
    if result.value is None:
        return "–"
    return f"{result.value:.4f}" if isinstance(result.value, float) else str(result.value)


def _interval(result: "Result") -> str:
    return "–" if result.low is None else f"{result.low:.4f} … {result.high:.4f}"
