"""What the ground answers to what it cannot do, over real sockets: every refusal is one JSON body."""

import http.client
import json
import logging
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from small_service import LIMIT, Small, error_of

from segue.serving.http import MOST_VALUES

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def small() -> Iterator[Small]:
    with Small(deadline=20) as service:
        yield service


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


def test_a_body_of_too_many_values_is_413_before_it_is_read():
    """While a body is read nobody else is answered, and what takes the time is how many values it has."""
    with Small(max_body=32 << 20) as small:
        for values, status in ((MOST_VALUES, 200), (MOST_VALUES + 2, 413)):
            answer = small.client.post("/sum", content=b'{"rows": [[' + b"1," * (values - 1) + b"1]]}", headers=JSON)
            assert answer.status_code == status, answer.text[:200]
        error = error_of(answer)
        assert error["code"] == "too_many_values" and f"{MOST_VALUES:,} values" in error["message"]


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
