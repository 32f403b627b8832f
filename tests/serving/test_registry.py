"""The registry: who may be promoted, what is recorded, and that no mistake changes the file."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from small_runs import five_cat, small_model, small_run

from command_line import Segue
from segue.artifacts import lock, write_json
from segue.errors import InputError
from segue.models import save_model
from segue.serving import registry


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A registry with `good` (passes), `bad` (fails) and `other` (passes), all served."""
    for name, passed in (("good", True), ("bad", False), ("other", True)):
        registry.add(tmp_path / "registry", name, small_run(tmp_path / name, passed))
    return tmp_path / "registry"


def statuses(folder: Path) -> dict[str, str]:
    """Read from the file itself, not through the code under test."""
    models = json.loads((folder / "registry.json").read_text())["models"]
    return {name: entry["status"] + (f" → {entry['use']}" if entry["use"] else "") for name, entry in models.items()}


def refused(change: Callable[[], object], folder: Path, *told: str) -> None:
    """The change raises one line that says so, and leaves the file as it was to the byte."""
    before = (folder / "registry.json").read_bytes()
    with pytest.raises(InputError) as error:
        change()
    assert "\n" not in str(error.value)
    for piece in told:
        assert piece in str(error.value)
    assert (folder / "registry.json").read_bytes() == before


def test_a_model_goes_from_candidate_to_production_to_deprecated(folder: Path):
    registry.candidate(folder, "good")
    registry.promote(folder, "good")
    assert statuses(folder) == {"good": "production", "bad": "served", "other": "served"}
    registry.candidate(folder, "other")
    registry.promote(folder, "other")
    assert statuses(folder) == {"good": "served", "bad": "served", "other": "production"}
    registry.deprecate(folder, "bad", "good")
    registry.deprecate(folder, "good", "other")
    assert statuses(folder) == {"good": "deprecated → other", "bad": "deprecated → other", "other": "production"}
    assert [event.did for event in registry.read_registry(folder).history] == [
        *["add"] * 3,
        *["candidate", "promote"] * 2,
        *["deprecate"] * 2,
    ]


def test_only_one_is_candidate(folder: Path):
    registry.candidate(folder, "good")
    registry.candidate(folder, "bad")
    assert statuses(folder) == {"good": "served", "bad": "candidate", "other": "served"}


def test_who_fails_the_gates_is_promoted_only_by_force_and_it_is_kept(folder: Path):
    refused(lambda: registry.promote(folder, "bad"), folder, "fails profile skill, gates A, B, D, E", "--force --why")
    refused(lambda: registry.promote(folder, "good", "original"), folder, "fails profile original, gates A ")
    refused(lambda: registry.promote(folder, "bad", force=True), folder, "wants --why")
    refused(lambda: registry.promote(folder, "bad", force=True, why="  "), folder, "wants --why")
    registry.promote(folder, "good")
    event = registry.promote(folder, "bad", force=True, why="the demonstration").history[-1]
    assert (event.did, event.name) == ("promote", "bad")
    assert event.told["forced"] and event.told["why"] == "the demonstration" and event.told["before"] == "good"
    assert "gates A, B, D, E" in event.told["against"][0]
    assert event.at.endswith("+00:00")


def test_force_where_nothing_speaks_against_it_is_not_called_forced(folder: Path):
    assert not registry.promote(folder, "good", force=True, why="to be sure").history[-1].told["forced"]


def test_what_5cat_must_be(folder: Path, tmp_path: Path):
    """Each cheat alone keeps a passing model out: no 5CAT, another's (if only by its weights), uncertified, changed."""
    model = small_model("m")
    for name, told in (
        ("none", "has no 5cat.json"),
        ("uncertified", "not certified"),
        ("anothers", "another model's (context 7"),
        ("retrained", "another model's (weights "),
        ("profile", "no verdict for the profile skill"),
    ):
        run = small_run(tmp_path / name, None if name == "none" else True, model, certified=name != "uncertified")
        if name == "anothers":
            write_json(run / "5cat.json", five_cat(small_model("m", context=7), True))
        if name == "retrained":
            write_json(run / "5cat.json", five_cat(small_model("m", seed=3), True))
        if name == "profile":
            write_json(run / "5cat.json", {**five_cat(model, True), "profiles": {}})
        registry.add(folder, name, run)
        refused(lambda name=name: registry.promote(folder, name), folder, told)
    save_model(small_model("good", seed=1), tmp_path / "good")
    refused(lambda: registry.promote(folder, "good"), folder, "was changed since it was registered")


def test_what_is_refused(folder: Path, tmp_path: Path):
    registry.promote(folder, "good")
    registry.deprecate(folder, "bad", "other")
    run = tmp_path / "good"
    refused(lambda: registry.add(folder, "good", run), folder, "good is registered")
    refused(lambda: registry.add(folder, "../up", run), folder, "letters, digits")
    refused(lambda: registry.add(folder, "x" * 65, run), folder, "letters, digits")
    refused(lambda: registry.add(folder, "new", tmp_path / "no"), folder, "no such model")
    refused(lambda: registry.promote(folder, "god"), folder, 'Did you mean "good"')
    refused(lambda: registry.promote(folder, "good"), folder, "in production already")
    refused(lambda: registry.promote(folder, "bad"), folder, "is deprecated for other")
    refused(lambda: registry.promote(folder, "other", "skil"), folder, 'Did you mean "skill"')
    refused(lambda: registry.deprecate(folder, "good", "other"), folder, "is in production")
    refused(lambda: registry.deprecate(folder, "other", "other"), folder, "itself")
    refused(lambda: registry.deprecate(folder, "other", "bad"), folder, "which is deprecated")
    refused(lambda: registry.deprecate(folder, "other", "none"), folder, "no model 'none'")
    refused(lambda: registry.remove(folder, "good"), folder, "is in production")
    refused(lambda: registry.remove(folder, "other"), folder, "bad points to it")
    with lock(folder):
        refused(lambda: registry.remove(folder, "bad"), folder, "another segue process")
    registry.remove(folder, "bad")
    assert statuses(folder) == {"good": "production", "other": "served"}
    with pytest.raises(InputError, match=r"no such file\. Make it with `segue registry add"):
        registry.candidate(tmp_path / "nowhere", "good")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda value: value["models"]["bad"].update(status="production"), "marks 2 models production"),
        (lambda value: value["models"]["bad"].update(status="deprecated"), "`use` is None"),
        (lambda value: value["models"]["bad"].update(status="deprecated", use="no"), "points to 'no'"),
        (lambda value: value["models"]["bad"].update(status="retired"), "models.bad.status"),
        (lambda value: value["models"]["bad"].pop("run"), "models.bad.run"),
        (lambda value: value.update(format=99), "in format 99"),
        (lambda value: value.update(extra=1), "extra"),
        (lambda value: value.clear() or value.update(kind="store"), "kind"),
    ],
)
def test_a_damaged_registry_is_one_line(folder: Path, change: Callable[[dict], object], told: str):
    registry.promote(folder, "good")
    value = json.loads((folder / "registry.json").read_text())
    change(value)
    write_json(folder / "registry.json", value)
    refused(lambda: registry.read_registry(folder), folder, "registry.json", told)


def test_the_command_line(segue: Segue, tmp_path: Path):
    folder = tmp_path / "registry"
    run, worse = small_run(tmp_path / "a"), small_run(tmp_path / "b", False)
    assert segue("registry", "add", "a", run, "--registry", folder).status == 0
    assert segue("registry", "add", "b", worse, "--registry", folder).status == 0
    assert segue("registry", "candidate", "b", "--registry", folder).status == 0
    ran = segue("registry", "promote", "b", "--registry", folder)
    assert (ran.status, ran.out) == (2, "") and ran.err.count("\n") == 1 and "gates A, B, D, E" in ran.err
    assert segue("registry", "promote", "b", "--registry", folder, "--force", "--why", "a test").status == 0
    assert segue("registry", "promote", "a", "--registry", folder).status == 0
    assert segue("registry", "deprecate", "b", "--use", "a", "--registry", folder).status == 0
    shown = segue("registry", "list", "--registry", folder)
    assert "deprecated, use a" in shown.out and "production" in shown.out and "a test" in shown.out
    value = json.loads(segue("registry", "list", "--registry", folder, "--json", "-").out)
    assert value["models"]["a"]["status"] == "production" and value["models"]["a"]["run"] == str(run)
    assert segue("registry", "remove", "b", "--registry", folder).status == 0
    assert segue("registry", "list", "--registry", tmp_path / "no").status == 2
