"""32 clients against our services and against naive ones: `python benchmarks/serving_load.py --run RUN --text FILE`.

Peer       the server one writes first: FastAPI, a plain `def` endpoint, one request, one forward, float32, JSON by
           FastAPI's defaults. A second one, `async def` without threads, is shown beside it: its requests stand in line
           instead of fighting for the cores. Both call the same encoder and the same network as ours.
Ours       `segue serve encoder` and `segue serve predictor` as they are started by default.
Load       closed loop: each of the clients sends its next request when it has its answer, over a connection it keeps.
           /encode: one passage of real text a request, another each time (`--chunk`: a paragraph or a sentence).
           /infer: one context a request.
Rounds     all servers run from the beginning, one is loaded at a time, in turns whose order changes, so that a drifting
           machine meets all. Of each round: requests a second, median and 95th percentile of the latency. Printed:
           their medians over the rounds, least and most, and the median of the rounds' ratios to the peer.
Client     this process: one thread, plain sockets. Its share of a processor is printed; it must stay far below 1.

Bound      /encode's table is followed by what this processor could do at all (serving_bound.py).

Proves, of issue 5: /encode ≥ 5 × the requests a second, /infer ≥ 2 ×, at equal or better p95. Exit status 1 otherwise.
"""

import argparse
import json
import os
import selectors
import socket
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import urlopen

import serving_bound
from serving_processes import ServiceProcess, services

CLIENTS = 32
TARGETS = {"/encode": 5.0, "/infer": 2.0}
OURS, THREADED, SERIAL = "ours", "naive", "naive, async"


class Round(NamedTuple):
    """One server under load for a while."""

    per_second: float
    p50: float  # milliseconds
    p95: float
    client: float  # share of one processor that the client took


@dataclass
class Connection:
    """One client: its socket, what it is waiting for."""

    socket: socket.socket
    began: float = 0.0
    answer: bytearray = field(default_factory=bytearray)
    length: int = -1  # of the whole answer, once its head is here


def load(url: str, requests: Iterator[bytes], seconds: float, clients: int = CLIENTS) -> Round:
    """Keep `clients` requests under way for so long. Raises SystemExit for any answer that is not 200."""
    parts = urlsplit(url)
    address = (str(parts.hostname), int(parts.port or 80))
    latencies: list[float] = []
    began, busy = time.perf_counter(), time.process_time()
    with selectors.DefaultSelector() as selector:
        for _ in range(clients):
            one = Connection(socket.create_connection(address))
            one.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(one.socket, selectors.EVENT_READ, one)
            _send(one, next(requests))
        under_way = clients
        while under_way:
            for key, _ in selector.select():
                one = key.data
                if not _received(one):
                    continue
                now = time.perf_counter()
                latencies.append(now - one.began)
                if now - began < seconds:
                    _send(one, next(requests))
                else:
                    selector.unregister(one.socket)
                    one.socket.close()
                    under_way -= 1
    elapsed, busy = time.perf_counter() - began, time.process_time() - busy
    cuts = statistics.quantiles(latencies, n=100)
    return Round(len(latencies) / elapsed, 1000 * cuts[49], 1000 * cuts[94], busy / elapsed)


def _send(one: Connection, request: bytes) -> None:
    one.answer.clear()
    one.length, one.began = -1, time.perf_counter()
    one.socket.sendall(request)


def _received(one: Connection) -> bool:
    """Take what has arrived; whether the answer is whole."""
    part = one.socket.recv(1 << 18)
    if not part:
        raise SystemExit("a server closed a connection under load")
    one.answer += part
    if one.length < 0:
        end = one.answer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(one.answer[:end]).lower()
        if not head.startswith(b"http/1.1 200"):
            raise SystemExit(f"a server answered {bytes(one.answer[:400])!r}")
        one.length = end + 4 + int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    return len(one.answer) >= one.length


def posts(url: str, path: str, bodies: Sequence[dict[str, Any]]) -> Iterator[bytes]:
    """The requests as bytes, made beforehand, without end."""
    head = f"POST {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nContent-Type: application/json\r\nContent-Length: "
    contents = [json.dumps(body).encode() for body in bodies]
    return cycle([f"{head}{len(content)}\r\n\r\n".encode() + content for content in contents])


def passages(path: str, n: int, chunk: str | None = None) -> list[str]:
    """The first passages of a corpus, as `segue embed` cuts them; `chunk` is its --chunk."""
    from segue.text import Chunking, Counts, open_source, read_chunks

    source, found = open_source(path), list[str]()
    for document in read_chunks(source, Chunking(chunk or source.default_chunk), Counts()):
        found += [chunk.text for chunk in document.chunks]
        if len(found) >= n:
            return found[:n]
    return found


def contexts(run: str, n: int) -> list[list[list[float]]]:
    """Random unit vectors in contexts as long and wide as the run's model reads them: what they are costs the same."""
    import numpy as np

    from segue.models import load_model

    model = load_model(run)
    vectors = np.random.default_rng(0).standard_normal((n, model.context or 5, model.dim), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    listed: list[list[list[float]]] = vectors.tolist()
    return listed


def naive(what: str, run: str | None, in_threads: bool) -> None:
    """The peer, as a process of its own: `what` is encode or infer."""
    import uvicorn
    from fastapi import FastAPI

    app = FastAPI()
    if what == "encode":
        from segue.vectors.encoders import load_encoder

        encoder = load_encoder("minilm")

        def work(body: dict[str, Any]) -> dict[str, Any]:
            vectors = encoder.encode(body["texts"], 32)
            return {"embeddings": vectors.tolist(), "shape": list(vectors.shape)}
    else:
        import torch

        from segue.models import load_model

        model = load_model(run or "")

        def work(body: dict[str, Any]) -> dict[str, Any]:
            with torch.inference_mode():
                predicted = model.predict(torch.tensor([body["context_vectors"]]))
            return {"predicted_vector": predicted[0].tolist()}

    async def in_line(body: dict[str, Any]) -> dict[str, Any]:
        return work(body)

    app.post(f"/{what}")(work if in_threads else in_line)
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
        print(f"naive: http://127.0.0.1:{listening.getsockname()[1]}", file=sys.stderr, flush=True)
        server.run(sockets=[listening])


def compare(path: str, urls: dict[str, str], bodies: Sequence[dict[str, Any]], asked: Any) -> dict[str, list[Round]]:
    """All rounds of one route. The first, short load of each server is not counted."""
    requests = {name: posts(url, path, bodies) for name, url in urls.items()}
    for name, url in urls.items():
        load(url, requests[name], asked.warm, asked.clients)
    rounds: dict[str, list[Round]] = {name: [] for name in urls}
    for number in range(asked.rounds):
        names = list(urls)[number % len(urls) :] + list(urls)[: number % len(urls)]
        for name in names:
            rounds[name].append(load(urls[name], requests[name], asked.seconds, asked.clients))
            print(f"  {path} round {number + 1}, {name}: {rounds[name][-1].per_second:.1f}/s", file=sys.stderr)
    return rounds


def table(path: str, rounds: dict[str, list[Round]]) -> tuple[str, bool]:
    """The rounds as a Markdown table, and whether the target is met."""
    lines = [
        f"| {path} | requests/s | least … most | p50 ms | p95 ms | least … most | ratio | p95 ratio | client |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    ratios: dict[str, tuple[float, float]] = {}
    for name, of in rounds.items():
        per_second, p95 = [one.per_second for one in of], [one.p95 for one in of]
        pairs = list(zip(rounds[OURS], of, strict=True))
        ratios[name] = (
            statistics.median(ours.per_second / one.per_second for ours, one in pairs),
            statistics.median(ours.p95 / one.p95 for ours, one in pairs),
        )
        lines.append(
            f"| {name} | {statistics.median(per_second):.1f} | {min(per_second):.1f} … {max(per_second):.1f} | "
            f"{statistics.median(one.p50 for one in of):.1f} | {statistics.median(p95):.1f} | {min(p95):.1f} … "
            f"{max(p95):.1f} | {ratios[name][0]:.2f} | {ratios[name][1]:.2f} | "
            f"{statistics.median(one.client for one in of):.2f} |"
        )
    faster, later = ratios[THREADED]
    met = faster >= TARGETS[path] and later <= 1
    lines.append(
        f"\n{path}: ours answers {faster:.2f} × the requests of the naive server (wanted {TARGETS[path]:g}) at "
        f"{later:.2f} of its p95 (wanted ≤ 1): {'met' if met else 'NOT met'}."
    )
    return "\n".join(lines), met


def measure(path: str, asked: Any) -> tuple[str, bool, dict[str, list[Round]]]:
    """One route: start its servers, load them, end them."""
    what, bound = path.strip("/"), None
    service = {"encode": "encoder", "infer": "predictor"}[what]
    if what == "encode":
        texts = passages(asked.text, 4000, asked.chunk)
        bodies: list[dict[str, Any]] = [{"texts": [text]} for text in texts]
        print(f"\n{len(texts)} passages, median {statistics.median(map(len, texts)):.0f} characters")
        bound = serving_bound.measured(texts)
    else:
        bodies = [{"context_vectors": context} for context in contexts(asked.run, 200)]
    peers: dict[str, ServiceProcess] = {}
    with services([service], asked.run, threads=asked.threads) as started:
        try:
            for name, how in ((THREADED, "threads"), (SERIAL, "line")):
                command = [sys.executable, __file__, "--naive", what, "--how", how]
                peers[name] = ServiceProcess(name, [*command, *(["--run", asked.run] if asked.run else [])])
            urls = {OURS: started[service].url, **{name: peer.ready() for name, peer in peers.items()}}
            rounds = compare(path, urls, bodies, asked)
            ours_in = _precision(urls[OURS]) if bound else ""
        finally:
            for peer in peers.values():
                peer.end()
    shown, met = table(path, rounds)
    if bound:
        rates = {
            name: (statistics.median(one.per_second for one in of), ours_in if name == OURS else "float32")
            for name, of in rounds.items()
        }
        shown += "\n\n" + serving_bound.told(bound, rates, THREADED, TARGETS[path])
    return shown, met, rounds


def _precision(url: str) -> str:
    """What our encoder computes in."""
    with urlopen(f"{url}/info") as answer:
        return str(json.load(answer)["precision"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", help="a corpus that `segue embed` reads, for /encode")
    parser.add_argument("--chunk", choices=("paragraph", "sentence"), help="what a passage is; default: the corpus's")
    parser.add_argument("--run", help="a run, for /infer")
    parser.add_argument("--only", choices=sorted(TARGETS), help="one route")
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--seconds", type=float, default=10.0, help="of a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--warm", type=float, default=3.0, help="seconds not counted, for each server")
    parser.add_argument("--threads", type=int, help="torch threads of our services; default: torch's own choice")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep every round")
    parser.add_argument("--naive", choices=("encode", "infer"), help=argparse.SUPPRESS)
    parser.add_argument("--how", choices=("threads", "line"), default="threads", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.naive:
        naive(asked.naive, asked.run, asked.how == "threads")
        return
    paths = [asked.only] if asked.only else sorted(TARGETS)
    for path, option, value in (("/encode", "--text", asked.text), ("/infer", "--run", asked.run)):
        if path in paths and not value:
            parser.error(f"{option} is wanted for {path}; or --only the other")
    print(f"{asked.clients} clients, {asked.rounds} rounds of {asked.seconds:g} s, {os.cpu_count()} cores, ", end="")
    print(f"load {os.getloadavg()[0]:.1f} before the first")
    kept, all_met = {}, True
    for path in paths:
        shown, met, rounds = measure(path, asked)
        all_met &= met
        kept[path] = {name: [one._asdict() for one in of] for name, of in rounds.items()}
        print(f"\n{shown}", flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(kept, indent=1))
    sys.exit(0 if all_met else 1)


if __name__ == "__main__":
    main()
