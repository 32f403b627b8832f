"""Whom the ground lets in: this machine's names, its own pages, the token."""

import http.client
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from small_service import Small, error_of

from segue.errors import InputError
from segue.serving.limits import Settings


@pytest.fixture(scope="module")
def small() -> Iterator[Small]:
    with Small(deadline=20) as service:
        yield service


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
