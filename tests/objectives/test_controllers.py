"""Controllers: slow, bounded, and still there when they are needed again."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from segue.models import build_model
from segue.models.amn import AttentionMixtureOptions
from segue.objectives import Objective
from segue.objectives.controllers import RATE, Rho, RhoState, Skip
from segue.objectives.regression import MeanSquaredError
from segue.vectors import Space
from segue.windows import windows_of
from segue.windows.batches import batches
from segue.windows.rows import Rows

RHO = Rho(rho=0.2, least=1e-4, most=0.05, cap=0.3)


def run(terms, mse=0.002, rho=RHO, state=None):
    """The weight after each step of a series of the term's values."""
    state = state or RhoState(rho.least)
    weights = []
    for term in terms:
        state.follow(rho, rho.rho.at(1), term, mse)
        weights.append(state.weight)
    return np.array(weights), state


def test_it_reaches_the_target():
    """Weight · term / mse = ρ: .2 · .002 / .04 = .01."""
    weights, _ = run([0.04] * 1000)
    assert weights[-1] == pytest.approx(0.01, rel=1e-3)


def test_it_moves_slowly():
    weights, _ = run(np.random.default_rng(0).uniform(0.001, 1, 500))
    steps = weights[1:] / weights[:-1]
    assert steps.max() <= 1 + RATE + 1e-12 and steps.min() >= 1 / (1 + RATE) - 1e-12


def test_it_does_not_explode_when_the_term_is_satisfied():
    """The raw ratio ρ · mse / term would be 4e8 here; and when the term comes back, the cap holds at its first step."""
    _, state = run([0.04] * 1000)
    weights, state = run([1e-12] * 5000, state=state)
    assert weights.max() <= RHO.most
    weights, state = run([0.0] * 5000, state=state)
    assert np.isfinite(weights).all() and weights.max() <= RHO.most
    assert state.capped(0.3, 0.04, 0.002) * 0.04 / 0.002 == pytest.approx(0.3)
    weights, state = run([0.04] * 2000, state=state)
    assert weights[-1] == pytest.approx(0.01, rel=1e-3)


def test_it_stays_within_its_bounds():
    low, _ = run([1e6] * 2000)
    high, _ = run([1e-6] * 2000)
    assert low[-1] == RHO.least and high[-1] == RHO.most


def test_a_cap_above_the_ratio_changes_nothing():
    assert RhoState(0.01).capped(0.3, 0.04, 0.002) == 0.01
    assert RhoState(0.01).capped(None, 40.0, 0.002) == 0.01


@pytest.mark.parametrize(
    "fields",
    [
        {"rho": 0.2, "least": 0.1, "most": 0.05},
        {"rho": -0.2, "least": 0.01, "most": 0.05},
        {"rho": 0.2, "least": 0, "most": 0.05},
        {"rho": 0.2, "least": 0.01, "most": 0.05, "cap": 0},
        {"rho": 0.2, "least": 0.01},
        {"rho": 0.2, "least": 0.01, "most": 0.05, "capp": 1},
    ],
)
def test_what_cannot_be_is_refused(fields):
    with pytest.raises(ValidationError):
        MeanSquaredError(weight=fields)


@pytest.mark.parametrize(
    ("target", "last", "left_out"), [(-0.01, 0.5, True), (0.01, 0.5, False), (0.04, -0.06, True), (0.06, -0.06, False)]
)
def test_skip(target, last, left_out):
    made = SimpleNamespace(cos_target_B=torch.tensor([target, target]), cos_last_B=torch.tensor([last, last]))
    assert Skip(cos=0, low=0.05, last=-0.05).holds(made) is left_out


@pytest.fixture
def trained(make_store):
    """A model, batches and the way to make an objective for them."""
    torch.manual_seed(0)
    store = make_store([np.random.default_rng(seed).normal(size=(9, 6)) for seed in range(3)])
    model = build_model("amn", Space("test", 6), AttentionMixtureOptions(attention=4, hidden=5, bottleneck=4)).train()
    rows = Rows(store)
    every = list(batches(windows_of(store, np.arange(3)), rows, 4, seed=0, epoch=1))
    return model, every, lambda **terms: Objective(terms, rows)


def test_in_training_the_weight_follows_and_a_checkpoint_goes_on_alike(trained):
    model, every, objective_of = trained
    controlled = MeanSquaredError(weight={"rho": {1: 0.5, 2: 0.0}, "least": 1e-3, "most": 2, "cap": None})
    plain = MeanSquaredError(weight=1)
    first, again = (objective_of(mse=plain, extra=controlled) for _ in range(2))
    weights = [first(model, one, 1).weights["extra"] for one in every]
    assert weights == pytest.approx([1e-3 * (1 + RATE) ** n for n in range(1, len(every) + 1)])
    again.restore(first.controls())
    assert first(model, every[0], 1).weights == again(model, every[0], 1).weights
    assert "extra" not in first(model, every[0], 2).values  # a target of 0 is off


def test_validation_moves_no_weight(trained):
    model, every, objective_of = trained
    objective = objective_of(mse=MeanSquaredError(weight={"rho": 0.5, "least": 1e-3, "most": 2}))
    before = objective.controls()
    model.eval()
    objective(model, every[0], 1)
    assert objective.controls() == before


def test_a_skipped_term_adds_nothing(trained):
    model, every, objective_of = trained
    never, always = {"cos": -1, "low": -1, "last": -1}, {"cos": 1, "low": 1, "last": 1}
    plain = objective_of(mse=MeanSquaredError(weight=1))(model, every[0], 1)
    for skip, names, factor in ((never, (), 3), (always, ("guard",), 1)):
        terms = {"mse": MeanSquaredError(weight=1), "guard": MeanSquaredError(weight=2, skip=skip)}
        step = objective_of(**terms)(model, every[0], 1)
        assert step.skipped == names
        assert step.total.item() == pytest.approx(factor * plain.total.item())
