"""Training curves: one small figure a quantity, by epoch."""

from typing import Any, NamedTuple

import yaml

from segue.report import svg
from segue.report.figures import Panel
from segue.report.names import COS, LIFTS, MARGIN_LAST, MRR, Metric
from segue.report.numerals import number, told
from segue.report.run import Run, lookup, result

CURVES = (
    ("VAL cos", "val.cos", "plain"),
    ("VAL margin_last", "val.margin_last", "signed"),
    ("VAL MRR, pool future", "val.mrr_future", "plain"),
    ("learning rate", "lr", "small"),
)
GLYPHS = "●■▲◆✕"  # of svg.SHAPES, in text
TERM_STYLES = ("model", "best", "copy", "mean", "other")


def _series(run: Run, path: str, label: str, look: tuple[str, str], kind: str) -> svg.Series:
    points = []
    for entry in run.history:
        one = result(entry, path)
        title = f"epoch {entry['epoch']}, {label}: {told(one, kind)}"
        points.append(svg.Point(float(entry["epoch"]), one.value, one.low, one.high, title))
    return svg.Series(label, *look, points)


def _epochs(run: Run) -> list[tuple[float, str]]:
    """At most ten labels."""
    numbers = [int(entry["epoch"]) for entry in run.history]
    every = max(1, -(-len(numbers) // 10))
    return [(float(n), str(n) if i % every == 0 else "") for i, n in enumerate(numbers)]


def _last(run: Run, path: str, kind: str) -> str:
    one = result(run.history[-1], path)
    return "" if one.value is None else f"last {number(one.value, kind)}"


def _panel(run: Run, heading: str, series: list[svg.Series], note: str, marks: list[svg.Mark] | None = None) -> Panel:
    chart = svg.line_chart(
        series,
        x_ticks=_epochs(run),
        x_label="epoch",
        y_label="",
        description=f"{heading} by epoch.",
        marks=marks or [],
        size=svg.SMALL,
    )
    return Panel(heading, note, chart)


def _has(run: Run, path: str) -> bool:
    return any(result(entry, path).value is not None for entry in run.history)


def _bar(run: Run, lift: str, metric: Metric) -> list[svg.Mark]:
    """The line to beat: the best attainable control on VAL."""
    best = run.best_control("VAL", lift, LIFTS[lift].path)
    value = run.result(best, "VAL", metric.path).value if best else None
    return [svg.Mark(str(best), y=value, style="best")] if value is not None else []


def term_names(run: Run) -> list[str]:
    names: dict[str, None] = {}
    for entry in run.history:
        names.update(dict.fromkeys(lookup(entry, "train.terms") or {}))
    return list(names)


def training_curves(run: Run) -> list[Panel]:
    """Loss, cos, margin_last, future MRR and learning rate by epoch; gradient ratios where there are several terms."""
    if not run.history:
        return []
    bars = {
        "VAL cos": _bar(run, "cos", COS),
        "VAL margin_last": _bar(run, "cos", MARGIN_LAST),
        "VAL MRR, pool future": _bar(run, "mrr_future", MRR),
    }
    panels = []
    if _has(run, "train.loss"):
        series = [_series(run, "train.loss", "train loss", ("model", "circle"), "small")]
        if _has(run, "val.loss"):
            series.append(_series(run, "val.loss", "VAL loss", ("best", "diamond"), "small"))
        note = "● train, ◆ VAL" if len(series) > 1 else _last(run, "train.loss", "small")
        panels.append(_panel(run, "loss", series, note))
    for heading, path, kind in CURVES:
        if _has(run, path):
            series = [_series(run, path, heading, ("model", "circle"), kind)]
            panels.append(_panel(run, heading, series, _last(run, path, kind), bars.get(heading)))
    terms = [name for name in term_names(run) if _has(run, f"train.terms.{name}.gradient_ratio")]
    if len(terms) > 1:
        looks = [(TERM_STYLES[i % 5], svg.SHAPES[i % 5]) for i in range(len(terms))]
        ratios = [
            _series(run, f"train.terms.{name}.gradient_ratio", name, look, "small")
            for name, look in zip(terms, looks, strict=True)
        ]
        panels.append(
            _panel(
                run,
                "gradient of each term against mse's",
                ratios,
                ", ".join(f"{GLYPHS[i % 5]} {name}" for i, name in enumerate(terms)),
            )
        )
    return panels


class Expected(NamedTuple):
    """What a recipe's authors expected of a VAL metric at an epoch, and what it was. Told, never acted on."""

    epoch: int
    metric: str
    wanted: str
    found: str
    outcome: str


def expectations(run: Run) -> list[Expected]:
    """The recipe's expectations beside the history; `not reached` where that epoch was not trained."""
    try:
        recipe = yaml.safe_load(run.recipe)
    except yaml.YAMLError:
        return []
    epochs = {int(entry["epoch"]): entry for entry in run.history}
    listed = []
    for one in lookup(recipe, "expectations") or []:
        epoch, metric = int(one["epoch"]), str(one["metric"])
        low, high = one.get("low"), one.get("high")
        value = result(epochs.get(epoch), f"val.{metric}").value
        wanted = [f"≥ {number(low)}"] if low is not None else []
        wanted += [f"≤ {number(high)}"] if high is not None else []
        if value is None:
            outcome = "not reached" if epoch not in epochs else "not computed"
        else:
            outcome = "met" if (low is None or value >= low) and (high is None or value <= high) else "not met"
        listed.append(Expected(epoch, metric, " and ".join(wanted), number(value), outcome))
    return listed


def events(run: Run) -> list[tuple[int, str]]:
    """What happened in training: (epoch, what)."""
    return [(int(entry["epoch"]), _said(event)) for entry in run.history for event in entry.get("events") or []]


def _said(event: Any) -> str:
    if isinstance(event, dict):
        return ", ".join(f"{key}: {value}" for key, value in event.items() if value is not None)
    return str(event)
