"""Real servers over real sockets, in threads of this process, and one real encoder for all of them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from fastapi import FastAPI

from segue.serving.encoder_app import encoder_app
from segue.serving.encoding import TextEncoder
from segue.serving.limits import Settings
from segue.serving.server import running

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
