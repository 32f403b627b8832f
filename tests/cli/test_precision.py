"""`segue 5cat --precision`, `--fresh`, and `--json` before `--out`."""

import json

import numpy as np
import pytest

from segue.alignment.worlds import rotation_world
from segue.models import build_model, save_model
from segue.models.transformer import TransformerOptions

DIM = 16


@pytest.fixture
def store(make_store):
    return make_store(rotation_world(60, 20, DIM, noise=1.0, seed=4))


@pytest.fixture
def model(store, tmp_path):
    options = TransformerOptions(width=32, layers=2, heads=4, feed_forward=64)
    return save_model(build_model("transformer", store.space, options), tmp_path / "model")


def scored(segue, *arguments):
    ran = segue("5cat", *arguments, "--json", "-")
    assert ran.status in (0, 1), ran.err
    return json.loads(ran.out)


def test_bfloat16_agrees_with_float32_within_the_interval(segue, store, model):
    """And is really computed in: the cosines differ beyond what float32 could."""
    full, half = (
        scored(segue, model, "--data", store.path, "--precision", precision) for precision in ("fp32", "bf16")
    )
    assert (full["predictor"]["precision"], half["predictor"]["precision"]) == ("fp32", "bf16")
    assert full["controls"] == half["controls"]
    differences = []
    for part in ("VAL", "OOD"):
        for path in (("cos",), ("margin_last",), ("direction",), ("retrieval", "future", "mrr"), ("rollout", "mean")):
            mine, its = half["splits"][part], full["splits"][part]
            for name in path:
                mine, its = mine[name], its[name]
            assert its["low"] <= mine["value"] <= its["high"], (part, path)
            differences.append(abs(mine["value"] - its["value"]))
    assert max(differences) > 1e-6


def test_float32_is_what_is_computed_in_unasked(segue, store, model):
    assert scored(segue, model, "--data", store.path)["predictor"]["precision"] == "fp32"
    assert scored(segue, "copy_last", "--data", store.path)["predictor"]["precision"] is None


def test_a_precision_that_is_none(segue, store, model, tmp_path):
    np.save(tmp_path / "p.npy", np.zeros((3, DIM), np.float32))
    for judged, precision, said in (
        (model, "fp16", "--precision: found 'fp16'"),
        ("copy_last", "bf16", "--precision: found 'bf16', but copy_last is no run"),
        (tmp_path / "p.npy", "bf16", "p.npy is no run"),
    ):
        ran = segue("5cat", judged, "--data", store.path, "--precision", precision)
        assert ran.status == 2 and said in ran.err and ran.err.count("\n") == 1, ran.err


def test_fresh_measures_anew_what_was_kept(segue, store, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGUE_CACHE", str(tmp_path / "cache"))
    asked = ("copy_last", "--data", store.path)
    found = [scored(segue, *asked, *more)["kept"]["VAL"] for more in ((), (), ("--fresh",))]
    assert found == [False, True, False]


def test_json_into_the_out_folder_wherever_it_is_said(segue, store, tmp_path):
    for number, given in enumerate((("--json", "--out"), ("--out", "--json"))):
        out = tmp_path / f"run{number}"
        values = {"--json": out / "result.json", "--out": out}
        options = [word for name in given for word in (name, values[name])]
        sets = ("--set", "epochs=1", "--set", "model.family=amn")
        ran = segue("train", "p1", "--data", store.path, *options, *sets, "--samples", 0)
        assert ran.status == 0, ran.err
        assert json.loads((out / "result.json").read_text())["run"] == str(out)
    ran = segue(
        "train", "p1", "--data", store.path, "--json", tmp_path / "none" / "x.json", "--out", tmp_path / "other"
    )
    assert ran.status == 2 and not (tmp_path / "other").exists()


def test_a_run_keeps_its_result_in_float32(segue, store, tmp_path):
    """What `segue compare` lays beside other runs' must be computed as theirs was; bfloat16 overwrote it."""
    run = tmp_path / "run"
    sets = ("--set", "epochs=1", "--set", "model.family=amn", "--samples", 100)
    assert segue("train", "p1", "--data", store.path, "--out", run, *sets).status == 0
    before = (run / "5cat.json").read_bytes()
    scored(segue, run, "--precision", "bf16")
    assert (run / "5cat.json").read_bytes() == before
    scored(segue, run)
    assert json.loads((run / "5cat.json").read_bytes())["data"]["samples"] == 5000


def test_the_table_says_what_was_kept(segue, store, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGUE_CACHE", str(tmp_path / "cache"))
    told = ["kept from before" in segue("5cat", "copy_last", "--data", store.path, *more).out
            for more in ((), (), ("--fresh",))]  # fmt: skip
    assert told == [False, True, False]
