"""`segue serve studio`: pages to look at all of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segue.cli.serving import Deadline, Host, MaxBody, NoToken, Port, Token, limits, run

if TYPE_CHECKING:
    from fastapi import FastAPI

    from segue.serving.limits import Settings


def studio(
    runs: Annotated[Path, typer.Option(metavar="DIR", help="The folder your runs lie in.")],
    store: Annotated[
        Path | None, typer.Option(metavar="STORE", help="Its checks and the maps of its documents are shown.")
    ] = None,
    predictor: Annotated[str, typer.Option(metavar="URL", help="The predictor service.")] = "http://127.0.0.1:9007",
    decoder: Annotated[str, typer.Option(metavar="URL", help="The decoder service.")] = "http://127.0.0.1:7002",
    host: Host = "127.0.0.1",
    port: Port = 7003,
    token: Token = None,
    no_token: NoToken = False,
    max_body: MaxBody = 32,
    deadline: Deadline = 60,
) -> None:
    """Runs while they train, comparisons, the frontier, data checks, maps of documents, a chat: in a browser."""
    settings = limits(host, port, token, no_token, max_body, 8192, deadline)

    def make(settings: "Settings") -> "FastAPI":
        from segue.serving.studio_app import Sources, studio_app

        return studio_app(Sources(runs, store, predictor, decoder), settings)

    run("studio", make, settings)
