"""From a run folder to one self-contained page."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from segue.artifacts import make_folder, read_json, write_text
from segue.report import curves, figures, frontier, levels, lineage, peers, tables
from segue.report.names import GATES, GLOSSARY, POOLS
from segue.report.numerals import with_interval
from segue.report.run import Run, read_run
from segue.report.verdict import verdict

REPORT = "report.html"
FRONTIER = "frontier.json"


def environment() -> Environment:
    """The templates of the report, with the page's style and script."""
    environment = Environment(
        loader=PackageLoader("segue.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["with_interval"] = with_interval
    for name in ("page.css", "page.js"):  # ours, and put into the page as they are
        source = files("segue.report").joinpath("templates", name).read_text(encoding="utf-8")
        environment.globals[name.replace(".", "_")] = Markup(source)
    return environment


def _frontier(run: Run) -> dict[str, Any] | None:
    path = run.folder / FRONTIER
    return read_json(path) if path.is_file() else None


def contents(run: Run) -> dict[str, Any]:
    """What the page of a tested run shows."""
    return {
        "run": run,
        "name": run.folder.resolve().name,
        "verdict": verdict(run),
        "gates": GATES,
        "pools": POOLS,
        "glossary": GLOSSARY,
        "lifts": {"panels": figures.lifts(run), "table": tables.lifts(run)},
        "offsets": {
            "panels": figures.offset_curves(run),
            "key": figures.key(run),
            "tables": tables.offsets(run),
        },
        "retrieval": {"panels": figures.future_mrr(run), "tables": tables.retrieval(run)},
        "ablations": {"panels": figures.ablations(run), "tables": tables.ablations(run)},
        "rollouts": {
            "panels": figures.rollouts(run),
            "key": figures.rollout_key(run),
            "tables": tables.rollouts(run),
        },
        "generalisation": {
            "panels": figures.coherence_bins(run),
            "table": tables.generalisation(run),
            "gap": figures.gap(run),
        },
        "peers": peers.section(run),
        "frontier": frontier.section(_frontier(run)),
        "curves": {
            "panels": curves.training_curves(run),
            "events": curves.events(run),
            "expectations": curves.expectations(run),
            "reported": run.resolved.get("reported"),
            "levels": levels.table(run),
        },
        "everything": tables.everything(run),
        "lineage": lineage.lineage(run),
        "rest": lineage.rest(run),
    }


def write_report(run_folder: str | Path, out: str | Path | None = None) -> Path:
    """Write the page of a finished run, by default to `RUN/report.html`, whole or not at all; returns its path.

    Raises InputError when the run is missing, unfinished or has no `5cat.json`, or the page cannot be written.
    """
    run = read_run(run_folder)
    page = environment().get_template("report.html.j2").render(contents(run))
    path = Path(out) if out is not None else run.folder / REPORT
    make_folder(path.parent)
    write_text(path, page)
    return path
