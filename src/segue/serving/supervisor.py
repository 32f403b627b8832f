"""Several services at once: each a process of its own, started, watched and stopped together.

A process that crashes cannot take another's memory with it, and each uses the machine's cores as it needs them.
"""

import os
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import IO

Tell = Callable[[str], None]
SUPERVISED = "SEGUE_SUPERVISED"  # set for children: their stdin closes when the supervisor ends
LOOK = 0.1  # seconds between two looks at the children


@dataclass(frozen=True)
class Child:
    """One service.

    name     before each line it says
    command  argv; what must not stand in a list of processes (a token) goes in the environment
    url      where it answers
    """

    name: str
    command: Sequence[str]
    url: str


class Supervisor:
    """Runs children until it is told to end, or until one of them does.

    tell         is handed each line that a child says, its name before it
    environment  of the children, over this process's
    patience     seconds that a child may take to finish what it holds before it is killed
    """

    def __init__(
        self,
        children: Sequence[Child],
        tell: Tell,
        environment: Mapping[str, str] | None = None,
        patience: float = 70.0,
    ):
        self.children, self._tell, self._patience = children, tell, patience
        self._environment = {**os.environ, **(environment or {}), SUPERVISED: "1"}
        self._width = max(len(child.name) for child in children)
        self._ending = threading.Event()

    def run(self, ready: Callable[[], None] = lambda: None) -> int:
        """Start all; `ready` is called when every one answers. → exit status

        0 after SIGTERM or Ctrl-C; else a child ended by itself: 2 when it refused its input, 1 otherwise. The others
        are stopped in either case.
        """
        before = {number: signal.signal(number, self._end) for number in (signal.SIGTERM, signal.SIGINT)}
        running: dict[str, subprocess.Popen[bytes]] = {}
        try:
            for child in self.children:
                running[child.name] = self._start(child)
            return self._watch(running, ready)
        finally:
            self._stop(running)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._ending.set()

    def _start(self, child: Child) -> "subprocess.Popen[bytes]":
        # A session of its own: Ctrl-C reaches this process alone, which then ends them in order. Nothing is ever
        # written to stdin: it closes when this process is gone, however it went.
        process = subprocess.Popen(
            list(child.command),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.PIPE,
            env=self._environment,
            start_new_session=True,
        )
        assert process.stdout is not None
        threading.Thread(target=self._pass_on, args=(child.name, process.stdout), daemon=True).start()
        return process

    def _pass_on(self, name: str, lines: IO[bytes]) -> None:
        with lines:
            for line in lines:
                self._tell(f"{name:<{self._width}} │ {line.decode('utf-8', 'replace').rstrip()}")

    def _watch(self, running: "Mapping[str, subprocess.Popen[bytes]]", ready: Callable[[], None]) -> int:
        waited_for = list(self.children)
        while not self._ending.wait(LOOK):
            for name, process in running.items():
                status = process.poll()
                if status is not None:
                    self._tell(f"{name} ended with status {status}: the others are stopped")
                    return 2 if status == 2 else 1
            if waited_for and answers(waited_for[0].url):
                waited_for.pop(0)
                if not waited_for:
                    ready()
        return 0

    def _stop(self, running: "Mapping[str, subprocess.Popen[bytes]]") -> None:
        """The last started first: each finishes what it holds while those it asks still answer."""
        until = time.monotonic() + self._patience
        for process in reversed(list(running.values())):
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdin is not None
            process.stdin.close()


def end_with_supervisor() -> None:
    """In a supervisor's child: end as by SIGTERM when the supervisor is gone, be it by kill −9. No-op in others."""
    if os.environ.pop(SUPERVISED, None) is None:
        return

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="supervisor", daemon=True).start()


def answers(url: str) -> bool:
    """Whether a service answers at all, be it with a refusal."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/health", timeout=1):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
