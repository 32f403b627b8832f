"""`segue arrow`: is a store easier to predict forwards than backwards?"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from segue.cli.console import progress, show
from segue.cli.frontier import number, with_interval
from segue.cli.options import Device, Json, Seed, StorePath, Threads, pick_device
from segue.cli.recipe import Sets
from segue.cli.split import chosen_split
from segue.errors import InputError

if TYPE_CHECKING:
    from segue.models.predictor import Predictor
    from segue.progress import Progress
    from segue.recipe import Recipe
    from segue.vectors import Store
    from segue.windows import Split

LABELS = {"cos": "cos", "mrr_future": "MRR"}


def arrow(
    store: StorePath,
    recipe: Annotated[
        str | None, typer.Option(metavar="RECIPE", help="Train this recipe both ways instead of ridge.")
    ] = None,
    sets: Sets = None,
    split: Annotated[Path | None, typer.Option(help="A split file; without: 80/10/10 in store order.")] = None,
    context: Annotated[int, typer.Option(help="Context chunks C, for ridge.")] = 5,
    horizon: Annotated[int, typer.Option(help="Offset h of the target, for ridge.")] = 1,
    samples: Annotated[int, typer.Option(help="Windows judged, drawn over all VAL and OOD documents.")] = 5000,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    json: Json = None,
) -> None:
    """Compare the skill of a predictor on documents as they are with its skill on the same documents reversed."""
    from segue.alignment.arrow import arrow as measured
    from segue.recipe import resolve
    from segue.vectors import Store

    if context < 2 or horizon < 1:
        raise InputError(f"--context {context} --horizon {horizon}: at least 2 and 1 are wanted.")
    if sets and recipe is None:
        raise InputError(f"--set: found {sets[0]!r} without a recipe to set it in. Add --recipe.")
    where = pick_device(device, threads)
    chosen = resolve(recipe, sets or ()) if recipe is not None else None
    opened = Store(store)
    parts = chosen_split(opened, split)
    if chosen is not None:
        context, horizon = chosen.context, chosen.horizon
    with progress() as bars:

        def trained(which: "Store", way: str) -> "Predictor":
            assert chosen is not None
            return _train(chosen, which, parts, where, lambda what, *rest: bars(f"{way}: {what}", *rest))

        result = measured(
            opened,
            parts,
            None if chosen is None else trained,
            context=context,
            horizon=horizon,
            samples=samples,
            device=where,
            seed=seed,
            progress=bars,
        )
    show(_table(result), result, json)


def _train(recipe: "Recipe", store: "Store", parts: "Split", device: str, bars: "Progress") -> "Predictor":
    """The best epoch of a recipe trained on a store, or on its reversal; the run is not kept."""
    from segue.models import load_model
    from segue.training import DivergedError, open_data, open_run
    from segue.training import train as fit

    with TemporaryDirectory(prefix="segue-arrow-") as folder:
        run = open_run(folder, recipe, store, parts)
        try:
            fit(recipe, open_data(recipe, store, parts, device), run, bars)
        except DivergedError as error:
            raise InputError(f"recipe {recipe.name}: {error}") from None
        return load_model(run, device)


def _table(result: dict[str, Any]) -> RenderableType:
    data = result["data"]
    judged = f"{data['windows']:,} windows of {data['documents']:,} VAL and OOD documents"
    title = f"{data['store']}: {judged}; MRR in the pool future"
    table = Table(
        title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False
    )
    for column in ("skill", "forward", "back", "difference", "lost the other way"):
        table.add_column(column, justify="left" if column == "skill" else "right", no_wrap=True)
    for name in (result["method"], "copy_last"):
        table.add_section()
        for metric, label in LABELS.items():
            its = (result["skill"] if name == result["method"] else result["copy_last"])[metric]
            lost = with_interval(result["transfer"][metric]) if name == result["method"] else "–"
            ways = (number(its[way]) for way in ("forward", "reversed"))
            table.add_row(f"{name} {label}", *ways, with_interval(its["difference"]), lost)
    said = [
        *(Text(line) for line in verdict(result)),
        *(Text(f"note: {warning}", style="yellow") for warning in data["warnings"]),
    ]
    return Group(table, *said)


def verdict(result: dict[str, Any]) -> list[str]:
    """What the intervals say in words, a line each."""
    if result["skill"]["cos"]["difference"]["low"] is None:
        return ["One document: no interval, so nothing can be said."]
    said = []
    for metric, label in LABELS.items():
        found = result["skill"][metric]["difference"]
        clear = found["low"] > 0 or found["high"] < 0
        way = "forwards" if found["value"] > 0 else "backwards"
        said.append(f"{label}: {f'more skill {way}' if clear else 'no difference of skill that the data can show'}.")
    lost = result["transfer"]["cos"]
    if lost["low"] > 0:
        said.append(f"Fitted one way and read the other it loses cos {with_interval(lost)}: the order has a direction.")
    else:
        said.append("Fitted one way it reads the other as well: this predictor sees no direction in the order.")
    return said
