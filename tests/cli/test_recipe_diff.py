"""`segue recipe diff`: where two recipes differ, key by key."""

import json
import re
from pathlib import Path

import pytest

from command_line import Segue
from segue.recipe import resolve


def differences(segue: Segue, *arguments: object) -> dict[str, dict[str, object]]:
    ran = segue("recipe", "diff", *arguments, "--json", "-")
    assert ran.status == 0, ran.err
    return {one.pop("key"): one for one in json.loads(ran.out)["differences"]}


def test_what_differs_is_what_the_file_changes(segue: Segue, tmp_path: Path) -> None:
    """Every line of a recipe that extends another, and nothing else; a schedule is one value, not a key an epoch."""
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: p1\nlr: 0.001\nepochs: 7\nobjective:\n  mse: {weight: {1: 0.5, 3: 1}}\n")
    found = differences(segue, "p1", mine)
    assert found == {
        "lr": {"a": 0.0005, "b": 0.001},
        "epochs": {"a": 5, "b": 7},
        "objective.mse.weight": {"a": 1.0, "b": {"1": 0.5, "3": 1.0}},
    }
    shown = segue("recipe", "diff", "p1", mine)
    assert shown.status == 0 and "{1: 0.5, 3: 1.0}" in shown.out and "3 of " in shown.out


@pytest.mark.parametrize(
    "schedule",
    [
        {"1": 0.5, "3": 1.0},
        {"from": 2, "to": 4, "start": 0.5, "end": 1.0, "shape": "linear"},
        {"at": {"1": 0.5, "3": 1.0}, "shape": "exponential"},
    ],
)
def test_every_kind_of_schedule_is_one_value(segue: Segue, schedule: dict[str, object]) -> None:
    written = re.sub(r'"(\d+)"', r"\1", json.dumps(schedule))
    found = differences(segue, "p1", "p1", "--set", f"objective.cosine={{weight: {written}}}")
    assert found == {"objective.cosine.weight": {"b": schedule}}


def test_set_changes_the_second(segue: Segue) -> None:
    found = differences(segue, "p1", "p1", "--set", "model.layers=2", "--set", "best.metric=mrr_future")
    assert found == {"model.layers": {"a": 4, "b": 2}, "best.metric": {"a": "cos", "b": "mrr_future"}}


def test_what_only_one_has_is_absent_from_the_other(segue: Segue) -> None:
    """Another family has other options: absent is not null."""
    found = differences(segue, "p1", "p1", "--set", "model=amn")
    assert found["model.layers"] == {"a": 4} and found["model.attention"] == {"b": 256}
    assert "name" not in found


def test_tripwires_go_by_their_names(segue: Segue, tmp_path: Path) -> None:
    """One that is added is one line, not a list against a list; keys are shown whole."""
    mine = tmp_path / "mine.yaml"
    wires = [
        "{name: gate, when: {epochs: 3, metric: cos, below: 0.4}, do: {stop: too low}}",
        "{name: back, when: {epochs: 4, metric: cos, below: 0.4}, do: {roll_back_to: 1}}",
    ]
    mine.write_text(f"extends: p1\ntripwires:\n  - {wires[0]}\n")
    (tmp_path / "more.yaml").write_text(f"extends: p1\ntripwires:\n  - {wires[0]}\n  - {wires[1]}\n")
    found = differences(segue, mine, tmp_path / "more.yaml")
    assert list(found) == ["tripwires.back"] and "a" not in found["tripwires.back"]
    shown = segue("recipe", "diff", "p1", "p1", "--set", "model.feed_forward=512").out
    assert "model.feed_forward" in shown and "…" not in shown


@pytest.mark.parametrize("name", ["p1", "demo"])
def test_a_resolved_recipe_is_the_recipe(segue: Segue, tmp_path: Path, name: str) -> None:
    """RUN/recipe.yaml against the shipped one: nothing differs, and that is said."""
    (tmp_path / "recipe.yaml").write_text(resolve(name).to_yaml())
    assert differences(segue, name, tmp_path / "recipe.yaml") == {}
    ran = segue("recipe", "diff", name, tmp_path / "recipe.yaml")
    assert ran.status == 0 and "are the same recipe" in ran.out


def test_refused(segue: Segue) -> None:
    ran = segue("recipe", "diff", "p1", "demmo")
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1) and 'Did you mean "demo"' in ran.err
    ran = segue("recipe", "diff", "p1", "p1", "--set", "model.layerz=2")
    assert ran.status == 2 and "layerz" in ran.err
