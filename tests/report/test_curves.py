"""Training curves where training went back, events in them, several terms; and the levels of success."""

import re
from typing import Any

import pytest
import yaml

from segue.report import write_report
from segue.report.curves import events, expectations, labels, training_curves
from segue.report.levels import levels
from segue.report.run import read_run
from tiny_run import MARKUP, MakeRun, five_cat, history


def went_back() -> list[dict[str, Any]]:
    """Epochs 1 2 3, back to 1, then 2 and 3 again with other figures."""
    first = history()
    again = [
        {**entry, "attempt": 2, "val": {**entry["val"], "cos": 0.6 + i / 10}} for i, entry in enumerate(history()[1:])
    ]
    first[2]["events"] = ["tripwire back: to epoch 1"]
    return [*first, *again]


def test_epochs_are_drawn_in_the_order_they_ran(make_run: MakeRun) -> None:
    """An epoch that ran again stands beside its first attempt, and no line leads from the one to the other.

    Guards against drawing by epoch number, where the second attempt hides why training went back.
    """
    run = read_run(make_run(five_cat(), went_back()))
    assert labels(run) == ["1", "2", "3", "2′", "3′"]
    chart = str(next(panel for panel in training_curves(run) if panel.heading == "VAL cos").chart)
    titles = re.findall(r"<title>epoch (\S+), VAL cos: ([\d.]+)", chart)
    assert titles == [("1", "0.510"), ("2", "0.520"), ("3", "0.530"), ("2′", "0.600"), ("3′", "0.700")]
    across = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"[^>]*class="hit"', chart)]
    assert across == sorted(across) and len(set(across)) == 5
    path = re.search(r'<path d="([^"]+)" class="line"', chart)
    assert path is not None and [len(piece.split("L")) for piece in path.group(1).split("M")[1:]] == [3, 2]


def test_the_last_attempt_counts_for_what_was_expected(make_run: MakeRun) -> None:
    run = read_run(make_run(five_cat(), went_back()))
    assert [(one.epoch, one.found, one.outcome) for one in expectations(run)] == [
        (3, "0.700", "met"),
        (2, "0.600", "met"),
        (8, "–", "not reached"),
    ]


def test_an_expected_share_of_mse_is_read_from_the_training(make_run: MakeRun) -> None:
    """p6b-v2.2 wants ρ within .05 of its target: not a metric of VAL, the controller's own figure."""
    entries = history()
    for entry, rho in zip(entries, (0.12, 0.31, 0.36), strict=False):
        entry["train"]["terms"]["directional"] = {"value": 0.1, "weight": 0.01, "rho": rho}
    wanted = [{"epoch": 1, "metric": "rho.directional", "low": 0.2, "high": 0.3}]
    wanted += [{"epoch": 3, "metric": "rho.directional", "low": 0.3, "high": 0.4}]
    wanted += [{"epoch": 1, "metric": "rho.future", "low": 0.1}]
    folder = make_run(five_cat(), entries)
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({**yaml.safe_load(recipe.read_text()), "expectations": wanted}))
    assert [(one.found, one.outcome) for one in expectations(read_run(folder))] == [
        ("0.120", "not met"),
        ("0.360", "met"),
        ("–", "not computed"),
    ]


def test_what_a_rollback_threw_away_was_not_reached(make_run: MakeRun) -> None:
    """Back to epoch 1 and stopped after 2: epoch 3 has no line behind the last weights."""
    run = read_run(make_run(five_cat(), went_back()[:4]))
    assert [(one.epoch, one.outcome) for one in expectations(run)] == [
        (3, "not reached"),
        (2, "met"),
        (8, "not reached"),
    ]
    assert list(run.epochs) == [1, 2] and run.epochs[2]["val"]["cos"] == 0.6


def test_events_are_lettered_in_figures_and_list(make_run: MakeRun) -> None:
    """The same letter at the same place; what an event says is escaped."""
    folder = make_run(five_cat(), went_back())
    run = read_run(folder)
    assert [(one.letter, one.at, one.epoch) for one in events(run)] == [("a", 2, "2"), ("b", 3, "3"), ("c", 4, "2′")]
    page = write_report(folder).read_text()
    assert "<b>b</b> epoch 3</dt><dd>tripwire back: to epoch 1" in page and MARKUP not in page
    for panel in training_curves(run):
        chart = str(panel.chart)
        marks = dict(re.findall(r'x="([\d.]+)" y="[\d.]+" text-anchor="middle" class="strong">([a-c])<', chart))
        ticks = dict(re.findall(r'x="([\d.]+)" y="[\d.]+" text-anchor="middle">(\d′?)<', chart))
        assert {ticks[x]: letter for x, letter in marks.items()} == {"2": "a", "3": "b", "2′": "c"}


def test_terms_are_drawn_by_weight_and_gradient(make_run: MakeRun) -> None:
    """What changes is drawn, what does not is said; a ratio that was not computed leaves a gap, not a zero."""
    entries = history()
    for i, entry in enumerate(entries):
        entry["train"]["terms"] = {
            "mse": {"value": 0.003, "weight": 1.0, "gradient_ratio": 1.0},
            "directional": {"value": 0.1, "weight": 0.002 * i, "gradient_ratio": 0.3 if i else None},
        }
    panels = {panel.heading: panel for panel in training_curves(read_run(make_run(five_cat(), entries)))}
    weight, ratio = panels["weight of each term"], panels["gradient of each term against mse's"]
    assert re.findall(r"<title>epoch (\d), directional: (\S+)</title>", str(weight.chart)) == [
        ("1", "0"),
        ("2", "0.00200"),
        ("3", "0.00400"),
    ]
    assert weight.note == "■ directional, mse 1.00 throughout"
    assert re.findall(r"<title>epoch (\d), (\w+): (\S+)</title>", str(ratio.chart)) == [
        ("2", "directional", "0.300"),
        ("3", "directional", "0.300"),
    ]


def reached(**changes: Any) -> dict[str, Any]:
    """A result at cos .57 ± .007, margin +.16, five gates passed, rollout .56, except for what is changed."""
    found = five_cat(0.02)
    val = found["splits"]["VAL"]
    figures = {"cos": 0.57, "margin": 0.16, "rollout": 0.56, "gap": 0.01, "gates": 5, **changes}
    for metric in ("cos", "margin"):
        val[metric] = {"value": figures[metric], "low": figures[metric] - 0.007, "high": figures[metric] + 0.007}
    val["rollout"]["mean"] = {"value": figures["rollout"]}
    found["generalisation"]["cos"] = {"value": figures["gap"]}
    gates = {letter: {"passed": i < figures["gates"], "why": ""} for i, letter in enumerate("ABCDE")}
    found["profiles"]["original"] = {"passed": figures["gates"] == 5, "gates": gates}
    return found


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, [True, True, True]),
        ({"cos": 0.559}, [True, True, False]),
        ({"cos": 0.56}, [True, True, True]),
        ({"margin": 0.0999}, [True, False, False]),
        ({"gates": 3}, [True, False, False]),
        ({"gates": 2}, [False, False, False]),
        ({"gap": 0.031}, [True, False, True]),
        ({"gap": None}, [True, None, True]),
        ({"rollout": 0.549}, [True, True, False]),
        ({"margin": -0.2}, [False, False, False]),
    ],
)
def test_levels_of_success(make_run: MakeRun, changes: dict[str, Any], wanted: list[bool | None]) -> None:
    """SPEC §9, bound by bound, inclusive; what was not measured leaves a level open."""
    found = levels(read_run(make_run(reached(**changes), history())))
    assert [level.name for level in found] == ["minimum", "target", "stretch"]
    assert [level.reached for level in found] == wanted


def test_gates_not_judged_leave_a_level_open(make_run: MakeRun) -> None:
    """Without OOD four gates are judged: four of five may still be reached, five of five if all four passed."""
    found = reached(gates=4)
    found["profiles"]["original"]["gates"]["E"]["passed"] = None
    its = {level.name: level.asked[2].outcome for level in levels(read_run(make_run(found, history())))}
    assert its == {"minimum": "met", "target": "met", "stretch": "not measured"}


def test_the_page_shows_the_levels(make_run: MakeRun) -> None:
    page = write_report(make_run(reached(cos=0.541), history())).read_text()
    table = page[page.index("Levels of success") :]
    assert "≥ 0.540: met, its interval holds the bound" in table
    assert re.search(r"stretch <small>not reached</small>", table)
