"""`segue steer`: move a model along its frontier to a wanted margin_last."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from segue.cli.console import progress, show
from segue.cli.frontier import COLUMNS, Data, Ood, Samples, SplitFile, number, require_fit, with_interval
from segue.cli.options import Device, Json, Seed, Threads, pick_device
from segue.cli.run_data import Chosen, chosen_data
from segue.errors import InputError

if TYPE_CHECKING:
    from segue.models.steered import Steered

log = logging.getLogger(__name__)

STEER, SPLIT = "steer.json", "split.json"


def steer(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run or a model folder.")],
    margin: Annotated[float, typer.Option(help="The margin_last wanted on VAL.")],
    out: Annotated[Path, typer.Option(metavar="RUN2", help="The folder of the steered model.", is_eager=True)],
    data: Data = None,
    ood: Ood = None,
    split: SplitFile = None,
    samples: Samples = 5000,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    json: Json = None,
) -> None:
    """Take β of the last chunk off a model's raw output: p ∝ r − β·x_t. β is fitted on VAL, judged on OOD.

    RUN2 loads like any model: `segue 5cat RUN2`.
    """
    from segue.alignment.held_out import held_out
    from segue.alignment.steer import bought, doubts, fit_beta, recipe_of
    from segue.models import load_model
    from segue.models.steered import Steered, require_room

    where = pick_device(device, threads)
    base = load_model(run, where)
    if isinstance(base, Steered):
        raise InputError(f"{run}: is steered already (β {base.beta:.3f}). Steer the model it was made from.")
    if base.two_faced:
        raise InputError(f"{run}: has two faces, and only a mean can be steered. Train one face, as `segue train p1`.")
    require_room(out, (STEER, SPLIT))
    on = chosen_data(str(run), data, ood, split)
    require_fit({str(run): base}, on.store)
    held = held_out(on.store, on.split, base.context, base.horizon, ood=on.ood, samples=samples, seed=seed)
    held.data["warnings"].extend(on.warnings())
    fit = fit_beta(base, held.parts["VAL"].windows, margin, where)
    with progress() as bars:
        told = bought(base, fit.beta, held.parts, device=where, seed=seed, progress=bars)
    said = doubts(recipe_of(run))
    for doubt in said:
        log.warning("%s: %s; steering it may leave the frontier.", run, doubt)
    result = {
        "run": str(run),
        "out": str(out),
        "margin": margin,
        "beta": fit.beta,
        "fitted_on": "VAL",
        "attainable": {"low": fit.low, "high": fit.high},
        "doubts": said,
        "splits": told,
        "data": held.data,
    }
    _save(Steered(base, fit.beta), run, out, on, result)
    show(_tables(result), result, json)


def _save(model: "Steered", run: Path, out: Path, on: Chosen, result: dict[str, Any]) -> None:
    """Write the steered model, and beside it what it was made from, on which data, and what that bought."""
    from segue.artifacts import read_json
    from segue.models.saved import model_folder
    from segue.models.steered import save_steered
    from segue.windows.split import split_json

    source = model_folder(run)
    save_steered(
        model,
        source,
        out,
        "segue steer",
        {STEER: result, SPLIT: split_json(on.split, on.store)},
        base={"folder": str(source), "manifest": read_json(source / "manifest.json")},
        beta=model.beta,
        data={"store": str(on.store.path.resolve()), "hash": on.store.hash},
        split={"how": on.split.how, "hash": on.split.hash},
        **({"ood": {"store": str(on.ood.path.resolve()), "hash": on.ood.hash}} if on.ood else {}),
    )


def _tables(result: dict[str, Any]) -> RenderableType:
    low, high = result["attainable"]["low"], result["attainable"]["high"]
    head = Text(
        f"{result['out']}: β {result['beta']:.4f}, fitted on VAL for margin_last {result['margin']:+.3f} "
        f"(attainable {low:+.3f} … {high:+.3f})"
    )
    parts: list[RenderableType] = [head]
    for part, its in result["splits"].items():
        data = result["data"]
        title = f"{part}: {data['windows'][part]:,} windows of {data['documents'][part]:,} documents"
        table = Table(title=title, title_justify="left")
        for column in ("", "before", "after", "change, paired"):
            table.add_column(column, justify="left" if not column else "right", no_wrap=True)
        for label, metric in COLUMNS.items():
            values = [number(its[when][metric]) for when in ("before", "after")]
            table.add_row(label, *values, with_interval(its["change"][metric]))
        parts.append(table)
    parts += [Text(f"note: {warning}", style="yellow") for warning in result["data"]["warnings"]]
    return Group(*parts)
