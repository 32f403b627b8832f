"""`segue train` and `segue recipe` at the command line: what is good, what is bad input, and how it is said."""

import json

import pytest
from runs import SMALL, segue, world

from segue.artifacts import is_finished, read_manifest
from segue.windows import save_split, split_by_ranges

SETS = [word for text in (*SMALL, "epochs=1", "model=amn") for word in ("--set", text)]


@pytest.fixture
def store(make_store):
    return make_store(world())


@pytest.fixture
def train(monkeypatch, store, tmp_path):
    """`train(…)` → exit status of `segue train p1` on the store, without the 5CAT."""

    def run(*arguments, recipe="p1", data=None, out=None):
        out = tmp_path / "run" if out is None else out
        return segue(
            monkeypatch,
            *("train", recipe, *SETS, "--data", data or store.path, "--out", out, "--device", "cpu", "--threads", 1),
            *("--samples", 0, *arguments),
        )

    return run


def test_a_run_and_its_json(train, tmp_path, capsys):
    assert train("--json", "-", "--seed", 7) == 0
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert told["manifest"] == read_manifest(tmp_path / "run", "run")
    assert told["manifest"]["seed"] == 7
    assert "epoch 1/1" in said.err and "cos" in said.err
    assert "training:" in said.err  # progress


def test_a_finished_run_is_not_trained_again(train, tmp_path, capsys):
    assert train() == 0
    before = (tmp_path / "run" / "manifest.json").read_bytes()
    assert train("--resume") == 0
    assert "nothing to resume" in capsys.readouterr().err
    assert (tmp_path / "run" / "manifest.json").read_bytes() == before
    assert train() == 2
    assert "finished run" in capsys.readouterr().err


def test_a_split_and_another_store_for_ood(train, store, make_store, tmp_path):
    split = split_by_ranges(store, train="0-9", val="10-12")
    save_split(split, tmp_path / "split.json", store)
    ood = make_store(world(seed=5), name="ood")
    assert train("--split", tmp_path / "split.json", "--ood", ood.path) == 0
    manifest = read_manifest(tmp_path / "run", "run")
    assert manifest["split"]["hash"] == split.hash
    assert manifest["ood"]["hash"] == ood.hash


def test_bad_input_is_one_line_and_exit_2(train, store, make_store, tmp_path, capsys):
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    (tmp_path / "begun").mkdir()
    other = make_store(world(dim=18), name="wider")
    few = make_store(world(documents=2), name="few")
    save_split(split_by_ranges(store, train="0-9", val="10-12"), tmp_path / "split.json", store)
    body = json.loads((tmp_path / "split.json").read_text())
    (tmp_path / "edited.json").write_text(json.dumps({**body, "train": body["train"][:3]}))
    (tmp_path / "empty.json").write_text(json.dumps({**body, "train": []}))
    (tmp_path / "begun" / "vectors.npy").touch()
    cases = [
        ({"recipe": "p2"}, (), "p1"),
        ({"recipe": tmp_path / "absent.yaml"}, (), "no such recipe file"),
        ({}, ("--set", "epoch=3"), "epochs"),
        ({"data": tmp_path / "absent"}, (), "no such store"),
        ({"data": tmp_path / "begun"}, (), "not a finished store"),
        ({"data": few.path}, (), "no documents"),
        ({"out": tmp_path / "file" / "run"}, (), "part of its path is a file"),
        ({"out": tmp_path / "full"}, (), "already holds other files"),
        ({"out": tmp_path / "full"}, ("--resume",), "no run to resume"),
        ({}, ("--split", tmp_path / "absent.json"), "no such file"),
        ({}, ("--split", tmp_path / "edited.json"), "changed after it was frozen"),
        ({}, ("--split", tmp_path / "empty.json"), "frozen"),
        ({"data": few.path}, ("--split", tmp_path / "split.json"), "lacks"),
        ({}, ("--ood", other.path), "18 wide"),
        ({}, ("--device", "cuda:9"), "--device"),
        ({}, ("--threads", 0), "--threads"),
        ({}, ("--seed", -3), "seed"),
    ]
    for where, arguments, said in cases:
        assert train(*arguments, **where) == 2, said
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1 and lines[0].startswith("error: ") and said in lines[0], lines
        assert not is_finished(where.get("out", tmp_path / "run"))
    assert not (tmp_path / "run").exists()  # refused before anything was written


def test_a_loss_that_is_not_finite_is_exit_1(train, tmp_path, monkeypatch, capsys):
    from segue.objectives.regression import MeanSquaredError

    monkeypatch.setattr(MeanSquaredError, "value", lambda self, made: made.raw_BD.sum() * float("nan"))
    assert train() == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("stopped: ")]
    assert len(lines) == 1 and "before the update" in lines[0]
    assert not is_finished(tmp_path / "run")


def test_recipe_list_and_show(monkeypatch, capsys):
    assert segue(monkeypatch, "recipe", "list", "--json", "-") == 0
    assert {"p1", "demo"} <= {recipe["name"] for recipe in json.loads(capsys.readouterr().out)}
    assert segue(monkeypatch, "recipe", "show", "p1", "--set", "model.layers=2") == 0
    shown = capsys.readouterr().out
    assert "layers: 2" in shown and "dropout: 0.1" in shown
    assert segue(monkeypatch, "recipe", "show", "p0") == 2
    assert '"p1"' in capsys.readouterr().err
