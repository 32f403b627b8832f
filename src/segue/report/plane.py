"""A plane of the frontier: predictors as places with intervals, the curves they can be steered along, their names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from segue.report import svg
from segue.report.numerals import number, told
from segue.report.run import Result

SIZE = (440.0, 420.0)
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


def plane(placed: Sequence[Place], label: str, split: str, size: tuple[float, float] = SIZE) -> Markup:
    """One plane: grid, curves with bands, places with whiskers, names beside them where there is room.

    What belongs to a predictor carries its name as `data-name`.
    """
    xs = [v for p in placed for v in (p.x, *(x for _, x, _ in p.curve or []))]
    ys = [
        v
        for p in placed
        for one in (p.y, *(y for _, _, y in p.curve or []))
        for v in (one.value, one.low, one.high)
        if v is not None
    ]
    x_ticks, y_ticks = svg.ticks(min(xs), max(xs), about=6), svg.ticks(min(ys), max(ys))
    right, bottom = size[0] - svg.RIGHT, size[1] - svg.BOTTOM
    x = svg._scale(x_ticks[0], x_ticks[-1], svg.LEFT, right)
    y = svg._scale(y_ticks[0], y_ticks[-1], bottom, svg.TOP)
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
    parts += _labels(placed, x, y, size)
    description = f"{label} against margin_last on {split}: {', '.join(p.name for p in placed)}; numbers in the table."
    return svg.figure(*size, description, parts)


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
    return svg.tag("g", *parts, class_=f"s-{place.look[0]}", data_name=place.name)


def _mark(place: Place, x: Callable[[float], float], y: Callable[[float], float]) -> Markup:
    style, shape = place.look
    at = (x(place.x), y(place.y.value or 0.0))
    parts = [svg.tag("title", f"{place.name}: {told(place.y)}, margin_last {number(place.x, 'signed')}")]
    if place.y.low is not None and place.y.high is not None:
        parts.append(svg.tag("line", x1=at[0], x2=at[0], y1=y(place.y.low), y2=y(place.y.high), class_="whisker"))
    parts += [svg.tag("circle", cx=at[0], cy=at[1], r=11.0, class_="hit"), svg.marker(shape, *at, r=4.2)]
    return svg.tag("g", *parts, class_=f"pt s-{style}", data_name=place.name)


Box = tuple[float, float, float, float]  # left, top, right, bottom


def _labels(
    placed: Sequence[Place], x: Callable[[float], float], y: Callable[[float], float], size: tuple[float, float]
) -> list[Markup]:
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
        best = min(_seats(across, up, width), key=lambda box: _cost(box, taken, across, up, size))
        taken.append(best)
        strong = "strong" if place.curve and place.look not in (CONTROL, KNOWING) else "label"
        text = svg.tag("text", place.name, x=best[0], y=best[3] - 3.0, class_=f"{strong} faint")
        leader = _leader(best, across, up)
        written.append(svg.tag("g", leader, text, class_=f"name s-{place.look[0]}", data_name=place.name))
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


def _cost(box: Box, taken: Sequence[Box], across: float, up: float, size: tuple[float, float]) -> float:
    covered = 0.0
    for left, top, right, bottom in taken:
        covered += max(0.0, min(box[2], right) - max(box[0], left)) * max(0.0, min(box[3], bottom) - max(box[1], top))
    outside = max(0.0, svg.LEFT - box[0]) + max(0.0, box[2] - size[0]) + max(0.0, svg.TOP - 12 - box[1])
    outside += max(0.0, box[3] - (size[1] - svg.BOTTOM))
    far = abs((box[1] + box[3]) / 2 - up) + 0.3 * abs((box[0] + box[2]) / 2 - across)
    return 3 * covered + 50 * outside + 0.15 * far
