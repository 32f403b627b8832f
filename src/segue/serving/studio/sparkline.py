"""A curve as small as a word."""

from collections.abc import Sequence

from markupsafe import Markup

from segue.report.svg import tag

WIDTH, HEIGHT, PAD = 96.0, 24.0, 3.0


def sparkline(values: Sequence[float | None], label: str) -> Markup:
    """Its line and a dot at its last value; nothing where there are no values. `label`: what is read out."""
    known = [(i, value) for i, value in enumerate(values) if value is not None]
    if not known:
        return Markup("")
    low, high = min(v for _, v in known), max(v for _, v in known)
    step = (WIDTH - 2 * PAD) / max(1, len(values) - 1)
    spots = [
        (PAD + i * step, HEIGHT - PAD - (HEIGHT - 2 * PAD) * ((v - low) / (high - low) if high > low else 0.5))
        for i, v in known
    ]
    line = tag("polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in spots), class_="line")
    dot = tag("circle", cx=spots[-1][0], cy=spots[-1][1], r=2.4, class_="m")
    view = f"0 0 {WIDTH:.0f} {HEIGHT:.0f}"
    return tag("svg", line, dot, viewBox=view, role="img", aria_label=label, class_="spark s-model")
