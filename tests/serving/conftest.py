"""Real servers over real sockets, in threads of this process, and one real encoder for all of them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from fastapi import FastAPI
from predictor_world import service
from real_text import make_text_store, train_on
from small_runs import small_model, small_run

from segue.serving.decoder_app import decoder_app
from segue.serving.decoding import StoreDecoder
from segue.serving.encoder_app import encoder_app
from segue.serving.encoding import TextEncoder
from segue.serving.limits import Settings
from segue.serving.server import running
from segue.serving.shelf import Served
from segue.vectors import Store

Serve = Callable[[FastAPI], str]


@pytest.fixture(scope="module")
def serve() -> Iterator[Serve]:
    """`serve(app)` → the base URL of a running server; all of a module's servers end with it."""
    with ExitStack() as stack:
        yield lambda app: stack.enter_context(running(app, Settings(deadline=10)))


@pytest.fixture(scope="session")
def text_encoder() -> TextEncoder:
    """The real MiniLM in float32."""
    return TextEncoder.load("minilm", "cpu", "fp32")


@pytest.fixture(scope="session")
def encoder_url(text_encoder: TextEncoder) -> Iterator[str]:
    """A running encoder service with the real MiniLM in float32."""
    settings = Settings()
    with running(encoder_app(text_encoder, settings), settings) as url:
        yield url


@pytest.fixture(scope="session")
def text_store(text_encoder: TextEncoder, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """120 sentences of real text in 10 documents, encoded by the real MiniLM."""
    return make_text_store(tmp_path_factory.mktemp("text") / "reference", text_encoder)


@pytest.fixture(scope="session")
def text_run(text_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small transformer trained on `text_store`."""
    return train_on(text_store, tmp_path_factory.mktemp("runs") / "small")


@pytest.fixture(scope="module")
def decoder_url(serve: Serve, text_store: Store) -> str:
    return serve(decoder_app(StoreDecoder.of(text_store), Settings()))


@pytest.fixture(scope="module")
def causal_run(text_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh model of the store's space that reads any number of chunks."""
    folder = tmp_path_factory.mktemp("causal") / "causal"
    return small_run(folder, None, small_model("causal", family="causal", space=text_store.space))


@pytest.fixture(scope="module")
def url(serve: Serve, text_run: Path, causal_run: Path, encoder_url: str, decoder_url: str) -> str:
    """`small`, the default, reads 5 chunks; `causal` any number."""
    return service(serve, Served.runs({"small": text_run, "causal": causal_run}), encoder_url, decoder_url)


@pytest.fixture(scope="module")
def vectors_ND(text_store: Store) -> np.ndarray:
    return np.array(text_store.vectors_ND)
