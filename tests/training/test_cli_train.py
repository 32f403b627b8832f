"""`segue train` and `segue recipe` at the command line: what is good, what is bad input, and how it is said."""

import json

import pytest
import yaml
from runs import SMALL, segue, world

from segue.artifacts import is_finished, read_manifest
from segue.recipe import resolve, shipped
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
        ({"recipe": "p9"}, (), "Did you mean"),
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


def test_what_the_test_at_the_end_would_refuse_is_refused_before_training(train, store, make_store, tmp_path, capsys):
    """Once all epochs were trained first. Nothing is trained and no run folder made."""
    short = make_store([document[:5] for document in world(seed=5)], name="short")
    again = make_store(world(), name="again")
    fewer = make_store(world()[:13], name="fewer")
    uneven = make_store([document[: 5 if i > 12 else 30] for i, document in enumerate(world())], name="uneven")
    save_split(split_by_ranges(store, train="0-9", val="10-12", ood="13-15"), tmp_path / "split.json", store)
    tested, split = ("--samples", 5), ("--split", tmp_path / "split.json")
    cases = [
        ({}, ("--samples", -5), "--samples: found -5"),
        ({}, ("--ood", short.path), "none of the 24 OOD documents has 6 chunks in a row"),
        ({}, ("--ood", short.path, *tested), "none of the 24 OOD documents has 6 chunks in a row"),
        ({"data": uneven.path}, (*split, *tested), "none of the 3 OOD documents has 6 chunks in a row"),
        ({"data": fewer.path}, split, "lacks 3 of the split's OOD documents"),
        ({"data": fewer.path}, (*split, *tested), "lacks 3 of the split's OOD documents"),
        ({}, ("--ood", store.path), "--split SPLIT"),
        ({}, ("--ood", again.path), "hashes are equal"),
    ]
    for where, arguments, said in cases:
        assert train(*arguments, **where) == 2, said
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1 and lines[0].startswith("error: ") and said in lines[0], lines
        assert not (tmp_path / "run").exists()
    # Left out, the test refuses nothing: an OOD part of the split too short for windows is no one's business.
    assert train(*split, data=uneven.path) == 0


def test_ood_documents_with_the_ids_of_train_documents_are_counted(train, make_store, tmp_path, capsys):
    ood = make_store(world(documents=21, seed=5), name="ood")  # doc-0 … doc-20; train has doc-0 … doc-18
    assert train("--ood", ood.path) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "ids of train documents" in line]
    assert len(said) == 1 and said[0].startswith("warning: ") and "19 of its 21 documents" in said[0]
    assert train("--split", tmp_path / "run" / "split.json", out=tmp_path / "plain") == 0
    assert "ids of train documents" not in capsys.readouterr().err


def test_stores_are_recorded_so_that_the_run_can_be_read_from_anywhere(train, make_store, tmp_path, monkeypatch):
    """Once they were recorded as typed, and from another folder there was no such store."""
    ood = make_store(world(seed=5), name="ood")
    monkeypatch.chdir(tmp_path)
    assert train("--ood", ood.path.name, data="store") == 0
    manifest = read_manifest(tmp_path / "run", "run")
    for its, name in ((manifest["data"], "store"), (manifest["ood"], "ood")):
        assert (its["store"], its["as_typed"]) == (str((tmp_path / name).resolve()), name)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    told = tmp_path / "5cat.json"
    said = ("--samples", 50, "--device", "cpu", "--threads", 1, "--json", told)
    assert segue(monkeypatch, "5cat", tmp_path / "run", *said) in (0, 1)
    assert json.loads(told.read_text())["data"]["ood_store_hash"] == manifest["ood"]["hash"]


@pytest.mark.parametrize(
    ("command", "damage", "said"),
    [
        ("train", {"data": None}, "does not say data.store"),
        ("train", {"best": {"epoch": "one", "metric": "cos"}}, "does not say best.epoch"),
        ("train", {"split": []}, "does not say split.hash"),
        ("report", {"segue": None}, "does not say segue"),
        ("report", {"made_at": 5}, "does not say made_at"),
        ("train", None, "does not say data.store"),
        ("report", None, "does not say made_by"),
    ],
)
def test_a_damaged_manifest_is_one_line(train, tmp_path, monkeypatch, capsys, command, damage, said):
    """`damage` None: `{"kind": "run"}` is all that is left."""
    assert train() == 0
    run = tmp_path / "run"
    (run / "5cat.json").write_text('{"splits": {}}')
    whole = {} if damage is None else read_manifest(run, "run")
    (run / "manifest.json").write_text(json.dumps({**whole, "kind": "run", **(damage or {})}))
    capsys.readouterr()
    if command == "train":
        (run / "5cat.json").unlink()
        assert train("--resume") == 2
    else:
        assert segue(monkeypatch, "report", run) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and said in errors[0]


def test_a_loss_that_is_not_finite_is_exit_1(train, tmp_path, monkeypatch, capsys):
    from segue.objectives.regression import MeanSquaredError

    monkeypatch.setattr(MeanSquaredError, "value", lambda self, made: made.raw_BD.sum() * float("nan"))
    assert train() == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("stopped: ")]
    assert len(lines) == 1 and "before the update" in lines[0]
    assert not is_finished(tmp_path / "run")


@pytest.mark.parametrize("name", shipped())
def test_a_recipe_shown_into_a_file_is_the_recipe(name, monkeypatch, capsys):
    """Nothing is cut at a terminal's width: p1's came out as no YAML."""
    monkeypatch.setenv("COLUMNS", "60")
    assert segue(monkeypatch, "recipe", "show", name) == 0
    assert json.dumps(yaml.safe_load(capsys.readouterr().out)) == json.dumps(resolve(name).to_json())


def test_recipe_list_and_show(monkeypatch, capsys):
    assert segue(monkeypatch, "recipe", "list", "--json", "-") == 0
    assert {"p1", "demo"} <= {recipe["name"] for recipe in json.loads(capsys.readouterr().out)}
    assert segue(monkeypatch, "recipe", "show", "p1", "--set", "model.layers=2") == 0
    shown = capsys.readouterr().out
    assert "layers: 2" in shown and "dropout: 0.1" in shown
    assert segue(monkeypatch, "recipe", "show", "p1-lng") == 2
    assert '"p1-long"' in capsys.readouterr().err
