"""`segue serve encoder`: text to unit vectors."""

from typing import TYPE_CHECKING, Annotated

import typer

from segue.cli.options import Device, Threads, pick_device
from segue.cli.serving import Deadline, Host, MaxBody, MaxQueue, NoToken, Port, Token, limits, run

if TYPE_CHECKING:
    from fastapi import FastAPI

    from segue.serving.limits import Settings


def encoder(
    encoder: Annotated[str, typer.Option(help="minilm, gtr-t5-base, a Hugging Face name or a folder.")] = "minilm",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16: what the encoder computes in.")] = "auto",
    batch: Annotated[int, typer.Option(help="Texts in one pass through the encoder.")] = 32,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens read of a text; default: the encoder's own.")] = None,
    host: Host = "127.0.0.1",
    port: Port = 7001,
    token: Token = None,
    no_token: NoToken = False,
    max_body: MaxBody = 32,
    max_queue: MaxQueue = 8192,
    deadline: Deadline = 60,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """POST /encode and an OpenAI-compatible POST /v1/embeddings."""
    settings = limits(host, port, token, no_token, max_body, max_queue, deadline)

    def make(settings: "Settings") -> "FastAPI":
        from segue.serving.encoder_app import encoder_app
        from segue.serving.encoding import TextEncoder

        return encoder_app(
            TextEncoder.load(encoder, pick_device(device, threads), precision, batch, max_tokens), settings
        )

    run("encoder", make, settings)
