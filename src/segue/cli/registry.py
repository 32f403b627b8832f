"""`segue registry`: which runs are served by name, and which of them is in production."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from segue.cli.console import show
from segue.cli.options import Json

if TYPE_CHECKING:
    from segue.serving.registry import Registry

app = typer.Typer(help="Name the runs that are served; promote one past the gates of 5CAT.", no_args_is_help=True)

Folder = Annotated[Path, typer.Option("--registry", metavar="DIR", help="The registry's folder.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A registered model's name.")]
HERE = Path("registry")


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What clients will call it.")],
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run or a model folder.")],
    registry: Folder = HERE,
    json: Json = None,
) -> None:
    """Register a run under a name."""
    from segue.serving import registry as its

    _show(its.add(registry, name, run), registry, json)


@app.command()
def candidate(name: Name, registry: Folder = HERE, json: Json = None) -> None:
    """Mark a model as the next candidate for production."""
    from segue.serving import registry as its

    _show(its.candidate(registry, name), registry, json)


@app.command()
def promote(
    name: Name,
    registry: Folder = HERE,
    profile: Annotated[str, typer.Option(help="Whose gates its run's 5CAT must pass: skill or original.")] = "skill",
    force: Annotated[bool, typer.Option("--force", help="Promote whatever its 5CAT says; recorded.")] = False,
    why: Annotated[str | None, typer.Option(metavar="TEXT", help="The reason, kept in the history.")] = None,
    json: Json = None,
) -> None:
    """Put a model into production, if its run's 5CAT passes a profile."""
    from segue.serving import registry as its

    _show(its.promote(registry, name, profile, force=force, why=why), registry, json)


@app.command()
def deprecate(
    name: Name,
    use: Annotated[str, typer.Option(metavar="OTHER", help="The model that replaces it.")],
    registry: Folder = HERE,
    json: Json = None,
) -> None:
    """Refuse a model from now on, and say which one to use."""
    from segue.serving import registry as its

    _show(its.deprecate(registry, name, use), registry, json)


@app.command()
def remove(name: Name, registry: Folder = HERE, json: Json = None) -> None:
    """Forget a name. The run stays."""
    from segue.serving import registry as its

    _show(its.remove(registry, name), registry, json)


@app.command("list")
def list_(registry: Folder = HERE, json: Json = None) -> None:
    """What is registered, and how it came to be."""
    from segue.serving import registry as its

    _show(its.read_registry(registry), registry, json)


def _show(registry: "Registry", folder: Path, json: str | None) -> None:
    table = Table(title=str(folder), title_justify="left")
    for column in ("name", "status", "since", "run"):
        table.add_column(column, overflow="fold")
    for name, entry in registry.models.items():
        status = f"deprecated, use {entry.use}" if entry.use else entry.status
        since = next(
            (event.at for event in reversed(registry.history) if name in (event.name, event.told.get("before"))),
            entry.added,
        )
        table.add_row(name, status, since, entry.run)
    for event in registry.history:
        if event.told.get("forced"):
            against = " ".join(event.told["against"])
            table.caption = f"{event.name} was forced into production {event.at}: {event.told['why']} ({against})"
            table.caption_justify = "left"
    show(table, registry.model_dump(), json)
