"""`segue split`: which documents train, validate, stand for another distribution."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from segue.artifacts import refuse_unwritable
from segue.cli.console import show
from segue.cli.options import Json, StorePath
from segue.errors import InputError

if TYPE_CHECKING:
    from segue.vectors import Store
    from segue.windows import Split

DEFAULT = ".8,.1,.1"  # DESIGN
LONG = 300  # characters


def split(
    store: StorePath,
    out: Annotated[Path, typer.Option(help="The split file to write.")],
    train: Annotated[str, typer.Option(help="Document numbers in store order, from 0: 0-699,900-2099.")] = "",
    val: Annotated[str, typer.Option(help="Document numbers of VAL.")] = "",
    ood: Annotated[str, typer.Option(help="Document numbers of OOD.")] = "",
    fractions: Annotated[
        str | None, typer.Option(help="Shares of train, VAL, OOD, in place of ranges; default: .8,.1,.1.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Shuffle documents before cutting; default: store order.")] = None,
    json: Json = None,
) -> None:
    """Cut a store's documents into train, VAL and OOD, by ranges or by fractions, into a file frozen by hash."""
    from segue.vectors import Store
    from segue.windows import save_split, split_by_fractions, split_by_ranges

    if train or val or ood:
        for option, given in (("--fractions", fractions), ("--seed", seed)):
            if given is not None:
                raise InputError(
                    f"{option}: found {given} beside ranges of documents (--train, --val, --ood), which choose the "
                    f"documents already. Drop {option}, or drop the ranges."
                )
        if not (train and val):
            raise InputError("segue split: ranges need --train and --val (and --ood for an OOD part). Give both.")
    refuse_unwritable(out)
    opened = Store(store)
    if train:
        made = split_by_ranges(opened, train=train, val=val, ood=ood)
    else:
        made = split_by_fractions(opened, parse_fractions(fractions or DEFAULT), seed)
    save_split(made, out, opened)
    table = Table()
    for column in ("part", "documents"):
        table.add_column(column)
    counts = {part: len(getattr(made, part)) for part in ("train", "VAL", "OOD")}
    for part, count in counts.items():
        table.add_row(part, f"{count:,}")
    how = made.how if len(made.how) <= LONG else f"{made.how[:LONG]}…"  # documents chosen one by one would fill pages
    title = Text(f"{out}: {how}", style="table.title", overflow="fold")  # a table's own is as narrow as the table
    show(Group(title, table), {"split": str(out), "how": made.how, "hash": made.hash, "documents": counts}, json)


def parse_fractions(text: str) -> list[float]:
    """`.8,.1,.1` → numbers. Raises InputError."""
    try:
        return [float(piece) for piece in text.split(",")]
    except ValueError:
        raise InputError(f"--fractions: found {text!r}, three numbers that sum to 1 are wanted, as .8,.1,.1.") from None


def chosen_split(store: "Store", path: Path | None) -> "Split":
    """The split file's split; without one 80/10/10 in store order (DESIGN)."""
    from segue.windows import load_split, split_by_fractions

    return load_split(path) if path else split_by_fractions(store)
