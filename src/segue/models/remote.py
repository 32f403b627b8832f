"""A predictor behind HTTP.

    POST URL/infer   {"context_vectors": [[[…]]]}     B × L × D numbers, unit vectors, oldest chunk first
    → 200            {"predicted_vectors": [[…]]}     B × D numbers, of any length

Legend: B batch, L chunks handed (C, or more for a predictor that reads further), D width.
"""

import json
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

import torch
from torch import Tensor

from segue.errors import InputError
from segue.models.outside import Claims, unit_predictions

BATCH = 64  # contexts a request: at 5 × 768 numbers some 5 MB of JSON
TIMEOUT = 60.0  # seconds for one request
LONGEST = 1 << 28  # bytes of an answer; more is none
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def is_url(name: str) -> bool:
    """Whether a predictor's name is an HTTP endpoint."""
    return name.startswith(("http://", "https://"))


class RemotePredictor:
    """A predictor that another process serves. Every answer is checked as any other's made elsewhere.

    Raises InputError, when it is asked, for a server that does not answer, answers with another status than 200, with
    something else than JSON, or with vectors of another number or width.
    """

    def __init__(self, url: str, dim: int, claims: Claims, timeout: float = TIMEOUT):
        try:
            parts = urlsplit(url)
            host = parts.hostname
            _ = parts.port
        except ValueError as error:
            raise InputError(f"{url}: is not a URL ({error}), as http://127.0.0.1:8000 is.") from None
        if not host:
            raise InputError(f"{url}: names no host, a URL as http://127.0.0.1:8000 is wanted.")
        self.url = url.rstrip("/") if url.rstrip("/").endswith("/infer") else f"{url.rstrip('/')}/infer"
        self.name, self.dim = url, dim
        self.context, self.horizon = claims.context, claims.horizon
        self.facets, self.reach = claims.facets, claims.reach
        self._timeout = timeout
        # A proxy of the environment is for the world outside, not for a server on this machine.
        self._opener = build_opener(ProxyHandler({})) if host in LOOPBACK else build_opener()

    def predict(self, context_BCD: Tensor) -> Tensor:
        """Unit predictions: (B, L, D) → (B, D), `BATCH` contexts a request."""
        blocks = [self._infer(block) for block in context_BCD.split(BATCH)]
        empty = torch.empty(0, self.dim)
        return torch.cat([empty, *blocks]).to(context_BCD.device)

    def _infer(self, context_BCD: Tensor) -> Tensor:
        body = json.dumps({"context_vectors": context_BCD.cpu().tolist()}).encode()
        request = Request(self.url, data=body, headers={"Content-Type": "application/json"})
        answer = self._read(request)
        try:
            value: Any = json.loads(answer)
        except (UnicodeDecodeError, json.JSONDecodeError):
            raise InputError(f"{self.url}: answered {_short(answer)!r}, JSON is wanted.") from None
        if not isinstance(value, dict) or "predicted_vectors" not in value:
            raise InputError(f'{self.url}: answered {_short(answer)!r}, {{"predicted_vectors": [[…]]}} is wanted.')
        return unit_predictions(value["predicted_vectors"], len(context_BCD), self.dim, self.url)

    def _read(self, request: Request) -> bytes:
        try:
            with self._opener.open(request, timeout=self._timeout) as response:
                answer: bytes = response.read(LONGEST + 1)
        except HTTPError as error:
            with error:
                said = _short(error.read(1000))
            raise InputError(f"{self.url}: answered with status {error.code} ({said!r}), 200 is wanted.") from None
        except TimeoutError:
            raise InputError(
                f"{self.url}: no answer within {self._timeout:g} s. Give it longer with --timeout."
            ) from None
        except (URLError, HTTPException, OSError) as error:
            reason = getattr(error, "reason", None) or error
            if isinstance(reason, TimeoutError):
                raise InputError(f"{self.url}: no connection within {self._timeout:g} s.") from None
            raise InputError(f"{self.url}: cannot be reached ({reason or type(reason).__name__}).") from None
        if len(answer) > LONGEST:
            raise InputError(
                f"{self.url}: answered with more than {LONGEST:,} bytes, {self.dim} numbers a context fit."
            )
        return answer


def _short(answer: bytes) -> str:
    """The beginning of an answer on one line."""
    return " ".join(answer[:200].decode("utf-8", "replace").split())[:80]
