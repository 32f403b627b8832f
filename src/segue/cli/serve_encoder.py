"""`segue serve encoder`: text to unit vectors."""

from typing import TYPE_CHECKING, Annotated

import typer

from segue.cli.options import Device, Threads, pick_device
from segue.cli.serving import Deadline, Host, MaxBody, MaxQueue, NoToken, Port, Token, limits, run
from segue.errors import InputError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from segue.serving.limits import Settings


def encoder(
    encoder: Annotated[str, typer.Option(help="minilm, gtr-t5-base, a Hugging Face name or a folder.")] = "minilm",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16: what the encoder computes in.")] = "auto",
    batch: Annotated[int, typer.Option(help="Texts in one pass through the encoder.")] = 32,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens read of a text; default: the encoder's own.")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Passes at once, which share the threads; default: up to 4 on a processor.")
    ] = None,
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
    if workers is not None and workers < 1:
        raise InputError(f"--workers: found {workers}, a number from 1 is wanted.")

    def make(settings: "Settings") -> "FastAPI":
        import torch

        from segue.serving.encoder_app import encoder_app
        from segue.serving.encoding import MOST_WORKERS, TextEncoder

        on = pick_device(device, threads)
        cores = torch.get_num_threads()
        at_once = workers or (min(MOST_WORKERS, cores) if on == "cpu" else 1)
        torch.set_num_threads(max(1, cores // at_once))
        return encoder_app(TextEncoder.load(encoder, on, precision, batch, max_tokens, at_once), settings)

    run("encoder", make, settings)
