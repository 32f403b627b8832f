"""Real servers over real sockets, in threads of this process, and one real encoder for all of them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from fastapi import FastAPI
from real_text import make_text_store, train_on

from segue.serving.encoder_app import encoder_app
from segue.serving.encoding import TextEncoder
from segue.serving.limits import Settings
from segue.serving.server import running
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
