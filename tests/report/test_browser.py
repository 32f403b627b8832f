"""The page in a real browser, from file:// and with the network cut off."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from segue.report import write_report
from tiny_run import MakeRun, five_cat, history


@pytest.fixture
def page(browser: Browser, make_run: MakeRun) -> Iterator[Page]:
    """The report of the tiny run, opened; ends by asserting that nothing complained and nothing was asked for."""
    path = write_report(make_run(five_cat(), history()))
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
    shown = context.new_page()
    complaints: list[str] = []
    requests: list[str] = []
    shown.on("console", lambda message: complaints.append(message.text))
    shown.on("pageerror", lambda error: complaints.append(str(error)))
    shown.on("request", lambda request: requests.append(request.url))
    shown.goto(path.as_uri())
    yield shown
    assert complaints == []
    assert requests == [path.as_uri()]
    context.close()


def column(page: Page, number: int) -> list[str]:
    """A column of the first sortable table, top to bottom; 0 is the predictor's name."""
    cells = page.locator("table.sortable").first.locator(f"tbody tr > :nth-child({number + 1})")
    return [text.strip().split()[0].split("[")[0] for text in cells.all_inner_texts()]


def test_a_heading_sorts_its_column(page: Page) -> None:
    """Pressed once the largest comes first, twice the smallest; names and what is null keep their rules."""
    heading = page.locator("table.sortable").first.locator("thead th").nth(1)
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert column(page, 0) == ["oracle", "best_weights", "context_mean", "model", "copy_last", "rank_weights"]
    heading.locator("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert column(page, 0)[0] == "rank_weights" and column(page, 1)[-1] == "1.000"
    name = page.locator("table.sortable").first.locator("thead th").first
    name.locator("button").click()
    assert column(page, 0) == sorted(column(page, 0)) and heading.get_attribute("aria-sort") is None


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_hangs_over_the_edge(page: Page, width: int) -> None:
    """On a phone, too, only tables scroll sideways, never the page."""
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_dark_and_light_differ_and_print_opens_the_recipe(page: Page) -> None:
    """The page follows the reader's scheme, figures with it; on paper the recipe is not folded away."""
    colour = "getComputedStyle(document.querySelector('.s-model .line')).stroke + getComputedStyle(document.body).color"
    page.emulate_media(color_scheme="light")
    light = page.evaluate(colour)
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(colour) != light
    assert not page.locator("#recipe pre").is_visible()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#recipe pre").is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert not page.locator("#recipe pre").is_visible()


def test_pdf(page: Page, tmp_path: Path) -> None:
    """It prints."""
    page.pdf(path=str(tmp_path / "page.pdf"), format="A4")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
