"""Profiles are data: the shipped ones are whole, a user's own is judged like them, and a mistake in one is one line."""

import json
import re

import pytest

from segue.alignment.profiles import choose_profiles, known_metrics, read_profile, shipped_profiles
from segue.alignment.worlds import rotation_world
from segue.errors import InputError


def test_the_shipped_profiles_ask_every_gate():
    profiles = shipped_profiles()
    assert list(profiles) == ["original", "skill", "legacy"]
    for profile in profiles.values():
        assert list(profile["gates"]) == list("ABCDE") and profile["about"]
    assert profiles["original"]["gates"]["A"][1] == {"metric": "margin", "at_least": {"VAL": 0.12, "OOD": 0.10}}


MISTAKES = {
    "[1, 2]": r"mine\.yaml: found a list, a profile is wanted",
    "": r"found nothing, a profile is wanted",
    "a: {gates: {A: [{metric: cos, above: attainable}]}}\nb: {gates: {A: [{metric: cos, above: attainable}]}}": (
        r"found 2 profiles \(a, b\), one a file is wanted"
    ),
    "skill: {gates: {A: [{metric: cos, above: attainable}]}}": r"found the name 'skill'",
    "mine: {gates: {F: [{metric: cos, at_least: 0.5}]}}": (
        r"mine\.yaml: mine\.gates: found the unknown gate 'F'\. .*Known: A, B, C, D, E\."
    ),
    "mine: {gats: {}}": r'mine: found the unknown field \'gats\'\. Did you mean "gates"\?',
    "mine: {gates: {A: {metric: cos}}}": r"mine\.gates\.A: found .*a list of conditions is wanted",
    "mine: {gates: {A: [{metric: coss, at_least: 0.5}]}}": (
        r'mine\.gates\.A\[0\]\.metric: found \'coss\', .*Did you mean "cos"\?'
    ),
    "mine: {gates: {B: [{metric: retrieval.futur.mrr, at_least: 0.5}]}}": r'Did you mean "retrieval\.future\.mrr"\?',
    "mine: {gates: {A: [{metric: cos, at_leest: 0.5}]}}": r'unknown field \'at_leest\'\. Did you mean "at_least"\?',
    "mine: {gates: {A: [{metric: cos}]}}": r"gates\.A\[0\]: found 'no test', exactly one of at_least, at_most",
    "mine: {gates: {A: [{metric: cos, at_least: 0.5, at_most: 0.6}]}}": r"found 'at_least and at_most', exactly one",
    "mine: {gates: {A: [{metric: cos, at_least: high}]}}": r"at_least: found 'high', a number is wanted",
    "mine: {gates: {A: [{metric: cos, at_least: true}]}}": r"at_least: found True, a number is wanted",
    "mine: {gates: {A: [{metric: cos, at_least: .nan}]}}": r"at_least: found nan, a number is wanted",
    "mine: {gates: {A: [{metric: cos, at_least: {VALL: 0.5}}]}}": r'unknown part \'VALL\'\. Did you mean "VAL"\?',
    "mine: {gates: {A: [{metric: cos, at_least: {VAL: x}}]}}": r"at_least\.VAL: found 'x', a number is wanted",
    "mine: {gates: {A: [{metric: cos, above: rigde}]}}": r'above: found \'rigde\', .*Did you mean "ridge"\?',
    "mine: {gates: {A: [{metric: cos, facet: men, at_least: 0.5}]}}": r"facet: found 'men', one of mean, rank",
    "mine: {gates: {A: [{metric: cos, equals: horizon}]}}": r"only `\{metric: peak, equals: horizon\}`",
    "mine: {gates: {A: [{metric: cos, below_zero: 1}]}}": r"below_zero: found 1, only `true`",
    "mine: {gates: {A: [{metric: cos, at_least: 0.5, keeps: 0.5}]}}": r"keeps: found 0\.5",
    "mine: {gates: {E: [{metric: generalisation.cos, at_least: 0.5}]}}": r"generalisation\.cos is asked with `at_most",
    "mine: {gates: {A: [{metric: cos, horizon: 0, at_least: 0.5}]}}": r"horizon: found 0, a whole number from 1",
    "mine: {gates: [": r"mine\.yaml: is not YAML",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_one_line_that_names_the_field(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as refused:
        choose_profiles(str(path))
    said = str(refused.value)
    assert re.search(MISTAKES[text], said), said
    assert "mine.yaml" in said and "\n" not in said


def test_a_number_stands_for_both_parts_and_offsets_may_be_further(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("mine: {gates: {A: [{metric: cos, at_least: 0.5}, {metric: offsets.-7, at_most: {OOD: 0.4}}]}}")
    conditions = read_profile(path)["mine"]["gates"]["A"]
    assert conditions[0]["at_least"] == {"VAL": 0.5, "OOD": 0.5}
    assert conditions[1]["at_most"] == {"OOD": 0.4}


def leaves(node, path=()):
    if isinstance(node, dict) and "value" in node:
        yield ".".join(path)
    elif isinstance(node, (dict, list)):
        items = node.items() if isinstance(node, dict) else enumerate(node, start=1)
        for key, value in items:
            yield from leaves(value, (*path, str(key)))


def test_a_profile_of_ones_own_on_the_command_line(segue, make_store, tmp_path):
    """Judged beside the shipped ones, its verdict the exit status; what it leaves out is not judged."""
    store = make_store(rotation_world(40, 14, 16, noise=1.2, seed=1))
    path = tmp_path / "mine.yaml"
    gates = "{A: [{metric: cos, at_least: {VAL: 0.9}}], B: [{metric: retrieval.corpus.r1, above: copy_last}]}"
    path.write_text(f"mine: {{about: what we ask, gates: {gates}}}")
    ran = segue("5cat", "oracle", "--data", store.path, "--profile", path, "--json", "-")
    value = json.loads(ran.out)
    assert ran.status == 0 and value["profile"] == "mine" and list(value["profiles"]) == ["original", "skill", "mine"]
    assert {gate: its["passed"] for gate, its in value["gates"].items()} == {
        "A": True, "B": True, "C": None, "D": None, "E": None,
    }  # fmt: skip
    assert value["gates"]["A"]["why"].startswith("VAL: cos 1.000") and "OOD" not in value["gates"]["A"]["why"]
    assert segue("5cat", "copy_last", "--data", store.path, "--profile", path).status == 1

    strange = set(leaves(value["splits"]["VAL"])) - set(known_metrics())
    assert not strange, "measured, but no profile could ask for it"

    path.write_text(f"mine: {{gates: {gates.replace('cos', 'cosine')}}}")
    ran = segue("5cat", "oracle", "--data", store.path, "--profile", path)
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
    ran = segue("5cat", "oracle", "--data", store.path, "--profile", tmp_path / "no.yaml")
    assert ran.status == 2 and "no.yaml: no such file" in ran.err
