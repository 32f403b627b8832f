"""Charts and numerals against arithmetic done by hand."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.report.numerals import interval, number, told
from segue.report.run import NOTHING, Result, lookup, result
from segue.report.svg import BOTTOM, HEIGHT, TOP, Point, Row, Series, interval_chart, line_chart, tick_labels, ticks


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (0.5449, "plain", "0.545"),
        (-0.175, "plain", "−0.175"),
        (-0.0001, "plain", "0.000"),
        (-0.0001, "signed", "0.000"),
        (0.0172, "signed", "+0.017"),
        (1.0, "offset", "+1"),
        (-4, "offset", "−4"),
        (0, "offset", "0"),
        (0.0023, "small", "0.00230"),
        (4165, "count", "4,165"),
        (None, "plain", "–"),
        (None, "count", "–"),
    ],
)
def test_numbers(value: float | None, kind: str, text: str) -> None:
    assert number(value, kind) == text


def test_told_leaves_out_what_is_not_known() -> None:
    assert told(Result(0.5449, 0.538, 0.552, 4165, 0.0)) == "0.545 [0.538, 0.552] · n 4,165 · chance 0.000"
    assert told(NOTHING) == "–" and interval(Result(0.5)) == ""


def test_lookup_never_invents() -> None:
    """An absent path, a null and a bool are not numbers."""
    tree = {"rollout": {"steps": [{"value": 0.0, "low": None}, None]}, "passed": True, "bare": 0.5}
    assert result(tree, "rollout.steps.0").value == 0.0
    assert result(tree, "rollout.steps.1") is NOTHING and result(tree, "rollout.steps.7") is NOTHING
    assert result(tree, "passed") is NOTHING and result(tree, "bare") == Result(0.5)
    assert lookup(tree, "rollout.none.at.all") is None


@given(st.floats(-5, 5), st.floats(1e-5, 10))
def test_ticks_cover_and_are_few(low: float, span: float) -> None:
    """Ticks enclose the data, rise evenly, and their labels say exactly where they stand."""
    found = ticks(low, low + span)
    assert found[0] <= low + 1e-9 and found[-1] >= low + span - 1e-9 and 2 <= len(found) <= 9
    steps = [b - a for a, b in pairwise(found)]
    assert max(steps) - min(steps) < 1e-9
    labels = [float(label.replace("−", "-")) for label in tick_labels(found)]
    assert labels == pytest.approx(found, abs=1e-6)


def test_a_point_stands_where_its_value_is() -> None:
    """The highest tick is the top of the plot, the lowest its bottom, and the middle value halfway."""
    points = [Point(0, 0.0), Point(1, 0.5), Point(2, 1.0)]
    chart = line_chart(
        [Series("s", "model", "circle", points)],
        x_ticks=[(0, "0"), (1, "1"), (2, "2")],
        x_label="x",
        y_label="y",
        description="d",
    )
    heights = [float(y) for y in re.findall(r'cy="([\d.]+)" r="3.8"', chart)]
    top, bottom = TOP, HEIGHT - BOTTOM
    assert heights == pytest.approx([bottom, (top + bottom) / 2, top], abs=0.1)


def test_gaps_and_titles() -> None:
    """A value that was not computed breaks the line and draws no point; titles are escaped."""
    points = [Point(0, 0.1, title="<b>"), Point(1, None), Point(2, 0.3), Point(3, 0.4)]
    chart = line_chart(
        [Series("s", "model", "circle", points)],
        x_ticks=[(float(i), str(i)) for i in range(4)],
        x_label="x",
        y_label="y",
        description="d",
    )
    assert chart.count('r="3.8"') == 3 and "<b>" not in chart and "&lt;b&gt;" in chart
    path = re.search(r'd="(M[^"]*)" class="line"', chart)
    assert path is not None and path.group(1).count("M") == 2


def test_interval_chart_without_interval() -> None:
    """No interval, no whisker; no value, no point."""
    rows = [Row("a", 0.5, None, None, "0.500"), Row("b", None, None, None, "–"), Row("c", 0.5, 0.4, 0.6, "0.500")]
    chart = interval_chart(rows, x_label="x", description="d")
    assert chart.count('class="whisker"') == 1 and chart.count('class="m"') == 2
