"""The worker's life: started, asked, killed when late, started again when gone."""

import json
import logging
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Any

AGAIN_AFTER = 30.0  # seconds before one that would not start is tried again
log = logging.getLogger("segue")


class GoneError(Exception):
    """The worker ended, or could not be started; the message says what is known."""


class StartingError(Exception):
    """The worker is not ready yet."""


class LateError(Exception):
    """The worker was killed: it was still at work when the time was over."""


class WorkerProcess:
    """One worker, asked by one thread at a time.

    command       what runs it
    start_within  seconds until it must be ready
    """

    def __init__(self, command: Sequence[str], start_within: float):
        self._command, self._start_within = list(command), start_within
        self._running: _Running | None = None
        self._stopped = False
        self._guard = threading.Lock()

    def start(self) -> dict[str, Any]:
        """Start it and wait until it is ready. → what it says of itself. Raises GoneError."""
        return self._ready(self._start_within + 60)  # the worker's own clock ends first

    def texts(self, vectors: list[list[float]], steps: int, beam: int, seconds: float) -> list[str]:
        """Ask it. Raises LateError (and kills it) and GoneError, and starts it again; StartingError; RuntimeError with
        what vec2text said."""
        until = time.monotonic() + seconds
        self._ready(seconds)
        running, left = self._running, until - time.monotonic()
        if running is None:
            raise GoneError("the service is stopping")
        if left <= 0:  # all of it went into the start: no reason to kill what is ready now
            raise StartingError
        try:
            answer = running.ask({"vectors": vectors, "steps": steps, "beam": beam}, left)
        except (GoneError, LateError):
            self._start_another(running)
            raise
        if "error" in answer:
            raise RuntimeError(answer["error"])
        texts: list[str] = answer["texts"]
        return texts

    def trouble(self) -> list[str]:
        """Why it could not be asked now; empty when it could."""
        running = self._running
        if running is None or running.ended:
            return [f"the inverter is down: {running.reason if running else 'not started'}"]
        return [] if running.is_ready else ["the inverter is starting"]

    def stop(self) -> None:
        """End it; whoever waits for it gets GoneError."""
        with self._guard:
            self._stopped = True
            running, self._running = self._running, None
        if running:
            running.kill()

    def _ready(self, seconds: float) -> dict[str, Any]:
        """Wait for it, at most so long; start one where there is none. Raises GoneError, StartingError."""
        running = self._running
        if running is None or running.ended:
            if running and running.failed and time.monotonic() - running.failed < AGAIN_AFTER:
                raise GoneError(running.reason)
            running = self._start_another(running)
        return running.wait(seconds)

    def _start_another(self, before: "_Running | None") -> "_Running":
        with self._guard:
            if self._stopped:
                raise GoneError("the service is stopping")
            if self._running is before:
                if before:
                    before.kill()
                self._running = _Running(self._command, self._start_within)
            assert self._running
            return self._running


class _Running:
    """One process from its start to its end."""

    def __init__(self, command: list[str], start_within: float):
        self.failed = 0.0  # when it could not be started, by time.monotonic()
        self.reason = "it was stopped"
        self._told: dict[str, Any] = {}
        self._said: deque[str] = deque(maxlen=5)  # the last lines on stderr
        self._first = threading.Event()
        self._closing = threading.Lock()  # who stops it and who waited close the same pipes, which bear one at a time
        self._number = 0
        try:
            # A session of its own: Ctrl-C is for the service, which ends what it holds and then this.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            raise GoneError(f"{command[0]} cannot be run ({error.strerror or error})") from None
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._in, self._out = self._process.stdin, self._process.stdout
        threading.Thread(target=self._listen, args=(self._process.stderr,), daemon=True).start()
        threading.Thread(target=self._await_first, args=(start_within,), daemon=True).start()

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    @property
    def is_ready(self) -> bool:
        return "ready" in self._told

    def wait(self, seconds: float) -> dict[str, Any]:
        """What it says of itself when it is ready. Raises StartingError when it is not by then, GoneError."""
        if not self._first.wait(max(0, seconds)):
            raise StartingError
        if not self.is_ready:
            raise GoneError(self.reason)
        about: dict[str, Any] = self._told["ready"]
        return about

    def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        """One request's answer. Raises LateError when it takes longer, GoneError when the process ends over it."""
        self._number += 1
        late = threading.Event()

        def end() -> None:
            late.set()
            self.kill()

        watch = threading.Timer(max(0, seconds), end)  # ends a blocked write as well as a blocked read
        watch.start()
        try:
            self._in.write(json.dumps({"id": self._number, **request}) + "\n")
            self._in.flush()
            answer = _parsed(self._out.readline())
        except (OSError, ValueError):  # broken, or closed by `kill`
            answer = {}
        finally:
            watch.cancel()
        if answer.get("id") != self._number:
            if late.is_set():
                raise LateError
            self.kill()
            raise GoneError(self._how_it_ended())
        return answer

    def kill(self) -> None:
        """End it and what it started, and free the pipes; nothing when it has ended."""
        if not self.ended:
            with suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        with self._closing:
            for pipe in (self._in, self._out):
                with suppress(OSError, ValueError):  # what was not written yet, or is being written, cannot be
                    pipe.close()

    def _await_first(self, seconds: float) -> None:
        watch = threading.Timer(seconds, self.kill)
        watch.start()
        with suppress(OSError, ValueError):
            self._told = _parsed(self._out.readline())
        watch.cancel()
        if not self.is_ready:
            self.kill()
            self.reason = str(self._told.get("error") or self._how_it_ended())
            self.failed = time.monotonic()
        self._first.set()

    def _listen(self, stderr: IO[str]) -> None:
        with stderr:
            for line in stderr:
                if line.strip():
                    self._said.append(line.strip()[-300:])
                    log.debug("inverter: %s", line.rstrip())

    def _how_it_ended(self) -> str:
        said = f": {self._said[-1]}" if self._said else ""
        return f"it ended with status {self._process.wait()}{said}"


def _parsed(line: str) -> dict[str, Any]:
    """A line of the worker's; {} for what is none."""
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
