"""An hour of load, and memory that stays flat: `python benchmarks/serving_soak.py --run RUN --store STORE --text FILE`.

Four clients ask the services for every kind of thing, good and bad, in an order drawn from a seed, over connections
that they keep for a while and drop. Every few seconds each service's resident memory is read. Of the second half (the
first fills buffers, pools and caches) a straight line is fitted by the median of all slopes (Theil and Sen), which a
single jump does not tilt.

Flat is: the line climbs by less than 2 % of the memory, and less than 16 MB, in an hour, or its 95 % interval reaches
zero. Exit status 1 otherwise, and when any answer was a 500 or none.
"""

import argparse
import itertools
import json
import random
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx2

from serving_load import contexts, passages
from serving_processes import ServiceProcess, services

EVERY = 5.0  # seconds between two looks at the memory
SHARE, BYTES = 0.02, 16 << 20  # an hour's climb that still counts as flat
POINTS = 400  # of which the slopes are taken: their number grows with the square


class Line(NamedTuple):
    """Memory over time: bytes an hour, with the 95 % interval of the slope, and the middle's height."""

    slope: float
    low: float
    high: float
    height: float

    @property
    def flat(self) -> bool:
        return self.slope < min(BYTES, SHARE * self.height) or self.low <= 0


def fitted(points: Sequence[tuple[float, int]]) -> Line:
    """Theil-Sen through (seconds, bytes); the interval from Kendall's statistic (Sen, 1968)."""
    points = points[:: max(1, len(points) // POINTS)]
    n = len(points)
    slopes = sorted(3600 * (b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.combinations(points, 2))
    half = 1.96 * (n * (n - 1) * (2 * n + 5) / 18) ** 0.5
    low = slopes[max(0, round((len(slopes) - half) / 2))]
    high = slopes[min(len(slopes) - 1, round((len(slopes) + half) / 2))]
    return Line(statistics.median(slopes), low, high, statistics.median(height for _, height in points))


class Load:
    """The clients. `answers` counts by route and status; 0 is no answer."""

    def __init__(self, urls: dict[str, str], texts: Sequence[str], vectors: Sequence[Any], pause: float = 0.0):
        self.answers: Counter[tuple[str, int]] = Counter()
        self._urls, self._texts, self._vectors, self._pause = urls, texts, vectors, pause
        self._stop, self._lock = threading.Event(), threading.Lock()

    def run(self, clients: int) -> list[threading.Thread]:
        threads = [threading.Thread(target=self._client, args=(i,)) for i in range(clients)]
        for thread in threads:
            thread.start()
        return threads

    def stop(self) -> None:
        self._stop.set()

    def _client(self, number: int) -> None:
        draw = random.Random(number)
        while not self._stop.is_set():
            with httpx2.Client(timeout=120, trust_env=False) as client:
                for _ in range(draw.randint(1, 200)):
                    if self._stop.wait(2 * self._pause * draw.random()):
                        return
                    self._ask(client, *self._request(draw))

    def _ask(self, client: httpx2.Client, url: str, body: Any, raw: bytes | None) -> None:
        content = raw if raw is not None else None if body is None else json.dumps(body).encode()
        try:
            answer = client.request(
                "GET" if content is None else "POST", url, content=content, headers={"Content-Type": "application/json"}
            )
            status = answer.status_code
        except httpx2.TimeoutException:  # some leave before their answer, on purpose
            status = -1
        except httpx2.TransportError:
            status = 0
        with self._lock:
            self.answers[url.split("/", 3)[3].split("?")[0].split("/")[0], status] += 1

    def _request(self, draw: random.Random) -> tuple[str, Any, bytes | None]:
        """One request: (URL, JSON or None, bytes instead of JSON or None)."""
        service = draw.choice(sorted(self._urls))
        url = self._urls[service]
        if draw.random() < 0.1:
            return f"{url}/{draw.choice(['health', 'metrics', 'info', 'nowhere', 'openapi.json'])}", None, None
        if draw.random() < 0.05:
            path = {"encoder": "encode", "decoder": "decode", "predictor": "infer"}[service]
            return f"{url}/{path}", None, draw.choice([b"{", b'{"texts": [NaN]}', b"[" * 9999, b"{}"])
        if service == "encoder":
            texts = draw.choices(self._texts, k=draw.choice([1, 1, 1, 8, 40]))
            if draw.random() < 0.3:
                return f"{url}/v1/embeddings", {"input": texts, "model": "minilm"}, None
            return f"{url}/encode", {"texts": texts}, None
        if service == "decoder":
            vectors = [draw.choice(context)[:] for context in draw.choices(self._vectors, k=draw.choice([1, 4]))]
            return f"{url}/decode", {"vectors": vectors, "k": draw.choice([1, 5])}, None
        return self._prediction(draw, url)

    def _prediction(self, draw: random.Random, url: str) -> tuple[str, Any, bytes | None]:
        kind = draw.random()
        if kind < 0.5 or "encoder" not in self._urls:
            return f"{url}/infer", {"context_vectors": draw.choice(self._vectors)}, None
        texts = draw.choices(self._texts, k=len(self._vectors[0]))
        if kind < 0.75:
            return f"{url}/predict", {"texts": texts, "k": 3, "steps": draw.choice([1, 3])}, None
        return f"{url}/chat", {"messages": [{"role": "user", "content": "\n\n".join(texts)}]}, None


def watch(running: dict[str, ServiceProcess], seconds: float) -> dict[str, list[tuple[float, int]]]:
    """The services' memory over the time of the load: name → [(seconds, bytes), …]."""
    seen: dict[str, list[tuple[float, int]]] = {name: [] for name in running}
    began = time.monotonic()
    told = 0.0
    while (passed := time.monotonic() - began) < seconds:
        for name, service in running.items():
            seen[name].append((passed, service.resident()))
        if passed >= told:
            told += 60
            now = ", ".join(f"{name} {of[-1][1] / 1e6:.0f} MB" for name, of in seen.items())
            print(f"  {passed / 60:.0f} min: {now}", file=sys.stderr)
        time.sleep(min(EVERY, seconds / 100))
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True, help="a run, for the predictor")
    parser.add_argument("--store", required=True, help="a store with texts, for the decoder")
    parser.add_argument("--text", required=True, help="a corpus that `segue embed` reads")
    parser.add_argument("--services", default="encoder,decoder,predictor")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument(
        "--pause",
        type=float,
        default=0.0,
        metavar="S",
        help="a client waits S seconds on average (0 to 2 S, drawn) between two requests: a steady load that leaves "
        "the machine to others (default 0: as fast as answers come)",
    )
    parser.add_argument("--threads", type=int, help="torch threads of each service")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the memory over time")
    asked = parser.parse_args()
    texts, vectors = passages(asked.text, 2000), contexts(asked.run, 200)
    with services(asked.services.split(","), asked.run, asked.store, asked.threads) as running:
        load = Load({name: service.url for name, service in running.items()}, texts, vectors, asked.pause)
        threads = load.run(asked.clients)
        try:
            seen = watch(running, 60 * asked.minutes)
        finally:
            load.stop()
            for thread in threads:
                thread.join()
    lines = {name: fitted(of[len(of) // 2 :]) for name, of in seen.items()}
    for name, line in lines.items():
        print(
            f"{name}: {seen[name][0][1] / 1e6:.0f} MB at the start, {line.height / 1e6:.0f} MB in the second half, "
            f"{line.slope / 1e6:+.1f} MB an hour [{line.low / 1e6:+.1f}, {line.high / 1e6:+.1f}]: "
            f"{'flat' if line.flat else 'NOT flat'}"
        )
    print(f"{load.answers.total():,} requests in {asked.minutes:g} min")
    for (route, status), n in sorted(load.answers.items()):
        print(f"  {route} {'left early' if status < 0 else status or 'no answer'}: {n:,}")
    if asked.json:
        asked.json.write_text(json.dumps(seen))
    broken = any(status in (0, 500) for _, status in load.answers)
    sys.exit(0 if all(line.flat for line in lines.values()) and not broken else 1)


if __name__ == "__main__":
    main()
