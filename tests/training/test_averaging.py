"""Weights averaged over steps: against the formula, against the run without it, and through a kill."""

import pytest
import torch
from runs import cut_short, history, run_here, small_recipe, weights, world
from safetensors.numpy import load_file
from torch import nn

from segue.models import load_model
from segue.training import open_data
from segue.training.averaging import Averaged
from segue.training.checkpoint import TRAINED
from segue.training.state import new_state
from segue.windows import split_by_fractions

AVERAGED = small_recipe("averaging=0.9", "batch=8", "lr=0.01")


@pytest.fixture
def store(make_store):
    return make_store(world())


def test_the_average_against_its_formula():
    model = nn.Linear(3, 2)
    averaged, seen = Averaged(model, 0.8), [model.weight.detach().double().clone()]
    for step in range(30):
        with torch.no_grad():
            model.weight.add_(torch.randn(2, 3, generator=torch.Generator().manual_seed(step)))
        averaged.update()
        seen.append(model.weight.detach().double().clone())
    wanted = seen[0]
    for n, weight in enumerate(seen[1:]):
        keep = min(0.8, (1 + n) / (10 + n))
        wanted = keep * wanted + (1 - keep) * weight
    last = model.weight.detach().clone()
    with averaged.worn():
        torch.testing.assert_close(model.weight.detach().double(), wanted, rtol=1e-5, atol=1e-5)
        assert torch.equal(averaged.trained()["weight"], last)
    assert torch.equal(model.weight, last)


def test_it_begins_from_what_the_model_was_fitted_to(store):
    """Not from the random numbers that stood there before: a tenth of them was left after the first step."""
    recipe = small_recipe("averaging=0.9", "model.codes=4", "objective={mse: null, next_code: {weight: 1}}")
    data = open_data(recipe, store, split_by_fractions(store))
    state = new_state(recipe, store.space)
    state.prepare(data.train, data.rows)
    fitted = state.model.codes.logit.weight.detach().clone()
    with state.averaged():
        assert torch.equal(state.model.codes.logit.weight, fitted)


def test_it_changes_what_is_saved_and_nothing_of_the_training(store, tmp_path):
    """What the average is of are the weights of the run without one, to the bit; VAL is of the average."""
    plain = run_here(AVERAGED.model_copy(update={"averaging": None}), store, tmp_path / "plain")
    averaged = run_here(AVERAGED, store, tmp_path / "averaged")
    for epoch in (2, 3):
        trained = load_file(averaged / "epochs" / f"{epoch:03d}" / "optimiser.safetensors")
        for name, weight in load_file(plain / "epochs" / f"{epoch:03d}" / "weights.safetensors").items():
            assert (trained[f"{TRAINED}/{name}"] == weight).all()
    assert weights(averaged, 3) != weights(plain, 3)
    assert [entry["train"] for entry in history(averaged)] == [entry["train"] for entry in history(plain)]
    assert all(a["val"]["cos"] != b["val"]["cos"] for a, b in zip(history(averaged), history(plain), strict=True))
    data = open_data(AVERAGED, store, split_by_fractions(store))
    model, targets = load_model(averaged / "epochs" / "003"), data.rows(data.val.target_rows())
    contexts = torch.stack([data.rows(range(last - 4, last + 1)) for last in data.val.last_W])
    assert history(averaged)[-1]["val"]["cos"] == pytest.approx(
        (model.predict(contexts) * targets).sum(-1).mean().item()
    )


def test_after_a_rollback_training_goes_on_from_the_weights_not_from_their_average(store, tmp_path):
    """As the run without an average does, to the bit, at rates of its own place in the run."""
    wire = "{name: back, when: {epochs: 3, metric: cos, below: 2}, do: {roll_back_to: 1}}"
    averaged = small_recipe(
        "averaging=0.9", "batch=8", "lr_schedule={warmup: 0.1, decay: cosine}", f"tripwires=[{wire}]"
    )
    runs = {
        name: run_here(averaged.model_copy(update={"averaging": decay}), store, tmp_path / name)
        for name, decay in (("plain", None), ("averaged", 0.9))
    }
    assert [entry["epoch"] for entry in history(runs["averaged"])] == [1, 2, 3, 2, 3]
    trained = load_file(runs["averaged"] / "epochs/003/optimiser.safetensors")
    for name, weight in load_file(runs["plain"] / "epochs/003/weights.safetensors").items():
        assert (trained[f"{TRAINED}/{name}"] == weight).all()


def test_a_killed_run_goes_on_to_the_bit(store, tmp_path):
    recipe = AVERAGED.model_copy(update={"epochs": 4})
    whole = run_here(recipe, store, tmp_path / "whole")
    run = cut_short(recipe, store, tmp_path / "killed", epoch=3)
    resumed = run_here(recipe, store, run, resume=True)
    assert history(resumed) == history(whole)
    for name in ("weights.safetensors", "optimiser.safetensors", "state.json"):
        assert (resumed / "epochs/004" / name).read_bytes() == (whole / "epochs/004" / name).read_bytes()
