"""`segue report`: the page that says what a run is worth."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from segue.cli.console import show
from segue.cli.options import Json
from segue.errors import InputError


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run with its 5cat.json.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to write; default RUN/report.html.")] = None,
    open: Annotated[str, typer.Option(metavar="yes|no", help="Show the page in a browser.")] = "no",
    json: Json = None,
) -> None:
    """Write a run's report: one HTML page, verdict first, that opens offline."""
    if open not in ("yes", "no"):
        raise InputError(f"--open: found {open!r}, yes or no is wanted.")
    from segue.report import write_report

    path = write_report(run, out)
    show(Text(f"report: {path}", overflow="fold"), {"run": str(run), "report": str(path)}, json)
    if open == "yes":
        webbrowser.open(path.resolve().as_uri())
