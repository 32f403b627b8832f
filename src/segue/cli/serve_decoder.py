"""`segue serve decoder`: vectors to text."""

import logging
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segue.cli.console import progress
from segue.cli.options import Threads, pick_device
from segue.cli.serving import Deadline, Host, MaxBody, MaxQueue, NoToken, Port, Token, limits, run

if TYPE_CHECKING:
    from fastapi import FastAPI

    from segue.serving.limits import Settings

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

    def make(settings: "Settings") -> "FastAPI":
        from segue.serving.decoder_app import decoder_app
        from segue.serving.decoding import StoreDecoder
        from segue.vectors import Store

        pick_device("cpu", threads)
        with progress() as report:
            served = StoreDecoder.of(Store(store), index.value, report)
        for note in served.notes():
            log.warning(note)
        return decoder_app(served, settings)

    run("decoder", make, settings)
