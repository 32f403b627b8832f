"""The frontier as figures: cos, future MRR and direction against margin_last, every run and control on the same axes.

Reads the value of `frontier.json`; draws one plane a metric and split.
"""

from importlib.resources import files
from typing import Any

from markupsafe import Markup

from segue.report import svg
from segue.report.figures import Key, Panel
from segue.report.plane import CONTROL, KNOWING, LETTER, SIZE, Place, plane
from segue.report.run import result
from segue.report.tables import Line, Table, cell

AXES = {"cos": "cos", "mrr_future": "MRR, pool future", "direction": "direction"}
LOOKS = (("model", "circle"), ("mean", "square"), ("copy", "triangle"), ("other", "diamond"))  # of runs, in their order


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
                panels.append(Panel(f"{label}, {split}", measured_on(found, split), plane(placed, label, split)))
    return panels


def _splits(found: dict[str, Any]) -> list[str]:
    return list(found["data"]["windows"])


def measured_on(found: dict[str, Any], split: str) -> str:
    """`3,720 windows of 100 documents`"""
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
        made.append(Table(f"{split}, {measured_on(found, split)}", ["margin_last", *AXES.values()], lines))
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
