"""The comparison as the studio shows it: chosen by an address, its runs as links; and as CSV."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup
from starlette.datastructures import QueryParams

from segue.report.compare import PROFILES, Comparison, Row, compare
from segue.report.compare_page import contents, heading, name_of
from segue.report.names import POOLS
from segue.report.run import SPLITS
from segue.report.tables import Table
from segue.serving.studio.listing import Kept, Runs
from segue.serving.studio.pages import run_url

PARTS = (*SPLITS, "all")


@dataclass(frozen=True)
class Choice:
    """What to compare. `names`: of runs that can be read; `warnings`: of those that cannot, or are not there."""

    names: tuple[str, ...]
    pools: tuple[str, ...]
    part: str
    mixed: bool
    warnings: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[str, ...]:
        return SPLITS if self.part == "all" else (self.part,)


def chosen(query: QueryParams, runs: Runs) -> Choice:
    """From an address; what it does not say is all runs, pool future, VAL. Unknown words are left out."""
    cards = {card.name: card for card in runs.cards()}
    asked = query.getlist("run")
    warnings = [f"{name}: no such run here" for name in asked if name not in cards]
    names = [name for name in cards if name in asked] if asked else list(cards)
    warnings += [cards[name].problem for name in names if cards[name].problem]
    part = query.get("part", "VAL")
    pools = tuple(pool for pool in POOLS if pool in query.getlist("pool"))
    return Choice(
        names=tuple(name for name in names if not cards[name].problem),
        pools=pools or ("future",),
        part=part if part in PARTS else "VAL",
        mixed=query.get("mixed") == "1",
        warnings=tuple(warnings),
    )


class Comparisons:
    """Made once for each choice, until a run of it changes."""

    def __init__(self, runs: Runs):
        self._runs, self._kept = runs, Kept()

    def of(self, choice: Choice) -> Comparison | None:
        """None where there is nothing to compare."""
        folders = self._runs.folders()
        names = [name for name in choice.names if name in folders]
        paths = [folders[name] for name in names]
        if not paths:
            return None

        def make() -> Comparison:
            return compare(paths, choice.pools, choice.parts, "mrr", choice.mixed, names)

        made = self._kept.of(choice, paths, make)
        return replace(made, warnings=[*choice.warnings, *made.warnings])

    def contents(self, comparison: Comparison) -> dict[str, Any]:
        """As the report's page has it, each run a link to its page."""
        names = {str(path): name for name, path in self._runs.folders().items()}
        shown = contents(comparison)
        titles = _titles([group.judged_on for group in comparison.groups], [len(g.entries) for g in comparison.groups])
        for section, title in zip(shown["sections"], titles, strict=True):
            section["title"] = title
        for section, group in zip(shown["sections"], comparison.groups, strict=True):
            rows = group.tables.values()
            section["tables"] = [_linked(table, its, names) for table, its in zip(section["tables"], rows, strict=True)]
        return shown


def _titles(judged: Sequence[dict[str, Any]], counts: Sequence[int]) -> list[str]:
    """`22 runs: horizon 1, store sha256:7627827b`, by what differs between the groups."""
    order = ("horizon", "context", "store", "split", "ood_store", "samples", "seed")
    keys = [key for key in order if len({str(its.get(key)) for its in judged if key in its}) > 1]
    said = [", ".join(f"{key} {str(its[key])[:15]}" for key in keys if key in its) for its in judged]
    return [f"{n} run{'' if n == 1 else 's'}: {what}" for n, what in zip(counts, said, strict=True)]


def _linked(table: Table, rows: Sequence[Row], names: dict[str, str]) -> Table:
    links = [
        Markup('<a href="{}">{}</a>').format(run_url(names[row.path]), name_of(row)) if row.path in names else None
        for row in rows
    ]
    lines = [line._replace(name=link) if link else line for line, link in zip(table.lines, links, strict=True)]
    return replace(table, lines=lines)


def to_csv(comparison: Comparison) -> str:
    """A line for each run and control of each part; a figure is four columns: value, low, high, mark."""
    out = io.StringIO()
    writer = csv.writer(out)
    keys = [column.key for column in comparison.columns]
    fields = [f"{key}{suffix}" for key in keys for suffix in ("", " low", " high", " mark")]
    gates = [f"{what} {profile}" for profile in PROFILES for what in ("gates passed", "gates judged")]
    writer.writerow(["part", "name", "kind", "date", "parameters", "approach", *fields, *gates, "status"])
    for group in comparison.groups:
        for part, rows in group.tables.items():
            writer.writerows(_line(heading(group, part), row, keys) for row in rows)
    return out.getvalue()


def _line(part: str, row: Row, keys: Sequence[str]) -> list[Any]:
    figures = [row.figures[key] for key in keys]
    counted = [number for profile in PROFILES for number in (row.gates.get(profile) or ("", ""))]
    words = [part, name_of(row), row.kind, row.date, row.parameters, row.approach]
    cells = [cell for one in figures for cell in (*one.result[:3], "~" if one.small else one.mark)]
    return [_plain(cell) for cell in (*words, *cells, *counted, row.status)]


def _plain(cell: Any) -> Any:
    """A spreadsheet would run a text that begins like a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@") else cell
