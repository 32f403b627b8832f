"""Training with tripwires that is killed, anywhere, goes on as if it had not been: to the byte."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from runs import SMALL, history, run_here, small_recipe, weights, world
from wires import ALWAYS, TERMS, Killed, killed, wire, wired

from known_stores import build_store
from segue.artifacts import hash_file, is_finished
from segue.training import checkpoint, open_data, open_run, train
from segue.windows import split_by_fractions


@pytest.fixture
def store(make_store):
    return make_store(world())


def equal(one: Path, other: Path, epochs: int) -> None:
    """Not a byte differs in what a resume goes on from, nor in what was told."""
    assert history(one) == history(other)
    assert [path.name for path in sorted((one / "epochs").iterdir())] == [f"{e:03d}" for e in range(1, epochs + 1)]
    for epoch in range(1, epochs + 1):
        assert weights(one, epoch) == weights(other, epoch)
    for name in ("optimiser.safetensors", "heads.safetensors", "state.json"):
        ours, theirs = ((run / "epochs" / f"{epochs:03d}" / name).read_bytes() for run in (one, other))
        assert ours == theirs, name
    assert (one / "best").readlink() == (other / "best").readlink()
    assert (one / "steps.jsonl").read_bytes() == (other / "steps.jsonl").read_bytes()


WIRES = wired(
    wire(f"epochs: 1, {ALWAYS}", "set: {objective.mse.weight: 0.5}, for: 2", "a"),
    wire(f"epochs: 3, {ALWAYS}", "roll_back_to: 2, set: {lr: 0.002, curation: {forward_distinct: 0.8}}", "b"),
    wire(f"epochs: 4, {ALWAYS}", "roll_back_to: best, set: {objective.directional.weight: 0.01}", "c"),
)
MANY = ("epochs=5", "batch=16", *TERMS, "best={metric: mse, better: higher}", WIRES)
MANY = (*MANY, "early_stop={metric: loss, better: lower, patience: 9}")


def test_killed_minus_nine_after_tripwires_and_resumed_equals_uninterrupted(store, tmp_path):
    """kill −9 of a real `segue train` in the middle of an epoch after the second rollback; then --resume."""
    run = tmp_path / "killed"
    sets = [word for text in (*SMALL, *MANY) for word in ("--set", text)]
    line = [sys.executable, "-c", "from segue.cli import main; main()", "train", "p1", *sets, "--samples", "0"]
    line += ["--data", store.path, "--out", run, "--threads", "1", "--device", "cpu"]
    process = subprocess.Popen([*map(str, line)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (run / "history.jsonl").exists() or (run / "history.jsonl").read_bytes().count(b"\n") < 6:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not is_finished(run)
    recipe = small_recipe(*MANY)
    whole = run_here(recipe, store, tmp_path / "whole")
    attempts = [(entry["attempt"], entry["epoch"]) for entry in history(whole)]
    assert attempts == [(1, 1), (1, 2), (1, 3), (2, 3), (2, 4), (3, 2), (3, 3), (3, 4), (3, 5)]
    equal(run_here(recipe, store, run, resume=True), whole, 5)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A store, and the run that is not interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    store = build_store(folder / "store", world())
    return store, run_here(small_recipe(*MANY), store, folder / "run")


@pytest.mark.parametrize("lines", range(1, 9))
def test_killed_in_the_middle_of_any_epoch(whole, tmp_path, lines):
    store, uninterrupted = whole
    recipe = small_recipe(*MANY)
    run = killed(recipe, store, tmp_path / "run", lambda told: len(told) == lines)
    equal(run_here(recipe, store, run, resume=True), uninterrupted, 5)


@pytest.mark.parametrize("what", ["point_best", "_remove", "save_model", "save_tensors", "_load", "write_json"])
def test_killed_anywhere_in_a_checkpoint_or_a_rollback(whole, tmp_path, monkeypatch, what):
    """Ever again, before the first call of each thing that is done to the disk, before the second, the third, …"""
    store, uninterrupted = whole
    recipe, split = small_recipe(*MANY), split_by_fractions(whole[0])
    data, real = open_data(recipe, store, split), getattr(checkpoint, what)
    run = open_run(tmp_path / "run", recipe, store, split)
    calls = kills = 0

    def dies(*arguments, **fields):
        nonlocal calls
        calls += 1
        if calls > kills:
            raise Killed
        return real(*arguments, **fields)

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, what, dies)
        while True:
            calls = 0
            try:
                train(recipe, data, run)
                break
            except Killed:
                kills += 1
    assert kills > 1
    equal(run_here(recipe, store, run, resume=True), uninterrupted, 5)


def test_a_run_of_before_there_were_tripwires_goes_on(store, tmp_path):
    """Its recipe.yaml and state.json lack the newer fields."""
    recipe = small_recipe("epochs=4")
    run = killed(recipe, store, tmp_path / "run", lambda lines: len(lines) == 2)
    written = yaml.safe_load((run / "recipe.yaml").read_text())
    older = {key: value for key, value in written.items() if key not in NEWER}
    (run / "recipe.yaml").write_text(yaml.safe_dump(older))
    folder = run / "epochs" / "002"
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps({key: state[key] for key in OLDER}))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["resume_hashes"]["state.json"] = hash_file(folder / "state.json")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    plain = run_here(recipe, store, tmp_path / "plain")
    resumed = run_here(recipe, store, run, resume=True)
    assert weights(resumed, 4) == weights(plain, 4)


NEWER = ("curation", "tripwires", "early_stop", "context_drop")
OLDER = ("epoch", "lr", "plateau", "best", "history")
