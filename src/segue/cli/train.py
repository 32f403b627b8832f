"""`segue train`: from a recipe and a store to a run."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from segue.cli.check import Strict, warn_of_data
from segue.cli.console import err, progress, show
from segue.cli.options import Device, Json, Threads, pick_device
from segue.cli.recipe import RecipeName, Sets
from segue.cli.split import chosen_split
from segue.errors import InputError

if TYPE_CHECKING:
    from segue.recipe import Recipe
    from segue.training.data import Data as Windows
    from segue.training.state import State
    from segue.training.tracking import MLflow
    from segue.vectors import Store
    from segue.windows import Split

log = logging.getLogger(__name__)

Data = Annotated[Path, typer.Option("--data", metavar="STORE", help="The store to train on.")]
Ood = Annotated[Path | None, typer.Option("--ood", metavar="STORE", help="Another store to stand for OOD.")]
SplitFile = Annotated[
    Path | None, typer.Option("--split", metavar="SPLIT", help="A split file; without: 80/10/10 in store order.")
]
Out = Annotated[Path, typer.Option("--out", metavar="RUN", help="The run folder to make.", is_eager=True)]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last finished epoch of RUN.")]
Samples = Annotated[int, typer.Option("--samples", help="Windows of each part in the full 5CAT; 0 leaves it out.")]
Force = Annotated[
    bool,
    typer.Option("--force", help="Go on where a tripwire would stop; with --resume also in a run that one stopped."),
]
BackToBest = Annotated[
    bool,
    typer.Option(
        "--back-to-best",
        help="Roll back to the best epoch, once, when margin_last falls by over .05 two epochs running.",
    ),
]
Precision = Annotated[
    str | None, typer.Option(help="auto, fp32 or bf16; default: the recipe's. The same as --set precision=…")
]
Mlflow = Annotated[
    str | None, typer.Option("--mlflow", metavar="URI", help="Tell an MLflow server, as http://localhost:5000.")
]
RunSeed = Annotated[int | None, typer.Option("--seed", help="Seed of everything drawn; default: the recipe's.")]

# What --back-to-best adds to a recipe's tripwires.
BACK_TO_BEST = (
    "tripwires=[{name: margin regresses, when: {metric: margin_last, regresses_by: 0.05, running: 2}, "
    "do: {roll_back_to: best}}]"
)
# The metrics of an epoch's line, and how they are written.
TOLD = {"cos": ".4f", "margin_last": "+.3f", "direction": ".3f", "mrr_future": ".3f", "peak": "+.0f"}


def train(
    recipe: RecipeName,
    data: Data,
    out: Out,
    ood: Ood = None,
    split: SplitFile = None,
    sets: Sets = None,
    resume: Resume = False,
    force: Force = False,
    back_to_best: BackToBest = False,
    precision: Precision = None,
    mlflow: Mlflow = None,
    seed: RunSeed = None,
    samples: Samples = 5000,
    device: Device = "auto",
    threads: Threads = None,
    strict: Strict = False,
    json: Json = None,
) -> None:
    """Train a model, test its best epoch by the full 5CAT, write the report.

    Exit status 1 when the loss stops being finite; the epochs before are kept. A failed gate is a finding: 0, and so
    is a tripwire's verdict, which ends training before its last epoch.
    """
    from segue.artifacts import is_finished, lock
    from segue.training import finish_run, open_data, open_run, read_history, read_run, reopen_run, where_it_lies
    from segue.training.tracking import MLflow
    from segue.vectors import Store

    if samples < 0:
        raise InputError(f"--samples: found {samples}, a number from 0 is wanted; 0 leaves the full 5CAT out.")
    chosen = _chosen(recipe, sets, back_to_best, seed=seed, precision=precision)
    tracker = None if mlflow is None else MLflow(mlflow)
    where = pick_device(device, threads)
    store = Store(data)
    other = Store(ood) if ood is not None else None
    parts = chosen_split(store, split)
    windows = open_data(chosen, store, parts, where)
    _require_testable(chosen, store, parts, other, samples)
    data_checks = partial(warn_of_data, store, split=parts, ood=other, context=chosen.context, horizon=chosen.horizon)
    if strict:
        data_checks(strict=True)  # before there is a run folder
    run = open_run(out, chosen, store, parts, resume=resume)
    if force and resume and reopen_run(run):
        err.print(f"{run} was stopped by a tripwire: goes on by --force", style="dim", highlight=False)
    if is_finished(run):
        err.print(f"{run} is finished: nothing to resume", style="dim", highlight=False)
    else:
        if not strict:
            data_checks()
        with lock(run):
            state = _fitted(chosen, windows, run, tracker, force)
            if samples:
                _test(run, store, parts, other, where, samples)
            fields = {} if other is None else {"ood": {**where_it_lies(other), "hash": other.hash}}
            finish_run(run, state, store, parts, **fields)
    _report(run)
    manifest, history = read_run(run), read_history(run)
    show(_table(run, manifest, history), {"run": str(run), "manifest": manifest, "history": history}, json)


def _chosen(recipe: str, sets: list[str] | None, back_to_best: bool, **options: Any) -> "Recipe":
    """The recipe with `--set`, the options that set a field, and the tripwire of --back-to-best laid over it."""
    from segue.recipe import resolve

    overrides = [f"{key}={value}" for key, value in options.items() if value is not None]
    return resolve(recipe, [*(sets or ()), *overrides, *([BACK_TO_BEST] if back_to_best else [])])


def _fitted(chosen: "Recipe", windows: "Windows", run: Path, tracker: "MLflow | None", force: bool) -> "State":
    """Train, and tell the tracker where there is one. Exits with 1 when the loss stops being finite."""
    from segue.artifacts import write_json
    from segue.training import DivergedError, read_history, train

    if tracker is not None:
        tracker.begin(run, chosen)
    tell = _teller(chosen.epochs)

    def listen(entry: dict[str, Any]) -> None:
        tell(entry)
        if tracker is not None:
            tracker.epoch(entry)

    status = "KILLED"
    try:
        with progress() as bars:
            state = train(chosen, windows, run, bars, listen, force=force)
        status = "FINISHED"
    except DivergedError as error:
        status = "FAILED"
        write_json(run / "diverged.json", {"lines": len(read_history(run)), "why": str(error)})
        err.print(Text(f"stopped: {error}", style="red"), soft_wrap=True)
        raise typer.Exit(1) from None
    finally:
        if tracker is not None:
            tracker.end(status)
    return state


def _require_testable(recipe: "Recipe", store: "Store", parts: "Split", ood: "Store | None", samples: int) -> None:
    """Refuse before training what the test at its end would refuse. Warns of an OOD store with ids of train documents.

    Without a test, an OOD store must still do: the run names it. Raises InputError.
    """
    from segue.alignment.held_out import held_out

    if ood is not None and ood.hash == store.hash:
        raise InputError(
            f"--ood: {ood.path} holds the vectors of --data {store.path} (their hashes are equal), another corpus is "
            f"wanted. Leave --ood out, and cut an OOD part off with `segue split {store.path} --out SPLIT`, "
            f"then --split SPLIT."
        )
    parts.documents(store, "OOD")
    if samples or ood is not None:
        held_out(store, parts, recipe.context, recipe.horizon, ood=ood, samples=samples or 1)
    if ood is None:
        return
    shared = sorted(set(parts.train) & set(ood.document_ids))
    if shared:
        log.warning(
            "%s: %d of its %d documents have the ids of train documents (first: %r): unless they are other documents "
            "of the same name, OOD is not unseen",
            *(ood.path, len(shared), ood.n_documents, shared[0]),
        )


def _test(run: Path, store: "Store", parts: "Split", ood: "Store | None", device: str, samples: int) -> None:
    """The full 5CAT of the run's best epoch and its frontier, kept in the run."""
    from segue.alignment.evaluate import evaluate
    from segue.alignment.frontier import frontier_beside
    from segue.alignment.held_out import held_out
    from segue.artifacts import write_json
    from segue.models import load_model
    from segue.models.kept import Cache

    model = load_model(run, device)
    with progress() as bars:
        found = evaluate(
            model, store, parts, ood=ood, samples=samples, device=device, progress=bars, kept=Cache.of_user()
        )
        held = held_out(store, parts, model.context, model.horizon, ood=ood, samples=samples)
        curve = frontier_beside(model, held, found, device=device, progress=bars)
    write_json(run / "frontier.json", curve)
    write_json(run / "5cat.json", found)


def _report(run: Path) -> None:
    """Write the report and say how the test went, where there was one."""
    from segue.artifacts import read_json
    from segue.report import write_report

    if not (run / "5cat.json").exists():
        return
    result = read_json(run / "5cat.json")
    for profile, verdict in result["profiles"].items():
        outcomes = {True: "passed", False: "failed", None: "not judged"}
        gates = "  ".join(f"{gate} {outcomes[its['passed']]}" for gate, its in verdict["gates"].items())
        err.print(f"5CAT, profile {profile}: {outcomes[verdict['passed']]}  ({gates})", highlight=False, soft_wrap=True)
    err.print(f"report: {write_report(run)}", highlight=False, soft_wrap=True)


def _value(entry: dict[str, Any], metric: str) -> str:
    value = entry["val"].get(metric)
    return "–" if value is None else format(value, TOLD[metric])


def _teller(epochs: int) -> Callable[[dict[str, Any]], None]:
    def tell(entry: dict[str, Any]) -> None:
        figures = "  ".join(f"{metric} {_value(entry, metric)}" for metric in TOLD)
        line = (
            f"epoch {entry['epoch']}/{epochs}  loss {entry['train']['loss']:.3g} → VAL {entry['val']['loss']:.3g}  "
            f"{figures}  lr {entry['lr']:g}  {entry['seconds']:.1f} s"
        )
        err.print(line, highlight=False, soft_wrap=True)
        for event in entry["events"]:
            err.print(f"  {event}", highlight=False, soft_wrap=True)

    return tell


def _table(run: Path, manifest: dict[str, Any], history: list[dict[str, Any]]) -> Table:
    best, stopped = manifest["best"], manifest.get("stopped")
    title = f"{run}, on VAL; best by {best['metric']}" + (f"; stopped: {stopped['verdict']}" if stopped else "")
    table = Table("epoch", "VAL loss", *TOLD, title=title, title_justify="left")
    last = {entry["epoch"]: number for number, entry in enumerate(history)}  # the last time each was trained
    for number, entry in enumerate(history):
        mark = " best" if entry["epoch"] == best["epoch"] else ""
        mark = mark if last[entry["epoch"]] == number else " rolled back"
        table.add_row(f"{entry['epoch']}{mark}", f"{entry['val']['loss']:.4g}", *(_value(entry, m) for m in TOLD))
    return table
