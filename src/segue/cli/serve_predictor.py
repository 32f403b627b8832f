"""`segue serve predictor`: what comes next."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segue.cli.options import Device, Threads, pick_device
from segue.cli.serving import Deadline, Host, MaxBody, MaxQueue, NoToken, Port, Token, limits, run
from segue.errors import InputError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from segue.serving.limits import Settings


def predictor(
    runs: Annotated[
        list[str] | None,
        typer.Option("--run", metavar="[NAME=]RUN", help="A run or a model folder; give it again for more."),
    ] = None,
    registry: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Or a registry, followed as it changes (segue registry).")
    ] = None,
    encoder: Annotated[str, typer.Option(metavar="URL", help="The encoder service.")] = "http://127.0.0.1:7001",
    decoder: Annotated[str, typer.Option(metavar="URL", help="The decoder service.")] = "http://127.0.0.1:7002",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16: what the models compute in.")] = "fp32",
    host: Host = "127.0.0.1",
    port: Port = 9007,
    token: Token = None,
    no_token: NoToken = False,
    max_body: MaxBody = 32,
    max_queue: MaxQueue = 8192,
    deadline: Deadline = 60,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """POST /infer: the predicted vector. POST /predict and /chat: the passages that come next."""
    if bool(runs) == (registry is not None):
        raise InputError("--run RUN (once or more), or --registry DIR: exactly one of the two is wanted.")
    settings = limits(host, port, token, no_token, max_body, max_queue, deadline)

    def make(settings: "Settings") -> "FastAPI":
        from functools import partial

        from segue.serving.predictor_app import predictor_app
        from segue.serving.served import load_served
        from segue.serving.shelf import Served, named_runs
        from segue.serving.upstream import Upstream

        to_encoder = Upstream("encoder", encoder, "segue serve encoder", settings.token)
        to_decoder = Upstream("decoder", decoder, "segue serve decoder --store STORE", settings.token)
        load = partial(load_served, device=pick_device(device, threads), precision=precision)
        served = Served.registry(registry, load) if registry is not None else Served.runs(named_runs(runs or []), load)
        return predictor_app(served, to_encoder, to_decoder, settings)

    run("predictor", make, settings)
