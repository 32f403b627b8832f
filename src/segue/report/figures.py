"""The figures of the page, made from a run."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from segue.report import svg
from segue.report.names import ABLATIONS, BINS, COS, LIFTS, MRR, ROLLOUT_MRR, Metric
from segue.report.numerals import number, told
from segue.report.run import MODEL, Result, Run, result

OFFSETS = range(-12, 7)  # looked for; drawn are those that were measured
SHAPE = {MODEL: "circle", "copy_last": "triangle", "context_mean": "square", "oracle": "cross", "random": "cross"}
STYLE = {MODEL: "model", "copy_last": "copy", "context_mean": "mean", "oracle": "oracle", "random": "oracle"}


class Panel(NamedTuple):
    """A figure with the line above it that says what it was measured on."""

    heading: str
    note: str
    chart: Markup


class Key(NamedTuple):
    """An entry of a legend."""

    label: str
    style: str
    mark: Markup


def style(name: str) -> str:
    return STYLE.get(name, "best")


def shape(name: str) -> str:
    return SHAPE.get(name, "diamond")


def shown_controls(run: Run, split: str, lift: str, metric: Metric) -> list[str]:
    """The controls that a figure draws: the two simplest, the best attainable one, the oracle; none twice."""
    best = run.best_control(split, lift, metric.path)
    names = [best, "copy_last", "context_mean", "oracle"]
    return [name for name in dict.fromkeys(names) if name and name in run.controls]


def key(run: Run) -> list[Key]:
    """The legend of the offset curves."""
    drawn = {split: shown_controls(run, split, "cos", COS) for split in run.splits}
    return _key(run, {"": ("cos", COS)}, [name for names in drawn.values() for name in names])


def rollout_key(run: Run) -> list[Key]:
    """The legend of cos and MRR together: their best controls may differ."""
    drawn = {what: (lift, metric) for _, what, _, lift, metric in ROLLOUTS}
    return _key(
        run, drawn, [n for one in drawn.values() for split in run.splits for n in _rolled_out(run, split, *one)]
    )


def _key(run: Run, drawn: dict[str, tuple[str, Metric]], names: Sequence[str]) -> list[Key]:
    best: dict[str, dict[str, None]] = {}  # control → for what it is the best
    for what, (lift, metric) in drawn.items():
        for split in run.splits:
            best.setdefault(run.best_control(split, lift, metric.path) or "", {})[what] = None
    entries = []
    for name in dict.fromkeys([MODEL, *names]):
        what = " and ".join(best.get(name, {}))
        remark = f" (best attainable{', ' + what if what else ''})" if name in best else ""
        mark = svg.tag("svg", svg.marker(shape(name), 7.0, 7.0), viewBox="0 0 14 14", class_="key", aria_hidden="true")
        entries.append(Key(name + remark, style(name), mark))
    return entries


def measured_on(run: Run, split: str) -> str:
    windows, documents = run.windows(split), run.documents(split)
    if windows is None:
        return ""
    return f"{windows:,} windows" + (f" of {documents:,} documents" if documents is not None else "")


def _series(name: str, points: Iterable[tuple[float, str, Result]], kind: str = "plain") -> svg.Series:
    return svg.Series(
        label=name,
        style=style(name),
        shape=shape(name),
        points=[
            svg.Point(x, one.value, one.low, one.high, f"{name}, {where}: {told(one, kind)}")
            for x, where, one in points
        ],
    )


def offset_curves(run: Run) -> list[Panel]:
    """Mean s(k) of the model and of the controls, one panel a split, on one scale."""
    panels, highest = [], 0.0
    drawn: dict[str, list[svg.Series]] = {}
    for split in run.splits:
        drawn[split] = []
        for name in [MODEL, *shown_controls(run, split, "cos", COS)]:
            found = run.metrics(name, split).get("offsets") or {}
            at = {k: result(found, str(k) if str(k) in found else f"{k:+d}") for k in OFFSETS}
            points = [(k, f"offset {number(k, 'offset')}", one) for k, one in at.items() if one.value is not None]
            drawn[split].append(_series(name, points))
    values = [v for all_ in drawn.values() for s in all_ for p in s.points for v in (p.y, p.low) if v is not None]
    offsets = sorted({p.x for all_ in drawn.values() for s in all_ for p in s.points})
    if not offsets:
        return []
    lowest, highest = min(values), max(1.0, *values)
    first = min(offsets)
    for split, series in drawn.items():
        chart = svg.line_chart(
            series,
            x_ticks=[(k, number(k, "offset")) for k in offsets],
            x_label="offset k",
            y_label="mean cosine s(k)",
            description=f"Mean cosine of predictions to the chunks at offsets {first:.0f} to {max(offsets):.0f} on "
            f"{split}; the numbers are in the table below.",
            marks=[svg.Mark("target", x=run.horizon)],
            shades=[svg.Shade("context: what was read", first - 0.5, 0.5)],
            y_range=(lowest, highest),
        )
        panels.append(Panel(split, measured_on(run, split), chart))
    return panels


def lifts(run: Run) -> list[Panel]:
    """Paired differences to the best attainable control, one panel a split."""
    panels = []
    for split in run.splits:
        rows = []
        for name, metric in LIFTS.items():
            one = run.lift(split, name)
            if one.value is None:
                continue
            against = run.best_control(split, name, metric.path)
            rows.append(
                svg.Row(
                    label=f"{metric.label} (future)" if metric is MRR else metric.label,
                    note=f"against {against}",
                    value=one.value,
                    low=one.low,
                    high=one.high,
                    text=number(one.value, "signed"),
                    style=_side(one),
                    title=f"{metric.label}, model minus {against}: {told(one, 'signed')}",
                )
            )
        if rows:
            chart = svg.interval_chart(
                rows,
                x_label="model minus control",
                description=f"Paired differences to the best attainable control on {split}.",
                marks=[svg.Mark("no better", x=0.0)],
            )
            panels.append(Panel(split, measured_on(run, split), chart))
    return panels


def _side(lift: Result) -> str:
    if lift.low is None or lift.high is None:
        return "other"
    return "above" if lift.low > 0 else "below" if lift.high < 0 else "other"


def _ranking(run: Run, split: str, metric: Metric) -> list[svg.Row]:
    best = run.best_control(split, "mrr_future", metric.path)
    rows = []
    for name in [MODEL, *run.attainable()]:
        one = run.result(name, split, metric.path)
        if one.value is None:
            continue
        rows.append(
            svg.Row(
                label=name,
                value=one.value,
                low=one.low,
                high=one.high,
                text=number(one.value),
                style="model" if name == MODEL else "best" if name == best else "other",
                shape="circle" if name == MODEL else "diamond",
                title=f"{name}: {metric.label} {told(one)}",
                strong=name == MODEL,
            )
        )
    return sorted(rows, key=lambda row: -(row.value or 0.0))


def future_mrr(run: Run) -> list[Panel]:
    """MRR in the pool that matters, every attainable predictor, best first."""
    panels = []
    for split in run.splits:
        rows = _ranking(run, split, MRR)
        if not rows:
            continue
        chance = run.result(MODEL, split, MRR.path).chance
        chart = svg.interval_chart(
            rows,
            x_label="MRR, pool future",
            description=f"Mean reciprocal rank in the pool future on {split}, best first.",
            marks=[svg.Mark(f"chance {number(chance)}", x=chance)] if chance is not None else [],
        )
        panels.append(Panel(split, measured_on(run, split), chart))
    return panels


def ablations(run: Run) -> list[Panel]:
    """Change of the model's cos, and of its future MRR where measured, when its context is damaged."""
    panels = []
    for tree, what in (("ablations", "cos"), ("ablations_mrr", "MRR")):
        for split in run.splits:
            rows = []
            for name, damage in ABLATIONS.items():
                one = run.result(MODEL, split, f"{tree}.{name}")
                if one.value is not None:
                    text, title = number(one.value, "signed"), f"{name}, {damage}: {told(one, 'signed')}"
                    rows.append(svg.Row(name, one.value, one.low, one.high, text, style="model", title=title))
            if rows:
                chart = svg.interval_chart(
                    rows,
                    x_label=f"change of {what}" + (", pool future" if what == "MRR" else ""),
                    description=f"Change of the model's {what} on {split} when its context is damaged.",
                    marks=[svg.Mark("whole context", x=0.0)],
                )
                panels.append(Panel(f"{split}, {what}", measured_on(run, split), chart))
    return panels


ROLLOUTS = (
    ("steps", "cos", "cos to the chunk of that step", "cos", COS),
    ("mrr_steps", "MRR", "MRR, pool future", "rollout_mrr", ROLLOUT_MRR),
)


def rollouts(run: Run) -> list[Panel]:
    """cos and future MRR by rollout step, beside the controls' own rollouts; `random` shows where chance lies."""
    panels = []
    for field, what, label, lift, metric in ROLLOUTS:
        for split in run.splits:
            names = [MODEL, *_rolled_out(run, split, lift, metric)]
            series = [_rollout_series(run, name, split, field) for name in names]
            steps = sorted({point.x for one in series for point in one.points})
            if not any(point.y is not None for one in series for point in one.points):
                continue
            chart = svg.line_chart(
                series,
                x_ticks=[(step, f"{step:.0f}") for step in steps],
                x_label="rollout step",
                y_label=label,
                description=f"Rollout by step on {split}: {label}; the numbers are in the table below.",
            )
            n = run.result(MODEL, split, metric.path).n if field == "mrr_steps" else None
            n = n if n is not None else run.result(MODEL, split, "rollout.mean").n
            note = f"{n:,} windows long enough" if n is not None else measured_on(run, split)
            panels.append(Panel(f"{split}, {what}", note, chart))
    return panels


def _rolled_out(run: Run, split: str, lift: str, metric: Metric) -> list[str]:
    names = [name for name in shown_controls(run, split, lift, metric) if name != "oracle"]
    return names + (["random"] if metric is ROLLOUT_MRR and "random" in run.controls else [])


def _rollout_series(run: Run, name: str, split: str, field: str) -> svg.Series:
    found: Sequence[Any] = (run.metrics(name, split).get("rollout") or {}).get(field) or []
    points = [(i + 1, f"step {i + 1}", result({"at": one}, "at")) for i, one in enumerate(found)]
    return _series(name, points)


def gap(run: Run) -> Result:
    """|cos VAL − cos OOD|, what gate E of profile `original` judges."""
    return result(run.five_cat, "generalisation.cos")


def coherence_bins(run: Run) -> list[Panel]:
    """cos by the coherence of the context, the model above the best control of cos."""
    panels = []
    for split in run.splits:
        best = run.best_control(split, "cos", COS.path)
        rows = []
        for name, what in BINS.items():
            for who in (MODEL, best):
                one = run.result(who, split, f"bins.{name}") if who else Result()
                if one.value is None or who is None:
                    continue
                rows.append(
                    svg.Row(
                        label=what if who == MODEL else "",
                        note=who,
                        value=one.value,
                        low=one.low,
                        high=one.high,
                        text=number(one.value),
                        style="model" if who == MODEL else "best",
                        shape="circle" if who == MODEL else "diamond",
                        title=f"{who}, coherence {what}: {told(one)}",
                    )
                )
        if rows:
            chart = svg.interval_chart(
                rows, x_label="cos", description=f"cos by coherence of the context on {split}, model and {best}."
            )
            panels.append(Panel(split, measured_on(run, split), chart))
    return panels
