"""The page as text: right numbers, nothing from the network, nothing executed that a store or recipe holds."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from segue.errors import InputError
from segue.report import write_report
from tiny_run import MARKUP, MakeRun, five_cat, history

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Nesting(HTMLParser):
    """Holds every element open until its end tag; complains where they cross or an attribute is doubled."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"doubled attribute in {self.get_starttag_text()}"
        values = dict(attrs)
        self.ids += [values["id"] or ""] if "id" in values else []
        self.addresses += [values[key] or "" for key in ("src", "href", "xlink:href", "action") if key in values]
        assert not [key for key in values if key.startswith("on")], "inline event handler"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> at {self.getpos()} closes another element"

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.text.append(data)


def parsed(page: str) -> Nesting:
    parser = Nesting()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


def words(page: str) -> str:
    return re.sub(r"\s+", " ", " ".join(parsed(page).text))


def test_verdict_and_numbers(make_run: MakeRun) -> None:
    """Value, interval, n, control and paired difference of the verdict are those of the JSON, to three decimals."""
    page = write_report(make_run(five_cat(), history())).read_text()
    said = words(page)
    assert "A simple control does better." in said
    for number in (
        "0.549 [0.542, 0.556]",
        "−0.013 [−0.015, −0.011]",
        "0.405 [0.398, 0.412]",
        "−0.175 [−0.182, −0.168]",
    ):
        assert number in said
    assert "chance 0.233" in said and "4,165" in said and "best_weights" in said
    assert "It leans on what it read" in said
    assert said.count("passed") >= 1 and said.count("failed") >= 8 and "not judged There is no OOD part." in said
    assert "1 of 5 judged gates passed" in said and "0 of 4 judged gates passed" in said
    assert "1,234,567" in said and "3.1 minutes for 3 epochs" in said


@pytest.mark.parametrize(
    ("lift", "facets", "headline"),
    [
        (0.02, ("mean",), "It has skill: it lies closer to what follows than any simple control."),
        (0.02, ("rank",), "It has skill: it names the next chunk better than any simple control."),
        (0.001, ("mean",), "It is not better than a simple control."),
        (-0.02, ("mean", "rank"), "A simple control does better."),
    ],
)
def test_headline_follows_the_interval(make_run: MakeRun, lift: float, facets: tuple[str, ...], headline: str) -> None:
    """A lift counts only when its interval is clear of zero, whatever its value."""
    found = five_cat(lift, facets)
    assert f"<h1>{headline}</h1>" in write_report(make_run(found)).read_text()


def test_no_lift_is_not_judged(make_run: MakeRun) -> None:
    """Without a comparison nothing is claimed either way."""
    found = five_cat(0.02)
    found["lifts"] = {"VAL": None, "OOD": None}
    assert "<h1>Not compared with the controls, so not judged.</h1>" in write_report(make_run(found)).read_text()


def test_expectations_are_checked_against_the_history(make_run: MakeRun) -> None:
    """Met, not met, and an epoch that was never trained are three different things."""
    said = words(write_report(make_run(five_cat(), history())).read_text())
    assert "cos ≥ 0.500: met , 0.530 on VAL" in said
    assert "cos ≥ 0.540 and ≤ 0.600: not met , 0.520 on VAL" in said
    assert "margin_last ≥ 0.050: not reached , – on VAL" in said


def test_markup_is_escaped(make_run: MakeRun) -> None:
    """Names, warnings, events, manifest and recipe may hold markup: it is shown, never run."""
    page = write_report(make_run(five_cat(), history())).read_text()
    assert page.count("<script>") == 1 and "alert(" in page and MARKUP not in page
    assert words(page).count(MARKUP) >= 6


def test_loads_nothing(make_run: MakeRun) -> None:
    """No address but anchors of the page itself; no import, no url() in the style; no id twice."""
    page = write_report(make_run(five_cat(), history())).read_text()
    found = parsed(page)
    assert found.addresses and all(address.startswith("#") for address in found.addresses)
    assert {address[1:] for address in found.addresses} <= set(found.ids)
    assert len(found.ids) == len(set(found.ids))
    assert not re.search(r"https?://|@import|url\(|<link|<img|<iframe", page)


def test_not_computed_is_a_dash(make_run: MakeRun) -> None:
    """null never turns into 0.000, in the whole table, in the pools, in the lifts."""
    page = write_report(make_run(five_cat(), history())).read_text()
    whole = page[page.index('id="everything"') : page.index('id="recipe"')]
    row = re.search(r'<tr class="g-model">.*?</tr>', whole, re.S)
    assert row is not None
    cells = re.findall(r"<td[^>]*>([^<]*)", row.group())
    assert cells[6] == "–"  # par
    assert "Pool unseen" not in page and "Pool document" in page


def everything_null(tree: object) -> object:
    """The same tree with every number null."""
    if isinstance(tree, dict):
        return {key: everything_null(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [everything_null(value) for value in tree]
    return None


def test_all_null_still_makes_a_page(make_run: MakeRun) -> None:
    """A result in which nothing was computed is told as such, without a zero and without a crash."""
    found = five_cat()
    for field in ("splits", "controls", "lifts", "generalisation", "data"):
        found[field] = everything_null(found[field])
    page = write_report(make_run(found)).read_text()
    assert "not judged" in page and "0.000" not in words(page)


def test_without_ood_and_history(make_run: MakeRun) -> None:
    """A run measured on VAL only, with no epochs recorded."""
    said = words(write_report(make_run(five_cat(ood=False), [])).read_text())
    assert "Measured on VAL only" in said and "only VAL was measured" in said


def test_same_input_same_page(make_run: MakeRun, tmp_path: Path) -> None:
    """Nothing of the moment or the machine gets into the page; --out in a new folder works."""
    run = make_run(five_cat(), history())
    first, second = write_report(run), write_report(run, tmp_path / "new" / "page.html")
    assert first == run / "report.html" and first.read_bytes() == second.read_bytes()
    assert str(tmp_path) not in first.read_text()


def test_run_that_was_never_tested(make_run: MakeRun) -> None:
    """No 5cat.json: the remedy is named, no page is written."""
    run = make_run(None)
    with pytest.raises(InputError, match="segue 5cat"):
        write_report(run)
    assert not (run / "report.html").exists()


def test_missing_and_unfinished(make_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such run"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(InputError, match="not a finished run"):
        write_report(make_run(five_cat(), manifest=False))


def test_broken_history_names_its_line(make_run: MakeRun) -> None:
    run = make_run(five_cat(), history())
    with (run / "history.jsonl").open("a") as file:
        file.write("{not json\n")
    with pytest.raises(InputError, match=r"history\.jsonl: line 4"):
        write_report(run)
