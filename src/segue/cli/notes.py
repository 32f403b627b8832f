"""`segue notes`: a run's training report and model card."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from segue.cli.console import show
from segue.cli.options import Json


def notes(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run with at least one epoch.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where to write; default: into RUN.", is_eager=True)
    ] = None,
    json: Json = None,
) -> None:
    """Write a run's notes.md and, once it is tested, its model-card.md: figures of its own files, nothing else."""
    from segue.report.findings import findings, next_steps, open_questions, planned_steps
    from segue.report.notes import write_notes
    from segue.report.run import read_begun

    paths = write_notes(run, out)
    found = read_begun(run)
    value = {
        "run": str(run),
        "files": [str(path) for path in paths],
        "findings": [one._asdict() for one in findings(found)],
        "open": open_questions(found),
        "next_steps": [*planned_steps(found), *next_steps(found)],
    }
    show(Text("\n".join(f"written: {path}" for path in paths), overflow="fold"), value, json)
