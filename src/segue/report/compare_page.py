"""A comparison as tables, and those as Markdown or as a page."""

from collections.abc import Sequence
from typing import Any

from segue.report import markdown, svg
from segue.report.compare import ABOVE, BELOW, PROFILES, Column, Comparison, Figure, Group, Row
from segue.report.figures import Panel
from segue.report.levels import gates_text
from segue.report.names import GLOSSARY
from segue.report.numerals import NONE, interval, number, size, told
from segue.report.page import environment
from segue.report.tables import Cell, Line, Table

MARKS = (
    f"{ABOVE} above, {BELOW} below the best attainable control: the paired difference, same windows, is clear of zero. "
    "Intervals: 95 %, over documents."
)
DRAWN = ("mrr", "cos", "margin_last", "direction")
WORDS = {"date", "approach", "status"}


def shown(one: Figure, kind: str) -> str:
    """`0.545 ▲`; `~0.545` where it is of the small test."""
    text = number(one.result.value, kind)
    return text if text == NONE else f"{'~' if one.small else ''}{text}{f' {one.mark}' if one.mark else ''}"


def title_of(one: Figure, kind: str) -> str:
    """All there is to say of a figure."""
    if one.result.value is None:
        return ""
    beside = {ABOVE: "above the best attainable control", BELOW: "below the best attainable control"}.get(one.mark, "")
    small = "small test after an epoch" if one.small else ""
    return " · ".join(part for part in (told(one.result, kind), beside, small) if part)


def name_of(row: Row) -> str:
    return f"{row.name} ({row.data})" if row.data else row.name


def heading(group: Group, part: str) -> str:
    """`VAL, 3,720 windows of 100 documents, h 2`"""
    run = next((entry.run for entry in group.tested if part in entry.run.splits), None)
    said = [part]
    if run is None:
        said.append("the small test after each epoch")
    elif "split" in group.judged_on and (windows := run.windows(part)) is not None:
        said.append(f"{windows:,} windows of {number(run.documents(part), 'count')} documents")
    horizon = group.judged_on.get("horizon")
    return ", ".join([*said, *([f"h {horizon}"] if horizon not in (None, 1) else [])])


def table(comparison: Comparison, group: Group, part: str, rows: Sequence[Row]) -> Table:
    """All columns."""
    columns = ["date", "size", "approach", *(column.label for column in comparison.columns)]
    columns += [f"gates, {profile}" for profile in PROFILES] + ["status"]
    lines = [Line(name_of(row), "", _group_of(row), _cells(row, comparison.columns)) for row in rows]
    return Table(heading(group, part), columns, lines, first="run", sortable=True)


def _group_of(row: Row) -> str:
    return "model" if row.kind == "run" else "attainable"


def _cells(row: Row, columns: Sequence[Column]) -> list[Cell]:
    run = row.kind == "run"
    cells = [
        Cell(row.date if run else NONE, words=True),
        Cell(size(row.parameters), sort=row.parameters),
        Cell(row.approach or NONE, words=True),
    ]
    for column in columns:
        one = row.figures[column.key]
        text, title = shown(one, column.kind), title_of(one, column.kind)
        cells.append(Cell(text, interval(one.result, column.kind), title, one.result.value))
    for profile in PROFILES:
        counted = row.gates.get(profile)
        cells.append(Cell(gates_text(counted), sort=counted[0] if counted else None))
    return [*cells, Cell(row.status or NONE, words=True)]


def tables(comparison: Comparison) -> list[Table]:
    """A table for each kind of data and part."""
    return [table(comparison, group, part, rows) for group in comparison.groups for part, rows in group.tables.items()]


def to_markdown(comparison: Comparison) -> str:
    """The tables with a line above each, warnings first."""
    parts = [markdown.literal(f"Note: {warning}.") for warning in comparison.warnings]
    for one in tables(comparison):
        parts += [f"**{markdown.literal(one.caption)}**", markdown.table(one)]
    return "\n\n".join([*parts, MARKS]) + "\n"


def headline(comparison: Comparison) -> tuple[str, str]:
    """How many tested runs name what follows better than every simple control, and the tone of it."""
    sides = {
        row.name: row.figures["mrr"].mark
        for group in comparison.groups
        for rows in list(group.tables.values())[-1:]
        for row in rows
        if row.kind == "run" and "mrr" in row.figures and not row.figures["mrr"].small
    }
    ahead = [name for name, mark in sides.items() if mark == ABOVE]
    if not sides:
        return "None of these runs was tested yet.", "open"
    if not ahead:
        return "None of these runs names the next chunk better than every simple control.", "bad"
    whole = "All" if len(ahead) == len(sides) else f"{len(ahead)} of {len(sides)}"
    return f"{whole} name the next chunk better than every simple control.", "good"


def _panels(comparison: Comparison, group: Group) -> list[Panel]:
    """The figures that matter with their intervals, best first."""
    panels = []
    for column in comparison.columns:
        if column.key not in DRAWN:
            continue
        for part, rows in group.tables.items():
            known = [row for row in rows if row.figures[column.key].result.value is not None]
            if not known:
                continue
            drawn = sorted((_drawn(row, column) for row in known), key=lambda one: -(one.value or 0.0))
            label = f"{column.label}, pool future" if column.key == "mrr" else column.label
            chart = svg.interval_chart(
                drawn, x_label=label, description=f"{label} on {part}, best first; the numbers are in the table."
            )
            panels.append(Panel(f"{part}, {label}", "", chart))
    return panels


def _drawn(row: Row, column: Column) -> svg.Row:
    one, run = row.figures[column.key], row.kind == "run"
    name = name_of(row)
    return svg.Row(
        label=name if len(name) < 22 else f"{name[:10]}…{name[-10:]}",
        value=one.result.value,
        low=one.result.low,
        high=one.result.high,
        text=shown(one, column.kind).removesuffix(f" {one.mark}"),
        style="model" if run else "best",
        shape="circle" if run else "diamond",
        title=f"{name}: {column.label} {title_of(one, column.kind)}",
        strong=run,
    )


def to_page(comparison: Comparison) -> str:
    """One page that opens offline; a heading sorts its column."""
    return environment().get_template("compare.html.j2").render(contents(comparison))


def contents(comparison: Comparison) -> dict[str, Any]:
    """What the template shows."""
    said, tone = headline(comparison)
    sections = [
        {
            "name": ", ".join(entry.label for entry in group.entries),
            "panels": _panels(comparison, group),
            "tables": [table(comparison, group, part, rows) for part, rows in group.tables.items()],
            "facts": [
                (key.replace("_", " "), NONE if value is None else value) for key, value in group.judged_on.items()
            ],
        }
        for group in comparison.groups
    ]
    words = ("cos", "margin", "margin_last", "R@k, MRR", "direction", "interval", "best attainable control")
    return {
        "headline": said,
        "tone": tone,
        "marks": MARKS,
        "warnings": comparison.warnings,
        "sections": sections,
        "glossary": {word: GLOSSARY[word] for word in words},
    }
