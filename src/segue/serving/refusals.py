"""What a service answers when it does not do what was asked: one JSON body, whatever went wrong and wherever.

    {"error": {"status": 422, "code": "wrong_width", "message": "…", "field": "context_vectors", "request_id": "…"}}

`message` is one line: what was found, what is wanted, the remedy. It never echoes what the client sent: a NaN sent back
would be no JSON, a script sent back might run.
"""

import json
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="-")

CODES = {
    400: ("bad_request", "not a request this service understands"),
    401: ("unauthorised", "the bearer token is missing or wrong"),
    403: ("foreign_origin", "sent by a page of another origin"),
    404: ("not_found", "no such model, document or path"),
    405: ("method_not_allowed", "the path exists, the method does not"),
    408: ("request_timeout", "the body did not arrive in time"),
    410: ("deprecated", "the model is deprecated; the message names its successor"),
    413: ("body_too_large", "the body is larger than --max-body"),
    415: ("no_json", "the body's Content-Type is not application/json"),
    421: ("wrong_host", "the Host header names another machine"),
    422: ("bad_input", "a field is missing, of another type, or out of bounds"),
    429: ("too_many_requests", "too many requests of one client"),
    500: ("internal", "a bug; the service's log has the traceback under the request's id"),
    502: ("upstream_down", "another service that this one needs does not answer; the message says how to start it"),
    503: ("busy", "the queue is full or the service is stopping; try again after Retry-After seconds"),
    504: ("deadline_passed", "no answer within --deadline seconds"),
}
FORMS = ("as one", "as many")  # tags of the two forms a field may have; no part of a place that a reader knows
COMMON = (401, 403, 413, 421, 503, 504)  # what the gate may answer on any path


class Refusal(Exception):  # noqa: N818  (it is an answer, as HTTPException is)
    """A request that is not answered with 200. Raise it anywhere below `create_app`.

    status       HTTP status, one of CODES
    message      one line: found, wanted, remedy; nothing of what the client sent
    code         a short name for programs; the status's own by default
    field        where in the body: `context_vectors`, `texts[3]`
    retry_after  seconds, for 429 and 503
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        field: str | None = None,
        retry_after: int | None = None,
        headers: dict[str, str] | None = None,
    ):
        super().__init__(message)
        self.status, self.message = status, " ".join(message.split())
        self.code = code or CODES.get(status, ("refused", ""))[0]
        self.field, self.retry_after, self.headers = field, retry_after, headers or {}

    def to_json(self) -> dict[str, Any]:
        told = {"status": self.status, "code": self.code, "message": self.message, "field": self.field}
        return {"error": {**told, "request_id": REQUEST_ID.get()}}

    def response(self) -> Response:
        """The answer to send. ASCII only, so that half a surrogate pair in a message cannot break it."""
        retry = {"Retry-After": str(self.retry_after or 1)} if self.status in (429, 503) else {}
        body = json.dumps(self.to_json(), allow_nan=False).encode("ascii")
        return Response(body, self.status, {**self.headers, **retry}, media_type="application/json")


class ErrorDetail(BaseModel):
    """Why a request was not done."""

    model_config = ConfigDict(extra="forbid")
    status: int = Field(description="The HTTP status, again.")
    code: str = Field(description="A short name for programs.")
    message: str = Field(description="One line: what was found, what is wanted, the remedy.")
    field: str | None = Field(default=None, description="Where in the body, if it is one place.")
    request_id: str = Field(description="Also in the header X-Request-Id and in the service's log.")


class ErrorBody(BaseModel):
    """The body of every answer that is not a success."""

    model_config = ConfigDict(extra="forbid")
    error: ErrorDetail


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`responses=problems(422, 502)`: what a route may answer besides 200 and what every route may answer."""
    return {status: _problem(status) for status in sorted(statuses)}


def _problem(status: int) -> dict[str, Any]:
    code, about = CODES[status]
    error = {"status": status, "code": code, "message": about, "request_id": "5f0c1b2a3d4e5f60"}
    return {
        "model": ErrorBody,
        "description": about[0].upper() + about[1:] + ".",
        "content": {"application/json": {"example": {"error": error}}},
    }


def place(loc: Iterable[int | str]) -> str | None:
    """pydantic's place of an error as a reader writes it: ("body", "texts", 3) → `texts[3]`.

    A key that the client made up is shown only when it is a plain word.
    """
    found = ""
    for part in loc:
        if (part in ("body", "query", "path", "header") and not found) or part in FORMS:
            continue
        if isinstance(part, int):
            found += f"[{part}]"
        else:
            word = part if part.isidentifier() and part.isascii() and len(part) <= 40 else "…"
            found += f".{word}" if found else word
    return found or None
