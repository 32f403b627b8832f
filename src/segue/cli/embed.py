"""`segue embed`: text to a store."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from segue.cli.check import Strict, warn_of_data
from segue.cli.console import progress, show
from segue.cli.options import Device, Json, Threads, pick_device

Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="JSON lines (.jsonl, .gz, .zst), a folder of .txt/.md, one such file, or builtin:python-reference.",
        show_default=False,
    ),
]
Out = Annotated[
    Path, typer.Option("--out", metavar="STORE", help="The store to make.", show_default=False, is_eager=True)
]
Chunk = Annotated[
    str | None,
    typer.Option(help="paragraph, sentence or words; default: paragraph, sentence for the built-in text."),
]
IdField = Annotated[str | None, typer.Option(help="JSON field of the document's id; default: id.")]
TitleField = Annotated[str | None, typer.Option(help="JSON field of the title; default: title.")]
TextField = Annotated[
    str | None, typer.Option(help="JSON field of the text or of a list of paragraphs; default: paragraphs, text.")
]
WordsN = Annotated[int, typer.Option("--words", help="Words in a chunk, with --chunk words.")]
Language = Annotated[str, typer.Option(help="Language of the sentences, two letters.")]
MinChars = Annotated[int, typer.Option(help="Letters or digits below which a chunk is dropped.")]


def embed(
    source: Source,
    out: Out,
    encoder: Annotated[str, typer.Option(help="minilm, gtr-t5-base, a Hugging Face name or a folder.")] = "minilm",
    chunk: Chunk = None,
    limit: Annotated[int | None, typer.Option(help="Take only the first N documents.")] = None,
    words: WordsN = 100,
    language: Language = "en",
    min_chars: MinChars = 10,
    id_field: IdField = None,
    title_field: TitleField = None,
    text_field: TextField = None,
    batch: Annotated[int, typer.Option(help="Chunks in one pass through the encoder.")] = 32,
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16: what the encoder computes in.")] = "auto",
    dtype: Annotated[str, typer.Option(help="float16 or float32: what the store holds.")] = "float16",
    shard: Annotated[int, typer.Option(help="Chunks in a shard: what a kill can cost.")] = 4096,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens read of a chunk; default: the encoder's own.")] = None,
    device: Device = "auto",
    threads: Threads = None,
    strict: Strict = False,
    json: Json = None,
) -> None:
    """Turn text into a store of vectors. Run the same command again to go on after an interruption."""
    from segue.text import Chunking, Fields, open_source
    from segue.vectors.embed import Encoding
    from segue.vectors.embed import embed as run

    opened = open_source(source, Fields(id_field, title_field, text_field))
    chunking = Chunking(chunk or opened.default_chunk, words, language, min_chars)
    encoding = Encoding(encoder, batch, precision, dtype, shard, max_tokens, pick_device(device, threads))
    with progress() as told:
        store = run(opened, out, chunking, encoding, limit, told)
    manifest = store.manifest
    settled = manifest["encoding"]
    fidelity = settled["fidelity"]
    computed = settled["precision"] + (
        f" (cosine to float32 {fidelity['mean']:.5f}, least {fidelity['min']:.5f} of {fidelity['n']})"
        if fidelity
        else ""
    )
    table = Table(title=f"store {out}", show_header=False, title_justify="left")
    table.add_row("space", store.space.id)
    table.add_row("vectors", f"{len(store):,} × {store.dim}, {manifest['dtype']}")
    table.add_row("computed in", computed)
    for name, count in manifest["counts"].items():
        table.add_row(name.replace("_", " "), f"{count:,}")
    show(table, manifest, json)
    warn_of_data(store, strict=strict)
