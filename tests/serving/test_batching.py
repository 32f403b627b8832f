"""The queue on a real event loop and a real worker thread. Workers are held by events, never by sleeping."""

import asyncio
import random
import threading
from collections.abc import Coroutine
from itertools import chain
from typing import Any

import pytest

from segue.serving.batching import SHARE, Batcher
from segue.serving.metrics import Metrics
from segue.serving.refusals import Refusal


class Squares:
    """Squares numbers, in batches it remembers. `hold()`: the next batch waits for `release`."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.threads: set[int] = set()
        self.begun, self.release = threading.Event(), threading.Event()
        self.release.set()

    def hold(self) -> None:
        self.begun.clear()
        self.release.clear()

    def __call__(self, items: list[int]) -> list[int]:
        self.batches.append(list(items))
        self.threads.add(threading.get_ident())
        self.begun.set()
        assert self.release.wait(20)
        return [item * item for item in items]


def run(scene: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scene, 30))


def batcher(work: Any, **more: Any) -> Batcher[int, int]:
    return Batcher(work, **{"max_batch": 8, "max_queue": 1000, **more})


async def begun(work: Squares) -> None:
    """Until the worker holds a batch."""
    assert await asyncio.to_thread(work.begun.wait, 20)


async def queued(queue: Batcher[int, int], n: int) -> None:
    """Until n items wait. Each turn lets every ready task go on, so it needs few."""
    for _ in range(1000):
        if queue.waiting == n:
            return
        await asyncio.sleep(0)
    raise AssertionError(f"{queue.waiting} items wait, not {n}")


def test_every_request_gets_its_own_results_in_order():
    """200 requests of 0 … 40 items at once, against the function called plainly; one thread, no batch too large."""
    work, draw = Squares(), random.Random(0)
    requests = [[draw.randrange(10**6) for _ in range(draw.randrange(41))] for _ in range(200)]

    async def scene() -> None:
        async with batcher(work, max_queue=10**6) as queue:
            answers = await asyncio.gather(*(queue.submit(items) for items in requests))
        assert [answer.results for answer in answers] == [[item * item for item in items] for items in requests]

    run(scene())
    assert len(work.threads) == 1 and threading.get_ident() not in work.threads
    assert max(map(len, work.batches)) == 8
    assert sorted(chain(*work.batches)) == sorted(chain(*requests))  # each item is worked on once


def test_a_lone_request_goes_at_once_and_the_queue_fills_while_the_worker_works():
    work = Squares()

    async def scene() -> None:
        async with batcher(work) as queue:
            work.hold()
            first = asyncio.create_task(queue.submit([1]))
            await begun(work)
            later = [asyncio.create_task(queue.submit([n])) for n in (2, 3, 4)]
            await queued(queue, 3)
            work.release.set()
            assert (await first).results == [1]
            assert [(await task).results for task in later] == [[4], [9], [16]]

    run(scene())
    assert work.batches == [[1], [2, 3, 4]]


def test_a_large_request_does_not_block_a_small_one():
    """Of 100 waiting items and a request behind them, the next batch takes a share of each."""
    work = Squares()

    async def scene() -> None:
        async with batcher(work, max_batch=SHARE + 4) as queue:
            work.hold()
            first = asyncio.create_task(queue.submit([0]))
            await begun(work)
            large = asyncio.create_task(queue.submit(list(range(1, 101))))
            await queued(queue, 100)
            small = asyncio.create_task(queue.submit([500]))
            await queued(queue, 101)
            work.release.set()
            await asyncio.gather(first, large, small)

    run(scene())
    assert work.batches[1] == [*range(1, SHARE + 1), 500, SHARE + 1, SHARE + 2, SHARE + 3]
    assert sorted(chain(*work.batches)) == [*range(101), 500]


def test_a_request_whose_client_left_is_never_worked_on():
    """Guards against a queue that computes for nobody: cancelled before it began, and after its first share."""
    work = Squares()

    async def scene() -> None:
        async with batcher(work) as queue:
            work.hold()
            half = asyncio.create_task(queue.submit(list(range(20))))
            await begun(work)
            whole = asyncio.create_task(queue.submit([100, 101]))
            last = asyncio.create_task(queue.submit([7]))
            await queued(queue, 15)
            half.cancel()
            whole.cancel()
            await asyncio.gather(half, whole, return_exceptions=True)
            assert queue.waiting == 1
            work.release.set()
            assert (await last).results == [49]
            assert half.cancelled() and whole.cancelled()

    run(scene())
    assert work.batches == [list(range(8)), [7]]


def test_a_full_queue_refuses_with_a_time_to_come_again():
    work, metrics = Squares(), Metrics()

    async def scene() -> None:
        async with batcher(work, max_queue=4, metrics=metrics.queue("square")) as queue:
            assert (await queue.submit(list(range(30)))).results[29] == 841  # nothing waits: taken whole
            work.hold()
            held = [asyncio.create_task(queue.submit([1]))]
            await begun(work)
            held.append(asyncio.create_task(queue.submit([1, 2, 3])))
            await queued(queue, 3)
            assert b'segue_queue_items{queue="square"} 3.0' in metrics.render()
            with pytest.raises(Refusal) as refused:
                await queue.submit([1, 2])
            assert (refused.value.status, refused.value.code) == (503, "busy")
            assert 1 <= int(refused.value.response().headers["retry-after"]) <= 60
            held.append(asyncio.create_task(queue.submit([5])))  # exactly full
            await queued(queue, 4)
            work.release.set()
            await asyncio.gather(*held)
        text = metrics.render()
        assert b'segue_items_total{queue="square"} 35.0' in text and b'segue_queue_items{queue="square"} 0.0' in text

    run(scene())


def test_an_error_of_one_item_is_its_own_request_s():
    def work(items: list[int]) -> list[int | Exception]:
        return [ValueError("no root") if item < 0 else item for item in items]

    async def scene() -> None:
        async with batcher(work) as queue:
            good, bad = await asyncio.gather(queue.submit([1, 2]), queue.submit([3, -1]), return_exceptions=True)
            assert not isinstance(good, BaseException) and good.results == [1, 2]
            assert isinstance(bad, ValueError)

    run(scene())


@pytest.mark.parametrize("failure", ["raises", "too few results"])
def test_work_that_fails_fails_its_batch_and_not_the_queue(failure: str):
    calls: list[int] = []

    def work(items: list[int]) -> list[int]:
        calls.append(len(items))
        if len(calls) == 1:
            if failure == "raises":
                raise OSError("the disk is gone")
            return []
        return items

    async def scene() -> None:
        async with batcher(work) as queue:
            with pytest.raises(OSError if failure == "raises" else RuntimeError):
                await queue.submit(list(range(20)))  # the second batch of it is never begun
            assert (await queue.submit([9])).results == [9]
            assert queue.waiting == 0

    run(scene())
    assert calls == [8, 1]


def test_stopping_finishes_what_is_held_and_takes_no_more():
    work = Squares()

    async def scene() -> None:
        queue = batcher(work)
        async with queue:
            work.hold()
            held = [asyncio.create_task(queue.submit([n] * 5)) for n in (1, 2, 3)]
            await begun(work)
            stopping = asyncio.create_task(queue.__aexit__())
            await asyncio.sleep(0)
            with pytest.raises(Refusal) as refused:
                await queue.submit([4])
            assert (refused.value.status, refused.value.code) == (503, "stopping")
            work.release.set()
            await stopping
            assert [(await task).results for task in held] == [[1] * 5, [4] * 5, [9] * 5]
        with pytest.raises(Refusal):
            await queue.submit([4])

    run(scene())


def test_what_waits_is_shared_out_among_the_workers_that_are_free():
    """Guards against one worker that takes all while another stands by."""
    work = Squares()

    async def scene() -> None:
        async with batcher(work, workers=2) as queue:
            work.hold()
            held = asyncio.create_task(queue.submit([1, 2, 3, 4, 5]))
            while len(work.batches) < 2:
                await asyncio.sleep(0)
            later = asyncio.create_task(queue.submit([6, 7]))
            await queued(queue, 2)
            work.release.set()
            assert (await held).results == [1, 4, 9, 16, 25] and (await later).results == [36, 49]

    run(scene())
    assert sorted(work.batches[:2]) == [[1, 2, 3], [4, 5]] and len(work.threads) == 2


def test_many_workers_answer_as_one_does():
    work, draw = Squares(), random.Random(1)
    requests = [[draw.randrange(10**6) for _ in range(draw.randrange(41))] for _ in range(200)]

    async def scene() -> None:
        async with batcher(work, max_queue=10**6, workers=4) as queue:
            answers = await asyncio.gather(*(queue.submit(items) for items in requests))
        assert [answer.results for answer in answers] == [[item * item for item in items] for items in requests]

    run(scene())
    assert max(map(len, work.batches)) == 8 and sorted(chain(*work.batches)) == sorted(chain(*requests))


def test_under_load_a_batch_waits_for_those_on_their_way():
    work = Squares()

    async def scene() -> None:
        async with batcher(work, max_wait=20.0) as queue:  # a quarter of it between two looks
            await asyncio.gather(queue.submit([1]), queue.submit([2]))
            first = asyncio.create_task(queue.submit([3]))
            await queued(queue, 1)
            full = asyncio.create_task(queue.submit(list(range(10, 17))))
            await asyncio.gather(first, full)  # full: it does not wait on

    run(scene())
    assert work.batches == [[1, 2], [3, *range(10, 17)]]


def test_a_lone_request_never_waits():
    """A wait of an hour that nobody would sit out."""
    work = Squares()

    async def scene() -> None:
        async with batcher(work, max_wait=3600.0) as queue:
            assert (await queue.submit([1, 2, 3])).results == [1, 4, 9]
            assert (await queue.submit([4])).results == [16]

    run(scene())
    assert work.batches == [[1, 2, 3], [4]]


def test_no_items_are_no_work():
    work = Squares()

    async def scene() -> None:
        async with batcher(work) as queue:
            assert (await queue.submit([])).results == []

    run(scene())
    assert work.batches == []
