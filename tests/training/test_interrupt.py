"""Ctrl-C: a real SIGINT to a real process leaves one line and status 130, and the same command goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from runs import SMALL, history, world

from known_stores import build_store
from vectors.small_text import WORDS, save_encoder, write_jsonl

SAID = "interrupted: run the same command again (train: with --resume) to go on"
# Where pytest itself runs in the background, its children would inherit a SIGINT that is ignored.
MAIN = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from segue.cli import main; main()"


def interrupted(arguments: list[object], begun: Path) -> str:
    """Run the command until a file is there, then SIGINT; stderr."""
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, *map(str, arguments)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 120
    while not begun.exists():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said.splitlines()[-1] == SAID and said.count("interrupted") == 1, said
    assert "Traceback" not in said and "Aborted" not in said, said
    return said


def test_train(tmp_path):
    store = build_store(tmp_path / "store", world())
    run = tmp_path / "run"
    sets = [word for text in (*SMALL, "model=amn", "epochs=500") for word in ("--set", text)]
    command = ["train", "p1", *sets, "--data", store.path, "--out", run]
    command += ["--device", "cpu", "--threads", 1, "--samples", 0]
    interrupted(command, run / "epochs" / "002" / "manifest.json")
    assert not (run / "manifest.json").exists()
    assert 2 <= len(history(run)) < 500  # that --resume goes on with it: test_train's kill, which is harder


def test_embed(segue, tmp_path):
    weights = np.random.default_rng(0).normal(size=(len(WORDS) + 1, 16))
    encoder = save_encoder(tmp_path / "tiny", weights, ["[UNK]", *WORDS])
    corpus, store = write_jsonl(tmp_path / "corpus.jsonl", documents=400), tmp_path / "store"
    command = ["embed", corpus, "--out", store, "--encoder", encoder, "--device", "cpu", "--threads", 1]
    command += ["--precision", "fp32", "--batch", 4, "--shard", 64]
    interrupted(command, store / "shards")
    assert not (store / "manifest.json").exists()
    ran = segue(*command)
    assert ran.status == 0, ran.err
    assert (store / "manifest.json").exists()
