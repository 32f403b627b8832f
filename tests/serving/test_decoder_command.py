"""`segue serve decoder`: what is refused before anything is served, in one line and with exit 2."""

from pathlib import Path

import numpy as np
import pytest

from command_line import Segue
from known_stores import build_store
from segue.vectors import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    vectors = np.random.default_rng(0).standard_normal((30, 8))
    return build_store(tmp_path / "store", [vectors / np.linalg.norm(vectors, axis=1, keepdims=True)])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--inverter", "gtr-t5-base"], "8 wide (test). vec2text inverts vectors of gtr-t5-base, 768 wide"),
        (["--inverter-python", "/usr/bin/python3"], "wants --inverter beside it"),
        (["--port", "70000"], "--port: found 70000"),
    ],
)
def test_options_that_cannot_work(segue: Segue, store: Store, options: list[str], words: str):
    ran = segue("serve", "decoder", "--store", store.path, "--port", 0, *options)
    lines = [line for line in ran.err.splitlines() if not line.startswith("loading the inverter")]
    assert ran.status == 2 and len(lines) == 1 and lines[0].startswith("error: ") and words in lines[0]


def test_stores_that_cannot_be_served(segue: Segue, store: Store, tmp_path: Path):
    ran = segue("serve", "decoder", "--store", tmp_path / "nothing", "--port", 0)
    assert ran.status == 2 and "nothing: no such store" in ran.err and ran.err.count("\n") == 1
    vectors = store.vectors_ND.copy()
    vectors[7, 3] = np.nan
    np.save(store.path / "vectors.npy", vectors)
    ran = segue("serve", "decoder", "--store", store.path, "--port", 0)
    assert ran.status == 2 and "holds NaN at row 7" in ran.err
