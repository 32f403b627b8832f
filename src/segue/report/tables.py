"""The tables of the page. A cell is a number with all there is to say of it; templates only lay it out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from segue.report.figures import measured_on
from segue.report.names import (
    ABLATIONS,
    ALL_METRICS,
    BINS,
    CONTROLS,
    COS,
    LIFTS,
    MRR,
    POOLS,
    RETRIEVAL,
    ROLLOUT_MRR,
    Metric,
)
from segue.report.numerals import NONE, interval, number, told
from segue.report.run import MODEL, NOTHING, Result, Run, result


class Cell(NamedTuple):
    """`text` is all that a cell of words has; with `words` it is set to the left and sorted as text."""

    text: str = NONE
    interval: str = ""
    title: str = ""
    sort: float | None = None
    words: bool = False


class Line(NamedTuple):
    """A row of a table; `group` is model, attainable, unattainable, chance or n."""

    name: str
    note: str
    group: str
    cells: list[Cell]


@dataclass(frozen=True)
class Table:
    """`foot` holds the lines that are not sorted with the others."""

    caption: str
    columns: Sequence[str]
    lines: Sequence[Line]
    foot: Sequence[Line] = field(default_factory=list)
    first: str = "predictor"
    sortable: bool = False
    groups: Sequence[tuple[str, int]] = ()  # headings over several columns


def cell(one: Result, kind: str = "plain") -> Cell:
    return Cell(number(one.value, kind), interval(one, kind), told(one, kind), one.value)


def _foot(measured: Sequence[tuple[Result, str]]) -> list[Line]:
    """What the columns' numbers were measured on, and what chance gives."""
    lines = []
    if any(one.chance is not None for one, _ in measured):
        lines.append(Line("chance", "", "chance", [Cell(number(one.chance, kind)) for one, kind in measured]))
    if any(one.n is not None for one, _ in measured):
        lines.append(Line("n, windows", "", "n", [Cell(number(one.n, "count")) for one, _ in measured]))
    return lines


def _predictors(run: Run) -> list[tuple[str, str]]:
    return [
        (MODEL, "model"),
        *((name, "attainable") for name in run.attainable()),
        *((name, "unattainable") for name in run.unattainable()),
    ]


def _note(run: Run, name: str) -> str:
    return str(run.predictor.get("name") or "") if name == MODEL else CONTROLS.get(name, "")


def by_predictor(
    run: Run, splits: Sequence[str], metrics: Sequence[Metric], caption: str, sortable: bool = False
) -> Table:
    """A line for each predictor, the same columns for each split. The widest tables, the sortable, go without notes."""
    columns = [(split, metric) for split in splits for metric in metrics]
    lines = []
    for name, group in _predictors(run):
        cells = [cell(run.result(name, split, metric.path), metric.kind) for split, metric in columns]
        if name == MODEL or any(one.sort is not None for one in cells):
            lines.append(Line(name, "" if sortable else _note(run, name), group, cells))
    foot = _foot([(run.result(MODEL, split, metric.path), metric.kind) for split, metric in columns])
    groups = [(split, len(metrics)) for split in splits] if len(splits) > 1 else []
    labels = [metric.label for _, metric in columns]
    return Table(caption, labels, lines, foot, sortable=sortable, groups=groups)


def everything(run: Run) -> list[Table]:
    """Every predictor against every metric, one table a split."""
    caption = "R@k and MRR: pool future; shuffle: change of cos; rollout: mean cos over the steps."
    return [
        by_predictor(run, [split], ALL_METRICS, f"{split}, {measured_on(run, split)}. {caption}", sortable=True)
        for split in run.splits
    ]


def retrieval(run: Run) -> dict[str, Table]:
    """A table for each pool that was measured, `future` first."""
    pools: dict[str, Table] = {}
    for pool in POOLS:
        metrics = [Metric(f"retrieval.{pool}.{name}", label) for name, label in RETRIEVAL]
        splits = [split for split in run.splits if run.result(MODEL, split, metrics[-1].path).value is not None]
        about = []
        for split in splits:
            candidates = result(run.metrics(MODEL, split), f"retrieval.{pool}.candidates").value
            among = f", on average {candidates:,.1f} candidates" if candidates is not None else ""
            about.append(f"{split}: {measured_on(run, split)}{among}")
        if splits:
            pools[pool] = by_predictor(run, splits, metrics, f"Pool {pool}. {'; '.join(about)}.")
    return pools


def lifts(run: Run) -> Table | None:
    """Model, best attainable control and their paired difference, a row for each metric and split."""
    lines = []
    for split in run.splits:
        for name, metric in LIFTS.items():
            mine, lift = run.result(MODEL, split, metric.path), run.lift(split, name)
            best = run.best_control(split, name, metric.path)
            if mine.value is None and lift.value is None:
                continue
            theirs = run.result(best, split, metric.path) if best else NOTHING
            cells = [cell(mine), Cell(best or NONE), cell(theirs), cell(lift, "signed")]
            cells += [Cell(number(mine.chance)), Cell(number(lift.n if lift.n is not None else mine.n, "count"))]
            label = f"{metric.label}, pool future" if metric in (MRR, ROLLOUT_MRR) else metric.label
            lines.append(Line(label, split, "attainable", cells))
    columns = ["model", "best attainable control", "its value", "difference", "chance", "n"]
    return Table("Paired over the same windows", columns, lines, first="metric") if lines else None


def offsets(run: Run) -> list[Table]:
    """The numbers of the offset curves."""
    tables = []
    for split in run.splits:
        keys = sorted(run.metrics(MODEL, split).get("offsets") or {}, key=int)
        if keys:
            metrics = [Metric(f"offsets.{key}", number(int(key), "offset")) for key in keys]
            tables.append(by_predictor(run, [split], metrics, f"{split}: mean cosine s(k) by offset k"))
    return tables


def ablations(run: Run) -> list[Table]:
    """Each ablation for the model and every control."""
    tables = []
    for tree, what in (("ablations", "cos"), ("ablations_mrr", "MRR, pool future,")):
        metrics = [Metric(f"{tree}.{name}", name, "signed") for name in ABLATIONS]
        for split in run.splits:
            if any(run.result(MODEL, split, metric.path).value is not None for metric in metrics):
                caption = f"{split}: change of {what} when the context is damaged"
                tables.append(by_predictor(run, [split], metrics, caption))
    return tables


def rollouts(run: Run) -> list[Table]:
    """cos and future MRR of each rollout step, for the model and every control."""
    tables = []
    for split in run.splits:
        for kind, label, mean in (("steps", "cos", "mean"), ("mrr_steps", "MRR, pool future", "mrr")):
            steps = (run.metrics(MODEL, split).get("rollout") or {}).get(kind) or []
            if steps:
                metrics = [Metric(f"rollout.{kind}.{i}", f"step {i + 1}") for i in range(len(steps))]
                name = "mean" if kind == "steps" else "mean of steps 2 on"
                metrics.append(Metric(f"rollout.{mean}", name))
                tables.append(by_predictor(run, [split], metrics, f"{split}: rollout, {label}"))
    return tables


def difference(a: Result, b: Result) -> Result:
    """a − b of independent samples; the interval from the two intervals (Zou and Donner's MOVER)."""
    if a.value is None or b.value is None:
        return NOTHING
    gap = a.value - b.value
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return Result(gap)
    low = gap - ((a.value - a.low) ** 2 + (b.high - b.value) ** 2) ** 0.5
    high = gap + ((a.high - a.value) ** 2 + (b.value - b.low) ** 2) ** 0.5
    return Result(gap, low, high)


def generalisation(run: Run) -> Table | None:
    """VAL beside OOD and their difference, the model and the best control of cos."""
    if len(run.splits) < 2:
        return None
    rows = [(metric.label, metric.path, metric.kind) for metric in (COS, *ALL_METRICS[1:2], MRR)]
    rows += [("direction", "direction", "plain"), ("rollout", "rollout.mean", "plain")]
    rows += [(f"cos, coherence {what}", f"bins.{name}", "plain") for name, what in BINS.items()]
    best = run.best_control("VAL", "cos", COS.path)
    lines = []
    for label, path, kind in rows:
        val, ood = run.result(MODEL, "VAL", path), run.result(MODEL, "OOD", path)
        if val.value is None and ood.value is None:
            continue
        cells = [cell(val, kind), cell(ood, kind), cell(difference(val, ood), "signed")]
        if best:
            theirs = (run.result(best, "VAL", path), run.result(best, "OOD", path))
            cells += [cell(theirs[0], kind), cell(theirs[1], kind), cell(difference(*theirs), "signed")]
        cells += [Cell(number(val.n, "count")), Cell(number(ood.n, "count"))]
        lines.append(Line(f"{label}, pool future" if path == MRR.path else label, "", "attainable", cells))
    columns = ["VAL", "OOD", "VAL − OOD"]
    columns += [f"{best} VAL", f"{best} OOD", f"{best} VAL − OOD"] if best else []
    caption = "Model, and the best attainable control of cos. The interval of a difference follows from the two."
    return Table(caption, [*columns, "n VAL", "n OOD"], lines, first="metric")
