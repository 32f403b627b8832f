"""What a model gains over a control on each corpus, as a picture."""

from collections.abc import Mapping

from onward_pictures import whole
from segue.report import svg
from segue.statistics import Result

PANEL = 470.0  # across, title and a gap included


def lifts_svg(found: Mapping[str, Mapping[str, Result]]) -> str:
    """`model − control` → corpus → paired lift with its interval: a panel each, side by side on scales of their own."""
    parts, height = [], 0.0
    for i, (title, by) in enumerate(found.items()):
        rows = [
            svg.Row(name, one.value, one.low, one.high, f"{one.value:+.4f}", style="model", strong=(one.low or 0) > 0)
            for name, one in by.items()
        ]
        chart = svg.interval_chart(
            rows,
            x_label="MRR, pool future, paired",
            description=f"{title}: paired lift on each corpus with its interval",
            marks=[svg.Mark(x=0.0, label="0")],
        )
        tall = 20.0 + svg.ROW * len(rows) + 42
        parts.append(svg.tag("text", title, x=i * PANEL + 16, y=26.0, class_="strong"))
        parts.append(svg.tag("svg", chart, x=i * PANEL, y=40.0, width=svg.WIDTH, height=tall))
        height = max(height, tall + 50)
    return whole(parts, PANEL * len(found), height)
