"""The explanation says what the figures of the result say, and is silent where they say something else."""

import json
import re

import pytest

from segue.alignment import explain
from segue.alignment.explanation import SHOWN
from segue.alignment.worlds import ar1_world, rotation_world

NUMBER = r"[+−-]?\d+\.\d{3}"


@pytest.fixture
def explained(segue, make_store):
    """`explained("copy_last", "rotation", "skill")` → the result and its explanation, by title."""

    def run(predictor, world, profile, *options):
        documents = {"rotation": rotation_world(45, 16, 16, noise=1.2, seed=1), "ar1": ar1_world(45, 16, 16, seed=1)}
        store = make_store(documents[world], name=world)
        ran = segue("5cat", predictor, "--data", store.path, "--profile", profile, "--explain", "--json", "-", *options)
        value = json.loads(ran.out)
        return value, {section["title"]: section for section in value["explanation"]}

    return run


def figures_of(node, found):
    """Every value of a result, as it is printed."""
    if isinstance(node, dict):
        if isinstance(node.get("value"), float):
            found.add(f"{round(node['value'], 3) + 0.0:.3f}".replace("-", "−"))
        for child in node.values():
            figures_of(child, found)
    elif isinstance(node, list):
        for child in node:
            figures_of(child, found)
    return found


@pytest.mark.parametrize("world", ["rotation", "ar1"])
@pytest.mark.parametrize("profile", ["skill", "original", "legacy"])
def test_every_figure_said_was_measured(explained, world, profile):
    value, sections = explained("copy_last", world, profile)
    measured = figures_of({"splits": value["splits"], "controls": value["controls"]}, set())
    gaps = {
        f"{abs(its['VAL']['cos']['value'] - its['OOD']['cos']['value']):.3f}"
        for its in [value["splits"], *value["controls"].values()]
    }
    cells = [cell for section in sections.values() for row in section["rows"] for cell in row]
    said = " ".join([*cells, *(p for section in sections.values() for p in section["paragraphs"])])
    numbers = re.findall(NUMBER, said)
    assert len(numbers) > 40
    assert set(numbers) <= measured | gaps
    for section in sections.values():
        assert all(len(row) == len(section["header"]) for row in section["rows"])


@pytest.mark.parametrize("profile", ["skill", "original", "legacy"])
def test_who_passes_a_gate_is_said_as_it_is_judged(explained, profile):
    value, sections = explained("ridge", "rotation", profile)
    for gate in "ABCDE":
        section = next(section for title, section in sections.items() if title.startswith(f"{gate}, "))
        said = {row[0]: row[-1] for row in section["rows"]}
        assert said.keys() == {"ridge", *SHOWN}
        for control in SHOWN:
            passes = value["controls"][control]["gates"][profile][gate]
            assert said[control] == {True: "passed", False: "failed", None: "not judged"}[passes]
        text = " ".join(section["paragraphs"])
        assert text.startswith("It asks: ")
        oracle = value["controls"]["oracle"]["gates"][profile][gate]
        attainable = [
            name for name, its in value["controls"].items() if its["attainable"] and its["gates"][profile][gate]
        ]
        if not oracle:
            assert "the oracle itself fails it" in text
        elif attainable:
            assert "alone it proves no skill" in text and all(name in text for name in attainable)
        else:
            assert "no attainable control does" in text


def test_why_legacy_misleads_gives_both_margins_and_is_silent_without_them(explained):
    value, sections = explained("copy_last", "rotation", "skill")
    margin = {
        name: f"{value['controls'][name]['VAL']['legacy']['A']['margin(+1)']['value']:.3f}".replace("-", "−")
        for name in ("oracle", "late_oracle")
    }
    text = " ".join(sections["Where the profile legacy misleads"]["paragraphs"])
    assert f"the exact target (oracle) has margin(+1) {margin['oracle']} there and fails" in text
    assert f"(late_oracle) has {margin['late_oracle']} and passes" in text
    for its in [*value["controls"].values(), value["splits"]]:
        for part in ("VAL", "OOD"):
            its[part].pop("legacy")
    assert "Where the profile legacy misleads" not in {section.title for section in explain(value)}


def test_what_original_rewards_is_said_only_where_it_does(explained):
    value, sections = explained("copy_last", "rotation", "original")
    text = " ".join(sections["Where the profile original misleads"]["paragraphs"])
    assert "random, with a cos of" in text, "E is passed by anything that is alike on both parts"
    for its in value["controls"].values():
        its["gates"]["original"]["E"] = False
    assert "random, with a cos of" not in " ".join(p for section in explain(value) for p in section.paragraphs)


def test_people_are_told_on_the_terminal(segue, make_store):
    store = make_store(rotation_world(40, 12, 16, noise=1.2, seed=1))
    plain = segue("5cat", "copy_last", "--data", store.path)
    told = segue("5cat", "copy_last", "--data", store.path, "--explain")
    assert told.status == plain.status == 1
    assert "It asks:" in told.out and "Where the profile legacy misleads" in told.out
    assert "It asks:" not in plain.out and "legacy" not in plain.out
