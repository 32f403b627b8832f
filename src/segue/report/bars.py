"""Bars: values over a few steps, and histograms. One series, in the page's colours."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from segue.report.svg import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, _scale, figure, tag, tick_labels, ticks


@dataclass(frozen=True)
class Bar:
    """From `start` to `end` on the x axis, as high as `value`; `low` and `high` its interval."""

    start: float
    end: float
    value: float
    low: float | None = None
    high: float | None = None
    title: str = ""


def bar_chart(
    bars: Sequence[Bar],
    *,
    x_ticks: Sequence[tuple[float, str]],
    x_label: str,
    y_label: str,
    description: str,
    shade: tuple[str, float, float] | None = None,
) -> Markup:
    """Bars from zero. `shade`: a label and a range of x that is set off."""
    top_of = [one.high if one.high is not None else one.value for one in bars]
    least = [one.low if one.low is not None else one.value for one in bars]
    y_ticks = ticks(min(0.0, *least), max(*top_of, 1e-9), about=5)
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    x = _scale(min(one.start for one in bars), max(one.end for one in bars), LEFT, right)
    y = _scale(y_ticks[0], y_ticks[-1], bottom, TOP)
    parts = []
    if shade:
        label, start, end = shade
        width = x(end) - x(start)
        parts.append(tag("rect", x=x(start), y=TOP, width=width, height=bottom - TOP, class_="shade"))
        parts.append(tag("text", label, x=x(end) - 3, y=TOP + 12, class_="faint", text_anchor="end"))
    for value, written in zip(y_ticks, tick_labels(y_ticks), strict=True):
        parts.append(tag("line", x1=LEFT, x2=right, y1=y(value), y2=y(value), class_="grid"))
        parts.append(tag("text", written, x=LEFT - 7, y=y(value) + 4.5, text_anchor="end"))
    for at, written in x_ticks:
        parts.append(tag("text", written, x=x(at), y=bottom + 18, text_anchor="middle"))
    parts.append(tag("text", y_label, x=0.0, y=14.0, class_="axis"))
    parts.append(tag("text", x_label, x=right, y=bottom + 37, class_="axis", text_anchor="end"))
    for one in bars:
        left, width = x(one.start), max(1.0, x(one.end) - x(one.start))
        gap = min(1.0, width / 8)
        height = abs(y(one.value) - y(0.0))
        inner = [
            tag("title", one.title),
            tag("rect", x=left + gap, y=min(y(one.value), y(0.0)), width=width - 2 * gap, height=height, class_="bar"),
        ]
        if one.low is not None and one.high is not None:
            middle = left + width / 2
            inner.append(tag("line", x1=middle, x2=middle, y1=y(one.low), y2=y(one.high), class_="error"))
        parts.append(tag("g", *inner, class_="pt s-model"))
    return figure(WIDTH, HEIGHT, description, parts)
