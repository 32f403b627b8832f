"""`segue import`: a user's own ordered vectors to a store."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from segue.cli.check import Strict, warn_of_data
from segue.cli.console import progress, show
from segue.cli.embed import Chunk, IdField, Language, MinChars, Out, TextField, TitleField, WordsN
from segue.cli.options import Json


def import_vectors(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Vectors in order: .npz, .parquet, or .npy with --ids.")],
    out: Out,
    encoder: Annotated[
        str | None, typer.Option(help="What made the vectors: minilm, gtr-t5-base, …; default: unstated.")
    ] = None,
    ids: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Document and position of each row: .npy, .csv, .jsonl, .parquet."),
    ] = None,
    vectors_key: Annotated[str | None, typer.Option(help="Field of the vectors; default: found by name.")] = None,
    document_key: Annotated[str | None, typer.Option(help="Field of the document's id.")] = None,
    position_key: Annotated[str | None, typer.Option(help="Field of the position in the document.")] = None,
    text_key: Annotated[str | None, typer.Option(help="Field of the chunk's text, if there is one.")] = None,
    title_key: Annotated[str | None, typer.Option(help="Field of the document's title, if there is one.")] = None,
    text: Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="The text the vectors were made of, as `segue embed` takes it."),
    ] = None,
    chunk: Chunk = None,
    words: WordsN = 100,
    language: Language = "en",
    min_chars: MinChars = 10,
    id_field: IdField = None,
    title_field: TitleField = None,
    text_field: TextField = None,
    strict: Strict = False,
    json: Json = None,
) -> None:
    """Turn your own vectors, in document order, into a store."""
    from segue.text import Chunking, Fields, open_source
    from segue.vectors.importer import import_vectors as run
    from segue.vectors.tables import Keys

    source = open_source(text, Fields(id_field, title_field, text_field)) if text else None
    chunking = Chunking(chunk or (source.default_chunk if source else "paragraph"), words, language, min_chars)
    keys = Keys(vectors_key, document_key, position_key, text_key, title_key)
    with progress() as told:
        store = run(file, out, encoder=encoder, ids=ids, keys=keys, text=source, chunking=chunking, progress=told)
    manifest = store.manifest
    imported = manifest["imported"]
    table = Table(title=f"store {out}", show_header=False, title_justify="left")
    table.add_row("space", store.space.id)
    table.add_row("vectors", f"{len(store):,} × {store.dim}, {manifest['dtype']} (from {imported['dtype']})")
    table.add_row("length", "made 1" if imported["normalised"] else "1, as they came")
    for name, count in manifest["counts"].items():
        table.add_row(name.replace("_", " "), f"{count:,}")
    show(table, manifest, json)
    warn_of_data(store, strict=strict)
