"""`segue demo`, its steps replaced by quick ones: what it refuses at once, and what it says to a machine."""

import json
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text

from command_line import Segue
from segue.cli import demo
from segue.cli.console import show
from segue.models.saved import SHIPPED


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Steps that only print their name and leave what the next one reads; → the names of those that ran."""
    ran: list[str] = []

    def step(name: str) -> Any:
        def run(first: object, second: Path | None = None, third: Path | None = None, **_: object) -> None:
            ran.append(name)
            if name == "rank":  # not a folder of that name that happens to lie here
                assert first == SHIPPED / "onward"
            show(Text(f"table of {name}"), None, None)
            if name == "train":
                assert third is not None
                third.mkdir(parents=True)
                data = {"warnings": [], "documents": {"VAL": 2, "OOD": 2}}
                (third / "5cat.json").write_text(json.dumps({"passed": False, "data": data}))

        return run

    for name in ("embed", "check", "split", "train", "rank"):
        monkeypatch.setattr(demo, name, step(name))
    monkeypatch.setattr(demo, "_longest", lambda store, parts: "topic")
    return ran


def test_an_unknown_recipe_fails_before_anything_is_embedded(segue: Segue, tmp_path: Path, quick: list[str]) -> None:
    ran = segue("demo", "--recipe", "demmo", "--out", tmp_path / "demo")
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1) and 'Did you mean "demo"' in ran.err
    assert not quick and not (tmp_path / "demo").exists()


def test_the_result_for_a_machine(
    segue: Segue, tmp_path: Path, quick: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On stdout it stands alone; a file may lie in the folder that the demo makes, the default one too."""
    monkeypatch.chdir(tmp_path)
    ran = segue("demo", "--out", "a", "--json", "-")
    assert ran.status == 0 and quick == ["embed", "check", "split", "train", "rank"]
    assert json.loads(ran.out) == {
        "store": "a/store",
        "split": "a/split.json",
        "run": "a/run",
        "report": "a/run/report.html",
        "passed": False,
    }
    assert "table of embed" in ran.err
    ran = segue("demo", "--json", "demo/told.json")
    assert ran.status == 0 and "table of embed" in ran.out and "report: demo/run/report.html" in ran.out
    assert json.loads(Path("demo/told.json").read_text())["run"] == "demo/run"
