"""`segue certify`: does the harness count right?"""

from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Group
from rich.table import Table

from segue.cli.console import progress, show
from segue.cli.options import Device, Json, Threads, pick_device


def certify(
    every: Annotated[bool, typer.Option("--all", help="Show every fact, not only those that do not hold.")] = False,
    device: Device = "auto",
    threads: Threads = None,
    json: Json = None,
) -> None:
    """Run predictors whose result is known through the harness, in worlds made for it, and check every figure.

    Exit status 1 when one fact does not hold: then no 5CAT of this installation can be trusted.
    """
    from segue.alignment.certify import certify as run

    with progress() as report:
        found = run(pick_device(device, threads), report)
    facts = [(world, fact) for world, its in found.facts.items() for fact in its]
    held = sum(fact.holds for _, fact in facts)
    verdict = "[green]certified[/]" if found.holds else "[red]not certified[/]"
    worlds = Table(title=f"{verdict}: {held} of {len(facts)} facts hold", title_justify="left", box=SIMPLE)
    for column in ("world", "facts", "hold"):
        worlds.add_column(column)
    for world, its in found.facts.items():
        worlds.add_row(world, str(len(its)), str(sum(fact.holds for fact in its)))
    shown = [(world, fact) for world, fact in facts if every or not fact.holds]
    table = Table(title="facts" if every else "facts that do not hold", title_justify="left", box=SIMPLE)
    for column in ("world", "fact", "expected", "found", "catches"):
        table.add_column(column)
    for world, fact in shown:
        measured = "–" if fact.found is None else f"{fact.found:.4f}"
        style = "" if fact.holds else "red"
        table.add_row(world, fact.name, f"{fact.expected:.4f}", measured, fact.catches, style=style)
    value = {
        "certified": found.holds,
        "facts": {world: [fact.to_json() for fact in its] for world, its in found.facts.items()},
    }
    show(Group(worlds, table) if shown else worlds, value, json)
    if not found.holds:
        raise typer.Exit(1)
