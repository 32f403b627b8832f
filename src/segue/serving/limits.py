"""What a service lets in: where it listens, who may ask, how much, how long."""

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from segue.errors import InputError
from segue.serving.refusals import Refusal

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
SHORTEST_TOKEN = 16


@dataclass(frozen=True)
class Settings:
    """How one service runs.

    host          the address it listens on; loopback unless said otherwise
    port          0 takes any free one
    token         what `Authorization: Bearer …` must carry; None lets everyone in who reaches the port
    open          other machines may ask without a token (`--no-token`)
    max_body      bytes of one request's body
    max_queue     items (texts, contexts, vectors) waiting in one queue; a request beyond is answered 503
    max_requests  requests held at a time, their bodies in memory; one beyond is answered 503
    deadline      seconds until an answer begins, else 504

    Raises InputError for a number out of bounds, a weak token, or a host other machines reach without a token.
    """

    host: str = "127.0.0.1"
    port: int = 0
    token: str | None = None
    open: bool = False
    max_body: int = 32 << 20
    max_queue: int = 8192
    max_requests: int = 256
    deadline: float = 60.0

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise InputError(f"--port: found {self.port}, a number from 0 (any free one) to 65535 is wanted.")
        for option, found in (("--max-body", self.max_body), ("--max-queue", self.max_queue)):
            if found < 1:
                raise InputError(f"{option}: found {found}, a number from 1 is wanted.")
        if not 0 < self.deadline < float("inf"):
            raise InputError(f"--deadline: found {self.deadline:g}, seconds above 0 are wanted.")
        if self.token is not None:
            _refuse_weak(self.token)
        elif not self.loopback and not self.open:
            raise InputError(
                f"--host {self.host}: other machines reach it, and no token is set. Give --token (or SEGUE_TOKEN), or "
                f"--no-token to let everyone in."
            )

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def _refuse_weak(token: str) -> None:
    if len(token) < SHORTEST_TOKEN or not all("!" <= letter <= "~" for letter in token):
        raise InputError(
            f"--token: found {len(token)} characters, at least {SHORTEST_TOKEN} printable ASCII ones without blanks "
            f"are wanted. Make one with: python -c 'import secrets; print(secrets.token_urlsafe())'"
        )


class Door:
    """Who may come in: the right Host, no foreign page, the right token.

    The Host is checked where the service listens on loopback: a page whose name was re-bound to 127.0.0.1 (DNS
    rebinding) sends its own name there. Where other machines reach it, the token keeps such a page out.
    """

    def __init__(self, settings: Settings, cookie: str | None = None):
        self._settings = settings
        self._token = settings.token.encode() if settings.token else None
        bare = f"[{settings.host}]" if ":" in settings.host else settings.host
        self._hosts = {*LOOPBACK_NAMES, bare.lower()} if settings.loopback else None
        self.cookie = cookie if settings.token else None

    def refuse(self, headers: Mapping[str, str], method: str, *, needs_token: bool) -> None:
        """Raises Refusal 421, 403 or 401."""
        host = headers.get("host", "")
        if self._hosts is not None and _without_port(host) not in self._hosts:
            raise Refusal(421, "the Host header names another machine; ask for localhost or 127.0.0.1.")
        origin = headers.get("origin")
        if method not in ("GET", "HEAD", "OPTIONS") and origin and _netloc(origin) != host.lower():
            raise Refusal(403, "sent by a page of another origin; a service answers its own pages and programs only.")
        if needs_token and not self.knows(headers):
            raise Refusal(
                401,
                "the token is missing or wrong; send the header `Authorization: Bearer TOKEN`.",
                headers={"WWW-Authenticate": "Bearer"},
            )

    def knows(self, headers: Mapping[str, str]) -> bool:
        """Whether who asks has the token, or none is wanted."""
        if self._token is None:
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.opens(given.strip()):
            return True
        return self.cookie is not None and hmac.compare_digest(
            _cookies(headers).get(self.cookie, "").encode(), self.cookie_value.encode()
        )

    def opens(self, given: str) -> bool:
        """Whether it is the token; in time that does not depend on how much of it is right."""
        return self._token is not None and hmac.compare_digest(given.encode("utf-8", "replace"), self._token)

    @property
    def cookie_value(self) -> str:
        """What a browser keeps instead of the token: browsers send a host's cookies to all its ports."""
        return hashlib.sha256(b"segue cookie " + (self._token or b"")).hexdigest()


def _without_port(host: str) -> str:
    """`localhost:7001` → `localhost`, `[::1]:7001` → `[::1]`."""
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdigit() and not (host.startswith("[") and host.endswith("]")) else host.lower()


def _netloc(origin: str) -> str:
    """`http://localhost:7003` → `localhost:7003`; empty for `null` and for what is no origin."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _cookies(headers: Mapping[str, str]) -> dict[str, str]:
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(headers.get("cookie", "")).items()}
    except CookieError:
        return {}
