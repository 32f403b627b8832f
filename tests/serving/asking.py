"""Asks a service over its socket, as any client would."""

import json
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen


def ask(url: str, body: Any = None, raw: bytes | None = None) -> tuple[int, Any]:
    """GET, or POST of JSON (or of bytes as they are). → status and the answer's JSON, whatever the status."""
    data = raw if raw is not None else json.dumps(body).encode() if body is not None else None
    request = Request(url, data=data, headers={"Content-Type": "application/json"} if data is not None else {})
    try:
        with urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)
