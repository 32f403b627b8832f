"""`segue serve all`: the four services, each a process of its own, started and stopped together."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from segue.artifacts import read_manifest
from segue.cli.console import err
from segue.cli.options import Device, Threads
from segue.cli.serving import Deadline, Host, NoToken, Token, limits, require_extra
from segue.errors import InputError

if TYPE_CHECKING:
    from segue.serving.limits import Settings

PortOf = Annotated[int, typer.Option(help="0 is not taken here: the services must know each other.")]


def all_services(
    store: Annotated[Path, typer.Option(metavar="STORE", help="The store whose chunks are found.")],
    run: Annotated[
        list[str] | None, typer.Option(metavar="[NAME=]RUN", help="A run or a model folder; repeat for several.")
    ] = None,
    registry: Annotated[Path | None, typer.Option(metavar="DIR", help="The runs of `segue registry` instead.")] = None,
    runs: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The runs the studio shows. Default: the folder RUN lies in.")
    ] = None,
    encoder: Annotated[str | None, typer.Option(help="Default: the encoder the store was made with.")] = None,
    host: Host = "127.0.0.1",
    encoder_port: PortOf = 7001,
    decoder_port: PortOf = 7002,
    predictor_port: PortOf = 9007,
    studio_port: PortOf = 7003,
    token: Token = None,
    no_token: NoToken = False,
    deadline: Deadline = 60,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """All four services on one machine; the studio's address is said when they answer.

    Ends with 0 by Ctrl-C or SIGTERM, having finished what is held; when one of them ends by itself the others are
    stopped, with 2 where it refused its input, else 1.
    """
    require_extra()
    if bool(run) == (registry is not None):
        raise InputError("--run RUN (once or more), or --registry DIR: exactly one of the two is wanted.")
    ports = {"encoder": encoder_port, "decoder": decoder_port, "predictor": predictor_port, "studio": studio_port}
    settings = limits(host, 0, token, no_token, 1, 1, deadline)  # refused here once rather than four times
    _refuse_same(ports)
    named = encoder or str(read_manifest(store, "store").get("space", {}).get("encoder"))
    _refuse_taken(ports, settings)
    urls = _urls(host, ports)
    to_decoder = ["--decoder", urls["decoder"]]
    whose = [piece for one in run or () for piece in ("--run", one)] or ["--registry", str(registry)]
    shown = runs or (Path((run or [""])[0].rpartition("=")[2]).resolve().parent if run else registry)
    computing = ["--device", device, *([] if threads is None else ["--threads", str(threads)])]
    own = {
        "encoder": ["--encoder", named, *computing],
        "decoder": ["--store", str(store), *computing[2:]],
        "predictor": [*whose, "--encoder", urls["encoder"], *to_decoder, *computing],
        "studio": ["--runs", str(shown), "--store", str(store), "--predictor", urls["predictor"], *to_decoder],
    }
    _run({name: [*options, "--port", str(ports[name])] for name, options in own.items()}, urls, settings)


def _run(options: Mapping[str, Sequence[str]], urls: Mapping[str, str], settings: "Settings") -> None:
    """Start the services and watch them to their end. Raises typer.Exit where it is not a good one."""
    from segue.serving.supervisor import Child, Supervisor

    common = ["--host", settings.host, "--deadline", f"{settings.deadline:g}"]
    common += ["--no-token"] if settings.open else []
    start = [sys.executable, "-m", "segue", "serve"]
    children = [Child(name, [*start, name, *its, *common], urls[name]) for name, its in options.items()]

    def ready() -> None:
        told = f"all four answer · studio: {urls['studio']} · predictor: {urls['predictor']}"
        err.print(Text(told, style="bold green"), soft_wrap=True)

    # The token goes by the environment: what stands in a command line every user of the machine can read.
    secret = {"SEGUE_TOKEN": settings.token} if settings.token else {}
    environment = {**secret, "COLUMNS": os.environ.get("COLUMNS", "160")}
    patience = settings.deadline + 10
    supervisor = Supervisor(children, lambda line: err.print(Text(line), soft_wrap=True), environment, patience)
    if status := supervisor.run(ready):
        raise typer.Exit(status)


def _urls(host: str, ports: Mapping[str, int]) -> dict[str, str]:
    """Where this machine reaches the services: a host that means all of its addresses is none to ask."""
    near = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return {name: f"http://{near}:{port}" for name, port in ports.items()}


def _refuse_taken(ports: Mapping[str, int], settings: "Settings") -> None:
    """Raise InputError, naming the option here, for a port in use: the child would speak of its own `--port`."""
    from segue.serving.server import listen

    for name, port in ports.items():
        listen(replace(settings, port=port), f"--{name}-port").close()


def _refuse_same(ports: Mapping[str, int]) -> None:
    """Raise InputError where two services want one port, or one wants any."""
    for name, port in ports.items():
        other = next((its for its, theirs in ports.items() if its != name and theirs == port), None)
        if other or not 1 <= port <= 65535:
            why = f"{other} has it too" if other else "a number from 1 to 65535 is wanted"
            raise InputError(f"--{name}-port: found {port}, {why}. Choose another.")
