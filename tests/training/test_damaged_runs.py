"""A run whose files were lost or damaged between a kill and --resume: one line that is true, before any training."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from runs import SMALL, history, run_here, segue, small_recipe, weights, world
from safetensors.torch import load_file, save_file

from known_stores import build_store
from segue.artifacts import hash_file, hash_json, is_finished, read_manifest
from segue.training import open_data, open_run, train
from segue.vectors import Store
from segue.windows import split_by_fractions

OVERRIDES = (*SMALL, "epochs=5", "model=amn")
SETS = [word for text in OVERRIDES for word in ("--set", text)]


class Killed(Exception):  # noqa: N818
    pass


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> tuple[Store, Path, Path]:
    """A store, a run of five epochs on it that was killed in the fourth, and the same uninterrupted."""

    def kill(entry):
        if entry["epoch"] == 4:
            raise Killed

    folder = tmp_path_factory.mktemp("begun")
    store, recipe = build_store(folder / "store", world()), small_recipe(*OVERRIDES)
    split = split_by_fractions(store)
    run = open_run(folder / "run", recipe, store, split)
    with pytest.raises(Killed):
        train(recipe, open_data(recipe, store, split), run, listen=kill)
    return store, run, run_here(recipe, store, folder / "whole")


@pytest.fixture
def run(begun, tmp_path) -> Path:
    """A copy of the killed run to damage."""
    return shutil.copytree(begun[1], tmp_path / "run", symlinks=True)


@pytest.fixture
def resume(begun, run, monkeypatch, capfd):
    """`resume()` → exit status and stderr of `segue train --resume`."""

    def resumed() -> tuple[int, str]:
        capfd.readouterr()
        arguments = ("--data", begun[0].path, "--out", run, "--device", "cpu", "--threads", 1, "--samples", 0)
        return segue(monkeypatch, "train", "p1", *SETS, *arguments, "--resume"), capfd.readouterr().err

    return resumed


@pytest.fixture
def refused(resume, run):
    """Asserts that --resume is exit 2 with one error line and no epoch trained; that line."""

    def is_refused() -> str:
        status, said = resume()
        errors = [line for line in said.splitlines() if line.startswith("error: ")]
        assert status == 2 and len(errors) == 1 and said.strip().endswith(errors[0]), said
        assert "epoch 4/5" not in said and not (run / "epochs" / "004").exists() and not is_finished(run)
        return errors[0]

    return is_refused


def mend_hashes(folder: Path) -> None:
    """As one who also mends the manifest."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for field in ("hashes", "resume_hashes"):
        manifest[field] = {name: hash_file(folder / name) for name in manifest[field]}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def alter(path: Path) -> None:
    tensors = load_file(path)
    name = max(tensors, key=lambda one: tensors[one].numel())
    save_file({**tensors, name: tensors[name] + 1e-3}, path)


def test_the_killed_run_itself_goes_on(begun, run, resume):
    assert resume()[0] == 0
    assert history(run) == history(begun[2]) and weights(run, 5) == weights(begun[2], 5)


@pytest.mark.parametrize("name", ["weights.safetensors", "optimiser.safetensors", "state.json", "model.yaml"])
@pytest.mark.parametrize("how", ["altered", "missing"])
def test_a_damaged_epoch_is_refused_and_its_remedy_is_true(begun, run, resume, refused, name, how):
    """Once a changed tensor was trained on in silence, and the epoch before had no moments to go on from."""
    path = run / "epochs" / "003" / name
    if how == "missing":
        path.unlink()
    elif path.suffix == ".safetensors":
        alter(path)
    else:
        path.write_text(path.read_text() + " ")
    said = refused()
    assert str(path) in said and ("hash differs" if how == "altered" else "no such file") in said
    assert f"remove {path.parent} and resume: training goes on from epoch 2" in said
    shutil.rmtree(path.parent)
    assert resume()[0] == 0
    assert history(run) == history(begun[2]) and weights(run, 5) == weights(begun[2], 5)


def test_where_no_earlier_epoch_can_be_gone_on_from_it_is_said(begun, run, resume, refused):
    for epoch in ("003", "002"):
        shutil.rmtree(run / "epochs" / epoch)
    assert "No earlier epoch" not in refused()  # epoch 1, whose moments are gone: training begins anew
    shutil.rmtree(run / "epochs" / "001")
    assert resume()[0] == 0
    assert history(run) == history(begun[2]) and weights(run, 5) == weights(begun[2], 5)


def test_two_damaged_epochs_are_the_end(run, refused):
    alter(run / "epochs" / "003" / "weights.safetensors")
    (run / "epochs" / "002" / "optimiser.safetensors").unlink()
    assert "No earlier epoch has kept its moments" in refused()


def test_a_damaged_best_epoch_is_found_before_training(run, refused):
    """Else the test at the end of training would be the first to find it."""
    folder = run / "epochs" / "003"
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps({**state, "best": {"epoch": 1, "value": 0.9}}))
    mend_hashes(folder)
    alter(run / "epochs" / "001" / "weights.safetensors")
    assert str(run / "epochs" / "001" / "weights.safetensors") in refused()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lr": "fast"}, "lr: Input should be a valid number"),
        ({"plateau": None}, "plateau"),
        ({"history": 2.5}, "history"),
        ({"best": {"epoch": 0, "value": None}}, "best.epoch"),
        ({"epoch": 7}, "is of epoch 7"),
        ({"more": 1}, "more"),
    ],
)
def test_a_state_of_wrong_types_is_refused(run, refused, change, said):
    path = run / "epochs" / "003" / "state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    mend_hashes(path.parent)
    assert said in refused()


def test_moments_that_are_missing_are_refused(run, refused):
    path = run / "epochs" / "003" / "optimiser.safetensors"
    tensors = load_file(path)
    save_file({name: tensor for name, tensor in tensors.items() if not name.startswith("step/")}, path)
    mend_hashes(path.parent)
    assert "lacks the moments 'step/" in refused()


@pytest.mark.parametrize("text", ["[1, 2]", "", "a: [", "{}", "space: 3", "space: {width: 3}"])
def test_a_description_that_is_none_is_refused(run, refused, text):
    (run / "epochs" / "003" / "model.yaml").write_text(text)
    assert "epochs/003" in refused()


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", '{"kind": "model"}', '{"kind": "run"}'])
def test_an_epochs_manifest_that_is_none_is_refused(run, refused, text):
    (run / "epochs" / "003" / "manifest.json").write_text(text)
    assert "training goes on from epoch 2" in refused()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda lines: lines[:1], "has 1 of the 3 lines"),
        (lambda lines: [], "has 0 of the 3 lines"),
        (lambda lines: [b"garbage\n", *lines[1:]], "line 1 is not an epoch's"),
        (lambda lines: [lines[0], b"[]\n", *lines[2:]], "line 2 is not an epoch's"),
        (lambda lines: [lines[0], b'{"epoch": 2}\n', *lines[2:]], "line 2 is not an epoch's (it has no 'seconds')"),
        (lambda lines: [*lines[:2], b"\xff\xfe\n"], "line 3 is not an epoch's"),
    ],
)
def test_a_lost_or_damaged_history_is_refused(run, refused, damage, said):
    """Once a run went on to its end with lines missing, or trained to the end and then fell over a bad one."""
    path = run / "history.jsonl"
    path.write_bytes(b"".join(damage(path.read_bytes().splitlines(keepends=True))))
    left = path.read_bytes()
    assert said in refused()
    assert path.read_bytes() == left
    path.unlink()
    assert "has 0 of the 3 lines" in refused()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("recipe.yaml", text) for text in ("", "a: [", "- 1", "\tname: p1")),
        *(("split.json", text) for text in ("{}", "[]", "", '{"store": 1, "hash": null}')),
    ],
)
def test_what_the_run_began_with_is_damaged(run, refused, name, text):
    (run / name).write_text(text)
    assert str(run / name) in refused()


def test_every_epoch_says_what_it_was_trained_on(begun):
    store, _, whole = begun
    split = split_by_fractions(store)
    wanted = {"store": store.hash, "split": split.hash, "documents": hash_json(sorted(split.train))}
    for epoch in range(1, 6):
        assert read_manifest(whole / "epochs" / f"{epoch:03d}", "model")["trained_on"] == wanted


def test_altering_changes_a_tensor(run):
    """A test of the tests above."""
    path = run / "epochs" / "003" / "weights.safetensors"
    before = load_file(path)
    alter(path)
    after = load_file(path)
    assert sum(not torch.equal(before[name], after[name]) for name in before) == 1
