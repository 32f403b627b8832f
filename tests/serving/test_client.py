"""`segue.Client` against the four real services' answers, over real sockets."""

import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import segue
from conftest import Serve
from segue.geometry import normalise
from segue.models import load_model
from segue.serving.decoder_app import decoder_app
from segue.serving.decoding import StoreDecoder
from segue.serving.encoding import TextEncoder
from segue.serving.limits import Settings
from segue.serving.predictor_app import predictor_app
from segue.serving.served import load_served
from segue.serving.server import running
from segue.serving.shelf import Served, named_runs
from segue.serving.upstream import Upstream
from segue.vectors import Store


@pytest.fixture(scope="module")
def client(serve: Serve, encoder_url: str, text_store: Store, text_run: Path) -> Iterator[segue.Client]:
    """A client of a predictor whose encoder and decoder run too."""
    decoder_url = serve(decoder_app(StoreDecoder.of(text_store), Settings()))
    served = Served.runs(named_runs([f"small={text_run}"]), load_served)
    url = serve(
        predictor_app(served, Upstream("encoder", encoder_url, ""), Upstream("decoder", decoder_url, ""), Settings())
    )
    with segue.Client(url) as client:
        yield client


def read(store: Store, count: int) -> list[str]:
    return [str(text) for text in store.texts(np.arange(count))]


def test_every_method_finds_its_service(client: segue.Client, text_store: Store, text_encoder: TextEncoder, text_run):
    """One URL is enough: the predictor says where its encoder and decoder are."""
    texts = read(text_store, 5)
    vectors_ND = client.encode(texts)
    assert vectors_ND.dtype == np.float32
    np.testing.assert_allclose(vectors_ND, text_encoder.encode(texts), atol=1e-6)
    assert [found[0]["text"] for found in client.decode(vectors_ND)] == texts
    model = load_model(text_run)
    wanted_D = model.predict(torch.from_numpy(vectors_ND)[None])[0].detach().numpy()
    np.testing.assert_allclose(client.infer(vectors_ND, model="small"), wanted_D, atol=1e-5)
    np.testing.assert_allclose(client.infer(vectors_ND[None]), wanted_D[None], atol=1e-5)
    predicted = client.predict(texts, k=2)["steps"][0]["predicted"]
    best = client.decode([normalise(wanted_D)], exclude_vectors=vectors_ND.tolist())[0][0]
    assert (predicted["row"], predicted["text"]) == (best["row"], best["text"])
    assert client.chat("\n\n".join(texts))["reply"]["row"] == best["row"]
    name = text_store.document_ids[0]
    assert [chunk["text"] for chunk in client.document(name)["chunks"]][:5] == texts
    assert client.documents(limit=1)["total"] == text_store.n_documents
    stored = client.predict(stored={"id": name, "upto": 4})
    assert stored["truth"]["passage"]["text"] == str(text_store.texts([5])[0])
    assert client.health()["status"] == "ok"


def test_a_refusal_is_an_error_with_its_line(client: segue.Client, text_store: Store):
    with pytest.raises(segue.ServiceError, match=r"2 .*5") as refused:
        client.predict(read(text_store, 2))
    error = refused.value
    assert (error.status, error.code) == (422, "context_too_short") and error.request_id
    with pytest.raises(segue.ServiceError) as unknown:
        client.infer(np.eye(5, text_store.dim), model="smal")
    assert unknown.value.status == 404 and "small" in str(unknown.value)


def test_what_cannot_be_sent_is_said_before_it_is_sent(client: segue.Client):
    with pytest.raises(segue.InputError, match="2 of its numbers are NaN or infinity"):
        client.infer([[0.0, float("nan")], [float("inf"), 1.0]])
    with pytest.raises(segue.InputError, match="is no URL"):
        segue.Client("127.0.0.1:9007")


def test_vec2text_is_asked_for_without_a_k(client: segue.Client, text_store: Store):
    """It searches nothing, so it refuses `k`: the client must not send one by itself."""
    with pytest.raises(segue.ServiceError) as refused:
        client.decode(np.eye(1, text_store.dim), method="vec2text", steps=1)
    assert refused.value.code == "no_inverter"


def test_a_predictor_s_own_loopback_is_not_this_machine_s(encoder_url: str, text_run: Path):
    """A predictor elsewhere says `encoder at 127.0.0.1`: asking that here would ask, and hand the token to, another."""
    served = Served.runs({"small": text_run})
    settings = Settings(host="0.0.0.0", open=True)
    app = predictor_app(served, Upstream("encoder", encoder_url, ""), Upstream("decoder", encoder_url, ""), settings)
    with running(app, settings) as url, segue.Client(url.replace("0.0.0.0", "127.0.0.2")) as client:
        assert client.health()["service"] == "predictor"
        with pytest.raises(segue.InputError, match="only its own machine reaches"):
            client.encode(["One sentence."])


def test_an_encoder_alone_encodes_and_does_no_more(encoder_url: str):
    with segue.Client(encoder_url) as client:
        assert client.encode(["One sentence."]).shape == (1, 384)
        with pytest.raises(segue.InputError, match="is the encoder, the predictor is wanted"):
            client.predict(["a"])


def test_nobody_there():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with segue.Client(f"http://127.0.0.1:{port}") as client, pytest.raises(segue.ServiceError, match="reached"):
        client.health()
