"""What the ground lets in and what it answers otherwise, over real sockets: every refusal is one JSON body."""

import asyncio
import http.client
import json
import logging
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any
from urllib.parse import urlsplit

import httpx2
import pytest
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

JSON = {"content-type": "application/json"}
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
        self.settings = Settings(max_body=LIMIT, **settings)
        self.app = create_app(small_service(self.held, self.metrics, pages), self.settings)

    def __enter__(self) -> "Small":
        self._run = running(self.app, self.settings)
        self.url = self._run.__enter__()
        self.client = httpx2.Client(base_url=self.url, trust_env=False)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self._run.__exit__(None, None, None)


@pytest.fixture(scope="module")
def small() -> Iterator[Small]:
    with Small(deadline=20) as service:
        yield service


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


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ('{"rows": [[1, NaN]]}', "finite_number", "rows[0][1]"),
        ('{"rows": [[1, -Infinity]]}', "finite_number", "rows[0][1]"),
        ('{"rows": [[1e999]]}', "finite_number", "rows[0][0]"),
        ('{"rows": [["7"]]}', "float_type", "rows[0][0]"),
        ('{"rows": [[true]]}', "float_type", "rows[0][0]"),
        ('{"rows": [[1]], "row": 3}', "extra_forbidden", "row"),
        ('{"rows": [[1]], "<script>alert(1)</script>": 3}', "extra_forbidden", "…"),
        ('{"rows": [[1]], "texts": ["a", " \\n "]}', "string_pattern_mismatch", "texts[1]"),
        ('{"rows": [[1]], "texts": ["a", "b", "c"]}', "too_long", "texts"),
        ("{}", "missing", "rows"),
        ("[1]", "no_object", None),
        ("3", "no_object", None),
        ("", "no_object", None),
        ("{", "malformed_json", None),
        ('{"rows": [[1', "malformed_json", None),
        ('{"rows": ' + "[" * 900, "malformed_json", None),
        ('{"rows": [[' + "1" * 9000 + "]]}", None, None),
        ('{"rows": [[1]], "texts": ["\\ud800"]}', "malformed_json", None),
        ('{"rows": [[1]], "\\ud800": 3}', "malformed_json", None),
        (json.dumps(dict.fromkeys(map(str, range(65)))), "too_many_keys", None),
        (json.dumps({"rows": [{}, dict.fromkeys(map(str, range(65)))]}), "too_many_keys", None),
        (json.dumps(dict.fromkeys(map(str, range(64)))), "missing", "rows"),
    ],
)
def test_a_bad_body_is_422_and_its_answer_is_json_that_echoes_nothing(
    small: Small, body: str, code: str | None, field: str | None
):
    answer = small.client.post("/sum", content=body.encode(), headers=JSON)
    assert answer.status_code == 422, answer.text
    error = error_of(answer)
    if code:
        assert (error["code"], error["field"]) == (code, field)
    assert "script" not in answer.text and "NaN" not in answer.text and "111111" not in answer.text


def test_bytes_that_are_no_text_and_a_body_of_another_type(small: Small):
    assert error_of(small.client.post("/sum", content=b'{"rows": "\xff"}', headers=JSON))["code"] == "malformed_json"
    for headers in ({}, {"content-type": "text/plain"}):  # what a foreign page may send without being asked
        answer = small.client.post("/sum", content=b'{"rows": [[1]]}', headers=headers)
        assert (answer.status_code, error_of(answer)["code"]) == (422, "no_object")


def test_a_good_body(small: Small):
    answer = small.client.post("/sum", json={"rows": [[1, 2.5], [3]]}, headers={"X-Request-Id": "mine-7"})
    assert (answer.status_code, answer.json()) == (200, {"total": 6.5})
    assert answer.headers["x-request-id"] == "mine-7" and answer.headers["x-content-type-options"] == "nosniff"
    odd = small.client.get("/health", headers={"X-Request-Id": "a b<script>"})
    assert odd.headers["x-request-id"] != "a b<script>"


def test_unknown_paths_methods_and_our_own_errors(small: Small):
    ask = small.client
    assert error_of(ask.get("/nowhere"))["status"] == 404
    assert error_of(ask.get("/sum"))["status"] == 405
    assert error_of(ask.get("/mine"))["message"] == "n: found another number, a better one is wanted."
    assert error_of(ask.get("/mine?n=-1"))["field"] == "n"
    gone = error_of(ask.get("/other"))
    assert (gone["status"], gone["code"], gone["field"]) == (410, "deprecated", "model")


def test_a_bug_is_500_without_a_word_of_it_and_one_traceback_in_the_log(
    small: Small, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(logging.getLogger("segue"), "propagate", True)
    answer = small.client.get("/bug")
    error = error_of(answer)
    assert answer.status_code == 500 and "secret" not in answer.text and "Traceback" not in answer.text
    logged = [record for record in caplog.records if record.exc_info]
    assert len(logged) == 1 and error["request_id"] in logged[0].getMessage()
    assert logged[0].exc_info and isinstance(logged[0].exc_info[1], KeyError)


def test_a_body_too_large_is_413_with_and_without_content_length(small: Small):
    large = b'{"rows": [[' + b"1," * LIMIT + b"1]]}"
    for content in (large, iter([large[i : i + 700] for i in range(0, len(large), 700)])):
        answer = small.client.post("/sum", content=content, headers=JSON)
        assert answer.status_code == 413 and f"{LIMIT:,} bytes" in error_of(answer)["message"]
    fits = b'{"rows": [[1]]' + b" " * (LIMIT - 15) + b"}"
    assert len(fits) == LIMIT
    assert small.client.post("/sum", content=fits, headers=JSON).status_code == 200
    assert small.client.post("/sum", content=fits + b" ", headers=JSON).status_code == 413


def test_an_announced_giant_is_refused_before_it_is_read(small: Small):
    connection = http.client.HTTPConnection(urlsplit(small.url).netloc)
    connection.putrequest("POST", "/sum")
    connection.putheader("Content-Length", str(10**15))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_an_endless_chunked_body_is_cut_off(small: Small):
    """Guards against a limit that trusts Content-Length: the server must end it, however much is sent."""
    with socket.create_connection(urlsplit(small.url).netloc.split(":")) as raw:
        raw.sendall(b"POST /sum HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        sent = 0
        try:
            while sent < 1000 * LIMIT:
                raw.sendall(b"1000\r\n" + b"1" * 4096 + b"\r\n")
                sent += 4096
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert sent < 1000 * LIMIT or b"413" in raw.recv(100)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "localhost.evil", "10.0.0.1", ""])
def test_another_host_is_refused_on_loopback(small: Small, host: str):
    """DNS rebinding: a page's own name, bound to 127.0.0.1 after it was loaded."""
    connection = http.client.HTTPConnection(urlsplit(small.url).netloc)
    connection.request("GET", "/health", headers={"Host": host})
    assert connection.getresponse().status == 421
    connection.close()


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9007", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:7001"])
def test_this_machine_s_names_are_let_in(small: Small, host: str):
    assert small.client.get("/health", headers={"Host": host}).status_code == 200


def test_a_page_of_another_origin_may_not_post(small: Small):
    body = {"json": {"rows": [[1]]}}
    assert error_of(small.client.post("/sum", **body, headers={"Origin": "http://evil.example"}))["status"] == 403
    for odd in ("null", "http://[", "http://]:1", "//"):  # the second is no URL to Python: it was a 500
        assert error_of(small.client.post("/sum", **body, headers={"Origin": odd}))["status"] == 403, odd
    assert small.client.post("/sum", **body, headers={"Origin": small.url}).status_code == 200
    answer = small.client.options(
        "/sum", headers={"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    )
    assert not any(name.startswith("access-control") for name in answer.headers)


def test_the_deadline_ends_a_request_and_its_handler():
    with Small(deadline=0.3) as small:
        answer = small.client.get("/hang")
        assert error_of(answer)["status"] == 504 and "0.3 s" in answer.text
        assert small.held.ended.wait(20)
        assert small.client.get("/health").status_code == 200


def test_the_deadline_holds_for_a_body_that_never_ends():
    with Small(deadline=0.3) as small:
        connection = http.client.HTTPConnection(urlsplit(small.url).netloc)
        connection.putrequest("POST", "/sum")
        connection.putheader("Content-Length", "100")
        connection.endheaders(b'{"rows"')
        assert connection.getresponse().status == 504
        connection.close()


def test_a_stream_outlives_the_deadline_and_ends_with_its_client():
    with Small(deadline=0.3) as small:
        with small.client.stream("GET", "/stream") as answer:
            lines = answer.iter_lines()
            assert next(lines) == "one" and small.held.begun.wait(20)
            assert not small.held.ended.wait(0.6)  # twice the deadline
        assert small.held.ended.wait(20)


def test_a_client_that_leaves_cancels_its_handler(small: Small):
    raw = socket.create_connection(urlsplit(small.url).netloc.split(":"))
    raw.sendall(b"GET /hang HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert small.held.begun.wait(20)
    raw.close()
    assert small.held.ended.wait(20)


def test_more_requests_than_may_be_held_are_503_but_health_answers():
    with Small(deadline=20, max_requests=1) as small:
        raw = socket.create_connection(urlsplit(small.url).netloc.split(":"))
        raw.sendall(b"GET /hang HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert small.held.begun.wait(20)
        answer = small.client.post("/sum", json={"rows": []})
        assert error_of(answer)["status"] == 503 and int(answer.headers["retry-after"]) >= 1
        assert small.client.get("/health").json()["status"] == "ok"
        assert "segue_requests_held 2.0" in small.client.get("/metrics").text
        raw.close()
        assert small.held.ended.wait(20)


def test_the_token_opens_and_nothing_else_does():
    with Small(token="a-token-of-20-letter") as small:
        ask = small.client
        for given in ({}, {"Authorization": "Bearer a-token-of-20-lettes"}, {"Authorization": "a-token-of-20-letter"}):
            answer = ask.get("/mine", headers=given)
            assert error_of(answer)["status"] == 401 and answer.headers["www-authenticate"] == "Bearer"
        accent = http.client.HTTPConnection(urlsplit(small.url).netloc)
        accent.request("GET", "/mine", headers={"Authorization": b"Bearer \xe9\xff"})
        assert accent.getresponse().status == 401
        accent.close()
        assert ask.get("/mine", headers={"Authorization": "bearer a-token-of-20-letter"}).status_code == 422
        assert ask.get("/metrics").status_code == 401
        assert ask.get("/mine?token=a-token-of-20-letter").status_code == 401  # for pages only: addresses are logged
        assert [ask.get(path).status_code for path in ("/health", "/docs", "/openapi.json")] == [200, 200, 200]
        assert ask.get("/openapi.json").json()["security"] == [{"token": []}]


def test_a_link_with_the_token_lets_a_browser_in():
    with Small(pages=True, token="a-token-of-20-letter") as small:
        ask = small.client
        assert ask.get("/page").status_code == 401
        assert ask.get("/page?token=wrong").status_code == 401
        hop = ask.get("/page?n=1&token=a-token-of-20-letter")
        assert (hop.status_code, hop.headers["location"]) == (303, "/page?n=1")
        cookie = hop.headers["set-cookie"]
        assert "HttpOnly" in cookie and "samesite=strict" in cookie.lower() and "a-token" not in cookie
        assert ask.get("/page").status_code == 200  # the client keeps cookies
        raw = http.client.HTTPConnection(urlsplit(small.url).netloc)  # this one leaves a path as it is
        raw.request("GET", "//evil.example/?token=a-token-of-20-letter")
        away = raw.getresponse()
        assert (away.status, away.headers["location"]) == (303, "/evil.example/")
        raw.close()


def test_a_page_carries_its_headers(small: Small):
    headers = small.client.get("/page").headers
    assert "default-src 'self'" in headers["content-security-policy"] and headers["x-frame-options"] == "DENY"
    assert "unsafe-inline'; object-src" in headers["content-security-policy"]  # styles only
    assert "script-src" not in headers["content-security-policy"]
    assert "content-security-policy" not in small.client.get("/health").headers


def test_docs_work_offline_and_read_no_other_file(small: Small):
    page = small.client.get("/docs")
    assert page.headers["content-type"].startswith("text/html") and "http" not in page.text.replace("</html>", "")
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "start.js", "LICENSE"):
        assert f"/docs/{name}" in page.text or name == "LICENSE"
        answer = small.client.get(f"/docs/{name}")
        assert answer.status_code == 200 and len(answer.content) > 50
        again = small.client.get(f"/docs/{name}", headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    for path in ("/docs/..%2f__init__.py", "/docs/%2fetc%2fpasswd", "/docs/../../http.py", "/docs/nothing.js"):
        assert error_of(small.client.get(path))["status"] == 404


def test_metrics_count_by_route_and_no_client_can_make_series(small: Small):
    for i in range(5):
        small.client.get(f"/never/{i}")
    small.client.request("BREW", "/health")
    assert small.client.post("/sum", json={"rows": [[1.0]]}).status_code == 200
    assert small.client.get("/bug").status_code == 500
    text = small.client.get("/metrics").text
    assert "/never" not in text and "BREW" not in text
    assert 'segue_requests_total{method="POST",route="/sum",status="200"}' in text
    assert 'segue_requests_total{method="GET",route="/bug",status="500"}' in text
    assert "process_resident_memory_bytes" in text


def test_every_refusal_is_documented(small: Small):
    document = small.client.get("/openapi.json").json()
    responses = document["paths"]["/sum"]["post"]["responses"]
    assert set(responses) == {"200", "401", "403", "413", "421", "422", "503", "504"}
    assert all(
        answer["content"]["application/json"]["schema"]["$ref"].endswith("ErrorBody")
        for status, answer in responses.items()
        if status != "200"
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"port": 70000}, "--port"),
        ({"host": "0.0.0.0"}, "--no-token"),
        ({"host": "192.168.1.5"}, "SEGUE_TOKEN"),
        ({"token": "short"}, "5 characters"),
        ({"token": "with a blank in it, long"}, "--token"),
        ({"max_body": 0}, "--max-body"),
        ({"max_queue": 0}, "--max-queue"),
        ({"deadline": 0.0}, "--deadline"),
        ({"deadline": float("nan")}, "--deadline"),
    ],
)
def test_settings_out_of_bounds(wrong: dict[str, Any], said: str):
    with pytest.raises(InputError, match=said) as error:
        Settings(**wrong)
    assert "\n" not in str(error.value) and str(wrong.get("token", "\0")) not in str(error.value)


def test_other_machines_are_let_in_with_a_token_or_by_saying_so():
    assert not Settings(host="0.0.0.0", token="a-token-of-20-letter").loopback
    assert not Settings(host="0.0.0.0", open=True).loopback
    assert Settings(host="::1").loopback and Settings(host="localhost").loopback and Settings(host="127.0.0.9").loopback
