"""What the tests of text → vectors share: a tiny encoder, small texts."""

from pathlib import Path

import numpy as np
import pytest
from small_text import WORDS, save_encoder, write_jsonl


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "corpus.jsonl")


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    weights = np.random.default_rng(0).normal(size=(len(WORDS) + 1, 16))
    return save_encoder(tmp_path_factory.mktemp("encoder") / "tiny", weights, ["[UNK]", *WORDS])
