"""A small service with every kind of handler, and what its errors look like."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx2
from fastapi import Query
from pydantic import Field
from starlette.responses import HTMLResponse, StreamingResponse

from segue.errors import InputError
from segue.serving.bodies import Body, Number, Text
from segue.serving.http import Router, Service, create_app
from segue.serving.limits import Settings
from segue.serving.metrics import Metrics
from segue.serving.refusals import Refusal, problems
from segue.serving.server import running

LIMIT = 10_000


class Numbers(Body):
    rows: list[list[Number]]
    texts: Annotated[list[Text], Field(max_length=2)] = Field(default_factory=list)


class Sum(Body):
    total: float


class Held:
    """Handlers that wait for `release`, and say when they begin and how they end."""

    def __init__(self) -> None:
        self.begun, self.ended = threading.Event(), threading.Event()

    async def wait(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()


def small_service(held: Held, metrics: Metrics, pages: bool = False) -> Service:
    router = Router()

    @router.post("/sum", responses=problems(422))
    async def total(body: Numbers) -> Sum:
        return Sum(total=sum(map(sum, body.rows)))

    @router.get("/bug")
    async def bug() -> Sum:
        raise KeyError("secret place")

    @router.get("/hang")
    async def hang() -> None:
        await held.wait()

    @router.get("/mine")
    async def mine(n: Annotated[int, Query(ge=0)] = 0) -> None:
        raise InputError("n: found another number,\na better one is wanted.")

    @router.get("/other")
    async def other() -> None:
        raise Refusal(410, "deprecated; its successor is p3.", field="model")

    @router.get("/page")
    async def page() -> HTMLResponse:
        return HTMLResponse("<p>hello")

    @router.get("/stream")
    async def stream() -> StreamingResponse:
        async def lines() -> AsyncIterator[str]:
            yield "one\n"
            await held.wait()

        return StreamingResponse(lines(), media_type="text/plain")

    return Service("small", "A small one.", router, metrics=metrics, pages=pages)


class Small:
    """A running small service."""

    def __init__(self, pages: bool = False, **settings: Any):
        self.held, self.metrics = Held(), Metrics()
        self.settings = Settings(**{"max_body": LIMIT, **settings})
        self.app = create_app(small_service(self.held, self.metrics, pages), self.settings)

    def __enter__(self) -> "Small":
        self._run = running(self.app, self.settings)
        self.url = self._run.__enter__()
        self.client = httpx2.Client(base_url=self.url, trust_env=False)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self._run.__exit__(None, None, None)


def error_of(answer: httpx2.Response) -> dict[str, Any]:
    """The error's body, checked: strict JSON, the status repeated, one line, the id of the header."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    assert answer.headers["content-type"] == "application/json"
    error: dict[str, Any] = json.loads(answer.text, parse_constant=refuse)["error"]
    assert set(error) == {"status", "code", "message", "field", "request_id"}
    assert error["status"] == answer.status_code and "\n" not in error["message"]
    assert error["request_id"] == answer.headers["x-request-id"]
    return error
