"""`segue watch`: a real run followed from beside, live and in plain lines, interrupted, finished, diverged."""

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from command_line import Segue
from segue.alignment.worlds import rotation_world
from segue.report.watch import sparkline

SMALL = ("--set", "model={family: amn, attention: 16, hidden: 32, bottleneck: 16}")
COMMAND = (sys.executable, "-c", "from segue.cli import main; main()")
PATIENCE = 120.0  # seconds until a test that waits for another process gives up


@pytest.fixture
def store(make_store) -> Path:
    path: Path = make_store(rotation_world(40, 14, 16, noise=1.2, seed=1)).path
    return path


@pytest.fixture
def run(segue: Segue, store: Path, tmp_path: Path) -> Path:
    """A finished, tested run of three epochs."""
    trained = segue("train", "p1", "--data", store, "--out", tmp_path / "run", *SMALL, "--set", "epochs=3")
    assert trained.status == 0, trained.err
    return tmp_path / "run"


def unfinish(run: Path) -> bytes:
    """Take the manifest away; → what it held."""
    manifest = (run / "manifest.json").read_bytes()
    (run / "manifest.json").unlink()
    return manifest


def history(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]


def written(value: float) -> str:
    """Three decimals, a true minus, never −0.000."""
    return f"{round(value, 3) + 0.0:.3f}".replace("-", "−")


def test_a_run_in_training_is_followed_to_its_end(segue: Segue, store: Path, tmp_path: Path) -> None:
    """Another process trains; every epoch is told once and in order, and watching ends when the run has finished."""
    run = tmp_path / "live"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    arguments = ("train", "p1", "--data", str(store), "--out", str(run), *SMALL, "--set", "epochs=4", "--samples", "0")
    with subprocess.Popen([*COMMAND, *arguments], env=environment, stderr=subprocess.DEVNULL) as trainer:
        until = time.monotonic() + PATIENCE
        while not (run / "recipe.yaml").exists() and time.monotonic() < until:
            time.sleep(0.05)
        watched = segue("watch", run, "--every", 0.05)
        assert trainer.wait(PATIENCE) == 0
    assert watched.status == 0, watched.err
    told = re.findall(r"^epoch (\S+) .*?  cos (\S+)", watched.out, re.M)
    assert told == [(str(entry["epoch"]), written(entry["val"]["cos"])) for entry in history(run)]
    assert watched.out.rstrip().endswith("live: finished, not tested")


def test_once_shows_the_present_state(segue: Segue, run: Path) -> None:
    """Figures of the last epoch and of each term, and the same for a machine as numbers."""
    line = history(run)[-1]
    shown = segue("watch", run, "--once")
    assert shown.status == 0 and "finished" in shown.out and "amn · mse" in shown.out
    for figure in (written(line["val"]["cos"]), written(line["val"]["mrr_future"]), "mse"):
        assert figure in shown.out
    value = json.loads(segue("watch", run, "--once", "--json", "-").out)
    assert value["history"] == history(run) and value["standing"]["state"] == "finished"
    assert value["seconds_left"] is None


def test_the_newest_step_of_an_epoch_in_training(segue: Segue, run: Path) -> None:
    """Terms of steps.jsonl while its epoch has no line yet; a line cut by a kill is passed over."""
    unfinish(run)
    terms = {"mse": {"value": 0.5, "weight": 1.0, "gradient_ratio": 1.0}, "rollout": {"value": 0.25, "weight": 0.03}}
    step = {"line": 4, "epoch": 2, "step": 1201, "terms": terms, "gap": 0.1, "skipped": ["rollout"]}
    (run / "steps.jsonl").write_text(json.dumps(step) + '\n{"line": 4, "ep')
    shown = segue("watch", run, "--once")
    said = " ".join(shown.out.split())  # where a line breaks depends on how fast it ran
    assert "step 1,201" in said and "skipped: rollout" in said
    assert re.search(r"rollout\s+0\.250\s+0\.0300\s+–", shown.out)
    (run / "steps.jsonl").write_text(json.dumps({**step, "line": 3}) + "\n")
    assert "step 1,201" not in segue("watch", run, "--once").out, "that epoch has its line already"


def test_a_terminal_is_drawn_in_place(run: Path) -> None:
    """In a real terminal: curves and epochs, drawn until the manifest is there. Nothing is written into the run."""
    manifest = unfinish(run)
    before = {path: path.lstat().st_mtime_ns for path in run.rglob("*")}
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "90", "LINES": "40"}
    command = [*COMMAND, "watch", str(run), "--every", "0.1"]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as watcher:
        os.close(theirs)
        seen = _read(ours, "margin_last")
        assert "interrupted after epoch 3 of 3" in seen and "\x1b[" in seen
        assert {path: path.lstat().st_mtime_ns for path in run.rglob("*")} == before
        (run / "manifest.json").write_bytes(manifest)
        seen += _read(ours, None)
        assert watcher.wait(PATIENCE) == 0
    os.close(ours)
    assert "finished" in seen.split("interrupted")[-1]


def _read(terminal: int, wanted: str | None) -> str:
    """What a terminal shows until something is there, or until its other end closes."""
    seen, until = "", time.monotonic() + PATIENCE
    while (wanted is None or wanted not in seen) and time.monotonic() < until:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                seen += os.read(terminal, 1 << 16).decode(errors="replace")
            except OSError:  # closed at the other end
                break
    return seen


def test_ctrl_c_ends_it(run: Path) -> None:
    unfinish(run)
    command = [*COMMAND, "watch", str(run), "--every", "0.1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watcher:
        assert watcher.stdout is not None and watcher.stderr is not None
        assert watcher.stdout.readline().startswith("epoch 1")
        while "interrupted after" not in watcher.stdout.readline():
            pass
        watcher.send_signal(signal.SIGINT)
        assert watcher.wait(PATIENCE) == 130
        assert "Traceback" not in watcher.stderr.read()


def test_a_diverged_run_is_status_1(segue: Segue, store: Path, tmp_path: Path) -> None:
    """A real divergence: training ends before the update, watching says why, comparing says so too."""
    run = tmp_path / "wild"
    trained = segue("train", "p1", "--data", store, "--out", run, *SMALL, "--set", "lr=1e30", "--set", "epochs=3")
    assert trained.status == 1
    watched = segue("watch", run)
    assert watched.status == 1 and "diverged in its first epoch" in watched.out
    assert "the loss is" in segue("watch", run, "--once").out
    assert "diverged" in segue("compare", run).out


def test_refused(segue: Segue, run: Path, tmp_path: Path) -> None:
    shutil.rmtree(run / "epochs")
    for arguments, told in (((tmp_path / "no",), "no such run"), ((run, "--every", 0), "--every: found 0")):
        ran = segue("watch", *arguments)
        assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1) and told in ran.err


@pytest.mark.parametrize(
    ("values", "drawn"),
    [([0, 1], "▁█"), ([1, 0.5, None, 0], "█▅ ▁"), ([2, 2, 2], "▄▄▄"), ([], ""), ([None], ""), ([-1, 0, 1], "▁▅█")],
)
def test_sparkline(values: list[float | None], drawn: str) -> None:
    """Lowest and highest at the ends of the scale; a gap where there is no value; flat in the middle."""
    assert sparkline(values) == drawn
