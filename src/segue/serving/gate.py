"""Every request passes here first: who asks, how much, how long; and what no handler answered becomes JSON.

One ASGI layer, since each further one costs every request. It reads the whole body before the app sees the request, so
that a limit holds without Content-Length too, a slow sender meets the deadline, and a client that leaves is noticed.
"""

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse

from segue.serving.limits import Door, Settings
from segue.serving.metrics import GONE, Metrics
from segue.serving.refusals import REQUEST_ID, Refusal

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

ALWAYS = ("/health", "/metrics")  # answered however much is held
OPEN = ("/health", "/openapi.json", "/docs")  # without the token: they tell nothing of a user's
DRAIN = 4  # a body up to so many times the limit is read to its end and thrown away, so that its sender reads the 413
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_PLAIN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
log = logging.getLogger("segue")


class Gate:
    """The outermost layer of an app. `pages`: people's browsers come here, so a link with ?token= lets one in."""

    def __init__(self, app: App, settings: Settings, metrics: Metrics, name: str, pages: bool = False):
        self._app, self._settings, self._metrics = app, settings, metrics
        self._door = Door(settings, f"segue_{name}" if pages else None)
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] != "http":
            await self._app(scope, receive, send)
        else:
            await self._request(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, began = Headers(scope=scope), time.perf_counter()
        given = headers.get("x-request-id", "")
        request_id = given if _PLAIN_ID.fullmatch(given) else secrets.token_hex(8)
        REQUEST_ID.set(request_id)
        answer = _Answer(send, request_id)
        self._held += 1
        self._metrics.held.set(self._held)
        try:
            await self._answer(scope, headers, receive, answer)
        except Refusal as refusal:
            await answer.refuse(refusal, scope, receive)
        except Exception as error:
            log.error("request %s, %s %s", request_id, scope["method"], scope["path"][:200], exc_info=error)
            told = "an error inside the service, not in the request; its log has the details under request_id."
            await answer.refuse(Refusal(500, told), scope, receive)
        finally:
            self._held -= 1
            self._metrics.held.set(self._held)
            route = getattr(scope.get("route"), "path", None) or "unmatched"
            seconds = time.perf_counter() - began
            self._metrics.answered(route, scope["method"], answer.status or GONE, seconds)

    async def _answer(self, scope: Scope, headers: Headers, receive: Receive, answer: "_Answer") -> None:
        """Raises Refusal for what the gate does not let in, and for what was not answered in time."""
        path = scope["path"]
        if self._door.cookie and scope["method"] == "GET" and b"token=" in scope["query_string"]:
            await self._let_in(scope, receive, answer)
            return
        self._door.refuse(headers, scope["method"], needs_token=path not in OPEN and not path.startswith("/docs/"))
        if self._held > self._settings.max_requests and path not in ALWAYS:
            raise Refusal(503, f"{self._settings.max_requests} requests are held, no more may be. Ask again later.")
        gone = False
        try:
            async with asyncio.timeout(self._settings.deadline) as deadline:
                answer.deadline = deadline
                body = await _body(receive, headers, self._settings.max_body)
                if body is None:
                    return
                left = asyncio.create_task(_left(receive))

                def leave(task: asyncio.Task[None]) -> None:
                    nonlocal gone
                    if not task.cancelled():
                        gone = True
                        deadline.reschedule(asyncio.get_running_loop().time())

                left.add_done_callback(leave)
                try:
                    await self._app(scope, _replay(body, left), answer)
                finally:
                    left.remove_done_callback(leave)
                    left.cancel()
        except TimeoutError:
            if gone:  # nobody is there to be answered
                return
            if not deadline.expired():
                raise
            raise Refusal(
                504, f"no answer within {self._settings.deadline:g} s. Ask for less at a time, or raise --deadline."
            ) from None

    async def _let_in(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        """A link with ?token=TOKEN: keep a cookie, and take the token out of the address."""
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        self._door.refuse(Headers(scope=scope), "GET", needs_token=False)
        if not any(name == "token" and self._door.opens(value) for name, value in query):
            raise Refusal(401, "the token in the address is wrong.", headers={"WWW-Authenticate": "Bearer"})
        rest = urlencode([(name, value) for name, value in query if name != "token"])
        path = "/" + scope["path"].lstrip("/\\")  # never //another.host
        response = RedirectResponse(path + (f"?{rest}" if rest else ""), 303)
        response.set_cookie(self._door.cookie or "", self._door.cookie_value, httponly=True, samesite="strict")
        await response(scope, receive, answer)


class _Answer:
    """`send`, with the headers every answer carries. The deadline ends where the answer begins: a stream may go on."""

    def __init__(self, send: Send, request_id: str):
        self._send, self._request_id = send, request_id
        self.status: int | None = None
        self.deadline: asyncio.Timeout | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self._request_id
            headers["X-Content-Type-Options"] = "nosniff"
            if headers.get("content-type", "").startswith("text/html"):
                for name, value in PAGE_HEADERS.items():
                    headers.setdefault(name, value)
            if self.deadline and not self.deadline.expired():
                self.deadline.reschedule(None)
        await self._send(message)

    async def refuse(self, refusal: Refusal, scope: Scope, receive: Receive) -> None:
        if self.status is not None:  # the answer had begun: all that is left is to break it off
            raise refusal
        self.deadline = None
        await refusal.response()(scope, receive, self)


async def _body(receive: Receive, headers: Headers, limit: int) -> bytes | None:
    """The whole body; None when the client left first. Raises Refusal 413."""
    parts, size, announced = [], 0, headers.get("content-length", "")
    too_large = Refusal(
        413, f"the body is larger than {limit:,} bytes. Send less at a time.", headers={"Connection": "close"}
    )
    if announced.isascii() and announced.isdigit() and int(announced[:20]) > DRAIN * limit:
        raise too_large
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        size += len(part)
        if size <= limit:
            parts.append(part)
        if size > DRAIN * limit or (size > limit and not message.get("more_body")):
            raise too_large
        if not message.get("more_body"):
            return b"".join(parts)


async def _left(receive: Receive) -> None:
    """Returns when the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _replay(body: bytes, left: asyncio.Task[None]) -> Receive:
    """A `receive` that hands out the body once, then waits for the client to leave."""
    given = False

    async def receive() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        await asyncio.shield(left)
        return {"type": "http.disconnect"}

    return receive
