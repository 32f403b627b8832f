"""The predictor over real sockets, and what its tests share."""

import socket
from collections.abc import Callable
from typing import Any

import numpy as np
from fastapi import FastAPI

from segue.serving.limits import Settings
from segue.serving.predictor_app import predictor_app
from segue.serving.shelf import Served
from segue.serving.upstream import Upstream
from segue.vectors import Store


def closed_url() -> str:
    """Where nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def service(serve: Callable[[FastAPI], str], served: Served, encoder: str, decoder: str) -> str:
    to_encoder = Upstream("encoder", encoder, "segue serve encoder")
    to_decoder = Upstream("decoder", decoder, "segue serve decoder --store STORE")
    return serve(predictor_app(served, to_encoder, to_decoder, Settings()))


def texts_of(store: Store, rows: Any) -> list[str]:
    return [str(text) for text in store.texts(np.arange(len(store))[rows])]


def error_of(answer: tuple[int, Any], status: int, code: str, *told: str) -> dict[str, Any]:
    """The answer is this refusal, in one line."""
    found, value = answer
    assert found == status, value
    error = value["error"]
    assert (error["status"], error["code"]) == (status, code), error
    assert "\n" not in error["message"]
    for piece in told:
        assert piece in error["message"], error["message"]
    return error
