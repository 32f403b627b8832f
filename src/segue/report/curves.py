"""Training curves: one small figure a quantity, by epoch in the order they ran."""

from typing import Any, NamedTuple

from segue.report import svg
from segue.report.figures import Panel
from segue.report.names import COS, DIRECTION, LIFTS, MARGIN_LAST, MRR, Metric
from segue.report.numerals import number, told
from segue.report.run import Run, lookup, result

CURVES = (
    ("VAL cos", "val.cos", "plain"),
    ("VAL margin_last", "val.margin_last", "signed"),
    ("VAL MRR, pool future", "val.mrr_future", "plain"),
    ("VAL direction", "val.direction", "plain"),
    ("learning rate", "lr", "small"),
)
GLYPHS = "●■▲◆✕"  # of svg.SHAPES, in text
PRIMES = ("", "′", "″", "‴")
TERM_STYLES = ("model", "best", "copy", "mean", "other")


def labels(run: Run) -> list[str]:
    """The epoch of each line of the history; one that ran again after a rollback is 4′, then 4″."""
    seen: dict[int, int] = {}
    listed = []
    for entry in run.history:
        epoch = int(entry["epoch"])
        seen[epoch] = seen.get(epoch, 0) + 1
        again = seen[epoch] - 1
        listed.append(f"{epoch}{PRIMES[again] if again < len(PRIMES) else f'({again + 1})'}")
    return listed


def _series(run: Run, path: str, label: str, look: tuple[str, str], kind: str) -> svg.Series:
    """By the order in which the epochs ran; the line breaks where training went back."""
    points: list[svg.Point] = []
    before = None
    for at, (entry, name) in enumerate(zip(run.history, labels(run), strict=True), start=1):
        if before is not None and int(entry["epoch"]) <= before:
            points.append(svg.Point(float(at), None))
        before = int(entry["epoch"])
        one = result(entry, path)
        points.append(svg.Point(float(at), one.value, one.low, one.high, f"epoch {name}, {label}: {told(one, kind)}"))
    return svg.Series(label, *look, points)


def _epochs(run: Run) -> list[tuple[float, str]]:
    """At most ten labels."""
    names = labels(run)
    every = max(1, -(-len(names) // 10))
    return [(float(at), name if at % every == 1 % every else "") for at, name in enumerate(names, start=1)]


def _last(run: Run, path: str, kind: str) -> str:
    one = result(run.history[-1], path)
    return "" if one.value is None else f"last {number(one.value, kind)}"


class Drawing(NamedTuple):
    """A figure before it is drawn: lines by the order in which the epochs ran, and the lines across to beat.

    said    beside the heading: the last value, what else there is to know
    keyed   whether the lines must be told apart
    """

    heading: str
    said: str
    keyed: bool
    series: list[svg.Series]
    bars: list[svg.Mark]

    @property
    def note(self) -> str:
        """`■ directional, ▲ future, mse 1.00 throughout`"""
        keys = [f"{GLYPHS[svg.SHAPES.index(one.shape)]} {one.label}" for one in self.series] if self.keyed else []
        return ", ".join([*keys, *([self.said] if self.said else [])])


def _panel(run: Run, drawing: Drawing) -> Panel:
    chart = svg.line_chart(
        drawing.series,
        x_ticks=_epochs(run),
        x_label="epoch",
        y_label="",
        description=f"{drawing.heading} by epoch.",
        marks=[*drawing.bars, *(svg.Mark(one.letter, x=float(one.at)) for one in events(run))],
        size=svg.SMALL,
    )
    return Panel(drawing.heading, drawing.note, chart)


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
    """Loss, VAL figures and learning rate by epoch; gradient ratios where there are several terms."""
    return [_panel(run, drawing) for drawing in drawings(run)]


def drawings(run: Run) -> list[Drawing]:
    """What `training_curves` draws."""
    if not run.history:
        return []
    bars = {
        "VAL cos": _bar(run, "cos", COS),
        "VAL margin_last": _bar(run, "cos", MARGIN_LAST),
        "VAL MRR, pool future": _bar(run, "mrr_future", MRR),
        "VAL direction": _bar(run, "direction", DIRECTION),
    }
    found = []
    if _has(run, "train.loss"):
        series = [_series(run, "train.loss", "train loss", ("model", "circle"), "small")]
        if _has(run, "val.loss"):
            series.append(_series(run, "val.loss", "VAL loss", ("best", "diamond"), "small"))
        said = _last(run, "train.loss", "small") if len(series) == 1 else ""
        found.append(Drawing("loss", said, len(series) > 1, series, []))
    for heading, path, kind in CURVES:
        if _has(run, path):
            series = [_series(run, path, heading, ("model", "circle"), kind)]
            found.append(Drawing(heading, _last(run, path, kind), False, series, bars.get(heading, [])))
    return found + _of_terms(run)


def _of_terms(run: Run) -> list[Drawing]:
    """Of an objective of several terms: what changes of their weights, and their gradients against mse's."""
    names = term_names(run)
    if len(names) < 2:
        return []
    looks = {name: (TERM_STYLES[i % 5], svg.SHAPES[(i + i // 5) % 5]) for i, name in enumerate(names)}
    weights = {name: {result(e, f"train.terms.{name}.weight").value for e in run.history} for name in names}
    fixed = {name: its.copy().pop() for name, its in weights.items() if len(its) == 1}
    said = [f"{name} {number(weight, 'small')} throughout" for name, weight in fixed.items()]
    found = []
    for heading, field, drawn, rest in (
        ("weight of each term", "weight", [name for name in names if name not in fixed], said),
        ("gradient of each term against mse's", "gradient_ratio", [name for name in names if name != "mse"], []),
    ):
        shown = [name for name in drawn if _has(run, f"train.terms.{name}.{field}")]
        if shown:
            series = [_series(run, f"train.terms.{name}.{field}", name, looks[name], "small") for name in shown]
            found.append(Drawing(heading, ", ".join(rest), True, series, []))
    return found


class Expected(NamedTuple):
    """What a recipe's authors expected at an epoch, of VAL or of a term's ρ, and what it was. Told, never acted on."""

    epoch: int
    metric: str
    wanted: str
    found: str
    outcome: str


def expectations(run: Run) -> list[Expected]:
    """The recipe's expectations beside the history; `not reached` where that epoch was not trained."""
    epochs, listed = run.epochs, []
    for one in run.resolved.get("expectations") or []:
        epoch, metric = int(one["epoch"]), str(one["metric"])
        low, high = one.get("low"), one.get("high")
        path = f"train.terms.{metric.removeprefix('rho.')}.rho" if metric.startswith("rho.") else f"val.{metric}"
        value = result(epochs.get(epoch), path).value
        wanted = [f"≥ {number(low)}"] if low is not None else []
        wanted += [f"≤ {number(high)}"] if high is not None else []
        if value is None:
            outcome = "not reached" if epoch not in epochs else "not computed"
        else:
            outcome = "met" if (low is None or value >= low) and (high is None or value <= high) else "not met"
        listed.append(Expected(epoch, metric, " and ".join(wanted), number(value), outcome))
    return listed


class Event(NamedTuple):
    """What happened after an epoch: the line of the history it stands in, from 1, and its letter in the figures."""

    letter: str
    at: int
    epoch: str
    said: list[str]


def events(run: Run) -> list[Event]:
    """What happened in training, an entry for each line of the history that tells of something."""
    found = [
        (at, name, [_said(event) for event in entry["events"]])
        for at, (entry, name) in enumerate(zip(run.history, labels(run), strict=True), start=1)
        if entry.get("events")
    ]
    return [Event(_letter(i), *one) for i, one in enumerate(found)]


def _letter(i: int) -> str:
    """a … z, aa …"""
    return ("" if i < 26 else _letter(i // 26 - 1)) + chr(ord("a") + i % 26)


def _said(event: Any) -> str:
    if isinstance(event, dict):
        return ", ".join(f"{key}: {value}" for key, value in event.items() if value is not None)
    return str(event)
