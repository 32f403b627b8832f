"""Children started, watched and stopped together: real processes, real sockets."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

import segue
from command_line import Segue
from segue.serving.supervisor import answers
from segue.vectors import Store

# A service as the supervisor knows one: says where it is, answers /health, and takes a moment to finish.
CHILD = """
import signal, sys, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from segue.serving.supervisor import end_with_supervisor
class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *_): pass
server = HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
end_with_supervisor()
print("up with", __import__("os").environ.get("SEGUE_TOKEN"), flush=True)
server.serve_forever()
print("finished", flush=True)
"""
SUPERVISOR = """
import sys
from segue.serving.supervisor import Child, Supervisor
children = [Child(name, [sys.executable, "-c", sys.argv[1], port], f"http://127.0.0.1:{port}")
            for name, port in zip(("one", "second"), sys.argv[2:])]
tell = lambda line: print(line, flush=True)
sys.exit(Supervisor(children, tell, {"SEGUE_TOKEN": "secret"}, patience=20).run(lambda: tell("READY")))
"""


def free_ports(count: int) -> list[str]:
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(one.getsockname()[1]) for one in taken]
    for one in taken:
        one.close()
    return ports


def children_of(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout
    return [int(line) for line in found.split()]


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


class Begun:
    """A process whose lines are read as they come."""

    def __init__(self, command: Sequence[str]):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines: list[str] = []
        self._new = threading.Condition()
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                with self._new:
                    self.lines.append(line.rstrip())
                    self._new.notify_all()

    def end(self) -> None:
        """Ask it to end, if it has not, and read what it still says."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(90)
        self._reading.join()

    def wait_for(self, pattern: str, seconds: float = 240) -> str:
        """The first line that matches. Fails with all lines when it does not come."""
        until = time.monotonic() + seconds
        with self._new:
            while not (found := [line for line in self.lines if re.search(pattern, line)]):
                assert self._new.wait(until - time.monotonic()), "\n".join(self.lines)
        return found[0]


@pytest.fixture
def begin() -> Iterator[Callable[..., Begun]]:
    """`begin(*command)` → the process, ended with the test."""
    begun: list[Begun] = []

    def start(*command: object) -> Begun:
        begun.append(Begun(list(map(str, command))))
        return begun[-1]

    yield start
    for one in begun:
        one.end()


@pytest.mark.parametrize("ended_by", ["signal", "child"])
def test_all_end_when_one_does(begin: Callable[..., Begun], ended_by: str):
    """SIGTERM: each finishes and the status is 0. A child killed: the other is stopped, and the status is 1."""
    begun = begin(sys.executable, "-c", SUPERVISOR, CHILD, *free_ports(2))
    begun.wait_for("^READY$")
    # Names are padded to one width; the token is in the children's environment.
    assert {"one    │ up with secret", "second │ up with secret"} <= set(begun.lines)
    children = children_of(begun.process.pid)
    assert len(children) == 2
    os.kill(begun.process.pid if ended_by == "signal" else children[0], signal.SIGTERM)
    assert begun.process.wait(60) == (0 if ended_by == "signal" else 1)
    assert all(is_gone(child) for child in children)
    begun.wait_for("^second │ finished$")
    if ended_by == "child":
        begun.wait_for("^one ended with status 0: the others are stopped$")


def test_killed_outright_it_leaves_no_orphans(begin: Callable[..., Begun]):
    """kill −9 gives the supervisor no last word: its children notice by themselves."""
    ports = free_ports(2)
    begun = begin(sys.executable, "-c", SUPERVISOR, CHILD, *ports)
    begun.wait_for("^READY$")
    children = children_of(begun.process.pid)
    begun.process.kill()
    until = time.monotonic() + 30
    while any(left := [answers(f"http://127.0.0.1:{port}") for port in ports]) and time.monotonic() < until:
        time.sleep(0.05)
    for child in children if any(left) else ():
        os.kill(child, signal.SIGKILL)
    assert not any(left)


def test_serve_all_answers_through_one_address(begin: Callable[..., Begun], text_store: Store, text_run: Path):
    """The real four: texts in at the predictor, a passage of the store out; the studio shows the run; none is left."""
    ports = free_ports(4)
    named = zip(("encoder", "decoder", "predictor", "studio"), ports, strict=True)
    options = [piece for name, port in named for piece in (f"--{name}-port", port)]
    start = [sys.executable, "-m", "segue", "serve", "all", "--run", f"small={text_run}", "--store", text_store.path]
    begun = begin(*start, "--threads", "1", *options)
    begun.wait_for("all four answer")
    texts = [str(text) for text in text_store.texts(np.arange(6))]
    with segue.Client(f"http://127.0.0.1:{ports[2]}") as client:
        assert client.health() == {**client.health(), "status": "ok", "why": []}
        (found,) = client.predict(texts[:5], k=3)["steps"]
        assert found["predicted"]["text"] not in texts[:5]
        assert found["predicted"]["cosine"] >= found["alternatives"][0]["cosine"]
    with segue.Client(f"http://127.0.0.1:{ports[3]}") as studio:
        assert studio.health()["service"] == "studio"
    children = children_of(begun.process.pid)
    begun.process.send_signal(signal.SIGTERM)
    assert begun.process.wait(90) == 0 and len(children) == 4
    assert all(is_gone(child) for child in children)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--run", "RUN", "--registry", "DIR"], "exactly one of the two is wanted"),
        (["--run", "RUN", "--studio-port", "7001"], "--encoder-port: found 7001, studio has it too"),
        (["--run", "RUN", "--decoder-port", "0"], "--decoder-port: found 0, a number from 1 to 65535"),
        (["--run", "RUN", "--host", "0.0.0.0"], "no token is set"),
        (["--run", "RUN", "--store", "nowhere"], "nowhere: no such store"),
    ],
)
def test_what_cannot_be_served_is_refused_before_anything_starts(
    segue: Segue, text_store: Store, options: list[str], said: str
):
    ran = segue("serve", "all", "--store", text_store.path, *options)
    assert (ran.status, ran.err.count("\n")) == (2, 1) and said in ran.err, ran


def test_a_port_in_use_is_told_by_the_option_that_chooses_it(segue: Segue, text_store: Store):
    ports = free_ports(3)
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        named = zip(("encoder", "predictor", "studio", "decoder"), (*ports, taken), strict=True)
        options = [piece for name, port in named for piece in (f"--{name}-port", port)]
        ran = segue("serve", "all", "--store", text_store.path, "--run", "RUN", *options)
    told = f"error: --decoder-port {taken}: is in use on 127.0.0.1. Choose another with --decoder-port.\n"
    assert (ran.status, ran.err) == (2, told)


def test_a_child_that_refuses_its_input_ends_all_with_2(begin: Callable[..., Begun], text_store: Store, tmp_path: Path):
    ports = free_ports(4)
    named = zip(("encoder", "decoder", "predictor", "studio"), ports, strict=True)
    options = [piece for name, port in named for piece in (f"--{name}-port", port)]
    start = [sys.executable, "-m", "segue", "serve", "all", "--run", tmp_path / "nothing", "--store", text_store.path]
    begun = begin(*start, *options)
    begun.wait_for("predictor │ error: .*nothing: no such")
    assert begun.process.wait(90) == 2
