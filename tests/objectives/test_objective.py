"""The sum of the terms, what the model is shown, and how each term's pull is measured."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from segue.models import LatentModel, build_model
from segue.models.amn import AttentionMixtureOptions
from segue.objectives import Objective, Pass, Schedule, Term, gradient_ratios
from segue.objectives.forward import some_hidden
from segue.objectives.regression import MeanSquaredError
from segue.vectors import Space
from segue.windows import windows_of
from segue.windows.batches import Batch, batches
from segue.windows.rows import Rows

DIM = 6


@pytest.fixture
def model() -> LatentModel:
    torch.manual_seed(0)
    return build_model("amn", Space("test", DIM), AttentionMixtureOptions(attention=4, hidden=5, bottleneck=4)).eval()


@pytest.fixture
def batch(make_store) -> Batch:
    store = make_store([np.random.default_rng(seed).normal(size=(9, DIM)) for seed in range(3)])
    return next(batches(windows_of(store, np.arange(3)), Rows(store), 8, seed=0, epoch=1))


@pytest.fixture
def rows(batch) -> Rows:
    return Rows(batch.windows.store)


class Leaning(Term):
    """cos(p, x_t), for windows whose target lies near: a term with a `kept` of its own."""

    def per_window(self, made):
        return made.cos_last_B

    def kept(self, made):
        return torch.arange(len(made.batch)) % 2 == 0


class NeverError(MeanSquaredError):
    def per_window(self, made):
        raise AssertionError("a term of weight 0 was computed")


def test_the_total_is_the_weighted_sum_and_weights_change_by_epoch(model, batch, rows):
    objective = Objective(
        {
            "one": MeanSquaredError(weight=2),
            "late": MeanSquaredError(weight={1: 0, 3: 0.5}),
            "never": NeverError(weight=0),
        },
        rows,
    )
    early, late = objective(model, batch, 2), objective(model, batch, 3)
    assert early.weights == {"one": 2} and late.weights == {"one": 2, "late": 0.5}
    assert early.total.item() == pytest.approx(2 * early.values["one"].item())
    assert late.total.item() == pytest.approx(2.5 * early.values["one"].item())


def test_a_term_is_the_mean_over_the_windows_it_applies_to(model, batch, rows):
    made = Pass.of(model, batch, 1, rows)
    raw, last = made.raw_BD.detach().double().numpy(), batch.context_BCD[:, -1].double().numpy()
    cos = [r @ x / np.linalg.norm(r) / np.linalg.norm(x) for r, x in zip(raw, last, strict=True)]
    assert Leaning(weight=1).value(made).item() == pytest.approx(np.mean(cos[::2]), abs=1e-6)

    class Nowhere(Leaning):
        def kept(self, made):
            return torch.zeros(len(made.batch), dtype=torch.bool)

    nothing = Nowhere(weight=1).value(made)
    assert nothing.item() == 0 and nothing.requires_grad


def test_adaptive_weighs_each_window(model, batch, rows):
    made = Pass.of(model, batch, 1, rows)
    target, last = batch.target_BD.double().numpy(), batch.context_BCD[:, -1].double().numpy()
    raw = made.raw_BD.detach().double().numpy()
    wanted = []
    for r, x, y in zip(raw, last, target, strict=True):
        wanted.append((1 + 1 / (1 + np.exp(-((x @ y) - 0.1) / 0.05))) * ((r - y) ** 2).mean())
    found = MeanSquaredError(weight=1, adaptive={"centre": 0.1, "width": 0.05}).value(made)
    assert found.item() == pytest.approx(np.mean(wanted), rel=1e-5)


def test_offsets_are_the_chunks_around_the_last(model, batch, rows):
    made = Pass.of(model, batch, 1, rows)
    chunks_BKD, exists_BK = made.offset(0, 1, 3)
    assert torch.equal(chunks_BKD[:, 0], made.last_BD) and torch.equal(chunks_BKD[:, 1], batch.target_BD)
    for b, row in enumerate(batch.windows.last_W):
        position = row % 9  # documents of nine chunks
        assert exists_BK[b].tolist() == [True, True, position + 3 < 9]
        if exists_BK[b, 2]:
            assert torch.equal(chunks_BKD[b, 2], rows(np.array([row + 3]))[0])
    assert not exists_BK[:, 2].all() and exists_BK[:, 2].any()


def test_context_drop_hides_the_last_chunk_from_the_model_alone(model, batch, rows):
    objective = Objective({"mse": MeanSquaredError(weight=1)}, rows, Schedule({1: 0, 2: 0.999}))
    honest = objective(model, batch, 2)  # in evaluation nothing is hidden
    model.train()
    torch.manual_seed(0)
    hidden = objective(model, batch, 2)
    model.eval()
    assert torch.equal(honest.made.raw_BD, model(batch.context_BCD))
    assert not torch.allclose(hidden.made.raw_BD, honest.made.raw_BD, atol=1e-3)
    assert hidden.made.batch is batch and torch.equal(hidden.made.last_BD, batch.context_BCD[:, -1])


def test_the_share_and_the_length_of_what_stands_in():
    last_BD = torch.nn.functional.normalize(torch.randn(4000, 7), dim=-1)
    shown_BD = some_hidden(last_BD, 0.2)
    changed_B = (shown_BD != last_BD).any(-1)
    assert 0.17 < changed_B.float().mean() < 0.23
    assert torch.allclose(shown_BD.norm(dim=-1), torch.ones(4000))
    assert shown_BD[changed_B].mean(0).norm() < 0.1  # no direction of its own


def test_gradient_ratios_are_those_of_separate_backward_passes(model, batch, rows):
    objective = Objective({"mse": MeanSquaredError(weight=3), "leaning": Leaning(weight=0.01)}, rows)
    step = objective(model, batch, 1)
    found = gradient_ratios(step)
    norms = {}
    for name, term in objective.terms.items():
        model.zero_grad()
        term.value(Pass.of(model, batch, 1, rows)).backward()
        norms[name] = sum(one.grad.double().square().sum() for one in model.parameters() if one.grad is not None) ** 0.5
    assert found["mse"] == pytest.approx(3, rel=1e-4)
    assert found["leaning"] == pytest.approx(0.01 * (norms["leaning"] / norms["mse"]).item(), rel=1e-4)
    model.zero_grad()
    step.total.backward()  # the graph is still whole
    assert all(one.grad is not None for one in model.parameters())


@pytest.mark.parametrize("weight", [-1, {1: 1, 2: -0.5}, {"from": 1, "to": 2, "start": 1, "end": -1}, float("nan")])
def test_a_weight_below_0_is_refused(weight):
    with pytest.raises(ValidationError):
        MeanSquaredError(weight=weight)
