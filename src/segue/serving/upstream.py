"""Another of our services, called over HTTP. What goes wrong there becomes an answer of ours that says what to do."""

import json
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import httpx2

from segue.errors import InputError
from segue.serving.refusals import CODES, REQUEST_ID, Refusal

LOOPBACK = ("localhost", "127.0.0.1", "::1")
CONNECT = 3.0  # seconds


class Upstream:
    """A client for one other service; `async with upstream:` for the app's life.

    name    what it is called in messages: `decoder`
    url     its address
    remedy  how to start it: `segue serve decoder --store STORE`
    token   its bearer token, if it wants one

    Raises InputError for what is no URL.
    """

    def __init__(self, name: str, url: str, remedy: str, token: str | None = None, timeout: float = 120.0):
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError as error:
            raise InputError(f"--{name} {url}: is no URL ({error}), as http://127.0.0.1:7001 is.") from None
        if parts.scheme not in ("http", "https") or not host:
            raise InputError(f"--{name} {url}: is no URL, as http://127.0.0.1:7001 is.")
        self.name, self.url = name, url.rstrip("/")
        self.remedy = remedy
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._timeout = httpx2.Timeout(timeout, connect=CONNECT)
        # A proxy of the environment is for the world outside, not for a server on this machine.
        self._trust_env = host not in LOOPBACK
        self._client: httpx2.AsyncClient | None = None

    async def __aenter__(self) -> "Upstream":
        self._client = httpx2.AsyncClient(
            base_url=self.url,
            headers=self._headers,
            timeout=self._timeout,
            trust_env=self._trust_env,
            limits=httpx2.Limits(max_connections=64),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client:
            await self._client.aclose()

    async def post(self, path: str, body: Any) -> Any:
        """POST JSON, the answer's JSON. Raises Refusal, see `_refused`; 502 when it cannot be reached."""
        content = json.dumps(body, allow_nan=False).encode()
        return await self._ask("POST", path, content=content, headers={"Content-Type": "application/json"})

    async def get(self, path: str, params: dict[str, Any] | None = None) -> Any:
        """GET, the answer's JSON; raises as `post`. A parameter that is None is left out."""
        return await self._ask("GET", path, params={name: v for name, v in (params or {}).items() if v is not None})

    async def trouble(self) -> list[str]:
        """Why it is of no use now, for /health; empty when it is well."""
        try:
            found = await self.get("/health")
        except Refusal as refusal:
            return [refusal.message]
        why = found.get("why", []) if isinstance(found, dict) else ["its /health is none of ours"]
        return [f"{self.name}: {line}" for line in why]

    async def _ask(self, method: str, path: str, headers: dict[str, str] | None = None, **more: Any) -> Any:
        assert self._client is not None, "used outside `async with`"
        headers = {**(headers or {}), "X-Request-Id": REQUEST_ID.get()}
        try:
            response = await self._client.request(method, path, headers=headers, **more)
        except httpx2.ConnectError:
            raise self._down("cannot be reached") from None
        except httpx2.TimeoutException:
            raise self._down("does not answer in time") from None
        except httpx2.RequestError as error:
            raise self._down(f"broke off ({type(error).__name__})") from None
        try:
            value = json.loads(response.content)
        except (ValueError, RecursionError):
            raise self._down(
                f"answered with status {response.status_code} and no JSON; it is no service of ours"
            ) from None
        if response.status_code != 200:
            raise self._refused(response, value)
        return value

    def _down(self, what: str) -> Refusal:
        return Refusal(
            502,
            f"the {self.name} at {self.url} {what}. Start it with: {self.remedy}",
            code=f"{self.name}_down",
        )

    def _refused(self, response: httpx2.Response, value: Any) -> Refusal:
        """Its refusal as ours: 404, 410, 422 and 503, 504 pass on; its 401 and bugs are 502 to our client."""
        status, error = response.status_code, value.get("error") if isinstance(value, dict) else None
        if not isinstance(error, dict) or not isinstance(error.get("message"), str):
            return self._down(f"answered with status {status}; it is no service of ours")
        if status == 401:
            return Refusal(502, f"the {self.name} at {self.url} wants another token. Give both the same SEGUE_TOKEN.")
        if error.get("code") == CODES[404][0]:  # a path every service of this name has: another one listens there
            return self._down("has no such path; it is another service")
        if status not in CODES or status in (403, 405, 413, 415, 421, 500, 502):
            return Refusal(502, f"{self.name}: {error['message']}", code=f"{self.name}_failed")
        again = response.headers.get("retry-after", "")
        return Refusal(
            status,
            f"{self.name}: {error['message']}",
            code=str(error.get("code")),
            retry_after=int(again) if again.isdigit() else None,
        )
