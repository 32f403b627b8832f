"""`segue demo`: the whole chain on text that ships inside Python, in minutes, saying what each step does."""

import sys
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from segue.artifacts import read_json
from segue.cli.check import check
from segue.cli.console import err, show
from segue.cli.embed import embed
from segue.cli.options import Device, Json, Threads
from segue.cli.rank import rank
from segue.cli.split import split
from segue.cli.train import train

SHIPPED = "onward"
FRACTIONS = ".6,.2,.2"  # so few documents: enough of them on each side for an interval at all


def demo(
    out: Annotated[Path, typer.Option(help="The folder to make.", is_eager=True)] = Path("demo"),
    recipe: Annotated[str, typer.Option(help="The recipe to train.")] = "demo",
    device: Device = "auto",
    threads: Threads = None,
    json: Json = None,
) -> None:
    """Text → vectors → checks → training → 5CAT → report on Python's language reference; no network, no data needed.

    At the end the model that comes with segue is asked what follows in a document of it.

    Run again after an interruption, it goes on where it stopped. A failed gate is a finding, not a failed demo: 0.
    """
    from segue.recipe import resolve

    resolve(recipe)  # an unknown name fails before minutes of embedding
    store, parts, run = out / "store", out / "split.json", out / "run"
    # With `--json -` stdout is the result's alone: the steps' tables go where their progress goes.
    with redirect_stdout(sys.stderr) if json == "-" else nullcontext():
        passed = _chain(store, parts, run, recipe, device, threads)
    report = run / "report.html"
    value = {"store": str(store), "split": str(parts), "run": str(run), "report": str(report), "passed": passed}
    show(Text(f"report: {report}", overflow="fold"), value, json)


def _chain(store: Path, parts: Path, run: Path, recipe: str, device: str, threads: int | None) -> bool | None:
    """The steps. → whether the run passed its profile; None where it was not judged."""
    from segue.models import saved
    from segue.text import BUILTIN

    _step(1, f"Embed: the language reference that ships inside Python, sentence by sentence, to {store}")
    embed(BUILTIN, store, device=device, threads=threads)
    _step(2, "Check: is there anything to learn from in these documents? (a failed check is a finding)")
    _tolerate(lambda: check(store, device=device, threads=threads))
    _step(3, f"Split: documents into train, VAL and OOD by {FRACTIONS}, shuffled by a seed, to {parts}")
    if not parts.exists():
        split(store, parts, fractions=FRACTIONS, seed=0)
    _step(4, f"Train the recipe {recipe}, then the five causal alignment tests beside every control, to {run}")
    train(recipe, store, run, split=parts, resume=run.exists(), device=device, threads=threads)
    _step(5, f"Ask: the model that comes with segue, {SHIPPED}, which of the sentences to come is the next one")
    rank(saved.SHIPPED / SHIPPED, document=_longest(store, parts), store=store, k=5, device=device, threads=threads)
    _step(6, "Read")
    result = read_json(run / "5cat.json")
    for warning in result["data"]["warnings"]:
        err.print(f"note: {warning}", style="yellow", highlight=False)
    few = result["data"]["documents"]
    err.print(
        f"This is {few['VAL']} documents of VAL and {few.get('OOD', 0)} of OOD: enough to see the chain work, too few "
        f"to conclude much. Failed gates are what a small model on little text should show.\n"
        f"Open {run / 'report.html'} in a browser. With text of your own: segue embed YOUR.jsonl --out STORE, then "
        f"segue train p1 --data STORE --out RUN. Or talk at once: segue chat {SHIPPED} --store {store}.",
        highlight=False,
        soft_wrap=True,
    )
    passed: bool | None = result["passed"]
    return passed


def _longest(store: Path, parts: Path) -> str:
    """The id of the OOD document with the most to choose from."""
    from segue.vectors import Store
    from segue.windows import load_split

    opened = Store(store)
    documents = load_split(parts).documents(opened, "OOD")
    return opened.document_ids[max(documents, key=lambda document: opened.length_G[document])]


def _step(number: int, what: str) -> None:
    err.print(f"\n[bold]{number}/6[/] {what}", highlight=False, soft_wrap=True)


def _tolerate(command: Callable[[], None]) -> None:
    """Run a command whose exit status 1 is a finding to go on from."""
    try:
        command()
    except typer.Exit as end:
        if end.exit_code not in (0, 1):
            raise
