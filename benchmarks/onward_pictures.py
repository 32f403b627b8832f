"""The pictures of the generative head for docs/onward.md: rank histograms, and adjacent cosines along a rollout."""

from collections.abc import Mapping, Sequence
from importlib.resources import files

from markupsafe import Markup

from segue.report import svg
from segue.report.bars import Bar, bar_chart
from segue.statistics import Result

STYLES = (("oracle", "circle"), ("best", "square"), ("copy", "triangle"), ("model", "circle"), ("mean", "diamond"))
PANEL = (250.0, 165.0)
GAP, HEAD = 18.0, 30.0


def whole(parts: Sequence[Markup], width: float, height: float) -> str:
    """A picture that stands alone, in the page's own colours."""
    css = Markup(files("segue.report").joinpath("templates", "page.css").read_text("utf-8"))
    paper = svg.tag("rect", width="100%", height="100%", style="fill: var(--paper)")
    made = svg.tag(
        "svg",
        svg.tag("style", css),
        paper,
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        width=width,
        height=height,
        class_="chart",
    )
    return str(made)


def calibration_svg(found: Mapping[str, Mapping[str, Sequence[Result]]]) -> str:
    """Forecast → what the truth was ranked by → the ten deciles' shares: a row a forecast. Even is right."""
    parts, across = [], max(len(one) for one in found.values())
    for i, (forecast, by) in enumerate(found.items()):
        top = GAP + i * (PANEL[1] + 2 * HEAD)
        parts.append(svg.tag("text", forecast, x=GAP, y=top + 12, class_="strong"))
        for j, (name, shares) in enumerate(by.items()):
            bars = [
                Bar(k / 10, (k + 1) / 10, one.value or 0.0, one.low, one.high, f"{one.value:.3f}")
                for k, one in enumerate(shares)
            ]
            chart = bar_chart(
                bars,
                x_ticks=[(0.0, "0"), (0.5, ".5"), (1.0, "1")],
                x_label="the truth's rank among the samples",
                y_label=name,
                description=f"{forecast}, ranked by {name}: share of windows in each tenth; .1 is even",
            )
            left = GAP + j * (PANEL[0] + GAP)
            parts.append(svg.tag("svg", chart, x=left, y=top + HEAD - 8, width=PANEL[0], height=PANEL[1]))
    return whole(parts, GAP + across * (PANEL[0] + GAP), GAP + len(found) * (PANEL[1] + 2 * HEAD))


def adjacent_svg(found: Mapping[str, Sequence[Result]]) -> str:
    """What is rolled out → its cosine to the step before, by step."""
    series = [
        svg.Series(
            name,
            style,
            shape,
            [svg.Point(float(at), one.value, one.low, one.high, f"{one.value:.3f}") for at, one in enumerate(steps, 1)],
        )
        for (name, steps), (style, shape) in zip(found.items(), STYLES, strict=True)
    ]
    steps = max(len(one.points) for one in series)
    width, height = 560.0, 370.0
    chart = svg.line_chart(
        series,
        x_ticks=[(float(at), str(at)) for at in range(1, steps + 1)],
        x_label="step of the rollout",
        y_label="cosine to the step before",
        description="adjacent cosine along a rollout; at 1 it stands still",
        y_range=(0.0, 1.0),
    )
    parts = [svg.tag("svg", chart, x=GAP, y=HEAD, width=width, height=height)]
    for i, one in enumerate(series):
        at = HEAD + 40.0 + 24 * i
        parts.append(svg.tag("g", svg.marker(one.shape, width + 40, at), class_=f"s-{one.style}"))
        parts.append(svg.tag("text", one.label, x=width + 54, y=at + 5, class_="label"))
    return whole(parts, width + 300, height + 2 * HEAD)
