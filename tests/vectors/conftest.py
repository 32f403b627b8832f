"""What the tests of text → vectors share: the command line in this process, a tiny encoder, small texts."""

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from small_text import WORDS, Ran, Refused, Segue, save_encoder, write_jsonl

from segue.cli import main


@pytest.fixture
def segue(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Segue]:
    """`segue("embed", …)` → exit status, stdout and stderr of the command line, run in this process."""
    log = logging.getLogger("segue")
    before = log.handlers, log.level, log.propagate
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["segue", *map(str, arguments)])
        capfd.readouterr()
        try:
            main()
        except SystemExit as end:
            return Ran(int(end.code or 0), *capfd.readouterr())
        raise AssertionError("main() returns by exiting")

    yield run
    log.handlers, log.level, log.propagate = before


@pytest.fixture
def refused(segue: Segue, tmp_path: Path) -> Refused:
    """Runs a command with `--out` in a new folder; asserts exit 2, one line on stderr, none on stdout, no manifest."""

    def run(*arguments: object, out: Path | None = None) -> str:
        out = out or tmp_path / "out"
        ran = segue(*arguments, "--out", out)
        assert (ran.status, ran.out) == (2, ""), ran
        assert ran.err.count("\n") == 1 and ran.err.startswith("error: "), ran.err
        assert not (out / "manifest.json").exists()
        return ran.err

    return run


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "corpus.jsonl")


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    weights = np.random.default_rng(0).normal(size=(len(WORDS) + 1, 16))
    return save_encoder(tmp_path_factory.mktemp("encoder") / "tiny", weights, ["[UNK]", *WORDS])
