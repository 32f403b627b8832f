"""`segue store`: look at a store."""

from typing import Annotated

import typer
from rich.table import Table

from segue.cli.console import progress, show
from segue.cli.options import Json, StorePath

app = typer.Typer(help="Look at stores.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keeps `describe` a sub-command while it is the only one."""


@app.command()
def describe(
    store: StorePath,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read all of it: hashes as recorded, every vector finite.")
    ] = False,
    json: Json = None,
) -> None:
    """What a store holds: encoder, width, counts, source."""
    from segue.vectors import Store

    opened = Store(store)
    if verify:
        with progress() as told:
            opened.verify(told)
    manifest = opened.manifest
    table = Table(title=str(store), show_header=False, title_justify="left")
    rows = {
        "space": opened.space.id,
        "encoder": f"{opened.space.encoder} (revision {opened.space.revision or 'not stated'})",
        "width": f"{opened.dim}, {manifest['dtype']}",
        "documents": f"{opened.n_documents:,}",
        "chunks": f"{len(opened):,}",
        **{name: f"{count:,}" for name, count in manifest["counts"].items() if name not in ("documents", "chunks")},
        "source": str(manifest["source"].get("name", "")),
        "made": f"{manifest['made_at']} by {manifest['made_by']}",
    }
    if verify:
        rows["verified"] = "every vector is finite, every file has the hash of the manifest"
    for name, value in rows.items():
        table.add_row(name, value)
    show(table, {**manifest, "verified": True} if verify else manifest, json)
