"""The section on peers' metrics, ordering and the other rollouts: what no gate judges, measured on a sample."""

from typing import Any

from segue.report import svg
from segue.report.figures import Panel
from segue.report.names import Metric
from segue.report.numerals import number, told
from segue.report.run import MODEL, Run, lookup, result
from segue.report.tables import Table, by_predictor

PEERS = (
    Metric("l2", "ℓ2"),
    Metric("l2_raw", "ℓ2, raw"),
    Metric("par", "par"),
    Metric("contrastive.paper", "contrastive, paper"),
    Metric("contrastive.code", "contrastive, code"),
)
ORDERING = (
    Metric("ordering.binary", "binary order"),
    Metric("ordering.kendall_tau", "Kendall τ", "signed"),
    Metric("ordering.perfect_match", "perfect order"),
)
MODES = (("", "raw"), ("snapped.", "snapped"), ("reencoded.", "re-encoded"))
DRAWN = (("contrastive", PEERS[3]), ("binary", ORDERING[0]), ("kendall_tau", ORDERING[1]))


def section(run: Run) -> dict[str, Any]:
    """Panels and tables of the section; all empty for a result made before these were measured."""
    return {
        "panels": [*_rankings(run), *_modes(run)],
        "peers": _tables(run, PEERS, _peers_caption),
        "ordering": _tables(run, ORDERING, lambda _, split: f"{split}: ordering the chunks that follow"),
        "rollouts": [
            by_predictor(run, [split], _mode_metrics(run, split), f"{split}: rollout by what is fed back")
            for split in run.splits
            if len(_mode_metrics(run, split)) > 2
        ],
    }


def _measured(run: Run, split: str, metrics: tuple[Metric, ...]) -> list[Metric]:
    """Those that at least one predictor has."""
    names = [MODEL, *run.controls]
    return [m for m in metrics if any(run.result(name, split, m.path).value is not None for name in names)]


def _tables(run: Run, metrics: tuple[Metric, ...], caption: Any) -> list[Table]:
    found = {split: _measured(run, split, metrics) for split in run.splits}
    return [by_predictor(run, [split], its, caption(run, split)) for split, its in found.items() if len(its) > 1]


def _peers_caption(run: Run, split: str) -> str:
    batch = lookup(run.metrics(MODEL, split), "contrastive.batch")
    size = f"; batches of {batch:.0f} chunks on average" if isinstance(batch, int | float) else ""
    return f"{split}: Large Concept Models’ metrics{size}"


def _mode_metrics(run: Run, split: str) -> list[Metric]:
    metrics = [
        Metric(f"rollout.{path}{name}", f"{label}, {mode}")
        for name, label in (("mean", "cos"), ("mrr", "MRR, steps 2 on"))
        for path, mode in MODES
    ]
    return _measured(run, split, tuple(metrics))


def _rankings(run: Run) -> list[Panel]:
    """Every attainable predictor by contrastive accuracy, binary order and τ, best first."""
    panels = []
    for lift, metric in DRAWN:
        for split in run.splits:
            rows = _rows(run, split, lift, metric)
            if not rows or run.result(MODEL, split, metric.path).value is None:
                continue
            one = run.result(MODEL, split, metric.path)
            chart = svg.interval_chart(
                sorted(rows, key=lambda row: -(row.value or 0.0)),
                x_label=metric.label,
                description=f"{metric.label} of every attainable predictor on {split}, best first.",
                marks=[svg.Mark(f"chance {number(one.chance)}", x=one.chance)] if one.chance is not None else [],
            )
            note = f"{one.n:,} windows" if one.n is not None else ""
            panels.append(Panel(f"{split}, {metric.label}", note, chart))
    return panels


def _rows(run: Run, split: str, lift: str, metric: Metric) -> list[svg.Row]:
    best = run.best_control(split, lift, metric.path)
    rows = []
    for name in [MODEL, *run.attainable()]:
        one = run.result(name, split, metric.path)
        if one.value is not None:
            rows.append(
                svg.Row(
                    label=name,
                    value=one.value,
                    low=one.low,
                    high=one.high,
                    text=number(one.value, metric.kind),
                    style="model" if name == MODEL else "best" if name == best else "other",
                    shape="circle" if name == MODEL else "diamond",
                    title=f"{name}: {metric.label} {told(one, metric.kind)}",
                    strong=name == MODEL,
                )
            )
    return rows


def _modes(run: Run) -> list[Panel]:
    """The model's rollout, step by step, by what is fed back."""
    panels = []
    looks = (("model", "circle"), ("best", "diamond"), ("copy", "square"))
    for split in run.splits:
        series = []
        for (path, mode), look in zip(MODES, looks, strict=True):
            steps = lookup(run.metrics(MODEL, split), f"rollout.{path}steps") or []
            found = [(j, result({"at": step}, "at")) for j, step in enumerate(steps, start=1)]
            points = [svg.Point(j, one.value, one.low, one.high, f"{mode}, step {j}: {told(one)}") for j, one in found]
            series += [svg.Series(mode, *look, points)] if points else []
        if len(series) > 1:
            chart = svg.line_chart(
                series,
                x_ticks=[(j, str(j)) for j in range(1, 6)],
                x_label="rollout step",
                y_label="cos to the chunk of that step",
                description=f"The model's rollout on {split} by what is fed back; the numbers are in the table below.",
            )
            said = ", ".join(f"{one.label} {GLYPH[one.shape]}" for one in series)
            panels.append(Panel(f"{split}, what is fed back", said, chart))
    return panels


GLYPH = {"circle": "●", "diamond": "◆", "square": "■"}
