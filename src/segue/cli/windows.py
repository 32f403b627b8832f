"""`segue windows`: which windows a predictor is judged on, for who predicts elsewhere."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from segue.artifacts import write_atomic
from segue.cli.console import show
from segue.cli.options import Json, Seed
from segue.cli.split import chosen_split
from segue.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".jsonl", ".parquet")
PART = {"VAL": ["VAL"], "OOD": ["OOD"], "both": ["VAL", "OOD"]}


def windows(
    data: Annotated[Path, typer.Option(help="The store.")],
    out: Annotated[Path, typer.Option(help="The list to write: FILE.jsonl or FILE.parquet.")],
    ood: Annotated[Path | None, typer.Option(help="A store all of whose documents are OOD.")] = None,
    split: Annotated[Path | None, typer.Option(help="A split file; default: 80/10/10 in store order.")] = None,
    part: Annotated[str, typer.Option(help="VAL, OOD or both.")] = "both",
    context: Annotated[int, typer.Option(help="Context chunks C.")] = 5,
    horizon: Annotated[int, typer.Option(help="Offset h of the target; 1 is the next chunk.")] = 1,
    samples: Annotated[int, typer.Option(help="Windows of each part, drawn over all documents.")] = 5000,
    seed: Seed = 0,
    json: Json = None,
) -> None:
    """List the windows that `segue 5cat FILE.npy` judges, in the order in which it wants its rows.

    One line for each window, VAL's before OOD's: part, number, document, positions, and the rows of the store's
    vectors.npy that are its context and its target. Give `segue 5cat` the same options.
    """
    from segue.alignment.judged import judged_windows, listed
    from segue.models.outside import Claims
    from segue.vectors import Store

    if out.suffix not in SUFFIXES:
        raise InputError(f"--out: found {out}, a file that ends in {' or '.join(SUFFIXES)} is wanted.")
    if part not in PART:
        raise InputError(f"--part: found {part!r}, one of {', '.join(PART)} is wanted.")
    Claims(context, horizon)  # refuses what no window has
    store = Store(data)
    on = judged_windows(
        store,
        chosen_split(store, split),
        ood=Store(ood) if ood else None,
        context=context,
        horizon=horizon,
        samples=samples,
        seed=seed,
    )
    parts = {name: its for name, its in on.parts.items() if name in PART[part]}
    if not parts:
        raise InputError(f"--part: found {part}, but the split has no OOD documents. Give --ood, or another split.")
    _write(out, listed(parts))
    counts = {name: len(its.windows) for name, its in parts.items()}
    table = Table(title=f"{out}: {sum(counts.values()):,} windows", title_justify="left")
    for column in ("part", "windows", "documents", "rows of the predictions"):
        table.add_column(column)
    start = 0
    for name, its in parts.items():
        end = start + counts[name]
        table.add_row(name, f"{counts[name]:,}", f"{len(its.windows.documents):,}", f"{start:,} … {end - 1:,}")
        start = end
    value = {"windows": str(out), "store": str(data), "counts": counts, "context": context, "horizon": horizon}
    show(table, {**value, "samples": samples, "seed": seed}, json)


def _write(path: Path, table: "pa.Table") -> None:
    """JSON lines or parquet by the suffix, whole or not at all."""
    import json as encoder

    import pyarrow.parquet as pq

    with write_atomic(path) as file:
        if path.suffix == ".parquet":
            pq.write_table(table, file)
            return
        for batch in table.to_batches():
            lines = (encoder.dumps(row, ensure_ascii=False) for row in batch.to_pylist())
            file.writelines(f"{line}\n".encode() for line in lines)
