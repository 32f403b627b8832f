"""Every term: its value and gradient against float64, and that it moves the model."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from segue.models import LatentModel, build_model
from segue.models.amn import AttentionMixtureOptions
from segue.objectives import TERMS, Objective, Pass
from segue.objectives.regression import MeanSquaredError
from segue.vectors import Space
from segue.windows import windows_of
from segue.windows.batches import Batch, batches

DIM = 6


@pytest.fixture
def model() -> LatentModel:
    torch.manual_seed(0)
    return build_model("amn", Space("test", DIM), AttentionMixtureOptions(attention=4, hidden=5, bottleneck=4))


@pytest.fixture
def batch(make_store) -> Batch:
    from segue.windows.rows import Rows

    store = make_store([np.random.default_rng(seed).normal(size=(9, DIM)) for seed in range(3)])
    return next(batches(windows_of(store, np.arange(3)), Rows(store), 8, seed=0, epoch=1))


# name → the term's value in float64, written apart from the code: (raw_BD, target_BD) → scalar
SLOW = {
    "mse": lambda raw, target: (
        sum((raw[b, d] - target[b, d]) ** 2 for b in range(raw.shape[0]) for d in range(raw.shape[1])) / raw.size
    ),
}


def test_every_term_is_tested_here():
    assert set(SLOW) == set(TERMS)


@pytest.mark.parametrize("name", TERMS)
def test_value_and_gradient_against_float64(name, model, batch):
    made = Pass.of(model, batch, epoch=1)
    leaf_BD = made.raw_BD.detach().requires_grad_()
    value = TERMS[name](weight=1).value(Pass(model, batch, leaf_BD, 1))
    value.backward()
    raw, target = leaf_BD.detach().double().numpy(), batch.target_BD.double().numpy()
    assert value.item() == pytest.approx(SLOW[name](raw, target), rel=1e-5)
    step = 1e-6
    for b, d in [(0, 0), (3, 5), (7, 2)]:
        nudge = np.zeros_like(raw)
        nudge[b, d] = step
        slope = (SLOW[name](raw + nudge, target) - SLOW[name](raw - nudge, target)) / (2 * step)
        assert leaf_BD.grad[b, d].item() == pytest.approx(slope, rel=1e-3, abs=1e-7)


@pytest.mark.parametrize("name", TERMS)
def test_each_term_changes_the_gradient(name, model, batch):
    """Several guardrails of the original experiments were no-ops."""
    objective = Objective({name: TERMS[name](weight=1)})
    objective(model, batch, 1)["total"].backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert sum(parameter.grad.norm() for parameter in model.parameters()) > 1e-4


@pytest.mark.parametrize("name", TERMS)
def test_each_term_says_what_it_is(name):
    assert all(word in (TERMS[name].__doc__ or "") for word in ("value ", "inputs ", "source "))


def test_the_total_is_the_weighted_sum_and_weights_change_by_epoch(model, batch):
    objective = Objective(
        {"one": MeanSquaredError(weight=2), "late": MeanSquaredError(weight={1: 0, 3: 0.5}), "never": _never()}
    )
    early, late = objective(model, batch, 2), objective(model, batch, 3)
    assert set(early) == {"one", "cos", "total"}
    assert set(late) == {"one", "late", "cos", "total"}
    assert early["total"].item() == pytest.approx(2 * early["one"].item())
    assert late["total"].item() == pytest.approx(2.5 * early["one"].item())
    assert objective.weights(3) == {"one": 2, "late": 0.5, "never": 0}


def _never() -> MeanSquaredError:
    class NeverError(MeanSquaredError):
        def value(self, made):
            raise AssertionError("a term of weight 0 was computed")

    return NeverError(weight=0)


def test_cos_is_measured_and_not_minimised(model, batch):
    step = Objective({"mse": MeanSquaredError(weight=1)})(model, batch, 1)
    raw = model(batch.context_BCD).detach().double()
    target = batch.target_BD.double()
    wanted = ((raw * target).sum(-1) / raw.norm(dim=-1) / target.norm(dim=-1)).mean()
    assert step["cos"].item() == pytest.approx(wanted.item(), abs=1e-6)
    assert not step["cos"].requires_grad


@pytest.mark.parametrize("weight", [-1, {1: 1, 2: -0.5}, {"from": 1, "to": 2, "start": 1, "end": -1}, float("nan")])
def test_a_weight_below_0_is_refused(weight):
    with pytest.raises(ValidationError):
        MeanSquaredError(weight=weight)
