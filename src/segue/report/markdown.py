"""Markdown: text that is shown as it is written, and tables."""

import re
from collections.abc import Sequence

from segue.report.tables import Cell, Table

SPECIAL = re.compile(r"[\\|*`\[\]<>~&]|(?<!\w)_|_(?!\w)|^(?=[#+-])|(?<=^\d)\.(?=\s)")
INTERVAL = re.compile(r"\\\[([-−+\d., ]+)\\\](?![(\[:])")  # ours, and no link


def literal(text: object) -> str:
    """Text of others in one line, nothing in it taken for markup or HTML."""
    escaped = SPECIAL.sub(lambda found: "\\" + found.group(), " ".join(str(text).split()))
    return INTERVAL.sub(r"[\1]", escaped)


def rows(heads: Sequence[str], lines: Sequence[Sequence[str]], right: Sequence[bool] = ()) -> str:
    """A table; `right`: which columns are set to the right. Cells are Markdown already."""
    rule = ["---:" if i < len(right) and right[i] else "---" for i in range(len(heads))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (heads, rule, *lines))


def table(one: Table) -> str:
    """The same table as on the page: values with their intervals in one cell."""
    right = [False, *(not (one.lines and one.lines[0].cells[i].words) for i in range(len(one.columns)))]
    lines = [[_first(line.name, line.note), *map(_cell, line.cells)] for line in [*one.lines, *one.foot]]
    return rows([literal(head) for head in (one.first, *one.columns)], lines, right)


def _first(name: str, note: str) -> str:
    return literal(name) + (f" ({literal(note)})" if note else "")


def _cell(one: Cell) -> str:
    text = literal(one.text) if one.words else one.text
    return f"{text} {one.interval}".strip().replace("|", "\\|").replace("\\\\|", "\\|")
