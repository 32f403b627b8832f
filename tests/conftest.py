"""What the tests share: one torch thread, stores made of known vectors, the command line in this process."""

import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from command_line import Ran, Refused, Segue
from known_stores import build_store
from segue.cli import main
from segue.vectors import Store

if TYPE_CHECKING:
    from playwright.sync_api import Browser

torch.set_num_threads(1)
os.environ["SEGUE_CACHE"] = "off"  # no test reads what another measured, or writes into a home

MakeStore = Callable[..., Store]


@pytest.fixture
def make_store(tmp_path: Path) -> MakeStore:
    """`make_store([doc1_ND, doc2_ND, …], name="store", …)` → a finished store in a temporary folder."""

    def make(documents: Sequence[np.ndarray], name: str = "store", **options: Any) -> Store:
        return build_store(tmp_path / name, documents, **options)

    return make


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


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Chromium: the system's where there is one, else playwright's own. Without one the tests fail, with the remedy.

    A module's, not the session's: as long as it lives playwright runs an event loop in this thread, and `asyncio.run`
    refuses to run in it.
    """
    from playwright.sync_api import Error, sync_playwright  # half a second that few tests need

    with sync_playwright() as playwright:
        found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        try:
            started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        except Error as error:
            raise RuntimeError(
                "Pages are tested in a browser and none was found. Install one with "
                "`.venv/bin/playwright install chromium` (or Debian's package `chromium`)."
            ) from error
        yield started
        started.close()
