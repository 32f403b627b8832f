"""What a service counts, in Prometheus' text format at GET /metrics. Each app has a registry of its own."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
GONE = 499  # the client left before its answer; nginx's number
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@dataclass(frozen=True)
class QueueMetrics:
    """What one queue counts: items waiting, items and seconds of a batch, items done."""

    waiting: Gauge
    batch: Histogram
    seconds: Histogram
    done: Counter


class Metrics:
    """One service's counters.

    segue_requests_total{route,method,status}   `route` is the template, `unmatched` for unknown paths: a client cannot
                                                make new series
    segue_request_seconds{route}                until the answer's last byte was handed over
    segue_requests_held                         being worked on
    segue_queue_items{queue}, segue_batch_items{queue}, segue_batch_seconds{queue}, segue_items_total{queue}
    """

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # resident memory, processor seconds
        self.held = Gauge("segue_requests_held", "Requests being worked on", registry=registry)
        self._requests = Counter(
            "segue_requests", "Requests answered", ["route", "method", "status"], registry=registry
        )
        self._seconds = Histogram(
            "segue_request_seconds", "Seconds a request", ["route"], buckets=SECONDS, registry=registry
        )
        self._waiting = Gauge("segue_queue_items", "Items waiting", ["queue"], registry=registry)
        self._batch = Histogram("segue_batch_items", "Items a batch", ["queue"], buckets=ITEMS, registry=registry)
        self._work = Histogram("segue_batch_seconds", "Seconds a batch", ["queue"], buckets=SECONDS, registry=registry)
        self._done = Counter("segue_items", "Items done", ["queue"], registry=registry)

    def queue(self, name: str) -> QueueMetrics:
        """The counters of a queue, named by what is done there: `encode`."""
        return QueueMetrics(
            self._waiting.labels(name), self._batch.labels(name), self._work.labels(name), self._done.labels(name)
        )

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """One request is over."""
        self._requests.labels(route, method if method in _METHODS else "other", str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def render(self) -> bytes:
        return generate_latest(self.registry)
