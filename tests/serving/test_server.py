"""A service as a process: the port, the host, and an end that finishes what it holds."""

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from command_line import Segue
from segue.errors import InputError
from segue.serving.limits import Settings
from segue.serving.server import PORTS, default_url, listen, url_of

# A service whose worker holds a batch until a line comes on stdin.
SLOW = """
import sys
from segue.serving.batching import Batcher
from segue.serving.http import Router, Service, create_app
from segue.serving.limits import Settings
from segue.serving.server import serve

def work(items):
    print("begun", flush=True)
    sys.stdin.readline()
    return items

def make():
    router = Router()

    @router.get("/work")
    async def one() -> list[int]:
        return (await queue.submit([1, 2])).results

    queue = Batcher(work, max_batch=8, max_queue=8)
    return create_app(Service("slow", "", router, running=lambda: queue), settings)

settings = Settings()
serve(make, settings, lambda url: print(url, flush=True))
print("left", flush=True)
"""


# A service that is told to end while it loads, where something between may swallow what breaks the loading off.
LOADING = """
import sys, time
from segue.serving.http import Router, Service, create_app
from segue.serving.limits import Settings
from segue.serving.server import serve

def make():
    print("loading", flush=True)
    try:
        time.sleep(60)
    except BaseException:
        if sys.argv[1] == "breaks off":
            raise
    return create_app(Service("late", "", Router()), settings)

settings = Settings()
serve(make, settings, lambda url: print(url, flush=True))
print("left", flush=True)
"""


@pytest.fixture
def taken() -> Iterator[int]:
    """A port somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def test_a_port_in_use_is_one_line_and_exit_2(segue: Segue, taken: int):
    """Told before a model is loaded: the encoder named here does not exist."""
    ran = segue("serve", "encoder", "--port", taken, "--encoder", "./no-such-model")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == (
        f"error: --port {taken}: is in use on 127.0.0.1. Choose another with --port, or 0 for any free one.\n"
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "0.0.0.0"], "error: --host 0.0.0.0: other machines reach it, and no token is set."),
        (["--host", "no.such.host.invalid", "--no-token"], "error: --host no.such.host.invalid: is no address of"),
        (["--host", "192.0.2.7", "--no-token"], "error: --host 192.0.2.7: is no address of this machine."),
        (["--token", "abc"], "error: --token: found 3 characters"),
        (["--max-body", "0"], "error: --max-body"),
        (["--max-body", "nan"], "error: --max-body"),
        (["--port", "99999"], "error: --port: found 99999"),
        (["--port", "0", "--batch", "0"], "error: --batch: found 0"),
        (["--workers", "0"], "error: --workers: found 0"),
        (["--port", "0", "--encoder", "./no-such-model"], "error: --encoder ./no-such-model: no such folder"),
    ],
)
def test_bad_options_are_one_line_and_exit_2(segue: Segue, options: list[str], said: str):
    ran = segue("serve", "encoder", *options)
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1) and ran.err.startswith(said), ran


def test_a_token_of_the_environment_is_taken(segue: Segue, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SEGUE_TOKEN", "weak")
    assert "--token: found 4 characters" in segue("serve", "encoder", "--port", 0).err


def test_two_services_cannot_share_a_port():
    """SO_REUSEADDR lets two bind where neither listens yet; here the first listens at once."""
    with listen(Settings()) as first:
        port = first.getsockname()[1]
        with pytest.raises(InputError, match=f"--port {port}: is in use"):
            listen(Settings(port=port))
    with listen(Settings(port=port)) as again:
        assert url_of(again) == f"http://127.0.0.1:{port}"


def test_every_service_has_a_port_of_its_own():
    assert len(set(PORTS.values())) == len(PORTS) == 4
    assert default_url("encoder") == "http://127.0.0.1:7001"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopping_service_takes_no_more_and_finishes_what_it_holds(tmp_path: Path, number: signal.Signals):
    script = tmp_path / "slow.py"
    script.write_text(SLOW)
    with subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stdin and process.stderr
        netloc = process.stdout.readline().strip().removeprefix("http://")
        answers: list[tuple[int, bytes]] = []

        def ask() -> None:
            with closing(HTTPConnection(netloc, timeout=60)) as connection:
                connection.request("GET", "/work")
                answer = connection.getresponse()
                answers.append((answer.status, answer.read()))

        held = threading.Thread(target=ask)
        held.start()
        assert process.stdout.readline() == "begun\n"
        process.send_signal(number)
        with pytest.raises(ConnectionError):
            while True:  # until the listening socket is closed
                socket.create_connection(netloc.split(":"), timeout=20).close()
        assert held.is_alive() and process.poll() is None
        process.stdin.write("\n")
        process.stdin.flush()
        held.join(60)
        assert answers == [(200, b"[1,2]")]
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (0, "left\n", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("loading", ["breaks off", "swallows it"])
def test_told_to_end_while_it_loads_a_service_ends_well(number: signal.Signals, loading: str):
    with subprocess.Popen(
        [sys.executable, "-c", LOADING, loading], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "loading\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=50)
        assert (process.returncode, out, err) == (0, "left\n", "")
