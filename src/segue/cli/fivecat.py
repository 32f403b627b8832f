"""`segue 5cat`: the five causal alignment tests of a predictor."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE, SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from segue.artifacts import write_json
from segue.cli.console import progress, show
from segue.cli.options import Device, Json, Seed, Threads, pick_device
from segue.cli.predictor import (
    Context,
    Facets,
    Horizon,
    Reads,
    Timeout,
    claims_of,
    is_outside,
    load_outside,
    load_predictor,
    refuse_claims,
    refuse_precision,
)
from segue.cli.run_data import Chosen, chosen_data
from segue.cli.secondary import secondary_table

if TYPE_CHECKING:
    from segue.alignment.explanation import Section
    from segue.models.outside import Claims, PredictionFile
    from segue.models.predictor import Predictor

MARK = {True: "[green]passed[/]", False: "[red]failed[/]", None: "[dim]not judged[/]"}
# Headers broken so that the table fits 80 columns with every figure whole.
COLUMNS = {
    "cos": ("cos",),
    "margin": ("margin",),
    "margin_\nlast": ("margin_last",),
    "direc-\ntion": ("direction",),
    "R@1": ("retrieval", "future", "r1"),
    "MRR": ("retrieval", "future", "mrr"),
    "shuf-\nfle": ("ablations", "shuffle"),
    "roll-\nout": ("rollout", "mean"),
}


Judged = Annotated[
    str,
    typer.Argument(
        metavar="PREDICTOR",
        help="A run, a model folder, a control's name, a file.npy of predictions in the order of `segue windows`, "
        "or the URL of a server.",
    ),
]
Data = Annotated[Path | None, typer.Option(help="The store; default: the one the run was trained on.")]
Ood = Annotated[Path | None, typer.Option(help="A store all of whose documents are OOD.")]
SplitFile = Annotated[Path | None, typer.Option(help="A split file; default: the run's, else 80/10/10.")]
Profile = Annotated[
    str, typer.Option(help="Whose verdict is the exit status: skill, original, legacy, or your own FILE.yaml.")
]
Explain = Annotated[
    bool, typer.Option("--explain", help="Say in words what each gate asks and who passes it on this data.")
]
Samples = Annotated[int, typer.Option(help="Windows judged on each part, drawn over all documents.")]
Precision = Annotated[
    str | None,
    typer.Option(help="For a run: what it computes in, fp32, bf16, or auto: bf16 where it is native. Default: fp32."),
]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Fit and measure the controls anew, though kept from before on these windows.")
]


def fivecat(
    predictor: Judged,
    data: Data = None,
    ood: Ood = None,
    split: SplitFile = None,
    profile: Profile = "skill",
    explain: Explain = False,
    samples: Samples = 5000,
    context: Context = None,
    horizon: Horizon = None,
    facets: Facets = None,
    reads: Reads = None,
    timeout: Timeout = None,
    precision: Precision = None,
    fresh: Fresh = False,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    json: Json = None,
) -> None:
    """Test whether a predictor looks forward or copies: tests A to E on VAL and OOD, beside every control.

    Exit status 0 when all judged gates of the profile pass, 1 when one fails. On a run's own data the result is also
    kept in the run, as RUN/5cat.json, unless it was computed in another precision than float32.
    """
    from segue.alignment.evaluate import evaluate
    from segue.alignment.explanation import explain as explained
    from segue.alignment.profiles import choose_profiles
    from segue.models.kept import Cache

    where = pick_device(device, threads)
    profiles = choose_profiles(profile, with_legacy=explain)
    judged: Predictor | PredictionFile | str
    find = partial(chosen_data, predictor, data, ood, split)
    if is_outside(predictor):
        refuse_precision(predictor, precision)
        judged, on = _outside(predictor, claims_of(predictor, context, horizon, facets, reads), timeout, find)
    else:
        refuse_claims(predictor, context=context, horizon=horizon, facets=facets, reads=reads, timeout=timeout)
        judged, on = _own(predictor, precision, where, find)
    with progress() as report:
        options: dict[str, Any] = {"samples": samples, "device": where, "seed": seed, "progress": report}
        kept = None if fresh else Cache.of_user()
        result = evaluate(judged, on.store, on.split, ood=on.ood, profile=profiles, kept=kept, **options)
    result["data"]["warnings"] += on.warnings()
    _keep(predictor, on, result)
    sections = explained(result) if explain else []
    if explain:
        result["explanation"] = [section.to_json() for section in sections]
    show(Group(table_of(result), secondary_table(result), *map(_section, sections)), result, json)
    if not result["passed"]:
        raise typer.Exit(1)


def _outside(
    name: str, claims: "Claims", timeout: float | None, find: Callable[[], Chosen]
) -> "tuple[Predictor | PredictionFile, Chosen]":
    """A file of predictions or a server, and the data it is judged on."""
    on = find()
    return load_outside(name, on.store, claims, timeout), on


def _own(name: str, precision: str | None, device: str, find: Callable[[], Chosen]) -> "tuple[Predictor | str, Chosen]":
    """A saved model, or a control's name as it stands, and the data it is judged on."""
    from segue.vectors import require_same_space

    judged = load_predictor(name, device, precision)
    on = find()
    if not isinstance(judged, str):
        require_same_space(judged.space, on.store.space, name, str(on.store.path))  # type: ignore[attr-defined]
    return judged, on


def _keep(predictor: str, on: Chosen, result: dict[str, Any]) -> None:
    """Write RUN/5cat.json where the result is the run's own: on its data, of the usual sample, in float32, as training
    writes it and `segue compare` lays it beside other runs'."""
    from segue.alignment.fivecat import SAMPLES

    its = result["data"]
    usual = (its["samples"], its["seed"], result["predictor"]["precision"]) == (SAMPLES, 0, "fp32")
    if usual and on.is_own(Path(predictor), its):
        write_json(Path(predictor) / "5cat.json", result)


def _cell(metrics: dict[str, Any] | None, path: tuple[str, ...], field: str = "value") -> str:
    node: Any = metrics
    for part in path:
        node = node.get(part) if isinstance(node, dict) else None
    value = node.get(field) if isinstance(node, dict) else None
    return "–" if value is None else f"{round(value, 3) + 0.0:.3f}"  # + 0.0: no "-0.000"


def _figures(result: dict[str, Any], part: str) -> Table:
    metrics = result["splits"][part]
    windows, documents = result["data"]["windows"][part], result["data"]["documents"][part]
    candidates = metrics["retrieval"]["future"]["candidates"]
    table = Table(
        title=f"{part}: {windows:,} windows of {documents:,} documents; "
        f"ranks in the pool future, {candidates:.0f} candidates on average",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
        pad_edge=False,
    )
    table.add_column("predictor", no_wrap=True)
    for column in COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    paths = COLUMNS.values()
    table.add_row(result["predictor"]["name"], *(_cell(metrics, path) for path in paths), style="bold")
    table.add_row("  from", *(_cell(metrics, path, "low") for path in paths), style="dim")
    table.add_row("  to (95 %)", *(_cell(metrics, path, "high") for path in paths), style="dim")
    table.add_section()
    for control, its in result["controls"].items():
        table.add_row(
            control, *(_cell(its.get(part), path) for path in paths), style="" if its["attainable"] else "dim"
        )
    table.add_row("chance", *(_cell(metrics, path, "chance") for path in paths), style="dim")
    return table


def table_of(result: dict[str, Any]) -> RenderableType:
    """Every predictor's figures on each part, then the verdicts."""
    parts: list[RenderableType] = [_figures(result, part) for part, found in result["splits"].items() if found]
    for profile, verdict in result["profiles"].items():
        table = Table(
            title=f"profile {profile}: {MARK[verdict['passed']]}", title_justify="left", show_header=False, box=SIMPLE
        )
        for gate, outcome in verdict["gates"].items():
            table.add_row(gate, MARK[outcome["passed"]], outcome["why"])
        parts.append(table)
    facts = [fact["holds"] for its in result["certification"].values() for fact in its]
    parts.append(Text(f"harness on this data: {sum(facts)} of {len(facts)} known facts hold", style="dim"))
    if kept := [name for name, was_kept in result["kept"].items() if was_kept]:
        said = f"controls {', '.join(kept)}: kept from before on the same windows (--fresh measures them anew)"
        parts.append(Text(said, style="dim"))
    parts += [Text(f"note: {warning}", style="yellow") for warning in result["data"]["warnings"]]
    return Group(*parts)


def _section(section: "Section") -> RenderableType:
    """A part of the explanation: its title, its paragraphs, its table."""
    said: list[RenderableType] = [Text(section.title, style="bold")]
    said += [Text(paragraph) for paragraph in section.paragraphs]
    if section.rows:
        table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
        for column in section.header:
            table.add_column(column, justify="right" if column not in ("", "gate") else "left")
        for row in section.rows:
            table.add_row(*row)
        said.append(table)
    return Group(*said, Text())
