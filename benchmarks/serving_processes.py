"""Our services as processes of their own on free ports, for the benchmarks of serving."""

import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

READY = re.compile(r"^(\w+): (http://\S+)")
PATIENCE = 300.0  # seconds for a service to load


class ServiceProcess:
    """A command that says `name: http://…` on stderr once it answers; its other lines are passed on with its name."""

    def __init__(self, name: str, command: Sequence[str]):
        self.name, self.url = name, ""
        self.process = subprocess.Popen(
            list(command), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        self._said: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._listen, args=(self.process.stderr,), daemon=True)
        self._reader.start()

    @classmethod
    def of(cls, service: str, *options: str) -> "ServiceProcess":
        """`segue serve SERVICE …` on a free port."""
        start = [sys.executable, "-c", "from segue.cli import main; main()", "serve", service, "--port", "0"]
        return cls(service, [*start, *options])

    def _listen(self, stream: IO[str]) -> None:
        for line in stream:
            found = READY.match(line)
            if found and not self.url:
                self.url = found[2]
                self._said.put(self.url)
            else:
                print(f"  {self.name} | {line.rstrip()}", file=sys.stderr)
        self._said.put("")

    def ready(self) -> str:
        """Its URL, once it answers. Raises SystemExit when it ended instead."""
        try:
            url = self._said.get(timeout=PATIENCE)
        except queue.Empty:
            url = ""
        if not url:
            raise SystemExit(f"{self.name} did not start")
        return url

    def resident(self) -> int:
        """Bytes of memory it holds now."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def end(self) -> int:
        """Stop it as one should. → its exit status"""
        self.process.terminate()
        try:
            status = self.process.wait(120)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self._reader.join(10)
        return status


@contextmanager
def services(
    names: Sequence[str], run: str | None = None, store: str | None = None, threads: int | None = None
) -> Iterator[dict[str, ServiceProcess]]:
    """The named services, each told where the others are; all end when it is left."""
    running: dict[str, ServiceProcess] = {}
    common = ["--threads", str(threads)] if threads else []

    def start(name: str, *options: str) -> None:
        if name in names:
            running[name] = ServiceProcess.of(name, *options)

    def url(name: str) -> str:
        return running[name].ready() if name in running else "http://127.0.0.1:9"

    try:
        start("encoder", *common)
        if "decoder" in names:
            start("decoder", "--store", _wanted(store, "--store"), *common)
        if "predictor" in names:
            paths = ["--run", _wanted(run, "--run"), "--encoder", url("encoder"), "--decoder", url("decoder")]
            start("predictor", *paths, *common)
        for service in running.values():
            service.url = service.url or service.ready()
        yield running
    finally:
        for service in reversed(list(running.values())):
            service.end()


def _wanted(value: str | None, option: str) -> str:
    if not value:
        raise SystemExit(f"{option} is wanted for this service")
    return value
