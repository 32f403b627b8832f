"""What a user or the machine gets wrong with `segue embed`: one line, exit 2, nothing that looks finished."""

import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from small_text import SENTENCES, WORDS, begin, same_store, save_encoder, write_jsonl

from command_line import Refused, Segue
from segue.vectors import Store
from segue.vectors.embed import Encoding
from segue.vectors.shards import SHARDS


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("missing.jsonl", None, ("no such file",)),
        ("empty.jsonl", b"", ("is empty",)),
        ("empty.jsonl.gz", gzip.compress(b"", mtime=0), ("is empty",)),
        ("a.jsonl", b'{"text": "A first document."}\n{"text": \n', ("line 2", "not JSON")),
        ("a.jsonl", b'{"text": "A first document."}\n"A string."\n', ("line 2", "is a string")),
        ("a.jsonl", b'{"body": "A first document."}\n', ("--text-field", "body")),
        ("a.jsonl", b'{"text": ""}\n', ("no record has text",)),
        ("a.jsonl", b'{"text": "-"}\n', ("gives no chunks", "1 near-empty")),
        ("a.jsonl", b'{"id": 1, "text": "x"}\n{"id": 1, "text": "y"}\n', ("'1'", "line 1", "line 2")),
        ("a.jsonl.gz", b"not compressed", ("cannot be decompressed",)),
        ("a.pdf", b"x", (".pdf", ".jsonl")),
        ("a.txt", b"\xff\xfe", ("UTF-8",)),
    ],
)
def test_bad_text_is_one_line(
    tmp_path: Path, refused: Refused, tiny_encoder: Path, name: str, content: bytes | None, told: tuple[str, ...]
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    line = refused("embed", tmp_path / name, "--encoder", tiny_encoder)
    for part in (name, *told):
        assert part in line


def test_bad_options_are_one_line(corpus: Path, refused: Refused, tiny_encoder: Path) -> None:
    for options, told in (
        (["--chunk", "sentences"], 'Did you mean "sentence"?'),
        (["--precision", "fp16"], "bf16"),
        (["--dtype", "float64"], "float32"),
        (["--limit", "0"], "--limit"),
        (["--batch", "0"], "--batch"),
        (["--shard", "-1"], "--shard"),
        (["--words", "0"], "--words"),
        (["--min-chars", "0"], "--min-chars"),
        (["--device", "tpu"], "auto, cpu, cuda, mps"),
        (["--threads", "0"], "--threads"),
        (["--id-field", "uri"], "'uri'"),
        (["--encoder", "/no/such/model"], "no such folder"),
    ):
        assert told in refused("embed", corpus, "--encoder", tiny_encoder, *options)


@pytest.mark.parametrize(("value", "told"), [(np.nan, "NaN or infinity"), (0, "the zero vector")])
def test_an_encoder_that_gives_no_direction_is_refused(
    tmp_path: Path, refused: Refused, value: float, told: str
) -> None:
    """One word of the vocabulary has a bad vector; the line names the one chunk that holds only it."""
    weights = np.random.default_rng(0).normal(size=(len(WORDS) + 2, 16))
    weights[-1] = value
    encoder = save_encoder(tmp_path / "bad", weights, ["[UNK]", *WORDS, "abracadabra"])
    with (tmp_path / "a.jsonl").open("w") as file:
        for i in range(3):
            texts = [*SENTENCES, "abracadabra"] if i == 1 else SENTENCES
            file.write(json.dumps({"id": f"d{i}", "paragraphs": texts}) + "\n")
    line = refused("embed", tmp_path / "a.jsonl", "--encoder", encoder)
    assert told in line and "chunk 7 of document 'd1'" in line and "abracadabra" in line


def test_warnings_count_documents_without_text_and_short_ones(tmp_path: Path, segue: Segue, tiny_encoder: Path) -> None:
    records = [{"paragraphs": SENTENCES}, {"paragraphs": SENTENCES[:5]}, {"text": ""}, {"id": "x"}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    ran = segue("embed", tmp_path / "a.jsonl", "--encoder", tiny_encoder, "--out", tmp_path / "s")
    assert ran.status == 0
    assert "2 documents without text" in ran.err and "1 of 2 documents are shorter than a window" in ran.err
    assert Store(tmp_path / "s").manifest["counts"] == {
        "documents": 2,
        "chunks": 12,
        "dropped": 0,
        "documents_without_text": 2,
        "documents_shorter_than_a_window": 1,
    }


def test_a_folder_of_other_files_is_not_written_into(
    tmp_path: Path, corpus: Path, refused: Refused, tiny_encoder: Path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.tex").touch()
    (tmp_path / "file").touch()
    assert "thesis.tex" in refused("embed", corpus, "--encoder", tiny_encoder, out=tmp_path / "full")
    for out in (tmp_path / "file", tmp_path / "file/below"):
        assert "Choose another --out" in refused("embed", corpus, "--encoder", tiny_encoder, out=out)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that anybody can reach, unlike tmp_path."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_what_is_closed_to_the_user_is_one_line(open_folder: Path, refused: Refused) -> None:
    corpus = write_jsonl(open_folder / "corpus.jsonl")
    encoder = save_encoder(open_folder / "encoder", np.ones((len(WORDS) + 1, 4)), ["[UNK]", *WORDS])
    (open_folder / "secret").mkdir(mode=0o000)
    (open_folder / "secret.jsonl").touch(mode=0o000)
    (open_folder / "locked").mkdir(mode=0o555)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # nobody: root may write anywhere
    try:
        for out in (open_folder / "locked", open_folder / "locked/store"):
            assert "not writable by you" in refused("embed", corpus, "--encoder", encoder, out=out)
        for source in ("secret.jsonl", "secret/a.jsonl"):
            assert "not readable by you" in refused("embed", open_folder / source, out=open_folder / "out")
        secret = open_folder / "secret/model"
        assert "not readable by you" in refused("embed", corpus, "--encoder", secret, out=open_folder / "out")
    finally:
        os.seteuid(user)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KiB, where this machine lets one be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", disk], capture_output=True)
    except FileNotFoundError:
        pytest.skip("no mount command")
    if mounted.returncode:
        pytest.skip("mounting needs root")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_keeps_its_shards(tmp_path: Path, small_disk: Path, segue: Segue, tiny_encoder: Path) -> None:
    """Full while encoding, then full while merging, then room enough: the store is the one of a large disk."""
    corpus = write_jsonl(tmp_path / "corpus.jsonl", documents=300)
    out = small_disk / "s"
    command = ["embed", corpus, "--encoder", tiny_encoder, "--shard", 100, "--out"]
    assert segue(*command, tmp_path / "whole").status == 0
    begin(corpus, tmp_path / "begun", Encoding(str(tiny_encoder), shard=100))
    shards = sum(-(-file.stat().st_size // 4096) * 4 for file in (tmp_path / "begun" / SHARDS).iterdir())
    kept = []
    for size in ("128k", f"{shards + 32}k"):
        subprocess.run(["mount", "-o", f"remount,size={size}", small_disk], check=True)
        ran = segue(*command, out)
        assert (ran.status, ran.out) == (2, "") and "Traceback" not in ran.err
        error = ran.err.strip().splitlines()[-1]
        assert error.startswith("error: ") and "disk is full" in error
        assert not (out / "manifest.json").exists()
        kept.append(len(list((out / SHARDS).glob("*.arrow"))))
    assert 0 < kept[0] < kept[1] == 20, kept
    subprocess.run(["mount", "-o", "remount,size=4m", small_disk], check=True)
    assert segue(*command, out).status == 0
    same_store(out, tmp_path / "whole")


def test_a_limit_on_file_sizes_is_said(tmp_path: Path, refused: Refused, segue: Segue, tiny_encoder: Path) -> None:
    corpus = write_jsonl(tmp_path / "corpus.jsonl", documents=100)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        ran = segue("embed", corpus, "--encoder", tiny_encoder, "--shard", 40, "--out", tmp_path / "s")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert ran.status == 2 and "ulimit -f" in ran.err and not (tmp_path / "s/manifest.json").exists()
    assert segue("embed", corpus, "--encoder", tiny_encoder, "--shard", 40, "--out", tmp_path / "s").status == 0


def test_help_is_fast_and_loads_nothing_heavy() -> None:
    """A second import of torch or pyarrow at the top of a command file would make every command wait."""
    code = (
        "import sys; import segue.cli.app; "
        "print([m for m in ('torch', 'pyarrow', 'transformers', 'sentence_transformers') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
