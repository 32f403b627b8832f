"""One process, one service: a port, uvicorn, and an end that finishes what it holds."""

import errno
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import uvicorn
from fastapi import FastAPI

from segue.errors import InputError
from segue.serving.limits import Settings

PORTS = {"encoder": 7001, "decoder": 7002, "predictor": 9007, "studio": 7003}
BACKLOG = 2048
log = logging.getLogger("segue")


def default_url(service: str) -> str:
    """Where a service of ours is when nobody says otherwise."""
    return f"http://127.0.0.1:{PORTS[service]}"


def listen(settings: Settings, option: str = "--port") -> socket.socket:
    """A listening socket. Taken before a model is loaded, so that a port in use is told at once.

    Raises InputError, naming the option, for a port in use or forbidden and a host that is not this machine's.
    """
    host, port = settings.host, settings.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError):
        raise InputError(f"--host {host}: is no address of this machine. Use 127.0.0.1.") from None
    taken = socket.socket(family, kind, protocol)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind(address)
        taken.listen(BACKLOG)
    except OSError as error:
        taken.close()
        told = {
            errno.EADDRINUSE: f"{option} {port}: is in use on {host}. Choose another with {option}"
            f"{', or 0 for any free one' if option == '--port' else ''}.",
            errno.EACCES: f"{option} {port}: is not yours to use. Choose one from 1024 with {option}.",
            errno.EADDRNOTAVAIL: f"--host {host}: is no address of this machine. Use 127.0.0.1.",
        }.get(error.errno or 0)
        if told is None:
            raise
        raise InputError(told) from None
    return taken


def url_of(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(make_app: Callable[[], FastAPI], settings: Settings, ready: Callable[[str], None] = lambda url: None) -> None:
    """Run an app until SIGTERM or Ctrl-C; then take no more work, finish what is held, and return.

    `make_app` is called when the port is taken: it may load a model, and is broken off when the end comes meanwhile.
    `ready(url)` is called when requests are answered.
    """
    with listen(settings) as listening, suppress(_EndedError), _signals_end() as ending:
        server = _Server(_config(make_app(), settings), lambda: ready(url_of(listening)))
        if ending.serve(server):
            server.run(sockets=[listening])


@contextmanager
def running(app: FastAPI, settings: Settings) -> Iterator[str]:
    """The app in a thread of this process, for tests and notebooks. → its URL; leaving ends it gracefully."""
    started = threading.Event()
    with listen(settings) as listening:
        url = url_of(listening)
        server = _Server(_config(app, settings), started.set)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not started.wait(0.05):
            if not thread.is_alive():
                raise RuntimeError("the app did not start; its log says why")
        try:
            yield url
        finally:
            server.should_exit = True
            thread.join()


def _config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_keep_alive=30,
        timeout_graceful_shutdown=round(settings.deadline) + 5,
    )


class _Server(uvicorn.Server):
    """uvicorn, that says when it answers."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]):
        super().__init__(config)
        self._tell = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._tell()


class _EndedError(BaseException):
    """Raised where the program is when the end comes before there is a server. No `except Exception` stops it."""


class _Ending:
    """What SIGTERM and Ctrl-C do: break the loading off, then end the server."""

    def __init__(self) -> None:
        self._server: uvicorn.Server | None = None
        self._come = False

    def __call__(self, *_: object) -> None:
        self._come = True
        if self._server is None:
            raise _EndedError
        self._server.should_exit = True

    def serve(self, server: uvicorn.Server) -> bool:
        """End this server from now on; whether it may begin."""
        self._server = server
        return not self._come  # where something swallowed the exception


@contextmanager
def _signals_end() -> Iterator[_Ending]:
    """SIGTERM and Ctrl-C are how a service ends: uvicorn raises them again after it has stopped, here to no effect."""
    ending = _Ending()
    before = {number: signal.signal(number, ending) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
