"""The chain end to end through the command line, and what each command refuses."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from command_line import Segue
from segue.alignment.worlds import ar1_world, rotation_world
from segue.vectors import Store

SMALL = ("--set", "model.width=16", "--set", "model.layers=1", "--set", "model.heads=2", "--set", "epochs=2")


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's own vectors: 40 documents of 16 chunks, 16 wide, as an .npz."""
    path = tmp_path_factory.mktemp("own") / "mine.npz"
    documents = ar1_world(40, 16, 16, seed=3)
    np.savez(
        path,
        vectors=np.concatenate(documents).astype(np.float16),
        article_ids=np.repeat(np.arange(40), 16),
        chunk_ids=np.tile(np.arange(16), 40),
    )
    return path


def test_import_check_split_train_test_report(segue: Segue, vectors: Path, tmp_path: Path):
    """Every command of the README on a user's own vectors; what each writes is read by the next."""
    store, split, run = tmp_path / "store", tmp_path / "split.json", tmp_path / "run"
    assert segue("import", vectors, "--out", store).status == 0
    assert Store(store).n_documents == 40

    checked = segue("check", store, "--json", "-")
    value = json.loads(checked.out)
    assert checked.status == (0 if value["passed"] else 1)
    x = np.concatenate(ar1_world(40, 16, 16, seed=3)).astype(np.float16).astype(np.float64).reshape(40, 16, 16)
    x /= np.linalg.norm(x, axis=-1, keepdims=True)
    for lag in (1, 2, 10):
        expected = (x[:, lag:] * x[:, :-lag]).sum(-1).mean()
        assert value["lags"][str(lag)]["value"] == pytest.approx(expected, abs=1e-5)
    adjacent = (x[:, 1:] * x[:, :-1]).sum(-1)
    coherence = np.mean([adjacent[:, t - 4 : t].mean(1) for t in range(4, 15)])
    assert value["checks"]["coherence"]["found"]["value"] == pytest.approx(coherence, abs=1e-5)
    signal = np.mean([(x[:, t + 1] * (x[:, t] - x[:, t - 4])).sum(-1) for t in range(4, 15)])
    assert value["checks"]["temporal signal"]["found"]["value"] == pytest.approx(signal, abs=1e-5)

    assert segue("split", store, "--train", "0-27", "--val", "28-33", "--ood", "34-39", "--out", split).status == 0
    trained = segue("train", "p1", "--data", store, "--split", split, "--out", run, *SMALL)
    assert trained.status == 0, trained.err
    for name in ("recipe.yaml", "history.jsonl", "split.json", "5cat.json", "report.html", "manifest.json"):
        assert (run / name).is_file(), name

    at_the_end = json.loads((run / "5cat.json").read_text())
    tested = segue("5cat", run, "--json", tmp_path / "again.json")
    again = json.loads((tmp_path / "again.json").read_text())
    assert tested.status == (0 if again["passed"] else 1)
    assert again == at_the_end, "testing a run again on its own data must say the same"
    assert "profile skill" in tested.out and "profile original" in tested.out
    assert any("30" in warning for warning in again["data"]["warnings"]), "6 documents: said to be few"
    assert segue("report", run, "--out", tmp_path / "page.html").status == 0
    assert "<html" in (tmp_path / "page.html").read_text()


def test_a_control_by_name_and_the_exit_status_of_a_profile(segue: Segue, make_store):
    store = make_store(rotation_world(60, 20, 16, noise=1.2, seed=1))
    assert segue("5cat", "oracle", "--data", store.path, "--profile", "original").status == 0
    copied = segue("5cat", "copy_last", "--data", store.path, "--profile", "original", "--json", "-")
    assert copied.status == 1
    value = json.loads(copied.out)
    keys = {"profile", "passed", "gates", "data", "splits", "controls", "certified"}
    assert keys <= value.keys()
    metrics = value["splits"]["OOD"]
    assert metrics["cos"].keys() == {"value", "low", "high", "n", "chance"}
    assert metrics["cos"]["low"] < metrics["cos"]["value"] < metrics["cos"]["high"]
    assert list(metrics["offsets"]) == [str(k) for k in range(-4, 4)]
    assert set(metrics["retrieval"]) == {"future", "unseen", "document", "corpus"}
    ablations = {"shuffle", "reverse", "leave_one_out", "repeat_last", "other_document"}
    assert set(metrics["ablations"]) == ablations
    assert len(metrics["rollout"]["steps"]) == 5
    controls = {"copy_last", "context_mean", "best_weights", "rank_weights", "ridge", "corpus_mean", "random"}
    assert set(value["controls"]) == controls | {"oracle", "late_oracle", "shuffled_target"}


def test_another_store_stands_for_ood(segue: Segue, make_store):
    store = make_store(rotation_world(30, 20, 16, seed=1))
    other = make_store(rotation_world(7, 20, 16, seed=2), name="other")
    ran = segue("5cat", "ridge", "--data", store.path, "--ood", other.path, "--json", "-")
    value = json.loads(ran.out)
    assert value["data"]["documents"]["OOD"] == 7
    assert value["data"]["ood_store_hash"] == other.hash


def test_a_failed_check_exits_1(segue: Segue, make_store):
    rng = np.random.default_rng(0)
    store = make_store([rng.standard_normal((10, 16)) for _ in range(5)])
    ran = segue("check", store.path)
    assert ran.status == 1 and "fails" in ran.out


def one_line(ran, *told: str) -> None:
    assert (ran.status, ran.out) == (2, ""), ran
    assert ran.err.startswith("error: ") and ran.err.count("\n") == 1, ran.err
    for piece in told:
        assert re.search(piece, ran.err), (piece, ran.err)


def test_what_5cat_refuses(segue: Segue, make_store, tmp_path: Path):
    store = make_store(rotation_world(30, 12, 16))
    one_line(segue("5cat", "orakle", "--data", store.path), "neither a folder nor a control", 'Did you mean "oracle"')
    one_line(segue("5cat", "oracle", "--data", store.path, "--profile", "skil"), "--profile", 'Did you mean "skill"')
    one_line(segue("5cat", "oracle"), "--data: oracle names no store")
    one_line(segue("5cat", "oracle", "--data", tmp_path / "no"), "no such store")
    one_line(segue("5cat", tmp_path, "--data", store.path), "not a finished model")
    one_line(segue("5cat", "oracle", "--data", store.path, "--samples", 0), "--samples: found 0")
    one_line(segue("5cat", "oracle", "--data", store.path, "--device", "tpu"), "--device: found 'tpu'")
    one_line(segue("5cat", "oracle", "--data", store.path, "--split", tmp_path / "no.json"), r"no\.json: no such file")
    short = make_store([np.eye(16)[:3]] * 10, name="short")
    one_line(segue("5cat", "oracle", "--data", short.path), "6 chunks in a row")
    one_line(segue("check", short.path), "6 chunks in a row")
    elsewhere = make_store(rotation_world(10, 12, 16), name="elsewhere", encoder="other")
    one_line(segue("5cat", "oracle", "--data", store.path, "--ood", elsewhere.path), "of the space other-16")


def test_a_model_refuses_the_vectors_of_another_encoder_or_width(segue: Segue, make_store, tmp_path: Path):
    store = make_store(rotation_world(30, 12, 16))
    run = tmp_path / "run"
    assert segue("train", "p1", "--data", store.path, "--out", run, *SMALL, "--samples", 0).status == 0
    other = make_store(rotation_world(30, 12, 16), name="other", encoder="other")
    wide = make_store(rotation_world(30, 12, 18), name="wide")
    one_line(segue("5cat", run, "--data", other.path), "space other-16", "segue embed --encoder test")
    one_line(segue("5cat", run, "--data", wide.path), "18 wide", "wants 16")


def test_what_split_refuses(segue: Segue, make_store, tmp_path: Path):
    store = make_store([np.eye(4)] * 10)
    out = tmp_path / "split.json"
    for options, told in (
        (("--train", "0-3"), "need --train and --val"),
        (("--train", "0-3", "--val", "3-4"), "is in train and in VAL"),
        (("--train", "0-99", "--val", "3"), "found document 99"),
        (("--fractions", "1,0,0"), "has no documents"),
        (("--fractions", "a,b"), "three numbers"),
        (("--train", "0-3", "--val", "4-5", "--fractions", ".8,.1,.1"), "Drop --fractions"),
        (("--train", "0-3", "--val", "4-5", "--seed", "0"), "Drop --seed"),
    ):
        one_line(segue("split", store.path, "--out", out, *options), told)
        assert not out.exists()


def test_help_is_quick_because_nothing_heavy_is_imported(monkeypatch: pytest.MonkeyPatch):
    """DESIGN: `segue --help` under half a second. Asserted by what is imported, not by a clock."""
    import subprocess
    import sys

    code = (
        "import sys; from segue.cli import app; "
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'numpy', 'pyarrow', 'transformers', "
        "'sentence_transformers', 'matplotlib', 'pydantic', 'jinja2'}))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
