"""The frontier as figures: cos, future MRR and direction against margin_last, every run and control on the same axes.

Reads the value of `frontier.json`; draws one plane a metric and split.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from segue.report import svg
from segue.report.figures import Key, Panel
from segue.report.numerals import number, told
from segue.report.run import Result, result
from segue.report.tables import Line, Table, cell

AXES = {"cos": "cos", "mrr_future": "MRR, pool future", "direction": "direction"}
SIZE = (440.0, 420.0)
LOOKS = (("model", "circle"), ("mean", "square"), ("copy", "triangle"), ("other", "diamond"))  # of runs, in their order
CONTROL, KNOWING = ("best", "diamond"), ("oracle", "cross")
LETTER, LINE = 6.4, 13.0  # user units a letter and a line of a label take


@dataclass(frozen=True)
class Place:
    """A predictor on a plane: where it stands, and the curve it can be steered along (None: not drawn)."""

    name: str
    look: tuple[str, str]
    x: float
    y: Result
    curve: list[tuple[float, float, Result]] | None


def looks(found: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Style and shape of every predictor."""
    runs = [name for name, entry in found["predictors"].items() if entry["kind"] == "run"]
    return {
        name: LOOKS[runs.index(name) % len(LOOKS)] if name in runs else CONTROL if entry["attainable"] else KNOWING
        for name, entry in found["predictors"].items()
    }


def places(found: dict[str, Any], split: str, metric: str) -> list[Place]:
    """All predictors that have this metric on a split."""
    placed = []
    for name, entry in found["predictors"].items():
        its = entry["splits"].get(split)
        if its is None:
            continue
        x, y = result(its["point"], "margin_last").value, result(its["point"], metric)
        if x is None or y.value is None:
            continue
        along = [(float(at["beta"]), result(at, "margin_last").value, result(at, metric)) for at in its["curve"] or []]
        drawn = [(beta, right, up) for beta, right, up in along if right is not None and up.value is not None]
        placed.append(Place(name, looks(found)[name], x, y, drawn or None))
    return placed


def frontier_panels(found: dict[str, Any]) -> list[Panel]:
    """One plane for each metric and split, the splits of a metric side by side."""
    panels = []
    for metric, label in AXES.items():
        for split in _splits(found):
            placed = places(found, split, metric)
            if placed:
                panels.append(Panel(f"{label}, {split}", _measured_on(found, split), _plane(placed, label, split)))
    return panels


def _splits(found: dict[str, Any]) -> list[str]:
    return list(found["data"]["windows"])


def _measured_on(found: dict[str, Any], split: str) -> str:
    data = found["data"]
    return f"{data['windows'][split]:,} windows of {data['documents'][split]:,} documents"


def frontier_key(found: dict[str, Any]) -> list[Key]:
    """The legend: each run, and the two kinds of control."""
    entries = []
    for name, (style, shape) in looks(found).items():
        entry = found["predictors"][name]
        if entry["kind"] == "run":
            why = f" ({entry['not_drawn']})" if entry["not_drawn"] else ""
            entries.append(_key(f"{name}{why}", style, shape))
    return [*entries, _key("controls anybody can have", *CONTROL), _key("controls that know the answers", *KNOWING)]


def _key(label: str, style: str, shape: str) -> Key:
    mark = svg.tag("svg", svg.marker(shape, 7.0, 7.0), viewBox="0 0 14 14", class_="key", aria_hidden="true")
    return Key(label, style, mark)


def tables(found: dict[str, Any]) -> list[Table]:
    """One table a split: every place, and the curves of the runs point by point."""
    made = []
    for split in _splits(found):
        lines = []
        for name, entry in found["predictors"].items():
            its = entry["splits"].get(split)
            if its is None:
                continue
            run = entry["kind"] == "run"
            group = "model" if run else "attainable" if entry["attainable"] else "unattainable"
            beta = f"β {entry['beta']:.3f}" if entry["beta"] else ""
            lines.append(_line(name, beta, group, its["point"]))
            if run:
                lines += [_line("", f"β {at['beta']:.2f}", "attainable", at) for at in its["curve"] or []]
        made.append(Table(f"{split}, {_measured_on(found, split)}", ["margin_last", *AXES.values()], lines))
    return made


def _line(name: str, note: str, group: str, point: dict[str, Any]) -> Line:
    cells = [cell(result(point, "margin_last"), "signed"), *(cell(result(point, metric)) for metric in AXES)]
    return Line(name, note, group, cells)


def frontier_page(found: dict[str, Any]) -> str:
    """One self-contained page: the figures, their legend, the tables."""
    from segue.report.page import environment  # it draws this section too

    return environment().get_template("frontier.html.j2").render(found=found, frontier=section(found))


def section(found: dict[str, Any] | None) -> dict[str, Any]:
    """What the templates lay out; empty where nothing was measured."""
    if found is None:
        return {"panels": [], "key": [], "tables": [], "not_drawn": []}
    return {
        "panels": frontier_panels(found),
        "key": frontier_key(found),
        "tables": tables(found),
        "not_drawn": not_drawn(found),
    }


def frontier_svg(found: dict[str, Any]) -> str:
    """All planes as one picture that stands alone: a row a metric, the page's own colours, light and dark."""
    panels = frontier_panels(found)
    across, head, gap = len(_splits(found)), 28.0, 26.0
    keys = frontier_key(found)
    parts = [svg.tag("style", Markup(files("segue.report").joinpath("templates", "page.css").read_text("utf-8")))]
    parts.append(svg.tag("rect", width="100%", height="100%", style="fill: var(--paper)"))
    for i, panel in enumerate(panels):
        left, top = gap + (i % across) * (SIZE[0] + gap), 2 * head + (i // across) * (SIZE[1] + head + gap)
        parts.append(svg.tag("text", f"{panel.heading}: {panel.note}", x=left, y=top - 8, class_="strong"))
        parts.append(svg.tag("svg", panel.chart, x=left, y=top, width=SIZE[0], height=SIZE[1]))
    at = gap
    for key in keys:
        parts.append(svg.tag("svg", key.mark, x=at, y=8.0, width=14.0, height=14.0, class_=f"s-{key.style}"))
        parts.append(svg.tag("text", key.label, x=at + 19, y=19.0, class_="label"))
        at += 19 + LETTER * len(key.label) + 24
    width = gap + across * (SIZE[0] + gap)
    height = head + -(-len(panels) // across) * (SIZE[1] + head + gap)
    return str(
        svg.tag(
            "svg",
            *parts,
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {width:.0f} {height:.0f}",
            width=width,
            height=height,
            class_="chart",
        )
    )


def not_drawn(found: dict[str, Any]) -> list[str]:
    """A sentence for each run that has no curve."""
    return [
        f"{name}: not drawn: {entry['not_drawn']}"
        for name, entry in found["predictors"].items()
        if entry["kind"] == "run" and entry["not_drawn"]
    ]


def _plane(placed: Sequence[Place], label: str, split: str) -> Markup:
    """One plane: grid, curves with bands, places with whiskers, names beside them where there is room."""
    xs = [v for p in placed for v in (p.x, *(x for _, x, _ in p.curve or []))]
    ys = [
        v
        for p in placed
        for one in (p.y, *(y for _, _, y in p.curve or []))
        for v in (one.value, one.low, one.high)
        if v is not None
    ]
    x_ticks, y_ticks = svg.ticks(min(xs), max(xs), about=6), svg.ticks(min(ys), max(ys))
    right, bottom = SIZE[0] - svg.RIGHT, SIZE[1] - svg.BOTTOM
    x = _scale(x_ticks[0], x_ticks[-1], svg.LEFT, right)
    y = _scale(y_ticks[0], y_ticks[-1], bottom, svg.TOP)
    parts = []
    for value, text in zip(y_ticks, svg.tick_labels(y_ticks), strict=True):
        parts.append(svg.tag("line", x1=svg.LEFT, x2=right, y1=y(value), y2=y(value), class_="grid"))
        parts.append(svg.tag("text", text, x=svg.LEFT - 7, y=y(value) + 4.5, text_anchor="end"))
    for value, text in zip(x_ticks, svg.tick_labels(x_ticks), strict=True):
        parts.append(svg.tag("text", text, x=x(value), y=bottom + 18, text_anchor="middle"))
    if x_ticks[0] < 0 < x_ticks[-1]:
        parts.append(svg.tag("line", x1=x(0), x2=x(0), y1=svg.TOP, y2=bottom, class_="rule"))
    parts.append(svg.tag("text", label, x=0.0, y=14.0, class_="axis"))
    parts.append(svg.tag("text", "margin_last", x=right, y=bottom + 37, class_="axis", text_anchor="end"))
    for place in reversed(placed):
        parts.append(_curve(place, x, y))
    for place in reversed(placed):
        parts.append(_mark(place, x, y))
    parts += _labels(placed, x, y)
    description = f"{label} against margin_last on {split}: {', '.join(p.name for p in placed)}; numbers in the table."
    return svg.figure(*SIZE, description, parts)


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def _curve(place: Place, x: Callable[[float], float], y: Callable[[float], float]) -> Markup:
    if not place.curve:
        return Markup("")
    known = [(x(right), up.low, up.high) for _, right, up in place.curve if up.low is not None and up.high is not None]
    parts = []
    if len(known) > 1:
        edge = [f"{at:.1f} {y(high):.1f}" for at, _, high in known]
        edge += [f"{at:.1f} {y(low):.1f}" for at, low, _ in reversed(known)]
        parts.append(svg.tag("path", d="M" + "L".join(edge) + "z", class_="band"))
    spots = [(beta, x(right), y(up.value or 0.0), right, up) for beta, right, up in place.curve]
    parts.append(
        svg.tag("path", d="M" + "L".join(f"{across:.1f} {up:.1f}" for _, across, up, _, _ in spots), class_="line")
    )
    for beta, across, up, margin, value in spots:
        title = f"{place.name}, β {beta:.2f}: {told(value)}, margin_last {number(margin, 'signed')}"
        parts.append(svg.tag("circle", svg.tag("title", title), cx=across, cy=up, r=7.0, class_="hit"))
    return svg.tag("g", *parts, class_=f"s-{place.look[0]}")


def _mark(place: Place, x: Callable[[float], float], y: Callable[[float], float]) -> Markup:
    style, shape = place.look
    at = (x(place.x), y(place.y.value or 0.0))
    parts = [svg.tag("title", f"{place.name}: {told(place.y)}, margin_last {number(place.x, 'signed')}")]
    if place.y.low is not None and place.y.high is not None:
        parts.append(svg.tag("line", x1=at[0], x2=at[0], y1=y(place.y.low), y2=y(place.y.high), class_="whisker"))
    parts += [svg.tag("circle", cx=at[0], cy=at[1], r=11.0, class_="hit"), svg.marker(shape, *at, r=4.2)]
    return svg.tag("g", *parts, class_=f"pt s-{style}")


Box = tuple[float, float, float, float]  # left, top, right, bottom


def _labels(placed: Sequence[Place], x: Callable[[float], float], y: Callable[[float], float]) -> list[Markup]:
    """Names beside the places: each where it covers the least of what is drawn already."""
    spots = [(x(p.x), y(p.y.value or 0.0)) for p in placed]
    taken: list[Box] = [(a - 5, b - 5, a + 5, b + 5) for a, b in spots]
    taken += [
        (x(right) - 1, y(up.value or 0.0) - 1, x(right) + 1, y(up.value or 0.0) + 1)
        for p in placed
        for _, right, up in p.curve or []
    ]
    written = []
    for place, (across, up) in zip(placed, spots, strict=True):
        width = LETTER * len(place.name)
        best = min(_seats(across, up, width), key=lambda box: _cost(box, taken, across, up))
        taken.append(best)
        strong = "strong" if place.curve and place.look not in (CONTROL, KNOWING) else "label"
        text = svg.tag("text", place.name, x=best[0], y=best[3] - 3.0, class_=f"{strong} faint")
        written.append(svg.tag("g", _leader(best, across, up), text, class_=f"s-{place.look[0]}"))
    return written


def _leader(box: Box, across: float, up: float) -> Markup:
    """A thin line from a label to its place where they lie apart."""
    to = (min(max(across, box[0]), box[2]), box[3] if box[3] < up else box[1])
    if box[1] <= up <= box[3]:
        return Markup("")
    if abs(to[1] - up) < LINE and to[0] == across:
        return Markup("")
    return svg.tag("line", x1=across, y1=up, x2=to[0], y2=to[1], class_="leader")


def _seats(across: float, up: float, width: float) -> list[Box]:
    """Where a label may sit around a point, near seats first."""
    seats = []
    for rise in (0.0, -13.0, 13.0, -25.0, 25.0, -37.0, 37.0, -49.0, 49.0):
        for left in (across + 8, across - 8 - width, across - width / 2):
            if rise or left != across - width / 2:
                seats.append((left, up + rise - LINE / 2, left + width, up + rise + LINE / 2))
    return seats


def _cost(box: Box, taken: Sequence[Box], across: float, up: float) -> float:
    covered = 0.0
    for left, top, right, bottom in taken:
        covered += max(0.0, min(box[2], right) - max(box[0], left)) * max(0.0, min(box[3], bottom) - max(box[1], top))
    outside = max(0.0, svg.LEFT - box[0]) + max(0.0, box[2] - SIZE[0]) + max(0.0, svg.TOP - 12 - box[1])
    outside += max(0.0, box[3] - (SIZE[1] - svg.BOTTOM))
    far = abs((box[1] + box[3]) / 2 - up) + 0.3 * abs((box[0] + box[2]) / 2 - across)
    return 3 * covered + 50 * outside + 0.15 * far
