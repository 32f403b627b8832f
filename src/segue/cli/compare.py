"""`segue compare`: runs side by side, with the best controls."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Group as Together
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from segue.artifacts import make_folder, refuse_unwritable, write_text
from segue.cli.console import err, show
from segue.cli.options import Json
from segue.errors import InputError

if TYPE_CHECKING:
    from segue.report.compare import Column, Comparison, Figure, Row

AT_ONCE = 7  # columns of figures in one table of a terminal of 80 characters

Pools = Annotated[str, typer.Option(metavar="all|POOL,…", help="future, unseen, document, corpus; or all.")]
Part = Annotated[str, typer.Option(metavar="VAL|OOD|all", help="Which figures.")]
Sort = Annotated[str | None, typer.Option(metavar="COLUMN", help="mrr, cos, margin_last, size, name, date, …")]
Mixed = Annotated[bool, typer.Option("--mixed", help="One table even of runs judged on different data, marked.")]


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Runs, finished or not.")],
    part: Part = "all",
    pools: Pools = "future",
    sort: Sort = None,
    mixed: Mixed = False,
    markdown: Annotated[str | None, typer.Option(metavar="FILE", help="Write Markdown; `-` for stdout.")] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page that sorts and opens offline.")
    ] = None,
    json: Json = None,
) -> None:
    """Lay runs side by side with the best controls: figures, gates, status. Sorting puts runs among controls."""
    from segue.report.compare import compare as compared
    from segue.report.compare_page import to_markdown, to_page
    from segue.report.run import SPLITS

    if part not in (*SPLITS, "all"):
        raise InputError(f"--part: found {part!r}, VAL, OOD or all is wanted.")
    if markdown == json == "-":
        raise InputError("--markdown - and --json -: one of them on stdout is wanted. Give the other a file.")
    for file in (markdown if markdown != "-" else None, html):
        if file is not None:
            make_folder(Path(file).parent)
            refuse_unwritable(file)
    parts = SPLITS if part == "all" else (part,)
    found = compared(runs, [pool.strip() for pool in pools.split(",")], parts, sort, mixed)
    if html is not None:
        write_text(html, to_page(found))
        err.print(f"page: {html}", highlight=False, soft_wrap=True)
    if markdown is not None and markdown != "-":
        write_text(markdown, to_markdown(found))
        err.print(f"Markdown: {markdown}", highlight=False, soft_wrap=True)
    if markdown == "-":
        typer.echo(to_markdown(found), nl=False)
        if json:
            from segue.artifacts import write_json

            write_json(json, found.to_json())
        return
    show(Together(*_tables(found)), found.to_json(), json)


def _tables(found: "Comparison") -> list[RenderableType]:
    """What was trained; then a table of figures for each kind of data and part, more of them than fit in several."""
    from segue.report.compare_page import MARKS, heading

    shown: list[RenderableType] = [Text(f"note: {warning}", style="yellow") for warning in found.warnings]
    shown += [_facts(found), Text()]
    for group in found.groups:
        for part, rows in group.tables.items():
            for first in range(0, len(found.columns), AT_ONCE):
                shown += [_table(heading(group, part), rows, found.columns[first : first + AT_ONCE]), Text()]
    return [*shown, Text(MARKS, style="dim")]


def _plain(title: str | None = None) -> Table:
    return Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)


def _facts(found: "Comparison") -> Table:
    from segue.report.compare import PROFILES
    from segue.report.levels import gates_text
    from segue.report.numerals import size

    table = _plain()
    for column in ("run", "date", "size", "approach", *(f"gates\n{profile}" for profile in PROFILES), "status"):
        table.add_column(column, overflow="fold")
    rows = [row for group in found.groups for rows in group.tables.values() for row in rows if row.kind == "run"]
    for row in {row.path: row for row in rows}.values():
        gates = (gates_text(row.gates.get(profile)) for profile in PROFILES)
        facts = (row.name, row.date, size(row.parameters), row.approach, *gates, row.status)
        table.add_row(*(Text(fact, style="bold" if i == 0 else "") for i, fact in enumerate(facts)))
    return table


def _table(title: str, rows: "list[Row]", columns: "list[Column]") -> Table:
    from segue.report.compare_page import name_of

    table = _plain(title)
    table.add_column("run", min_width=12, overflow="fold")
    for column in columns:
        table.add_column(column.label.replace("_", "_\n").replace(" ", "\n"), justify="right", no_wrap=True)
    for i, row in enumerate(rows):
        run = row.kind == "run"
        cells = [_figure(row.figures[column.key], column.kind) for column in columns]
        table.add_row(Text(name_of(row), style="bold" if run else ""), *cells)
        if run and i + 1 < len(rows) and rows[i + 1].kind != "run":
            table.add_section()
    return table


def _figure(one: "Figure", kind: str) -> Text:
    """The value, and under it half its interval: whole ones do not fit; the page, Markdown and JSON have them."""
    from segue.report.compare_page import shown

    text = Text(shown(one, kind))
    low, high = one.result.low, one.result.high
    if low is not None and high is not None:
        text.append(f"\n±{(high - low) / 2:.3f}".replace("±0", "±"), style="dim")
    return text
