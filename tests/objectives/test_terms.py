"""Every term: its value and gradient against float64, and that it moves the model."""

import numpy as np
import pytest
import torch

from segue.models import LatentModel, build_model
from segue.models.amn import AttentionMixtureOptions
from segue.objectives import TERMS, Objective, Pass
from segue.vectors import Space
from segue.windows import windows_of
from segue.windows.batches import Batch, batches
from segue.windows.rows import Rows

DIM = 6


@pytest.fixture
def model() -> LatentModel:
    torch.manual_seed(0)
    return build_model("amn", Space("test", DIM), AttentionMixtureOptions(attention=4, hidden=5, bottleneck=4))


@pytest.fixture
def batch(make_store) -> Batch:
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
    rows = Rows(batch.windows.store)
    made = Pass.of(model, batch, 1, rows)
    leaf_BD = made.raw_BD.detach().requires_grad_()
    value = TERMS[name](weight=1).value(Pass(model, batch, leaf_BD, 1, rows))
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
    objective = Objective({name: TERMS[name](weight=1)}, Rows(batch.windows.store))
    objective(model, batch, 1).total.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert sum(parameter.grad.norm() for parameter in model.parameters()) > 1e-4


@pytest.mark.parametrize("name", TERMS)
def test_each_term_says_what_it_is(name):
    assert all(word in (TERMS[name].__doc__ or "") for word in ("value ", "inputs ", "source "))
