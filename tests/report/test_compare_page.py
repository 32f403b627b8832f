"""The page of a comparison in a real browser, the network cut off: what it shows, and that its headings sort."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from segue.report.compare import Comparison, compare
from segue.report.compare_page import headline, to_markdown, to_page
from tiny_run import RECIPE, five_cat, history

MARKUP = "<img src=x onerror=alert(1)>"


def make(folder: Path, cos: float, mrr: float, lift: float, parameters: int) -> Path:
    """A finished, tested run of known figures; each interval is ± .007, the lift's ± .002."""
    folder.mkdir(parents=True)
    found = five_cat(lift)
    for its in found["splits"].values():
        for name, value in (("cos", cos), ("mrr", mrr)):
            at = its if name == "cos" else its["retrieval"]["future"]
            at[name] = {**at[name], "value": value, "low": value - 0.007, "high": value + 0.007}
    found["predictor"] = {**found["predictor"], "parameters": parameters}
    (folder / "5cat.json").write_text(json.dumps(found))
    (folder / "history.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in history()))
    (folder / "recipe.yaml").write_text(RECIPE + "epochs: 3\nmodel: {family: amn}\nobjective: {mse: {weight: 1}}\n")
    manifest = {"kind": "run", "format": 1, "made_by": "tests", "segue": "0.1.0", "made_at": "2025-01-01T10:00"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    runs = tmp_path / "runs"
    return compare(
        [
            make(runs / "middle", 0.550, 0.430, -0.002, 17_867_520),
            make(runs / MARKUP, 0.300, 0.480, 0.02, 822_000),
            make(runs / "best", 0.580, 0.440, -0.02, 1_510_912),
        ]
    )


@pytest.fixture
def page(browser: Browser, comparison: Comparison, tmp_path: Path) -> Iterator[Page]:
    """The page, opened; ends by asserting that nothing complained and nothing was asked for."""
    path = tmp_path / "compare.html"
    path.write_text(to_page(comparison), encoding="utf-8")
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
    shown = context.new_page()
    complaints: list[str] = []
    requests: list[str] = []
    shown.on("console", lambda message: complaints.append(message.text))
    shown.on("pageerror", lambda error: complaints.append(str(error)))
    shown.on("dialog", lambda dialog: complaints.append(dialog.message))
    shown.on("request", lambda request: requests.append(request.url))
    shown.goto(path.as_uri())
    yield shown
    assert complaints == [] and requests == [path.as_uri()]
    context.close()


def column(page: Page, heading: str) -> list[str]:
    """A column of the first table, top to bottom, without intervals and marks."""
    table = page.locator("table.sortable").first
    heads = [head.strip() for head in table.locator("thead th").all_inner_texts()]
    cells = table.locator(f"tbody tr > :nth-child({heads.index(heading) + 1})").all_inner_texts()
    return [" ".join(text.split("[")[0].replace("▲", "").replace("▼", "").split()) for text in cells]


def press(page: Page, heading: str) -> Any:
    head = page.locator("table.sortable").first.locator("thead th").filter(has_text=heading).first
    head.locator("button").focus()
    page.keyboard.press("Enter")
    return head


def test_headings_sort_by_keyboard(page: Page) -> None:
    """Figures fall first, words rise, sizes sort as numbers, what is not there comes last."""
    assert column(page, "run")[:3] == ["middle", MARKUP, "best"]
    head = press(page, "cos")
    assert head.get_attribute("aria-sort") == "descending"
    values = [float(value) for value in column(page, "cos")]
    assert values == sorted(values, reverse=True) and values[0] == 0.58
    press(page, "cos")
    assert [float(value) for value in column(page, "cos")] == sorted(values)
    press(page, "size")
    assert column(page, "size")[:3] == ["17.9 M", "1.51 M", "822 k"] and set(column(page, "size")[3:]) == {"–"}
    head = press(page, "status")
    assert head.get_attribute("aria-sort") == "ascending"
    assert column(page, "status") == sorted(column(page, "status"))
    press(page, "date")
    assert column(page, "date")[:3] == ["2025-01-01"] * 3 and column(page, "date")[-1] == "–"


def test_marks_and_gates(page: Page) -> None:
    """▲ and ▼ follow the paired interval, not the value: the run of the lowest cos has the only ▲."""
    rows = {
        row.split("\n")[0].strip(): row
        for row in page.locator("table.sortable").first.locator("tbody tr").all_inner_texts()
    }
    texts = {name.split("\t")[0]: text for name, text in rows.items()}
    assert "▲" in texts[MARKUP] and "▼" not in texts[MARKUP]
    assert "▼" in texts["best"] and "▲" not in texts["best"]
    assert "4/4" in texts[MARKUP] and "0/4" in texts["best"] and "1/5" in texts["best"]


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_hangs_over_the_edge(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_headline_counts_lifts_clear_of_zero(comparison: Comparison) -> None:
    assert headline(comparison) == ("1 of 3 name the next chunk better than every simple control.", "good")
    assert "onerror=alert(1)&gt;" in to_page(comparison) and MARKUP not in to_page(comparison)
    assert r"\<img src=x onerror=alert(1)\>" in to_markdown(comparison)
