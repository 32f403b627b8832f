"""A queue that turns many small requests into few large calls of one function, in a worker thread of its own.

A lone request goes at once, and what arrives while the worker is at it makes the next batch: it is as fast as without
a queue, and under load the batches grow by themselves.

A request of many items does not block the small ones behind it: each batch takes a share of every waiting request in
turn. A request whose client has left is dropped, what is not begun of it is never done.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from segue.serving.metrics import QueueMetrics
from segue.serving.refusals import Refusal

Item = TypeVar("Item")
Result = TypeVar("Result")
SHARE = 16  # items of one request taken before the next one's turn


@dataclass(frozen=True)
class Batched(Generic[Result]):
    """A request's results, in the order of its items, and where its time went (seconds)."""

    results: list[Result]
    waited: float
    worked: float


@dataclass(eq=False)
class _Job(Generic[Item, Result]):
    """A request in the queue. `begun` items of it were handed to the worker, `missing` results are not here yet."""

    items: Sequence[Item]
    answer: asyncio.Future[None]
    missing: int
    results: dict[int, Result] = field(default_factory=dict)
    begun: int = 0
    arrived: float = field(default_factory=time.perf_counter)
    started: float = 0.0


class Batcher(Generic[Item, Result]):
    """Calls `work(items)` in threads of its own; `await batcher.submit(items)` from any request.

    work       items → as many results, in order. A result that is an exception goes to its own request only; an
               exception raised goes to every request of the batch
    max_batch  items in one call
    max_wait   under load (the batch before held several requests) wait for those that are on their way: as long as
               another arrives within a quarter of it, so many seconds at most. A lone request never waits
    max_queue  items waiting; a request that would pass it is refused with 503, unless the queue is empty
    workers    calls under way at once; what waits is shared out among those that are free. More than 1 only for work
               that may run beside itself

    Use as `async with batcher:` for the app's life; leaving finishes what it holds.
    """

    def __init__(
        self,
        work: Callable[[list[Item]], Sequence[Result | Exception]],
        *,
        max_batch: int,
        max_queue: int,
        max_wait: float = 0.0,
        workers: int = 1,
        metrics: QueueMetrics | None = None,
        name: str = "batcher",
    ):
        self._work, self._metrics = work, metrics
        self._max_batch, self._max_queue, self._max_wait = max_batch, max_queue, max_wait
        self._jobs: deque[_Job[Item, Result]] = deque()
        self._waiting = 0
        self._arrival = asyncio.Event()
        self._stopping = False
        self._threads = ThreadPoolExecutor(max_workers=workers, thread_name_prefix=name)
        self._workers = self._free = workers
        self._runners: list[asyncio.Task[None]] = []
        self._crowded = False  # the last batch was of several requests
        self._rate = 0.0  # items a second, of late

    @property
    def waiting(self) -> int:
        """Items not begun."""
        return self._waiting

    async def __aenter__(self) -> "Batcher[Item, Result]":
        self._runners = [asyncio.create_task(self._run()) for _ in range(self._workers)]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Finish what is held, refuse what comes, end the threads."""
        self._stopping = True
        self._arrival.set()
        await asyncio.gather(*self._runners)
        self._threads.shutdown()

    async def submit(self, items: Sequence[Item]) -> Batched[Result]:
        """The results of one request's items, in their order.

        Raises Refusal 503 when the queue is full or the service is stopping, and what the work raised.
        """
        if self._stopping or not self._runners:
            raise Refusal(503, "the service is stopping; ask again when it has started.", code="stopping")
        if self._waiting and self._waiting + len(items) > self._max_queue:
            raise Refusal(
                503,
                f"{self._waiting:,} items wait, {self._max_queue:,} may. Ask again later, or for less at a time.",
                retry_after=self._seconds_to_empty(),
            )
        if not items:
            return Batched([], 0.0, 0.0)
        job: _Job[Item, Result] = _Job(items, asyncio.get_running_loop().create_future(), len(items))
        self._jobs.append(job)
        self._count(len(items))
        self._arrival.set()
        try:
            await job.answer
        except asyncio.CancelledError:
            self._drop(job)
            raise
        ended = time.perf_counter()
        results = [job.results[i] for i in range(len(items))]
        return Batched(results, job.started - job.arrived, ended - job.started)

    def _seconds_to_empty(self) -> int:
        return min(60, max(1, round(self._waiting / self._rate))) if self._rate else 1

    def _count(self, change: int) -> None:
        self._waiting += change
        if self._metrics:
            self._metrics.waiting.set(self._waiting)

    def _drop(self, job: _Job[Item, Result]) -> None:
        """Forget what is not begun of a request that was cancelled or has failed."""
        if job in self._jobs:
            self._jobs.remove(job)
            self._count(job.begun - len(job.items))

    async def _run(self) -> None:
        while True:
            while not self._jobs:
                if self._stopping:
                    return
                self._arrival.clear()
                await self._arrival.wait()
            if self._max_wait and self._crowded:
                await self._linger()
            if batch := self._gather():
                self._free -= 1
                await self._do(batch)
                self._free += 1

    async def _linger(self) -> None:
        """The clients just answered come back within milliseconds; a fuller batch costs less for each."""
        until = time.perf_counter() + self._max_wait
        while self._waiting < self._max_batch and not self._stopping and time.perf_counter() < until:
            self._arrival.clear()
            try:
                async with asyncio.timeout(self._max_wait / 4):
                    await self._arrival.wait()
            except TimeoutError:
                return

    def _gather(self) -> list[tuple[_Job[Item, Result], int]]:
        """Up to `max_batch` items, a share of each waiting request in turn. → (request, index of its item)."""
        batch: list[tuple[_Job[Item, Result], int]] = []
        now, most = time.perf_counter(), min(self._max_batch, -(-self._waiting // self._free))
        while self._jobs and len(batch) < most:
            job = self._jobs.popleft()
            job.started = job.started or now
            end = min(len(job.items), job.begun + SHARE, job.begun + most - len(batch))
            batch += [(job, i) for i in range(job.begun, end)]
            job.begun = end
            if end < len(job.items):
                self._jobs.append(job)
        self._count(-len(batch))
        if batch:
            self._crowded = any(job is not batch[0][0] for job, _ in batch)
        return batch

    async def _do(self, batch: list[tuple[_Job[Item, Result], int]]) -> None:
        loop, began = asyncio.get_running_loop(), time.perf_counter()
        items = [job.items[i] for job, i in batch]
        try:
            results: Sequence[Result | Exception] = await loop.run_in_executor(self._threads, self._work, items)
            if len(results) != len(items):
                raise RuntimeError(f"{len(results)} results for {len(items)} items")
        except Exception as error:  # noqa: BLE001  (a queue outlives its work: the requests of the batch get the error)
            results = [error] * len(items)
        seconds = time.perf_counter() - began
        self._rate = len(items) / max(seconds, 1e-6)
        if self._metrics:
            self._metrics.batch.observe(len(items))
            self._metrics.seconds.observe(seconds)
            self._metrics.done.inc(len(items))
        for (job, i), result in zip(batch, results, strict=True):
            self._deliver(job, i, result)

    def _deliver(self, job: _Job[Item, Result], i: int, result: Result | Exception) -> None:
        if job.answer.done():  # cancelled, or failed by an earlier item
            return
        if isinstance(result, Exception):
            self._drop(job)
            job.answer.set_exception(result)
            return
        job.results[i] = result
        job.missing -= 1
        if not job.missing:
            job.answer.set_result(None)
