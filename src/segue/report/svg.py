"""Small charts as inline SVG: lines over steps, and values with their intervals.

Hand-written rather than matplotlib's: colours are CSS variables of the page, so that one figure serves light, dark and
print; each point names itself on hover; text stays text; a figure is some kilobytes. No ids, so none can clash.
All figures share one width in user units, so that their type has one size on the page.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from segue.report.numerals import MINUS

WIDTH, HEIGHT = 440.0, 290.0
SMALL = (300.0, 215.0)
LEFT, RIGHT, TOP, BOTTOM = 46.0, 10.0, 30.0, 42.0
ROW = 32.0  # height of a row of an interval chart
LABELS, VALUES = 132.0, 58.0  # its columns left and right of the plot

SHAPES = ("circle", "square", "triangle", "diamond", "cross")


def tag(name: str, /, *children: str | Markup, **attributes: str | float | None) -> Markup:
    """One element. Text and attributes are escaped; `class_` is `class`, `text_anchor` is `text-anchor`."""
    shown = []
    for key, value in attributes.items():
        if value is None:
            continue
        text = f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value
        shown.append(f' {key.rstrip("_").replace("_", "-")}="{escape(text)}"')
    return Markup("<{}{}>{}</{}>").format(Markup(name), Markup("".join(shown)), Markup("").join(children), Markup(name))


CORNERS = {  # of the markers, in radii around their centre
    "square": ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    "triangle": ((0.0, -1.2), (1.2, 0.9), (-1.2, 0.9)),
    "diamond": ((0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)),
}


def marker(shape: str, x: float, y: float, r: float = 4.5) -> Markup:
    """A point; shapes differ so that colour is never the only difference."""
    if shape == "circle":
        return tag("circle", cx=x, cy=y, r=r, class_="m")
    if shape == "cross":
        both = f"M{x - r:.1f} {y - r:.1f}L{x + r:.1f} {y + r:.1f}M{x - r:.1f} {y + r:.1f}L{x + r:.1f} {y - r:.1f}"
        return tag("path", d=both, class_="m open")
    corners = [f"{x + r * right:.1f} {y + r * down:.1f}" for right, down in CORNERS[shape]]
    return tag("path", d=f"M{'L'.join(corners)}z", class_="m")


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers that cover low … high in about so many steps."""
    raw = max(high - low, 1e-12) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def tick_labels(values: Sequence[float]) -> list[str]:
    """The same number of decimals on each, as few as tell them apart."""
    for decimals in range(10):
        texts = [f"{value:.{decimals}f}" for value in values]
        if all(abs(float(text) - value) < 1e-9 for text, value in zip(texts, values, strict=True)):
            break
    else:
        texts = [f"{value:.0e}" for value in values]
    return [("0" if value == 0 else text).replace("-", MINUS) for text, value in zip(texts, values, strict=True)]


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


@dataclass(frozen=True)
class Point:
    """`y` None leaves a gap in the line."""

    x: float
    y: float | None
    low: float | None = None
    high: float | None = None
    title: str = ""


@dataclass(frozen=True)
class Series:
    """`style` names a CSS class `s-…` that sets the colour."""

    label: str
    style: str
    shape: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Mark:
    """A line across the plot, at x (vertical) or at y (horizontal), with a short label."""

    label: str
    x: float | None = None
    y: float | None = None
    style: str = "mark"


@dataclass(frozen=True)
class Shade:
    """A shaded range of x with a label at its top."""

    label: str
    start: float
    end: float


def _power(values: Sequence[float]) -> tuple[float, str]:
    """A power of ten to take out of an axis of small numbers, and how it is written: (1e-4, `×10⁻⁴`)."""
    largest = max(abs(value) for value in values)
    if largest >= 0.02 or largest == 0:
        return 1.0, ""
    exponent = math.floor(math.log10(largest))
    digits = str(-exponent).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return 10.0**exponent, f"×10⁻{digits}"


def figure(width: float, height: float, description: str, children: Sequence[Markup]) -> Markup:
    return tag(
        "svg",
        *children,
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        role="img",
        aria_label=description,
        class_="chart",
        preserveAspectRatio="xMinYMin meet",
    )


def _band(series: Series, x: Callable[[float], float], y: Callable[[float], float]) -> Markup:
    known = [(p.x, p.low, p.high) for p in series.points if p.low is not None and p.high is not None]
    if len(known) < 2:
        return Markup("")
    edge = [f"{x(at):.1f} {y(high):.1f}" for at, _, high in known]
    edge += [f"{x(at):.1f} {y(low):.1f}" for at, low, _ in reversed(known)]
    return tag("path", d="M" + "L".join(edge) + "z", class_="band")


def _line(series: Series, x: Callable[[float], float], y: Callable[[float], float]) -> Markup:
    path, down = "", False
    for point in series.points:
        if point.y is not None:
            path += f"{'L' if down else 'M'}{x(point.x):.1f} {y(point.y):.1f}"
        down = point.y is not None
    parts = [_band(series, x, y)]
    if path:
        parts.append(tag("path", d=path, class_="line"))
    crowded = len(series.points) > 15
    for point in series.points:
        if point.y is None:
            continue
        at = (x(point.x), y(point.y))
        parts.append(
            tag(
                "g",
                tag("title", point.title),
                tag("circle", cx=at[0], cy=at[1], r=11.0, class_="hit"),
                marker(series.shape, *at, r=2.0 if crowded else 3.8),
                class_="pt",
            )
        )
    return tag("g", *parts, class_=f"s-{series.style}")


def line_chart(
    series: Sequence[Series],
    *,
    x_ticks: Sequence[tuple[float, str]],
    x_label: str,
    y_label: str,
    description: str,
    marks: Sequence[Mark] = (),
    shades: Sequence[Shade] = (),
    y_range: tuple[float, float] | None = None,
    size: tuple[float, float] = (WIDTH, HEIGHT),
) -> Markup:
    """Lines over steps or epochs. The first series is drawn last, on top."""
    values = [v for s in series for p in s.points for v in (p.y, p.low, p.high) if v is not None]
    values += [mark.y for mark in marks if mark.y is not None]
    low, high = y_range or ((min(values), max(values)) if values else (0.0, 1.0))
    if high - low < 1e-9:
        low, high = low - (abs(low) or 1) * 0.1, high + (abs(high) or 1) * 0.1
    y_ticks = ticks(low, high, about=5 if size[1] == HEIGHT else 4)
    right, bottom = size[0] - RIGHT, size[1] - BOTTOM
    x = _scale(min(at for at, _ in x_ticks) - 0.5, max(at for at, _ in x_ticks) + 0.5, LEFT, right)
    y = _scale(y_ticks[0], y_ticks[-1], bottom, TOP)
    parts = []
    for shade in shades:
        start, end = x(shade.start), x(shade.end)
        parts.append(tag("rect", x=start, y=TOP, width=end - start, height=bottom - TOP, class_="shade"))
        parts.append(tag("text", shade.label, x=(start + end) / 2, y=bottom - 7, class_="faint", text_anchor="middle"))
    power, written = _power(y_ticks)
    for value, label in zip(y_ticks, tick_labels([value / power for value in y_ticks]), strict=True):
        parts.append(tag("line", x1=LEFT, x2=right, y1=y(value), y2=y(value), class_="grid"))
        parts.append(tag("text", label, x=LEFT - 7, y=y(value) + 4.5, text_anchor="end"))
    for at, label in x_ticks:
        parts.append(tag("text", label, x=x(at), y=bottom + 18, text_anchor="middle"))
    parts.append(tag("text", f"{y_label} {written}".strip(), x=0.0, y=14.0, class_="axis"))
    parts.append(tag("text", x_label, x=right, y=bottom + 37, class_="axis", text_anchor="end"))
    # The name of a line across stands at the right, or where a line up already has its label there, at the left.
    taken = any(mark.x is not None and x(mark.x) > right - LABELS / 2 for mark in marks)
    at, anchor = (LEFT + 3, "start") if taken else (right, "end")
    parts += [_mark(mark, x, y, right, bottom, at, anchor) for mark in marks]
    parts += [_line(one, x, y) for one in reversed(series)]
    return figure(*size, description, parts)


def _mark(
    mark: Mark,
    x: Callable[[float], float],
    y: Callable[[float], float],
    right: float,
    bottom: float,
    label_at: float,
    anchor: str,
) -> Markup:
    if mark.x is not None:
        at = x(mark.x)
        line = tag("line", x1=at, x2=at, y1=TOP - 6, y2=bottom, class_="rule")
        label = tag("text", mark.label, x=at, y=TOP - 11, text_anchor="middle", class_="strong")
    else:
        at = y(mark.y or 0.0)
        line = tag("line", x1=LEFT, x2=right, y1=at, y2=at, class_="rule")
        label = tag("text", mark.label, x=label_at, y=at - 5, text_anchor=anchor, class_="halo")
    return tag("g", line, label, class_=f"s-{mark.style}")


@dataclass(frozen=True)
class Row:
    """A row of an interval chart: label, a second small line under it, the number as text and as a point."""

    label: str
    value: float | None
    low: float | None
    high: float | None
    text: str
    note: str = ""
    style: str = "other"
    shape: str = "circle"
    title: str = ""
    strong: bool = False


def interval_chart(
    rows: Sequence[Row],
    *,
    x_label: str,
    description: str,
    marks: Sequence[Mark] = (),
    start_at: float | None = None,
) -> Markup:
    """Values with their intervals, one a row, their numbers at the right edge. `marks` are vertical (x)."""
    values = [v for row in rows for v in (row.value, row.low, row.high) if v is not None]
    values += [mark.x for mark in marks if mark.x is not None]
    values += [start_at] if start_at is not None else []
    x_ticks = ticks(min(values), max(values), about=4) if values else [0.0, 1.0]
    top, right = 20.0, WIDTH - VALUES
    bottom = top + ROW * len(rows)
    x = _scale(x_ticks[0], x_ticks[-1], LABELS, right - 8)
    parts = []
    for value, label in zip(x_ticks, tick_labels(x_ticks), strict=True):
        parts.append(tag("line", x1=x(value), x2=x(value), y1=top, y2=bottom, class_="grid"))
        parts.append(tag("text", label, x=x(value), y=bottom + 17, text_anchor="middle"))
    parts.append(tag("text", x_label, x=right - 8, y=bottom + 36, class_="axis", text_anchor="end"))
    for mark in marks:
        at = x(mark.x or 0.0)
        line = tag("line", x1=at, x2=at, y1=top - 2, y2=bottom, class_="rule")
        label = tag("text", mark.label, x=at, y=top - 7, text_anchor="middle", class_="faint")
        parts.append(tag("g", line, label, class_=f"s-{mark.style}"))
    parts += [_row(row, top + ROW * (i + 0.5), x) for i, row in enumerate(rows)]
    return figure(WIDTH, bottom + 42, description, parts)


def _row(row: Row, y: float, x: Callable[[float], float]) -> Markup:
    parts = [tag("title", row.title), tag("rect", x=0.0, y=y - ROW / 2, width=WIDTH, height=ROW, class_="hit")]
    ink = "label strong" if row.strong else "label"
    if row.label:
        parts.append(tag("text", row.label, x=0.0, y=y + (-1.0 if row.note else 4.5), class_=ink))
    if row.note:
        parts.append(tag("text", row.note, x=0.0, y=y + (12.0 if row.label else 4.5), class_="faint"))
    if row.low is not None and row.high is not None:
        parts.append(tag("line", x1=x(row.low), x2=x(row.high), y1=y, y2=y, class_="whisker"))
    if row.value is not None:
        parts.append(marker(row.shape, x(row.value), y))
    parts.append(tag("text", row.text, x=WIDTH, y=y + 4.5, class_=ink, text_anchor="end"))
    return tag("g", *parts, class_=f"pt s-{row.style}")
