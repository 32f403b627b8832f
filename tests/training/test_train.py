"""Whole runs: what they leave behind, that a seed decides them to the bit, and that an interruption changes nothing."""

import importlib.util
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from runs import CLOCK, LENGTH, SMALL, cut_short, history, run_here, small_recipe, weights, world

from segue.artifacts import is_finished, read_manifest
from segue.errors import InputError
from segue.models import load_model
from segue.models.precision import chosen
from segue.objectives import Objective
from segue.recipe import resolve, shipped
from segue.training import DivergedError, checkpoint, open_data, open_run, train
from segue.training.state import new_state
from segue.training.validate import METRICS
from segue.windows import load_split, split_by_fractions, windows_of
from segue.windows.batches import gather
from segue.windows.rows import Rows


@pytest.fixture
def store(make_store):
    return make_store(world())


def test_a_run_folder_holds_what_design_says(store, tmp_path):
    recipe = small_recipe()
    run = run_here(recipe, store, tmp_path / "run")
    assert resolve(run / "recipe.yaml") == recipe
    assert load_split(run / "split.json") == split_by_fractions(store)
    assert [entry["epoch"] for entry in history(run)] == [1, 2, 3]
    entry = json.loads((run / "history.jsonl").read_text().splitlines()[0])
    assert set(entry) == {"epoch", "attempt", "train", "val", "lr", "steps", "events", *CLOCK}
    assert set(entry["val"]) == set(METRICS)
    assert set(entry["train"]) == {"loss", "cos", "gap", "terms"}
    mse = entry["train"]["terms"]["mse"]
    assert set(mse) == {"value", "weight", "rho", "gradient_ratio", "skipped"}
    assert mse["weight"] == pytest.approx(1) == mse["rho"] == mse["gradient_ratio"]
    steps = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    assert [(step["line"], step["epoch"], step["step"]) for step in steps] == [(n, n, 1) for n in (1, 2, 3)]
    assert steps[0]["terms"]["mse"]["gradient_ratio"] == pytest.approx(1)
    assert entry["train"]["loss"] == entry["train"]["terms"]["mse"]["value"]
    manifest = read_manifest(run, "run")
    best = max(history(run), key=lambda entry: entry["val"]["cos"])
    assert manifest["best"] == {"epoch": best["epoch"], "metric": "cos", "value": best["val"]["cos"]}
    assert (manifest["data"]["hash"], manifest["data"]["space"]) == (store.hash, store.space.to_json())
    assert (manifest["facets"], manifest["seed"], manifest["epochs"]) == (["mean"], 0, 3)
    assert (run / "best").readlink().as_posix() == f"epochs/{best['epoch']:03d}"
    # The moments are twice the weights: only the newest two epochs keep them.
    assert [path.parent.name for path in sorted(run.glob("epochs/*/optimiser.safetensors"))] == ["002", "003"]
    assert not list(run.rglob("*.partial"))


def test_training_learns_and_the_saved_model_is_the_trained_one(make_store, tmp_path):
    store = make_store(world(noise=0.3))
    recipe = small_recipe("epochs=6", "lr=0.01")
    split = split_by_fractions(store)
    data = open_data(recipe, store, split)
    run = open_run(tmp_path / "run", recipe, store, split)
    state = train(recipe, data, run)
    val = [entry["val"] for entry in history(run)]
    assert val[-1]["cos"] > val[0]["cos"] + 0.1
    assert val[-1]["mse"] == pytest.approx(val[-1]["loss"])
    batch = gather(data.val, data.rows)
    loaded = load_model(run / "epochs" / "006")
    assert torch.equal(loaded.predict(batch.context_BCD), state.model.predict(batch.context_BCD))
    # val's figures against the definition (SPEC §2), on the loaded model.
    pred_BD, raw_BD = (x.double() for x in loaded.predict_with_raw(batch.context_BCD))
    target_BD = batch.target_BD.double()
    assert val[-1]["cos"] == pytest.approx((pred_BD * target_BD).sum(-1).mean().item(), abs=1e-6)
    assert val[-1]["mse"] == pytest.approx((raw_BD - target_BD).square().mean().item(), rel=1e-5)


def test_one_seed_one_run_to_the_bit(store, tmp_path):
    one, same = (run_here(small_recipe(), store, tmp_path / name) for name in ("one", "same"))
    other = run_here(small_recipe("seed=1"), store, tmp_path / "other")
    for epoch in (1, 2, 3):
        assert weights(one, epoch) == weights(same, epoch)
        assert weights(one, epoch) != weights(other, epoch)
    assert history(one) == history(same)
    assert history(one) != history(other)


def test_killed_and_resumed_equals_uninterrupted(make_store, store, tmp_path):
    """kill −9 of a real `segue train` in the middle of an epoch; then --resume."""
    sets = [word for text in (*SMALL, "epochs=6", "batch=8") for word in ("--set", text)]
    command = [sys.executable, "-c", "from segue.cli import main; main()", "train", "p1", *sets]
    command += ["--data", store.path, "--out", tmp_path / "killed", "--threads", "1", "--device", "cpu"]
    process = subprocess.Popen([*map(str, command)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    second = tmp_path / "killed" / "epochs" / "002" / "manifest.json"
    deadline = time.monotonic() + 120
    while not second.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not is_finished(tmp_path / "killed")
    assert checkpoint.newest(tmp_path / "killed") < 6
    # What a kill between the history's line and the checkpoint leaves.
    with (tmp_path / "killed" / "history.jsonl").open("a") as file:
        file.write('{"epoch": 4, "half a li')
    (tmp_path / "killed" / "epochs" / "009").mkdir()
    recipe = small_recipe("epochs=6", "batch=8")
    whole = run_here(recipe, store, tmp_path / "whole")
    resumed = run_here(recipe, store, tmp_path / "killed", resume=True)
    assert history(resumed) == history(whole)
    for epoch in range(1, 7):
        assert weights(resumed, epoch) == weights(whole, epoch)
    for name in ("optimiser.safetensors", "state.json"):
        assert (resumed / "epochs/006" / name).read_bytes() == (whole / "epochs/006" / name).read_bytes()
    assert (resumed / "best").readlink() == (whole / "best").readlink()
    assert is_finished(resumed)


def test_resume_keeps_plateau_and_rate(store, tmp_path):
    """A rate that was halved before the kill stays halved after it."""
    recipe = small_recipe("epochs=4", "plateau={factor: 0.5, patience: 0}", "lr=1e-9")
    whole = run_here(recipe, store, tmp_path / "whole")
    run = cut_short(recipe, store, tmp_path / "killed", epoch=3)
    assert len(history(run)) == 3
    resumed = run_here(recipe, store, run, resume=True)
    assert history(resumed) == history(whole)
    assert history(whole)[-1]["lr"] == 2.5e-10
    assert any("plateau" in event for entry in history(whole) for event in entry["events"])


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_recipe_steps(name, make_store, tmp_path):
    """Two steps of the recipe as it stands, model and all."""
    store = make_store(world(documents=3))
    recipe = resolve(name, ["epochs=1", "batch=25"])
    run = run_here(recipe, store, tmp_path / "run", finish=False)
    assert history(run)[0]["val"]["cos"] is not None


@pytest.mark.parametrize("name", shipped())
def test_every_epoch_of_every_shipped_recipe_steps(name, make_store):
    """A small network through each epoch's weights, margins and context: a schedule that breaks at its tenth epoch."""
    store = make_store(world(documents=3))
    small_already = name in ("onward-faces", "onward-transfer")  # and no other family has two heads
    recipe = resolve(name, [] if small_already else SMALL[:1])
    rows = Rows(store)
    batch = gather(windows_of(store, np.arange(3), recipe.context, recipe.horizon), rows)
    state = new_state(recipe, store.space)
    objective = Objective(recipe.objective, rows, recipe.context_drop)
    seen: set[str] = set()
    for epoch in range(1, recipe.epochs + 1):
        step = objective(state.model.train(), batch, epoch)
        state.update(step.total, 0)
        seen |= set(step.values)
    late = {"anti_copy"} if name == "p2" else set()  # a tripwire's
    assert seen == set(recipe.objective) - late


def test_a_model_of_whole_documents_trains_on_them(make_store, tmp_path):
    """`causal` through the same loop, under context_drop and guards: it learns, and what is saved was trained."""
    store = make_store(world(noise=0.3))
    model = "model={family: causal, width: 16, layers: 1, heads: 2, feed_forward: 16}"
    recipe = resolve("p3", [model, "epochs=6", "lr=0.01", "objective.directional.weight=0.002"])
    split = split_by_fractions(store)
    data = open_data(recipe, store, split)
    run = open_run(tmp_path / "run", recipe, store, split)
    state = train(recipe, data, run)
    val = [entry["val"] for entry in history(run)]
    assert val[-1]["cos"] > val[0]["cos"] + 0.1
    document_ND = data.rows(np.arange(LENGTH))
    loaded = load_model(run / "epochs" / "006")
    assert torch.equal(loaded.predict(document_ND[None, :9]), state.model.predict(document_ND[None, :9]))
    # VAL's cos is of whole documents so far, as 5CAT hands them.
    wanted = []
    for window in range(len(data.val)):
        one = data.val.take(np.array([window]))
        so_far = data.rows(np.arange(one.last_W[0] - one.earlier_W[0], one.last_W[0] + 1))
        wanted.append((loaded.predict(so_far[None]) @ data.rows(one.target_rows())[0]).item())
    assert val[-1]["cos"] == pytest.approx(np.mean(wanted), abs=1e-5)


def test_bf16_autocast_trains_float32_weights(store, tmp_path):
    full, half = (
        run_here(small_recipe(f"precision={precision}"), store, tmp_path / precision) for precision in ("fp32", "bf16")
    )
    assert weights(full, 3) != weights(half, 3)
    assert all(tensor.dtype == torch.float32 for tensor in load_model(half).state_dict().values())
    assert history(half)[-1]["val"]["cos"] == pytest.approx(history(full)[-1]["val"]["cos"], abs=0.02)
    assert chosen("auto", torch.device("cpu")) in ("fp32", "bf16")
    assert chosen("fp32", torch.device("cpu")) == "fp32"


def test_events_are_written_where_tensorboard_is_and_missed_where_not(store, tmp_path, monkeypatch):
    recipe = small_recipe("epochs=1")
    assert list((run_here(recipe, store, tmp_path / "with") / "events").glob("events.out.tfevents.*"))
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorboard" else find(name))
    without = run_here(recipe, store, tmp_path / "without")
    assert not (without / "events").exists()
    assert history(without) == history(tmp_path / "with")


def test_divergence_keeps_the_finished_epochs_and_no_manifest(store, tmp_path, monkeypatch):
    from segue.objectives.regression import MeanSquaredError

    whole = MeanSquaredError.value
    monkeypatch.setattr(
        MeanSquaredError, "value", lambda self, made: whole(self, made) * (float("nan") if made.epoch == 2 else 1)
    )
    with pytest.raises(DivergedError, match="epoch 2"):
        run_here(small_recipe(), store, tmp_path / "run")
    assert not is_finished(tmp_path / "run")
    assert len(history(tmp_path / "run")) == 1
    model = load_model(tmp_path / "run")
    batch = gather(windows_of(store, [0]), Rows(store))
    assert model.predict(batch.context_BCD).isfinite().all()


def test_a_resume_with_other_inputs_is_refused(make_store, store, tmp_path):
    run = run_here(small_recipe("epochs=1"), store, tmp_path / "run", finish=False)
    before = (run / "history.jsonl").read_bytes()
    other = make_store(world(seed=2), name="other")
    wider = make_store(world(dim=18), name="wider")
    encoder = make_store(world(), name="encoder", encoder="another")
    split = split_by_fractions(store, seed=3)
    recipe = small_recipe("epochs=1")
    for found, said in [
        (lambda: open_run(run, recipe, store, split_by_fractions(store)), "--resume"),
        (lambda: run_here(small_recipe("epochs=2"), store, run, resume=True), "epochs = 1, found 2"),
        (lambda: run_here(small_recipe("epochs=1", "objective.mse.weight=2"), store, run, resume=True), "mse.weight"),
        (lambda: run_here(recipe, other, run, resume=True), "store of hash"),
        (lambda: run_here(recipe, wider, run, resume=True), "18 wide"),
        (lambda: run_here(recipe, encoder, run, resume=True), "another-16"),
        (lambda: open_run(run, recipe, store, split, resume=True), "split of hash"),
    ]:
        with pytest.raises(InputError) as refused:
            found()
        assert said in str(refused.value)
        assert "\n" not in str(refused.value)
    assert (run / "history.jsonl").read_bytes() == before


def test_windows_that_are_not_there(make_store, tmp_path, caplog):
    recipe = small_recipe()
    store = make_store([document[:4] for document in world()], name="short")
    with pytest.raises(InputError, match="none of the 19 train documents has 6 chunks in a row"):
        open_data(recipe, store, split_by_fractions(store))
    store = make_store([document[: 4 if i == 3 else 30] for i, document in enumerate(world())], name="mixed")
    with caplog.at_level("WARNING", logger="segue"):
        open_data(recipe, store, split_by_fractions(store))
    assert "1 of 19 documents are shorter than a window (6 chunks)" in caplog.text
