"""What the page of a run shows: its state now, its curves as numbers, its report, its notes."""

from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markupsafe import Markup

from segue.report.curves import Drawing, drawings, events, expectations, labels
from segue.report.lineage import lineage
from segue.report.notes import model_card, notes
from segue.report.page import contents
from segue.report.run import Run, read_begun
from segue.report.watch import COLUMNS
from segue.serving.studio.listing import Card

# Text of others may stand in a recipe: HTML in it stays text, and links are left out.
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["link", "image", "autolink"])


def curves(run: Run) -> dict[str, Any]:
    """The curves as uPlot wants them: one x for all, in the order the epochs ran; None is a gap.

    → {"labels": ["1", …, "4′"], "x": […], "panels": [{"heading", "said", "keyed", "series", "bars"}], "events": […]}
    """
    names = labels(run)
    found = drawings(run)
    x = _places(run)
    return {
        "labels": names,
        "x": x,
        "panels": [_panel(drawing, x) for drawing in found],
        "events": [{"at": one.at, "letter": one.letter, "epoch": one.epoch, "said": one.said} for one in events(run)],
    }


def _places(run: Run) -> list[float]:
    """1, 2, 3 …, and a place between two where training went back: there the lines break."""
    places: list[float] = []
    before = None
    for at, entry in enumerate(run.history, start=1):
        if before is not None and int(entry["epoch"]) <= before:
            places.append(at - 0.5)
        before = int(entry["epoch"])
        places.append(float(at))
    return places


def _panel(drawing: Drawing, x: list[float]) -> dict[str, Any]:
    series = []
    for one in drawing.series:
        at = {point.x: point for point in one.points if point.y is not None}
        series.append(
            {
                "label": one.label,
                "style": one.style,
                "y": [at[place].y if place in at else None for place in x],
                "said": [at[place].title if place in at else "" for place in x],
            }
        )
    bars = [{"label": bar.label, "y": bar.y} for bar in drawing.bars if bar.y is not None]
    return {
        "heading": drawing.heading,
        "said": drawing.said,
        "keyed": drawing.keyed,
        "series": series,
        "bars": bars,
    }


def now(card: Card, run: Run) -> dict[str, Any]:
    """What may change while it trains."""
    assert card.view is not None
    seen = card.view
    columns = ["epoch", *(head for head, _, _ in COLUMNS)]
    return {
        "card": card,
        "seen": seen,
        "columns": columns,
        "events": events(run),
        "expectations": expectations(run),
        "reported": run.resolved.get("reported"),
    }


def facts(run: Run) -> list[tuple[str, str]]:
    """Where a tested run comes from."""
    return lineage(run) if run.five_cat else []


def report(folder: Path) -> dict[str, Any] | None:
    """The contents of the run's report; None where it was not tested."""
    run = read_begun(folder)
    return contents(run) if run.splits and run.manifest else None


def notes_html(folder: Path) -> Markup | None:
    """The training notes; None before the first epoch."""
    run = read_begun(folder)
    return _rendered(notes(run)) if run.history else None


def card_html(folder: Path) -> Markup | None:
    """The model card without its front matter; None where the run was not tested."""
    run = read_begun(folder)
    if not run.splits:
        return None
    _, _, text = model_card(run).removeprefix("---\n").partition("\n---\n")
    return _rendered(text)


def _rendered(text: str) -> Markup:
    """Markdown as HTML, headings one step down: the page has its own first. Tables scroll by themselves."""
    tokens = _MARKDOWN.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + 1)}"
        if token.type in ("th_open", "td_open"):  # a style in the element, which the policy refuses
            token.attrs = {} if token.attrs.get("style") else {"class": "words"}
    made = _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {})
    made = made.replace("<table>", '<div class="scroll" tabindex="0"><table class="numbers">')
    return Markup(made.replace("</table>", "</table></div>"))
