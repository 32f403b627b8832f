"""Options that several commands share, spelled the same everywhere."""

from pathlib import Path
from typing import Annotated

import typer

from segue.artifacts import refuse_unwritable
from segue.errors import InputError


def _writable(context: typer.Context, value: str | None) -> str | None:
    """Refuse a `--json FILE` that cannot be written before the work begins, not after it.

    A file inside the `--out` folder of the command may wait for its folder: the command makes it. That `--out` is
    eager, so that it is known here whichever of the two is said first.
    """
    if value is None or value == "-":
        return value
    out = context.params.get("out")
    if out is None or Path(out) not in Path(value).parents:
        refuse_unwritable(value)
    return value


Json = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE", callback=_writable, help="Write the result as JSON; `-` for stdout."),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Threads = Annotated[int | None, typer.Option(help="CPU threads; default: torch's own choice.")]
Seed = Annotated[int, typer.Option(help="Seed of everything drawn.")]
StorePath = Annotated[Path, typer.Argument(metavar="STORE", help="A store folder.")]


def pick_device(name: str, threads: int | None = None) -> str:
    """`auto` → the best device there is; sets the number of CPU threads. Raises InputError for an absent one."""
    import torch

    if threads is not None:
        if threads < 1:
            raise InputError(f"--threads: found {threads}, a number from 1 is wanted.")
        torch.set_num_threads(threads)
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next(device for device in ("cuda", "mps", "cpu") if present[device])
    if name not in present:
        raise InputError(f"--device: found {name!r}, one of auto, cpu, cuda, mps is wanted.")
    if not present[name]:
        raise InputError(f"--device: {name} is not available on this machine. Use --device auto.")
    return name
