"""Runs side by side, with the best controls: the table the experiments kept by hand.

Runs judged on different windows do not belong in one table: each kind of data has its own, unless one is asked for,
and then each row says what it was judged on.
"""

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from segue.errors import InputError, nearest
from segue.report.levels import gates_passed
from segue.report.names import CONTROLS, POOLS
from segue.report.numerals import NONE
from segue.report.run import MODEL, NOTHING, SPLITS, Result, Run, lookup, result
from segue.report.same_data import Entry, differing, grouped, judged_on, read_entries
from segue.report.standing import approach, made_at, parameters

PROFILES = ("skill", "original")
RANKS = (("r1", "R@1"), ("r5", "R@5"), ("mrr", "MRR"))
WORDS = ("name", "date", "size", "approach", "status")
SMALL_TEST = 500  # windows of the test after each epoch
ABOVE, BELOW = "▲", "▼"
LETTERS = string.ascii_lowercase + string.ascii_uppercase


class Column(NamedTuple):
    """A figure: where it lies in a 5CAT, in the history of an untested run, and under which lift. None: nowhere."""

    key: str
    label: str
    path: str
    history: str | None
    lift: str | None = None
    kind: str = "plain"


def columns_of(pools: Sequence[str] = ("future",)) -> list[Column]:
    """cos, the margins, the ranks, direction; then other pools. Raises InputError for an unknown pool."""
    for pool in pools:
        if pool not in POOLS:
            raise InputError(f"--pools: unknown pool {pool!r}. {nearest(pool, [*POOLS, 'all'])}")
    return [
        Column("cos", "cos", "cos", "val.cos", "cos"),
        Column("margin", "margin", "margin", "val.margin", kind="signed"),
        Column("margin_last", "margin_last", "margin_last", "val.margin_last", kind="signed"),
        *(_ranks("future") if "future" in pools else []),
        Column("direction", "direction", "direction", "val.direction", "direction"),
        *(column for pool in pools if pool != "future" for column in _ranks(pool)),
    ]


def _ranks(pool: str) -> list[Column]:
    """A pool's ranks; those of `future` go by their bare names."""
    future = pool == "future"
    return [
        Column(
            name if future else f"{pool}.{name}",
            label if future else f"{label} {pool}",
            f"retrieval.{pool}.{name}",
            f"val.{name}_future" if future else None,
            "mrr_future" if future and name == "mrr" else None,
        )
        for name, label in RANKS
    ]


class Figure(NamedTuple):
    """`mark`: above or below the best attainable control, its paired interval clear of zero. `small`: not of a 5CAT."""

    result: Result = NOTHING
    mark: str = ""
    small: bool = False


@dataclass(frozen=True)
class Row:
    """A run or a control. `figures` and `gates` by key; `data`: a letter where rows of several data share a table."""

    name: str
    kind: str
    approach: str
    figures: Mapping[str, Figure]
    gates: Mapping[str, tuple[int, int] | None]
    date: str = NONE
    parameters: int | None = None
    status: str = ""
    path: str = ""
    data: str = ""

    def to_json(self) -> dict[str, Any]:
        its: dict[str, Any] = {
            "name": self.name,
            "kind": self.kind,
            "approach": self.approach,
            "figures": {
                key: {**one.result._asdict(), "mark": one.mark, "small_test": one.small}
                for key, one in self.figures.items()
            },
            "gates": {
                profile: None if counted is None else {"passed": counted[0], "judged": counted[1]}
                for profile, counted in self.gates.items()
            },
        }
        if self.kind == "run":
            its |= {"path": self.path, "date": self.date, "parameters": self.parameters, "status": self.status}
        return its


@dataclass
class Group:
    """Runs judged on the same windows, and a list of rows for each part."""

    entries: list[Entry]
    judged_on: dict[str, Any]
    tables: dict[str, list[Row]] = field(default_factory=dict)

    @property
    def tested(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.tested]


@dataclass(frozen=True)
class Comparison:
    """`groups` by what they were judged on; each has a list of rows a part. `warnings` for every reader."""

    columns: list[Column]
    groups: list[Group]
    warnings: list[str]

    def to_json(self) -> dict[str, Any]:
        return {
            "columns": [column.key for column in self.columns],
            "warnings": self.warnings,
            "groups": [
                {
                    "judged_on": group.judged_on,
                    "tables": {part: [row.to_json() for row in rows] for part, rows in group.tables.items()},
                }
                for group in self.groups
            ],
        }


def compare(
    runs: Sequence[str | Path],
    pools: Sequence[str] = ("future",),
    parts: Sequence[str] = SPLITS,
    sort: str | None = None,
    one_table: bool = False,
    labels: Sequence[str] | None = None,
) -> Comparison:
    """Read runs in any state and lay them side by side. `labels`: what to call them, else by their folders.

    Raises InputError for what is no run, a run named twice, an unknown pool or sort key.
    """
    columns = columns_of(list(POOLS) if "all" in pools else pools)
    keys = [*WORDS, *(column.key for column in columns), *PROFILES]
    if sort is not None and sort not in keys:
        raise InputError(f"--sort: unknown column {sort!r}. {nearest(sort, keys)}")
    entries = read_entries(runs, labels)
    groups = [Group(its, judged_on(its)) for its in grouped(entries)]
    warnings = _warnings(groups, one_table)
    for group in groups:
        group.tables = {part: _rows(group, part, columns) for part in parts}
    if one_table and len(groups) > 1:
        groups = [_merged(groups, entries)]
    for group in groups:
        group.tables = {part: _sorted(rows, sort) for part, rows in group.tables.items() if rows}
        warnings += _controls_differ(group, columns)
    return Comparison(columns, groups, warnings)


def _merged(groups: Sequence[Group], entries: list[Entry]) -> Group:
    """One table of all, each row with the letter of its data."""
    lettered = [
        {part: [replace(row, data=LETTERS[i]) for row in rows] for part, rows in group.tables.items()}
        for i, group in enumerate(groups)
    ]
    tables: dict[str, list[Row]] = {}
    for part in groups[0].tables:
        rows = [row for tables_ in lettered for row in tables_[part]]
        tables[part] = [row for kind in ("run", "control") for row in rows if row.kind == kind]
    shared = {
        key: value
        for key, value in groups[0].judged_on.items()
        if all(group.judged_on.get(key) == value for group in groups)
    }
    return Group(list(entries), shared, tables)


def _warnings(groups: Sequence[Group], one_table: bool) -> list[str]:
    said = []
    first = ", ".join(entry.label for entry in groups[0].entries)
    for i, group in enumerate(groups[1:], start=1):
        names = ", ".join(entry.label for entry in group.entries)
        other = f"other windows than {first} ({differing(groups[0].judged_on, group.judged_on)})"
        if one_table:
            said.append(f"{LETTERS[i]}: {names}: judged on {other}, not to be read against {LETTERS[0]}")
        else:
            said.append(f"{names}: judged on {other}, so in another table; --mixed puts all in one")
    entries = [entry for group in groups for entry in group.entries]
    small = [entry for entry in entries if not entry.tested and entry.run.history]
    if small:
        names = ", ".join(f"{entry.label} (epoch {_best_entry(entry.run)['epoch']})" for entry in small)
        said.append(
            f"~: not tested yet: {names} with figures of the small test after the best epoch so far: VAL, at most "
            f"{SMALL_TEST} windows, no interval"
        )
    uncertified = [entry.label for entry in entries if entry.run.five_cat.get("certified") is False]
    if uncertified:
        said.append(f"the harness is not certified on the data of {', '.join(uncertified)}: see its report")
    return said


def _best_entry(run: Run) -> dict[str, Any]:
    """The line of the epoch that `best` points to; the last one where there is no such link."""
    link = run.folder / "best"
    name = link.readlink().name if link.is_symlink() else ""
    return run.epochs.get(int(name) if name.isdigit() else 0, run.history[-1])


def _rows(group: Group, part: str, columns: Sequence[Column]) -> list[Row]:
    """The runs in the order given, then the best controls; none where no run was measured on that part."""
    shown = [entry for entry in group.entries if part == "VAL" or (entry.tested and part in entry.run.splits)]
    rows = [_run_row(entry, part, columns) for entry in shown]
    return rows + _control_rows(group, part, columns) if rows else []


def _run_row(entry: Entry, part: str, columns: Sequence[Column]) -> Row:
    run = entry.run
    if entry.tested:
        figures = {
            column.key: Figure(
                run.result(MODEL, part, column.path),
                _side(run.lift(part, column.lift)) if column.lift else "",
            )
            for column in columns
        }
    else:
        best = _best_entry(run) if run.history and part == "VAL" else {}
        figures = {
            column.key: Figure(result(best, column.history) if column.history else NOTHING, small=True)
            for column in columns
        }
    return Row(
        name=entry.label,
        kind="run",
        approach=approach(run),
        figures=figures,
        gates={profile: gates_passed(run, profile) for profile in PROFILES},
        date=made_at(run),
        parameters=parameters(run),
        status=entry.standing.said,
        path=str(run.folder),
    )


def _side(lift: Result) -> str:
    if lift.low is None or lift.high is None:
        return ""
    return ABOVE if lift.low > 1e-6 else BELOW if lift.high < -1e-6 else ""


def _control_rows(group: Group, part: str, columns: Sequence[Column]) -> list[Row]:
    """copy_last, and the attainable controls best in cos, direction and each MRR: figures of the first tested run."""
    tested = [entry.run for entry in group.tested if part in entry.run.splits]
    if not tested:
        return []
    run = tested[0]
    names = ["copy_last"] if "copy_last" in run.attainable() else []
    for column in (one for one in columns if one.key in ("cos", "direction") or one.key.endswith("mrr")):
        best = run.best_control(part, column.lift or column.key, column.path)
        names += [best] if best else []
    rows = []
    for name in dict.fromkeys(names):
        figures = {column.key: Figure(run.result(name, part, column.path)) for column in columns}
        passed = {profile: lookup(run.controls, f"{name}.gates.{profile}") or {} for profile in PROFILES}
        judged = {p: [one for one in its.values() if one is not None] for p, its in passed.items()}
        gates = {p: (sum(its), len(its)) if its else None for p, its in judged.items()}
        rows.append(Row(name, "control", CONTROLS.get(name, ""), figures, gates, status="control"))
    return rows


def _controls_differ(group: Group, columns: Sequence[Column]) -> list[str]:
    """Controls on the pool `unseen` lack what the judged run read, so runs that read more have other controls."""
    said = []
    for column in columns:
        for part, rows in group.tables.items():
            shown = [row.name for row in rows if row.kind == "control" and not row.data]
            runs = [entry for entry in group.tested if part in entry.run.splits]
            for name in shown:
                values = {entry.label: entry.run.result(name, part, column.path).value for entry in runs}
                first = next(iter(values.values()))
                others = [label for label, value in values.items() if not _same(value, first)]
                if others:
                    said.append(
                        f"{column.label} of the controls on {part} is that of {next(iter(values))}; measured beside "
                        f"{', '.join(others)} it differs, for they read other chunks or were tested otherwise"
                    )
                    break
    return list(dict.fromkeys(said))


def _same(a: float | None, b: float | None) -> bool:
    return a == b or (a is not None and b is not None and abs(a - b) < 1e-6)


def _sorted(rows: list[Row], key: str | None) -> list[Row]:
    """Figures and counts fall, words rise; what has none comes last. Runs and controls together."""
    if key is None:
        return rows

    def value(row: Row) -> float | str | None:
        if key in PROFILES:
            counted = row.gates.get(key)
            return counted[0] if counted else None
        if key in row.figures:
            return row.figures[key].result.value
        if key == "size":
            return row.parameters
        return {"name": row.name, "date": row.date, "approach": row.approach, "status": row.status}[key]

    known = [row for row in rows if value(row) is not None]
    falling = key not in ("name", "date", "approach", "status")
    return [*sorted(known, key=lambda row: value(row), reverse=falling), *(r for r in rows if value(r) is None)]  # type: ignore[arg-type,return-value]
