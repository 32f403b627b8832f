"""`segue serve all`: the four services, each a process of its own, started and stopped together."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from segue.artifacts import read_manifest
from segue.cli.console import err
from segue.cli.options import Device, Threads
from segue.cli.serving import Deadline, Host, NoToken, Token, limits, require_extra
from segue.errors import InputError

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
    from segue.serving.supervisor import Child, Supervisor

    if bool(run) == (registry is not None):
        raise InputError("--run RUN (once or more), or --registry DIR: exactly one of the two is wanted.")
    ports = {"encoder": encoder_port, "decoder": decoder_port, "predictor": predictor_port, "studio": studio_port}
    _refuse_same(ports)
    near = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    urls = {name: f"http://{near}:{port}" for name, port in ports.items()}
    limits(host, 0, token, no_token, 1, 1, deadline)  # refused here once rather than four times
    named = encoder or str(read_manifest(store, "store").get("space", {}).get("encoder"))
    whose = [piece for one in run or () for piece in ("--run", one)] or ["--registry", str(registry)]
    shown = runs or (Path((run or [""])[0].rpartition("=")[2]).resolve().parent if run else registry)
    common = ["--host", host, "--deadline", f"{deadline:g}", *(["--no-token"] if no_token else [])]
    computing = ["--device", device, *([] if threads is None else ["--threads", str(threads)])]
    addresses = ["--predictor", urls["predictor"], "--decoder", urls["decoder"]]
    own: dict[str, Sequence[str]] = {
        "encoder": ["--encoder", named, *computing],
        "decoder": ["--store", str(store), *computing[2:]],
        "predictor": [*whose, "--encoder", urls["encoder"], "--decoder", urls["decoder"], *computing],
        "studio": ["--runs", str(shown), "--store", str(store), *addresses],
    }
    children = [
        Child(
            name,
            [sys.executable, "-m", "segue", "serve", name, *options, *common, "--port", str(ports[name])],
            urls[name],
        )
        for name, options in own.items()
    ]

    def ready() -> None:
        err.print(
            Text(f"all four answer · studio: {urls['studio']} · predictor: {urls['predictor']}", style="bold green"),
            soft_wrap=True,
        )

    # The token goes by the environment: what stands in a command line every user of the machine can read.
    secret = {"SEGUE_TOKEN": token} if token else {}
    supervisor = Supervisor(
        children,
        lambda line: err.print(Text(line), soft_wrap=True),
        {**secret, "COLUMNS": os.environ.get("COLUMNS", "160")},
        deadline + 10,
    )
    status = supervisor.run(ready)
    if status:
        raise typer.Exit(status)


def _refuse_same(ports: dict[str, int]) -> None:
    """Raise InputError where two services want one port, or one wants any."""
    for name, port in ports.items():
        other = next((its for its, theirs in ports.items() if its != name and theirs == port), None)
        if other or not 1 <= port <= 65535:
            why = f"{other} has it too" if other else "a number from 1 to 65535 is wanted"
            raise InputError(f"--{name}-port: found {port}, {why}. Choose another.")
