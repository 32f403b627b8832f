"""`segue serve decoder`: vectors to text."""

import logging
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segue.cli.console import progress
from segue.cli.options import Threads, pick_device
from segue.cli.serving import Deadline, Host, MaxBody, MaxQueue, NoToken, Port, Token, limits, run
from segue.errors import InputError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from segue.serving.limits import Settings
    from segue.serving.writing import TextWriter
    from segue.vectors import Store

log = logging.getLogger("segue")


class IndexName(StrEnum):
    """How a store is searched."""

    exact = "exact"
    faiss = "faiss"


def decoder(
    store: Annotated[Path, typer.Option(metavar="STORE", help="The store whose chunks are found.")],
    index: Annotated[
        IndexName, typer.Option(help="exact reads the store at every question; faiss builds an index, for large ones.")
    ] = IndexName.exact,
    inverter: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|NAME",
            help="vec2text: gtr-t5-base, or a folder with inversion/ and corrector/. Needs the encoder service.",
        ),
    ] = None,
    inverter_python: Annotated[
        Path | None, typer.Option(metavar="PYTHON", help="The Python that has vec2text; default: this one.")
    ] = None,
    encoder: Annotated[
        str, typer.Option(metavar="URL", help="The encoder service, which says how near vec2text came.")
    ] = "http://127.0.0.1:7001",
    host: Host = "127.0.0.1",
    port: Port = 7002,
    token: Token = None,
    no_token: NoToken = False,
    max_body: MaxBody = 32,
    max_queue: MaxQueue = 8192,
    deadline: Deadline = 60,
    threads: Threads = None,
) -> None:
    """POST /decode: the nearest chunks of a store, and where an inverter fits, text written from the vector."""
    settings = limits(host, port, token, no_token, max_body, max_queue, deadline)
    if inverter_python and not inverter:
        raise InputError("--inverter-python: wants --inverter beside it.")

    def make(settings: "Settings") -> "FastAPI":
        from segue.serving.decoder_app import decoder_app
        from segue.serving.decoding import StoreDecoder
        from segue.vectors import Store

        pick_device("cpu", threads)
        opened = Store(store)
        with progress() as report:
            served = StoreDecoder.of(opened, index.value, report)
        for note in served.notes():
            log.warning(note)
        writer = _writer(opened, inverter, inverter_python, encoder, threads, settings) if inverter else None
        return decoder_app(served, settings, writer)

    run("decoder", make, settings)


def _writer(
    store: "Store", name: str, python: Path | None, encoder: str, threads: int | None, settings: "Settings"
) -> "TextWriter":
    from segue.serving.inversion import Inversion
    from segue.serving.upstream import Upstream
    from segue.serving.writing import TextWriter

    upstream = Upstream("encoder", encoder, f"segue serve encoder --encoder {store.space.encoder}", settings.token)
    log.info("loading the inverter %s", name)
    inversion = Inversion(name, store.space, str(python) if python else None, threads)
    return TextWriter(inversion, upstream, store.space, settings.deadline, settings.max_queue)
