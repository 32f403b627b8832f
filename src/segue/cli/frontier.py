"""`segue frontier`: cos, future MRR and direction against margin_last, runs and controls on the same axes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from segue.artifacts import make_folder, write_json, write_text
from segue.cli.console import progress, show
from segue.cli.options import Device, Json, Seed, Threads, pick_device
from segue.cli.run_data import chosen_data
from segue.errors import InputError

if TYPE_CHECKING:
    from segue.models import LatentModel
    from segue.vectors import Store

FRONTIER = "frontier.json"
COLUMNS = {"margin_last": "margin_last", "cos": "cos", "MRR future": "mrr_future", "direction": "direction"}
TOLD = (0.0, 0.1, 0.25, 0.5, 0.75, 0.95)  # of the curve's β, in the table

Data = Annotated[Path | None, typer.Option(help="The store; default: the one the (first) run was trained on.")]
Ood = Annotated[Path | None, typer.Option(help="A store all of whose documents are OOD; default: the run's.")]
SplitFile = Annotated[Path | None, typer.Option(help="A split file; default: the run's, else 80/10/10.")]
Samples = Annotated[int, typer.Option(help="Windows judged on each part, drawn over all documents.")]


def frontier(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Runs or model folders.")],
    data: Data = None,
    ood: Ood = None,
    split: SplitFile = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="The figures: a page.html or a picture.svg.")] = None,
    samples: Samples = 5000,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    json: Json = None,
) -> None:
    """Draw the most cos, and the MRR and direction along it, that runs and controls reach at each margin_last.

    One run alone on its own data also keeps the result, as RUN/frontier.json, for its report.
    """
    if out is not None and out.suffix not in (".html", ".svg"):
        raise InputError(f"--out: found {out.name!r}, a name ending in .html or .svg is wanted.")
    from segue.alignment.frontier import frontier as measured
    from segue.alignment.frontier import require_same_windows
    from segue.alignment.held_out import held_out
    from segue.models import load_model
    from segue.models.kept import Cache

    chosen_device = pick_device(device, threads)
    labels = labels_of(runs)
    models = {label: load_model(run, chosen_device) for label, run in zip(labels, runs, strict=True)}
    require_same_windows(models)
    first = models[labels[0]]
    on = chosen_data(str(runs[0]), data, ood, split)
    require_fit(models, on.store)
    held = held_out(on.store, on.split, first.context, first.horizon, ood=on.ood, samples=samples, seed=seed)
    held.data["warnings"].extend(on.warnings())
    with progress() as bars:
        found = measured(models, held, device=chosen_device, seed=seed, progress=bars, kept=Cache.of_user())
    if len(runs) == 1 and data is None and ood is None and split is None:
        write_json(runs[0] / FRONTIER, found)
    tables: list[RenderableType] = [table_of(found, part) for part in held.parts]
    tables += [Text(f"note: {warning}", style="yellow") for warning in held.data["warnings"]]
    if out is not None:
        from segue.report.frontier import frontier_page, frontier_svg

        make_folder(out.parent)
        write_text(out, frontier_svg(found) if out.suffix == ".svg" else frontier_page(found))
        tables.append(Text(f"figures: {out}", overflow="fold"))
    show(Group(*tables), found, json)


def labels_of(runs: list[Path]) -> list[str]:
    """The runs' folder names; whole paths where two are the same. Raises InputError for a run named twice."""
    if len({run.resolve() for run in runs}) < len(runs):
        raise InputError(f"RUN…: found {' '.join(map(str, runs))}, each run once is wanted.")
    names = [run.resolve().name for run in runs]
    return names if len(set(names)) == len(names) else [str(run) for run in runs]


def require_fit(models: "dict[str, LatentModel]", store: "Store") -> None:
    """Raises InputError when a model reads another embedding space than the store holds."""
    from segue.vectors import require_same_space

    for label, model in models.items():
        require_same_space(model.space, store.space, label, str(store.path))


def number(result: dict[str, Any] | None, field: str = "value") -> str:
    """Three decimals, `–` for what was not computed."""
    value = (result or {}).get(field)
    return "–" if value is None else f"{round(value, 3) + 0.0:.3f}"


def with_interval(result: dict[str, Any] | None) -> str:
    """`0.545 [0.538, 0.552]`"""
    low, high = number(result, "low"), number(result, "high")
    return number(result) + (f" [{low}, {high}]" if low != "–" else "")


def _give_or_take(result: dict[str, Any] | None) -> str:
    """`0.545 ±.007`, half the interval: a table of whole ones does not fit a terminal; the JSON has them."""
    if not result or result["low"] is None:
        return number(result)
    return f"{number(result)} ±{(result['high'] - result['low']) / 2:.3f}".replace("±0", "±")


def table_of(found: dict[str, Any], part: str) -> Table:
    """A row for each place; under it rows along its curve."""
    data = found["data"]
    table = Table(
        title=f"{part}: {data['windows'][part]:,} windows of {data['documents'][part]:,} documents",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    table.add_column("predictor", no_wrap=True)
    for column in COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    for name, entry in found["predictors"].items():
        its = entry["splits"].get(part)
        if its is None:
            continue
        style = "bold" if entry["kind"] == "run" else "" if entry["attainable"] else "dim"
        own = f", β {entry['beta']:.3f}" if entry["beta"] else ""
        table.add_row(name + own, *(_give_or_take(its["point"][metric]) for metric in COLUMNS.values()), style=style)
        for point in its["curve"] or []:
            if point["beta"] in TOLD[1:] or (entry["beta"] and point["beta"] == 0):
                cells = (_give_or_take(point[metric]) for metric in COLUMNS.values())
                table.add_row(f"  β {point['beta']:.2f}", *cells, style="cyan" if entry["kind"] == "run" else "")
    return table
