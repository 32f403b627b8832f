"""Real servers over real sockets, in threads of this process, and one real encoder for all of them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from fastapi import FastAPI

from segue.serving.limits import Settings
from segue.serving.server import running

Serve = Callable[[FastAPI], str]


@pytest.fixture(scope="module")
def serve() -> Iterator[Serve]:
    """`serve(app)` → the base URL of a running server; all of a module's servers end with it."""
    with ExitStack() as stack:
        yield lambda app: stack.enter_context(running(app, Settings(deadline=10)))
