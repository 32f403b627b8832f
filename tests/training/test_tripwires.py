"""Tripwires: each condition by hand, each action in real training."""

import shutil
from pathlib import Path

import pytest
import torch
from runs import SMALL, history, run_here, segue, small_recipe, weights, world
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wires import ALWAYS, NEVER, TERMS, killed, wire, wired

from segue.alignment import Part
from segue.alignment.figures import figures
from segue.alignment.measure import measure
from segue.artifacts import read_manifest
from segue.errors import InputError
from segue.models import load_model
from segue.objectives import Objective
from segue.recipe import resolve
from segue.statistics import DocumentBootstrap
from segue.training import checkpoint, open_data, open_run, train
from segue.training.state import new_state
from segue.training.trips import asks_rollout, tripped
from segue.training.tripwires import Condition, When
from segue.windows import split_by_fractions


@pytest.fixture
def store(make_store):
    return make_store(world())


# Conditions


@pytest.mark.parametrize(
    ("written", "values", "met"),
    [
        ({"metric": "cos", "below": 0.45}, [0.44], True),
        ({"metric": "cos", "below": 0.45}, [0.45], False),
        ({"metric": "cos", "at_most": 0.45}, [0.45], True),
        ({"metric": "cos", "above": 0.45}, [0.45], False),
        ({"metric": "cos", "at_least": 0.45}, [0.45], True),
        ({"metric": "cos", "below": 0.45}, [None], False),
        ({"metric": "cos", "falls_by": 0.05}, [0.540, 0.512], True),  # .540 · .95 = .513
        ({"metric": "cos", "falls_by": 0.05}, [0.540, 0.514], False),
        ({"metric": "margin", "falls_by": 0.05}, [-0.100, -0.106], True),  # 5 % of its size, also below 0
        ({"metric": "margin", "falls_by": 0.05}, [-0.100, -0.104], False),
        ({"metric": "cos", "falls_by": 0.05}, [0.5], False),  # nothing to compare with
        ({"metric": "cos", "falls_by": 0.05}, [None, 0.1], False),
        ({"metric": "margin", "regresses_by": 0.05, "running": 2}, [0.2, 0.14, 0.08], True),
        ({"metric": "margin", "regresses_by": 0.05, "running": 2}, [0.2, 0.16, 0.08], False),
        ({"metric": "margin", "regresses_by": 0.05, "running": 2}, [0.2, 0.08], False),
        ({"metric": "margin", "regresses_by": 0.05}, [0.2, 0.14], True),
        ({"metric": "loss", "regresses_by": 0.05}, [0.2, 0.26], True),  # of a loss, more is worse
        ({"metric": "loss", "regresses_by": 0.05}, [0.2, 0.14], False),
        ({"metric": "peak", "not_horizon": True}, [0.0], True),
        ({"metric": "peak", "not_horizon": True}, [1.0], False),
    ],
)
def test_conditions_by_hand(written, values, met):
    by_epoch = {epoch: {written["metric"]: value} for epoch, value in enumerate(values, start=3)}
    found = Condition(**written).met(by_epoch, 2 + len(values), horizon=1)
    assert (found is not None) == met
    if met:
        assert f"{values[-1]:.4g}" in found


def test_all_any_and_the_epochs():
    both = [{"metric": "peak", "not_horizon": True}, {"metric": "margin", "at_most": 0}]
    seen = {4: {"peak": 0.0, "margin": 0.1}, 5: {"peak": 0.0, "margin": -0.1}}
    of_all, of_any = When(epochs=(4, 5), all=both), When(epochs=(4, None), any=both)
    assert [of_all.met(seen, epoch, 1) is not None for epoch in (4, 5)] == [False, True]
    assert [of_any.met(seen, epoch, 1) is not None for epoch in (4, 5)] == [True, True]
    only = When(epochs=5, metric="margin", below=9)
    assert [only.covers(epoch) for epoch in (4, 5, 6)] == [False, True, False]
    assert only.met(seen, 4, 1) is None and only.met(seen, 5, 1) is not None
    assert of_any.covers(500) and not of_all.covers(6)


# Actions


def test_one_that_never_trips_changes_not_a_bit(store, tmp_path):
    plain = run_here(small_recipe(*TERMS), store, tmp_path / "plain")
    with_one = run_here(
        small_recipe(*TERMS, wired(wire(NEVER, "roll_back_to: best, set: {lr: 1}"), wire(NEVER, "stop: failed", "b"))),
        store,
        tmp_path / "with",
    )
    assert history(with_one) == history(plain)
    for epoch in (1, 2, 3):
        assert weights(with_one, epoch) == weights(plain, epoch)
    assert read_manifest(with_one, "run")["tripped"] == []


@pytest.mark.parametrize(
    ("do", "same_as"),
    [
        ("set: {objective.mse.weight: 0.5}", ["objective.mse.weight={1: 1, 3: 0.5}"]),
        ("set: {objective.mse.weight: 0.5}, for: 1", ["objective.mse.weight={1: 1, 3: 0.5, 4: 1}"]),
        ("set: {objective.directional.weight: 0.1}, for: 2", ["objective.directional.weight={1: 0, 3: 0.1, 5: 0}"]),
        ("set: {objective.directional.margin: 0.3}", None),
        ("set: {context_drop: 0.5}, for: 1", ["context_drop={1: 0, 3: 0.5, 4: 0}"]),
        ("set: {curation: {forward_distinct: 0.5}}", ["curation={forward_distinct: {1: 1, 3: 0.5}}"]),
    ],
)
def test_a_field_is_really_set_from_the_next_epoch_on(store, tmp_path, do, same_as):
    """To the bit the run whose recipe says the same by epoch."""
    base = ("epochs=5", "objective.directional={weight: {1: 0, 4: 0.01}, margin: 0.1}")
    base = (*base, "objective.directional.weight=0") if "directional.weight" in do else base
    plain = run_here(small_recipe(*base), store, tmp_path / "plain")
    run = run_here(small_recipe(*base, wired(wire(f"epochs: 2, {ALWAYS}", do))), store, tmp_path / "run")
    assert weights(run, 2) == weights(plain, 2)
    assert weights(run, 5) != weights(plain, 5)
    told = [entry["events"] for entry in history(run)]
    assert [len(events) for events in told] == [0, 1, 0, 0, 0]
    assert told[1][0].startswith("tripwire wire: cos ") and "sets " in told[1][0]
    if same_as:
        same = run_here(small_recipe(*base, *same_as), store, tmp_path / "same")
        assert [weights(run, epoch) for epoch in range(1, 6)] == [weights(same, epoch) for epoch in range(1, 6)]
        for ours, theirs in zip(history(run), history(same), strict=True):
            assert {**ours, "events": []} == {**theirs, "events": []}


def test_lr_batch_clip_and_decay_are_really_set(store, tmp_path):
    do = "set: {lr: 0.001, batch: 100, gradient_clip: 1e-9, weight_decay: 0}"
    run = run_here(small_recipe("epochs=4", wired(wire(f"epochs: 2, {ALWAYS}", do))), store, tmp_path / "run")
    entries = history(run)
    assert [entry["lr"] for entry in entries] == [5e-4, 5e-4, 1e-3, 1e-3]
    assert [entry["steps"] for entry in entries] == [15, 15, 5, 5]
    one, other = (load_file(run / "epochs" / epoch / "optimiser.safetensors") for epoch in ("003", "004"))
    for name in (name for name in one if name.startswith("exp_avg/")):
        # Of gradients that are clipped to nothing only what was before them is left.
        torch.testing.assert_close(other[name], one[name] * 0.9**5, rtol=1e-3, atol=1e-7)


def test_at_most_once(store, tmp_path):
    run = run_here(small_recipe("epochs=4", wired(wire(ALWAYS, "set: {lr: 0.001}"))), store, tmp_path / "run")
    assert [len(entry["events"]) for entry in history(run)] == [1, 0, 0, 0]
    assert [(one["name"], one["epoch"]) for one in read_manifest(run, "run")["tripped"]] == [("wire", 1)]


@pytest.mark.parametrize(
    ("do", "trips"),
    [
        # Guards begin at epoch 4: p2's tripwire asks for none of them from epoch 3 on.
        ("set: {objective.directional.weight: 0}, for: 1", 3),
        ("set: {objective.directional.weight: 0}, for: 2", 2),
        ("set: {objective.directional.weight: {1: 0, 4: 0.01}}", None),  # what it is already
        ("set: {objective.directional.weight: {1: 0, 3: 0.02, 4: 0.01}}, for: 1", 2),
        ("set: {objective.future.margin: 0.3}", None),  # of a term that never weighs
        ("set: {lr: 0.0005}", 1),
    ],
)
def test_one_that_would_change_nothing_stays_armed(store, tmp_path, do, trips):
    """Guards a tripwire against being used up where it cannot act, as p2's was two epochs before there were guards."""
    terms = ("directional={weight: {1: 0, 4: 0.01}, margin: 0.1}", "future={weight: 0, margin: 0.1}")
    base = ("epochs=5", *(f"objective.{term}" for term in terms))
    run = run_here(small_recipe(*base, wired(wire(ALWAYS, do))), store, tmp_path / "run")
    assert [one["epoch"] for one in read_manifest(run, "run")["tripped"]] == [trips] * (trips is not None)


def test_of_two_that_set_the_same_the_second_stays_armed(store, tmp_path):
    do = "set: {objective.mse.weight: 0.5}"
    wires = (wire(f"epochs: 2, {ALWAYS}", do, "a"), wire(ALWAYS, do.replace("0.5", "0.7"), "b"), wire(ALWAYS, do, "c"))
    run = run_here(small_recipe("epochs=4", wired(*wires)), store, tmp_path / "run")
    # b and c at once; then a and c ask for what is.
    assert [(one["name"], one["epoch"]) for one in read_manifest(run, "run")["tripped"]] == [("b", 1), ("c", 1)]


def test_p2_drops_its_guards_once_there_are_some(store):
    state = new_state(resolve("p2", SMALL[:1]), store.space)
    trained, trips = {}, []
    for _ in range(11):
        effective = state.begin_epoch()
        trained[state.epoch] = list(effective.at(state.epoch)["objective"])
        for trip in tripped(state, {"cos": 0.47, "margin_last": -0.5, "peak": 0.0}):
            trip.apply(state)
            trips.append((state.epoch, trip.tripwire.name))
    assert trips == [(5, "guards against a copy that is not there"), (10, "still no margin")]
    plain, guards = ["mse", "residual_size"], ["directional", "future"]
    assert [trained[epoch] for epoch in (5, 6, 7, 10)] == [plain, plain, plain + guards, plain + guards]
    assert trained[11] == [*plain, *guards, "anti_copy"]


def restored(recipe, store, run: Path):
    """A new state, brought to where the run stands."""
    data = open_data(recipe, store, split_by_fractions(store))
    state = new_state(recipe, store.space)
    state.pursue(Objective(recipe.objective, data.rows, recipe.context_drop))
    checkpoint.restore(state, run)
    return state


BACK = (
    "epochs=5",
    *TERMS,
    "plateau={factor: 0.5, patience: 0}",
    "early_stop={metric: loss, better: lower, patience: 9}",
)


def test_a_rollback_restores_all_of_that_epoch(store, tmp_path):
    """Killed in the first epoch after it, the state is that of the epoch gone back to, and what was set stays."""
    recipe = small_recipe(
        *BACK,
        wired(
            wire(f"epochs: 2, {ALWAYS}", "set: {objective.mse.weight: 0.5}", "first"),
            wire(f"epochs: 4, {ALWAYS}", "roll_back_to: 1, set: {objective.mse.weight: 0.7}"),
        ),
    )
    run = killed(recipe, store, tmp_path / "run", lambda lines: len(lines) == 4)
    assert [path.name for path in sorted((run / "epochs").iterdir())] == ["001", "004"]  # 004 says that it went back
    assert (run / "best").readlink().as_posix() == "epochs/001"
    once = killed(small_recipe(*BACK), store, tmp_path / "once", lambda lines: len(lines) == 1)
    back, then = restored(recipe, store, run), restored(small_recipe(*BACK), store, once)
    assert (back.epoch, back.attempt, back.history, then.attempt) == (1, 2, 4, 1)
    for (name, ours), (_, theirs) in zip(back.named_parameters(), then.named_parameters(), strict=True):
        assert torch.equal(ours, theirs), name
        mine, its = back.optimiser.state[ours], then.optimiser.state[theirs]
        assert mine.keys() == its.keys() and all(torch.equal(mine[kind], its[kind]) for kind in mine), name
    assert any(name.startswith("heads.") for name, _ in back.named_parameters())
    assert (back.lr, back.plateau, back.patience) == (then.lr, then.plateau, then.patience)
    assert (back.best_epoch, back.best_value) == (then.best_epoch, then.best_value)
    assert back.objective.controls() == then.objective.controls() != {}
    assert list(back.watch.values) == ["1"]
    assert [one.name for one in back.watch.tripped] == ["first", "wire"]
    assert back.begin_epoch().objective["mse"].weight.at(2) == 0.7
    assert back.goes_on and back.go_back is None


def test_the_history_keeps_what_was_rolled_back_and_names_each_line(store, tmp_path):
    recipe = small_recipe("epochs=4", wired(wire(f"epochs: 3, {ALWAYS}", "roll_back_to: 1")))
    seen: dict[tuple[int, int], bytes] = {}
    split = split_by_fractions(store)
    run = open_run(tmp_path / "run", recipe, store, split)

    def keep(what, done, total, unit=""):
        for path in run.glob("epochs/*/weights.safetensors"):
            seen.setdefault((len(history(run)), int(path.parent.name)), path.read_bytes())

    train(recipe, open_data(recipe, store, split), run, keep)
    assert [(entry["attempt"], entry["epoch"]) for entry in history(run)] == [
        *((1, 1), (1, 2), (1, 3)),
        *((2, 2), (2, 3), (2, 4)),
    ]
    assert [path.name for path in sorted((run / "epochs").iterdir())] == ["001", "002", "003", "004"]
    # The same recipe from the same epoch: with the same draws it would go the same way again.
    assert seen[2, 2] != weights(run, 2)
    assert seen[1, 1] == weights(run, 1)
    assert "rolls back to epoch 1" in history(run)[2]["events"][0]
    events = EventAccumulator(str(run / "events")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("epoch")] == [*enumerate((1, 2, 3, 2, 3, 4), start=1)]
    # As long as it is armed the epoch keeps its moments; afterwards only the newest two do.
    assert [path.parent.name for path in sorted(run.glob("epochs/*/optimiser.safetensors"))] == ["003", "004"]


def test_back_to_the_best_epoch(store, tmp_path):
    """The best by a metric that gets worse, so epoch 1: long after its moments would have been dropped."""
    choice = ("epochs=5", "lr=0.01", "best={metric: loss, better: higher}")
    run = run_here(
        small_recipe(*choice, wired(wire(f"epochs: 4, {ALWAYS}", "roll_back_to: best"))), store, tmp_path / "run"
    )
    assert [entry["epoch"] for entry in history(run)] == [1, 2, 3, 4, 2, 3, 4, 5]
    manifest = read_manifest(run, "run")
    assert (manifest["best"]["epoch"], manifest["attempts"], manifest["epochs"]) == (1, 2, 5)


def test_the_best_epoch_itself_is_not_gone_back_to(store, tmp_path):
    choice = ("epochs=3", "lr=0.01", "best={metric: loss, better: lower}")
    run = run_here(
        small_recipe(*choice, wired(wire(f"epochs: 2, {ALWAYS}", "roll_back_to: best"))), store, tmp_path / "run"
    )
    losses = [entry["val"]["loss"] for entry in history(run)]
    assert losses[1] < losses[0]
    assert [entry["epoch"] for entry in history(run)] == [1, 2, 3]
    assert read_manifest(run, "run")["tripped"] == []


def test_of_two_rollbacks_the_furthest_and_the_best_of_then_keeps_its_moments(store, tmp_path):
    """Best is 1, then by another sign 4: after going back to 2 the best is 1 again, and can be gone back to."""
    recipe = small_recipe(
        "epochs=5",
        "lr=0.01",
        "best={metric: loss, better: higher}",
        wired(
            wire(f"epochs: 3, {ALWAYS}", "roll_back_to: 2", "a"),
            wire(f"epochs: 4, {ALWAYS}", "roll_back_to: best", "b"),
            wire(f"epochs: 4, {ALWAYS}", "roll_back_to: 3", "c"),
        ),
    )
    run = run_here(recipe, store, tmp_path / "run")
    assert [entry["epoch"] for entry in history(run)] == [1, 2, 3, 3, 4, 2, 3, 4, 5]
    assert [entry["attempt"] for entry in history(run)] == [1, 1, 1, 2, 2, 3, 3, 3, 3]


def test_a_rollback_to_an_epoch_that_is_gone_is_said(store, tmp_path):
    recipe = small_recipe("epochs=5", wired(wire(f"epochs: 4, {ALWAYS}", "roll_back_to: 1")))
    run = tmp_path / "run"
    with pytest.raises(InputError, match="001: missing or not whole, and a tripwire rolls back to it"):
        split = split_by_fractions(store)

        def lose(entry):
            if entry["epoch"] == 3:
                shutil.rmtree(run / "epochs" / "001")

        train(recipe, open_data(recipe, store, split), open_run(run, recipe, store, split), listen=lose)


# Stops


GATE = wire(f"epochs: 2, any: [{{{NEVER}}}, {{metric: rollout, below: 2}}]", "stop: stage A did not pass")


def test_a_gate_stops_with_its_verdict(store, tmp_path):
    run = run_here(small_recipe("epochs=4", wired(GATE)), store, tmp_path / "run")
    plain = run_here(small_recipe("epochs=4"), store, tmp_path / "plain")
    assert [entry["epoch"] for entry in history(run)] == [1, 2]
    assert weights(run, 2) == weights(plain, 2)
    manifest = read_manifest(run, "run")
    assert manifest["stopped"] == {"tripwire": "wire", "verdict": "stage A did not pass"}
    assert manifest["epochs"] == 2
    assert "stops: stage A did not pass" in history(run)[1]["events"][0]
    assert read_manifest(plain, "run")["stopped"] is None
    # The rollout is measured where the gate asks for it, and nowhere else.
    assert [entry["val"]["rollout"] is None for entry in history(run)] == [True, False]


def command(monkeypatch, store, out: Path, *arguments: object, epochs: int = 4) -> int:
    sets = [word for text in (*SMALL, f"epochs={epochs}", wired(GATE)) for word in ("--set", text)]
    where = ("--data", store.path, "--out", out, "--device", "cpu", "--threads", 1, "--samples", 0)
    return segue(monkeypatch, "train", "p1", *sets, *where, *arguments)


def test_force_goes_on_from_the_start_or_after_the_stop(store, tmp_path, monkeypatch, capsys):
    assert command(monkeypatch, store, tmp_path / "stopped") == 0
    assert "stopped: stage A did not pass" in " ".join(capsys.readouterr().out.split())
    assert command(monkeypatch, store, tmp_path / "stopped", "--resume") == 0
    assert "nothing to resume" in capsys.readouterr().err
    (tmp_path / "stopped" / "notes.md").write_text("stopped by tripwire")
    assert command(monkeypatch, store, tmp_path / "stopped", "--resume", "--force") == 0
    assert not (tmp_path / "stopped" / "notes.md").exists()
    assert "goes on by --force" in capsys.readouterr().err
    assert command(monkeypatch, store, tmp_path / "forced", "--force") == 0
    plain = run_here(small_recipe("epochs=4"), store, tmp_path / "plain")
    for run in (tmp_path / "stopped", tmp_path / "forced"):
        assert [entry["epoch"] for entry in history(run)] == [1, 2, 3, 4]
        assert weights(run, 4) == weights(plain, 4)
        assert read_manifest(run, "run")["stopped"] is None
        assert [one["name"] for one in read_manifest(run, "run")["tripped"]] == ["wire"]
    assert "does not stop (stage A did not pass): --force" in history(tmp_path / "forced")[1]["events"][0]


def test_resumed_with_other_tripwires_is_refused_by_their_names(store, tmp_path):
    one, other = wire(NEVER, "stop: failed", "a"), wire(NEVER, "stop: failed", "b")
    run = run_here(small_recipe("epochs=1", wired(one)), store, tmp_path / "run", finish=False)
    with pytest.raises(InputError, match=r"began with tripwires\.b = None, found \{'name': 'b', "):
        run_here(small_recipe("epochs=1", wired(one, other)), store, run, resume=True)


def test_a_stop_outweighs_a_rollback(store, tmp_path):
    wires = wired(wire(f"epochs: 2, {ALWAYS}", "roll_back_to: 1", "back"), GATE)
    run = run_here(small_recipe("epochs=4", wires), store, tmp_path / "run")
    assert [entry["epoch"] for entry in history(run)] == [1, 2]
    assert read_manifest(run, "run")["attempts"] == 1


def test_early_stop(store, tmp_path):
    """By a metric that gets worse each epoch: two epochs after the first."""
    stop = "early_stop={metric: loss, better: higher, patience: 2}"
    run = run_here(small_recipe("epochs=9", "lr=0.01", stop), store, tmp_path / "run")
    assert [entry["epoch"] for entry in history(run)] == [1, 2, 3]
    assert read_manifest(run, "run")["stopped"] == {"tripwire": None, "verdict": "loss was no better for 2 epochs"}
    assert history(run)[-1]["events"] == ["early stop: loss was no better for 2 epochs"]
    whole = run_here(small_recipe("epochs=4", "lr=0.01", stop.replace("2}", "4}")), store, tmp_path / "whole")
    assert [entry["epoch"] for entry in history(whole)] == [1, 2, 3, 4]
    assert weights(whole, 3) == weights(run, 3)


def test_bad_tripwires_are_one_line_and_no_run(store, tmp_path, monkeypatch, capsys):
    bad = wired(wire(ALWAYS, "set: {objective.mse.wieght: 1}"))
    assert command(monkeypatch, store, tmp_path / "run", "--set", bad) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and '"objective.mse.weight"' in said[0]
    assert not (tmp_path / "run").exists()


def test_back_to_best_is_by_choice(store, tmp_path, monkeypatch):
    """And it is written into the run's recipe, so that a resume wants it too."""
    assert command(monkeypatch, store, tmp_path / "run", "--back-to-best", epochs=1) == 0
    written = (tmp_path / "run" / "recipe.yaml").read_text()
    assert "margin regresses" in written and "roll_back_to: best" in written and "name: wire" in written


# The metric


def test_rollout_is_the_full_tests(store, tmp_path):
    recipe = small_recipe("epochs=1", "expectations=[{epoch: 1, metric: rollout, low: 0.5}]")
    run = run_here(recipe, store, tmp_path / "run")
    windows = open_data(recipe, store, split_by_fractions(store)).val.sample(500, seed=0)
    part = Part("VAL", windows, windows.documents)
    measured = measure({"": load_model(run)}, part)
    full = figures(measured, 0, windows, DocumentBootstrap(windows.document_W, resamples=0), 5)
    wanted = full.result(("rollout", "mean")).value
    assert history(run)[0]["val"]["rollout"] == pytest.approx(wanted, abs=1e-6)


def test_when_the_rollout_is_asked_for():
    gate = wire("epochs: 4, metric: rollout, falls_by: 0.1", "roll_back_to: best")
    asked = {
        "best={metric: rollout, better: higher}": {1, 2, 3, 4, 5},
        "early_stop={metric: rollout, better: higher, patience: 2}": {1, 2, 3, 4, 5},
        "expectations=[{epoch: 3, metric: rollout}]": {3},
        wired(gate): {3, 4},
        "epochs=5": set(),
    }
    for sets, epochs in asked.items():
        recipe = small_recipe("epochs=5", sets)
        assert {epoch for epoch in range(1, 6) if asks_rollout(recipe, epoch)} == epochs
