"""`segue compare` on real small runs: figures against 5cat.json, other data kept apart, what it refuses."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from command_line import Segue
from segue.alignment.worlds import rotation_world
from segue.artifacts import lock

SMALL = ("--set", "model={family: amn, attention: 16, hidden: 32, bottleneck: 16}", "--set", "epochs=2")
PATHS = {
    "cos": "cos",
    "margin": "margin",
    "margin_last": "margin_last",
    "r1": "retrieval.future.r1",
    "r5": "retrieval.future.r5",
    "mrr": "retrieval.future.mrr",
    "direction": "direction",
}


def at(tree: Any, path: str) -> Any:
    for key in path.split("."):
        tree = tree[key]
    return tree


@pytest.fixture
def runs(segue: Segue, make_store, tmp_path: Path) -> Path:
    """A folder of runs: `one` and `two` judged on the same windows, `far` predicting one chunk further."""
    store = make_store(rotation_world(40, 14, 16, noise=1.2, seed=1))
    for name, sets in (("one", ()), ("two", ("--set", "lr=0.005")), ("far", ("--set", "horizon=2"))):
        arguments = [*SMALL, *sets]
        trained = segue("train", "p1", "--data", store.path, "--out", tmp_path / "runs" / name, *arguments)
        assert trained.status == 0, trained.err
    return tmp_path / "runs"


def compared(segue: Segue, *arguments: object) -> dict[str, Any]:
    ran = segue("compare", *arguments, "--json", "-")
    assert ran.status == 0, ran.err
    found: dict[str, Any] = json.loads(ran.out)
    return found


def unfinished(run: Path) -> Path:
    """The same run as it was before its manifest and its test."""
    for name in ("manifest.json", "5cat.json", "frontier.json", "report.html"):
        (run / name).unlink()
    return run


def test_figures_are_those_of_the_tests(segue: Segue, runs: Path) -> None:
    """Value, interval and n of every figure, gates counted by hand, a mark exactly where the lift is clear of zero."""
    found = compared(segue, runs / "one", runs / "two")
    (group,) = found["groups"]
    assert found["warnings"] == [] and set(group["tables"]) == {"VAL", "OOD"}
    for part, rows in group["tables"].items():
        assert [row["name"] for row in rows[:2]] == ["one", "two"]
        for row in rows[:2]:
            result = json.loads((runs / row["name"] / "5cat.json").read_text())
            for key, path in PATHS.items():
                shown, true = row["figures"][key], at(result["splits"][part], path)
                assert {name: shown[name] for name in ("value", "low", "high", "n")} == {
                    name: true[name] for name in ("value", "low", "high", "n")
                }
                lift = result["lifts"][part].get({"mrr": "mrr_future"}.get(key, key))
                side = "" if lift is None else "▲" if lift["low"] > 1e-6 else "▼" if lift["high"] < -1e-6 else ""
                assert shown["mark"] == side
            for profile in ("skill", "original"):
                outcomes = [gate["passed"] for gate in result["profiles"][profile]["gates"].values()]
                assert row["gates"][profile] == {
                    "passed": outcomes.count(True),
                    "judged": 5 - outcomes.count(None),
                }
            assert row["parameters"] == result["predictor"]["parameters"] and row["status"] == "finished"
            assert row["approach"] == "amn · mse"
        controls = {row["name"]: row for row in rows[2:]}
        scored = {name: its for name, its in result["controls"].items() if its["attainable"]}
        for key in ("cos", "mrr", "direction"):
            best = max(at(its[part], PATHS[key])["value"] for its in scored.values())
            assert max(row["figures"][key]["value"] for row in controls.values()) == best
        assert "copy_last" in controls and "oracle" not in controls


def test_sorted_among_controls(segue: Segue, runs: Path) -> None:
    rows = compared(segue, runs / "one", runs / "two", "--sort", "mrr", "--part", "OOD")["groups"][0]["tables"]["OOD"]
    values = [row["figures"]["mrr"]["value"] for row in rows]
    assert values == sorted(values, reverse=True) and len({row["kind"] for row in rows}) == 2
    rows = compared(segue, runs / "two", runs / "one", "--sort", "name")["groups"][0]["tables"]["VAL"]
    assert [row["name"] for row in rows] == sorted(row["name"] for row in rows)


def test_other_data_is_never_in_the_same_table_unasked(segue: Segue, runs: Path) -> None:
    """Runs of another horizon were judged on other windows: their own table, and what differs is said."""
    found = compared(segue, runs / "one", runs / "far")
    names = [[row["name"] for row in group["tables"]["VAL"] if row["kind"] == "run"] for group in found["groups"]]
    assert names == [["one"], ["far"]]
    assert len(found["warnings"]) == 1 and "far: judged on other windows than one (horizon 2 against 1)" in str(found)
    assert found["groups"][1]["tables"]["VAL"][0]["approach"] == "amn · mse · h 2"
    mixed = compared(segue, runs / "one", runs / "far", "--mixed")
    assert len(mixed["groups"]) == 1 and "b: far: judged on other windows" in mixed["warnings"][0]
    shown = segue("compare", runs / "one", runs / "far", "--mixed")
    assert "one (a)" in shown.out and "far (b)" in shown.out and "copy_last (b)" in shown.out


def test_unfinished_runs_stand_with_their_small_test(segue: Segue, runs: Path) -> None:
    """No 5CAT yet: figures of the best epoch so far, marked; in training, interrupted and begun are told apart."""
    run = unfinished(runs / "two")
    best = int((run / "best").readlink().name)
    line = next(
        json.loads(x) for x in (run / "history.jsonl").read_text().splitlines() if json.loads(x)["epoch"] == best
    )
    found = compared(segue, runs / "one", run)
    (group,) = found["groups"]
    row = group["tables"]["VAL"][1]
    assert row["status"] == "interrupted after epoch 2 of 2" and len(group["tables"]["OOD"]) == 1 + 3
    for key, name in (("cos", "cos"), ("margin", "margin"), ("mrr", "mrr_future"), ("direction", "direction")):
        assert row["figures"][key]["value"] == line["val"][name] and row["figures"][key]["low"] is None
        assert row["figures"][key]["small_test"] and not group["tables"]["VAL"][0]["figures"][key]["small_test"]
    assert row["gates"] == {"skill": None, "original": None} and row["parameters"]
    assert f"two (epoch {best})" in found["warnings"][0]
    shown = segue("compare", runs / "one", run).out
    assert f"~{line['val']['cos']:.3f}" in shown

    lines = (run / "history.jsonl").read_text().splitlines(keepends=True)
    (run / "history.jsonl").write_text(lines[0])
    with lock(run):
        assert compared(segue, run)["groups"][0]["tables"]["VAL"][0]["status"] == "training, epoch 2 of 2"
    (run / "history.jsonl").unlink()
    shutil.rmtree(run / "epochs")
    row = compared(segue, run)["groups"][0]["tables"]["VAL"][0]
    assert row["status"] == "begun, no epoch trained" and row["parameters"] is None
    assert all(one["value"] is None for one in row["figures"].values())


def test_markdown_has_every_row_and_column(segue: Segue, runs: Path, tmp_path: Path) -> None:
    """A table that Markdown readers take: the same number of cells in each line; names that hold markup are literal."""
    named = runs / "a|b <i>*x*"
    (runs / "one").rename(named)
    ran = segue("compare", named, runs / "two", "--markdown", "-", "--part", "VAL")
    assert ran.status == 0
    lines = [line for line in ran.out.splitlines() if line.startswith("|")]
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
    assert {len(line) for line in cells} == {14} and len(cells) == 2 + 2 + 3
    assert cells[2][0].strip() == r"a\|b \<i\>\*x\*"
    value = json.loads((runs / "two" / "5cat.json").read_text())["splits"]["VAL"]["cos"]["value"]
    assert f"{value:.3f}" in cells[3][4]
    to_file = segue("compare", runs / "two", "--markdown", tmp_path / "new" / "t.md", "--json", tmp_path / "t.json")
    assert to_file.status == 0 and "**VAL" in (tmp_path / "new" / "t.md").read_text()
    assert json.loads((tmp_path / "t.json").read_text())["groups"]


def test_pools(segue: Segue, runs: Path) -> None:
    """Each pool has its columns, named by it; future's go by their bare names."""
    row = compared(segue, runs / "one", "--pools", "document,corpus")["groups"][0]["tables"]["VAL"][0]
    truth = json.loads((runs / "one" / "5cat.json").read_text())["splits"]["VAL"]["retrieval"]
    for pool in ("document", "corpus"):
        for name in ("r1", "r5", "mrr"):
            assert row["figures"][f"{pool}.{name}"]["value"] == truth[pool][name]["value"]
    assert "mrr" not in row["figures"]
    assert "corpus" in segue("compare", runs / "one", "--pools", "all").out


def test_refused(segue: Segue, runs: Path, tmp_path: Path) -> None:
    """One line each, exit 2, nothing written."""
    (tmp_path / "empty").mkdir()
    for arguments, told in (
        ((runs / "none",), "no such run"),
        ((tmp_path / "empty",), "holds no recipe.yaml"),
        ((runs / "one", runs / "one"), "each run once"),
        ((runs / "one", "--sort", "mr"), 'Did you mean "mrr"'),
        ((runs / "one", "--pools", "futur"), 'Did you mean "future"'),
        ((runs / "one", "--part", "TEST"), "VAL, OOD or all"),
        ((runs / "one", "--markdown", "-", "--json", "-"), "one of them on stdout"),
        ((runs / "one", "--html", tmp_path), "is a folder"),
    ):
        ran = segue("compare", *arguments)
        assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1) and told in ran.err, ran


def test_same_names_are_told_apart(segue: Segue, runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "one", tmp_path / "other" / "one", symlinks=True)
    rows = compared(segue, runs / "one", tmp_path / "other" / "one")["groups"][0]["tables"]["VAL"]
    assert [row["name"] for row in rows[:2]] == [str(runs / "one"), str(tmp_path / "other" / "one")]


def test_nothing_is_written_into_the_runs(segue: Segue, runs: Path, tmp_path: Path) -> None:
    before = {path: path.lstat().st_mtime_ns for path in runs.rglob("*")}
    assert segue("compare", runs / "one", runs / "two", "--html", tmp_path / "c.html").status == 0
    assert {path: path.lstat().st_mtime_ns for path in runs.rglob("*")} == before
