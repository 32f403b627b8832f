"""What the `segue serve` commands share: options, spelled the same, and the run of one service."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segue.cli.console import err
from segue.errors import InputError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from segue.serving.limits import Settings

Host = Annotated[str, typer.Option(help="Address to listen on; other machines reach any but loopback.")]
Port = Annotated[int, typer.Option(help="0 takes any free one.")]
Token = Annotated[
    str | None,
    typer.Option(
        envvar="SEGUE_TOKEN",
        show_default=False,
        help="What `Authorization: Bearer …` must carry. Better in SEGUE_TOKEN.",
    ),
]
NoToken = Annotated[bool, typer.Option("--no-token", help="Let other machines in without a token.")]
MaxBody = Annotated[float, typer.Option(help="MiB of one request's body; more is 413.")]
MaxQueue = Annotated[int, typer.Option(help="Items (texts, contexts, vectors) that may wait; more is 503.")]
Deadline = Annotated[float, typer.Option(help="Seconds until an answer begins; later is 504.")]


def limits(
    host: str, port: int, token: str | None, no_token: bool, max_body: float, max_queue: int, deadline: float
) -> "Settings":
    """The options as one object. Raises InputError for a value out of bounds, and when the extra is not installed."""
    require_extra()
    from segue.serving.limits import Settings

    body = round(max_body * (1 << 20)) if 0 < max_body < 1 << 20 else 0
    return Settings(host, port, token or None, no_token, body, max_queue, deadline=deadline)


def require_extra() -> None:
    """Raise InputError when FastAPI or uvicorn is missing."""
    from importlib.util import find_spec

    missing = [name for name in ("fastapi", "uvicorn", "prometheus_client", "httpx2") if find_spec(name) is None]
    if missing:
        raise InputError(f"segue serve: {missing[0]} is not installed. Install it with: pip install 'segue[serve]'")


def run(name: str, make_app: Callable[["Settings"], "FastAPI"], settings: "Settings", **about: Any) -> None:
    """Serve until SIGTERM or Ctrl-C, and say where. `about` is said beside it: `space=…`.

    The port is taken first, then `make_app(settings)` loads what it serves.
    """
    from segue.serving.server import serve
    from segue.serving.supervisor import end_with_supervisor

    def ready(url: str) -> None:
        more = "".join(f" · {key} {value}" for key, value in about.items())
        err.print(f"{name}: {url}{more} · {url}/docs", highlight=False, soft_wrap=True)

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    end_with_supervisor()
    serve(lambda: make_app(settings), settings, ready)
