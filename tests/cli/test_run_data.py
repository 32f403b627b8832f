"""A run is tested on its own held-out documents, however its data are named, and keeps only its own test."""

import json
import os
from pathlib import Path

import pytest

from command_line import Segue
from segue.alignment.worlds import rotation_world
from segue.windows import save_split, split_by_fractions

SMALL = ("--set", "model.width=16", "--set", "model.layers=1", "--set", "model.heads=2", "--set", "epochs=2")


@pytest.fixture
def trained(segue: Segue, make_store, tmp_path: Path):
    """A run on a shuffled split, whose 80/10/10 in store order would hold documents it was trained on."""
    store = make_store(rotation_world(40, 12, 16, seed=1))
    save_split(split_by_fractions(store, (0.5, 0.25, 0.25), seed=3), tmp_path / "split.json", store)
    run = tmp_path / "run"
    ran = segue("train", "p1", "--data", store.path, "--split", tmp_path / "split.json", "--out", run, *SMALL)
    assert ran.status == 0, ran.err
    return store, run


def data_of(ran) -> dict:
    return json.loads(ran.out)["data"]


def test_the_runs_own_split_however_the_store_is_spelled(segue: Segue, trained, monkeypatch):
    store, run = trained
    own = json.loads((run / "split.json").read_text())["hash"]
    crooked = store.path.parent / "." / "run" / ".." / store.path.name
    monkeypatch.chdir(store.path.parent)
    for arguments in (
        (run,),
        (run, "--data", store.path),
        (run, "--data", crooked),
        (run, "--data", os.path.relpath(store.path)),
        (run / "best", "--data", store.path),
        (run / "best",),
        (run / "epochs" / "001",),
        (Path("run"),),
    ):
        found = data_of(segue("5cat", *arguments, "--json", "-", "--samples", 40))
        assert found["split"]["hash"] == own, arguments
        assert not any("trained on" in warning for warning in found["warnings"])
    monkeypatch.chdir("/")
    assert data_of(segue("5cat", run, "--json", "-", "--samples", 40))["split"]["hash"] == own


def test_documents_it_was_trained_on_are_said(segue: Segue, trained, tmp_path: Path):
    store, run = trained
    save_split(split_by_fractions(store), tmp_path / "other.json", store)
    found = data_of(segue("5cat", run, "--split", tmp_path / "other.json", "--json", "-", "--samples", 40))
    assert sum("trained on" in warning for warning in found["warnings"]) == 2


def test_another_test_does_not_replace_the_runs_own(segue: Segue, trained, make_store):
    _, run = trained
    kept = (run / "5cat.json").read_bytes()
    other = make_store(rotation_world(12, 12, 16, seed=9), name="other")
    for arguments in (("--ood", other.path), ("--samples", 3), ("--seed", 1), ("--data", other.path)):
        assert segue("5cat", run, *arguments).status in (0, 1)
        assert (run / "5cat.json").read_bytes() == kept, arguments
    with_other = data_of(segue("5cat", run, "--ood", other.path, "--json", "-"))
    assert with_other["ood_store_hash"] == other.hash
    assert segue("5cat", run / "epochs" / "001").status in (0, 1)
    assert (run / "5cat.json").read_bytes() == kept


def test_an_ood_store_that_is_the_store_is_refused(segue: Segue, trained):
    store, _ = trained
    ran = segue("5cat", "copy_last", "--data", store.path, "--ood", store.path)
    assert ran.status == 2 and "holds the same vectors" in ran.err


def test_an_unfinished_run_is_tested_on_its_own_split(segue: Segue, trained):
    store, run = trained
    own = json.loads((run / "split.json").read_text())["hash"]
    (run / "manifest.json").unlink()
    found = data_of(segue("5cat", run, "--data", store.path, "--json", "-", "--samples", 40))
    assert found["split"]["hash"] == own
    assert "names no store" in segue("5cat", run).err


def test_a_store_that_is_gone_names_the_run(segue: Segue, trained, tmp_path: Path):
    store, run = trained
    store.path.rename(tmp_path / "moved")
    ran = segue("5cat", run)
    assert ran.status == 2 and "was trained with it" in ran.err and "--data" in ran.err
    assert segue("5cat", run, "--data", tmp_path / "moved", "--samples", 40).status in (0, 1)


def test_a_steered_run_finds_its_data(segue: Segue, trained, tmp_path: Path):
    _, run = trained
    low = json.loads((run / "5cat.json").read_text())["splits"]["VAL"]["margin_last"]["value"]
    steered = tmp_path / "steered"
    ran = segue("steer", run, "--margin", f"{low + 0.02:.4f}", "--out", steered)
    assert ran.status == 0, ran.err
    own = json.loads((run / "split.json").read_text())["hash"]
    assert data_of(segue("5cat", steered, "--json", "-", "--samples", 40))["split"]["hash"] == own
