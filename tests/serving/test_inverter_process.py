"""The inverter's process: restarted when it ends, killed when it is late, never waited for beyond the deadline.

A real process over real pipes: `scripted_worker.py` stands in for vec2text, an extra, and misbehaves on demand.
"""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from segue.serving.inverter.process import GoneError, LateError, StartingError, WorkerProcess

SCRIPT = Path(__file__).parent / "scripted_worker.py"
LONG = 60.0  # seconds no test waits for
Make = Callable[..., WorkerProcess]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made = []

    def worker(start: str = "ready", within: float = LONG) -> WorkerProcess:
        script = {"embedder": "gtr_base_st", "start": start, "texts": ["zero", "one", "two"]}
        (tmp_path / "script.json").write_text(json.dumps(script))
        made.append(WorkerProcess([sys.executable, str(SCRIPT), str(tmp_path), str(tmp_path)], within))
        return made[-1]

    yield worker
    for process in made:
        process.stop()


def vector(trouble: float = 0, largest: int = 2, size: int = 8) -> list[float]:
    made = [0.0] * size
    made[largest] = 0.5
    made[0] = trouble or made[0]
    return made


def starts(folder: Path) -> int:
    return len((folder / "started").read_text())


def test_it_says_what_it_is_and_answers(make: Make, tmp_path: Path):
    worker = make()
    assert worker.trouble() == ["the inverter is down: not started"]
    assert worker.start()["embedder"] == "gtr_base_st" and worker.trouble() == []
    assert worker.texts([vector(largest=1), vector(largest=2), vector(largest=5)], 3, 2, LONG) == ["one", "two", "two"]
    assert (tmp_path / "asked.jsonl").read_text() == "[3, 3, 2]\n"


@pytest.mark.parametrize("trouble", [1, 3, 4])
def test_one_that_ends_or_talks_nonsense_is_started_again(make: Make, tmp_path: Path, trouble: int):
    """The request it was at is told, once; the next is answered by another process."""
    worker = make()
    worker.start()
    with pytest.raises(GoneError):
        worker.texts([vector(trouble)], 1, 1, LONG)
    assert worker.texts([vector()], 1, 1, LONG) == ["two"]
    assert starts(tmp_path) == 2


def test_one_that_is_late_is_killed_and_started_again(make: Make, tmp_path: Path):
    worker = make()
    worker.start()
    with pytest.raises(LateError):
        worker.texts([vector(2)], 1, 1, 0.3)
    assert worker.texts([vector()], 1, 1, LONG) == ["two"]
    assert starts(tmp_path) == 2


def test_one_that_stops_reading_is_late_too(make: Make):
    """Guards the write: two megabytes do not fit into a pipe that nobody empties."""
    worker = make()
    worker.start()
    big = [vector(size=4000)] * 100
    running = worker._running
    assert running
    running._in.write(json.dumps({"id": 99, "vectors": [vector(2)], "steps": 1, "beam": 1}) + "\n")
    running._in.flush()
    with pytest.raises(LateError):
        worker.texts(big, 1, 1, 0.5)
    assert worker.texts([vector()], 1, 1, LONG) == ["two"]


def test_a_mistake_of_the_library_is_told_and_the_process_goes_on(make: Make, tmp_path: Path):
    worker = make()
    worker.start()
    with pytest.raises(RuntimeError, match="expected sequence of length 2"):
        worker.texts([vector(5)], 1, 1, LONG)
    assert worker.texts([vector()], 1, 1, LONG) == ["two"] and starts(tmp_path) == 1


def test_one_that_ended_unasked_is_started_again_unnoticed(make: Make, tmp_path: Path):
    worker = make()
    worker.start()
    assert worker._running
    worker._running.kill()
    assert worker.trouble()[0].startswith("the inverter is down")
    assert worker.texts([vector()], 1, 1, LONG) == ["two"] and starts(tmp_path) == 2


@pytest.mark.parametrize(
    ("start", "within", "said"),
    [
        ("refuse", LONG, "vec2text is not at home"),
        ("end", LONG, "status 9: Segmentation fault, said the library"),
        ("silent", 0.3, "status -9"),
    ],
)
def test_one_that_does_not_start_is_told_with_its_reason(
    make: Make, tmp_path: Path, start: str, within: float, said: str
):
    """And is not started again at each request: loading takes a minute, ending takes none."""
    worker = make(start, within)
    with pytest.raises(GoneError, match=said):
        worker.start()
    for _ in range(3):
        with pytest.raises(GoneError, match=said):
            worker.texts([vector()], 1, 1, LONG)
    assert starts(tmp_path) == 1 and said in worker.trouble()[0]


def test_a_request_waits_for_one_that_starts_no_longer_than_it_may(make: Make, tmp_path: Path):
    worker = make("slow")
    with pytest.raises(StartingError):
        worker.texts([vector()], 1, 1, 0.2)
    assert worker.trouble() == ["the inverter is starting"]
    (tmp_path / "go").touch()
    assert worker.texts([vector()], 1, 1, LONG) == ["two"] and starts(tmp_path) == 1


def test_a_python_that_is_not_there(tmp_path: Path):
    with pytest.raises(GoneError, match="cannot be run"):
        WorkerProcess([str(tmp_path / "no-python"), "x"], LONG).start()


def test_stopping_ends_the_process_and_whoever_waits(make: Make):
    worker = make()
    worker.start()
    running = worker._running
    assert running
    told: list[type[BaseException]] = []

    def ask() -> None:
        try:
            worker.texts([vector(2)], 1, 1, LONG)
        except (GoneError, LateError) as error:
            told.append(type(error))

    waiting = threading.Thread(target=ask)
    waiting.start()
    while running._number == 0:
        pass
    worker.stop()
    waiting.join()
    assert told == [GoneError] and running.ended
    with pytest.raises(GoneError, match="stopping"):
        worker.texts([vector()], 1, 1, LONG)
