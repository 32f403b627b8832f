"""Calls between our services: whatever goes wrong there is one clear answer here. Every peer is a real server."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI, Request

from segue.errors import InputError
from segue.serving.http import Router, Service, create_app
from segue.serving.limits import Settings
from segue.serving.refusals import REQUEST_ID, Refusal
from segue.serving.upstream import Upstream

Serve = Callable[[FastAPI], str]
REMEDY = "segue serve decoder --store STORE"
TOKEN = "a-token-of-20-letter"


async def _poorly() -> list[str]:
    return ["the store has no texts"]


@pytest.fixture(scope="module")
def peer(serve: Serve) -> str:
    """A service of ours that answers with any status it is asked for, wants a token, and is not well."""
    router = Router()

    @router.post("/echo")
    async def echo(body: dict[str, Any], request: Request) -> dict[str, Any]:
        return {"body": body, "id": request.headers["x-request-id"]}

    @router.get("/status/{n}")
    async def status(n: int) -> None:
        raise Refusal(n, "told by the decoder.", code="its_code", retry_after=7)

    return serve(create_app(Service("decoder", "", router, health=_poorly), Settings(token=TOKEN)))


class Stranger(BaseHTTPRequestHandler):
    """Something else that listens on the port."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/page" else 500)
        self.end_headers()
        self.wfile.write(
            b"1" * 5000
            if self.path == "/huge"
            else b"[1, 2"
            if self.path == "/half"
            else b"<html>"
            if self.path == "/page"
            else b'{"detail": 3}'
        )

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def stranger() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Stranger) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def call(url: str, path: str, body: Any = None, token: str | None = TOKEN, timeout: float = 30) -> Any:
    async def scene() -> Any:
        async with Upstream("decoder", url, REMEDY, token, timeout) as upstream:
            return await (upstream.get(path) if body is None else upstream.post(path, body))

    return asyncio.run(scene())


def refused(*arguments: Any, **more: Any) -> Refusal:
    with pytest.raises(Refusal) as refusal:
        call(*arguments, **more)
    return refusal.value


def test_an_answer_comes_back_and_the_request_s_id_goes_along(peer: str):
    token = REQUEST_ID.set("abc-1")
    try:
        assert call(peer, "/echo", {"x": [1.5]}) == {"body": {"x": [1.5]}, "id": "abc-1"}
    finally:
        REQUEST_ID.reset(token)


@pytest.mark.parametrize("status", [404, 410, 422, 503, 504])
def test_what_the_client_can_mend_passes_on(peer: str, status: int):
    refusal = refused(peer, f"/status/{status}")
    assert (refusal.status, refusal.code, refusal.message) == (status, "its_code", "decoder: told by the decoder.")
    if status == 503:
        assert refusal.response().headers["retry-after"] == "7"


@pytest.mark.parametrize("status", [403, 413, 421, 500, 502])
def test_what_is_between_the_services_is_502(peer: str, status: int):
    refusal = refused(peer, f"/status/{status}")
    assert (refusal.status, refusal.code) == (502, "decoder_failed")


def test_another_token_is_502_and_says_so(peer: str):
    assert refused(peer, "/status/404", token=None).status == 502
    assert "SEGUE_TOKEN" in refused(peer, "/status/404", token="another-token-of-25-chars").message


def test_a_service_that_is_down_is_502_and_says_how_to_start_it():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    refusal = refused(f"http://127.0.0.1:{port}", "/health")
    assert (refusal.status, refusal.code) == (502, "decoder_down")
    assert refusal.message == f"the decoder at http://127.0.0.1:{port} cannot be reached. Start it with: {REMEDY}"


@pytest.mark.parametrize("path", ["/page", "/half", "/huge", "/other"])
def test_something_else_on_the_port_is_502(stranger: str, path: str):
    refusal = refused(stranger, path)
    assert (refusal.status, refusal.code) == (502, "decoder_down") and "no service of ours" in refusal.message


def test_another_service_of_ours_on_the_port_is_502_and_not_the_client_s_404(peer: str):
    """`--encoder` with the decoder's address: it has no /encode."""
    refusal = refused(peer, "/encode", {"texts": ["a"]})
    assert (refusal.status, refusal.code) == (502, "decoder_down") and "another service" in refusal.message


def test_a_service_that_hangs_is_502():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        refusal = refused(f"http://127.0.0.1:{silent.getsockname()[1]}", "/health", timeout=0.3)
    assert refusal.status == 502 and "in time" in refusal.message


def test_trouble_is_told_in_lines(peer: str):
    async def scene(url: str) -> list[str]:
        async with Upstream("decoder", url, REMEDY, TOKEN) as upstream:
            return await upstream.trouble()

    assert asyncio.run(scene(peer)) == ["decoder: the store has no texts"]
    health = httpx2.get(f"{peer}/health", trust_env=False).json()  # open to all, who are told no folder and no address
    assert (health["status"], health["why"]) == ("degraded", ["ask with the token to be told why."])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert "cannot be reached" in asyncio.run(scene(f"http://127.0.0.1:{port}"))[0]


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(peer: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert call(peer, "/echo", {})["body"] == {}


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1", "http://", "http://127.0.0.1:port", "http://[::1"])
def test_what_is_no_url_is_an_input_error(url: str):
    with pytest.raises(InputError, match=r"--decoder .*is no URL"):
        Upstream("decoder", url, REMEDY)
