"""The parts of a step: clipping, refusal of what is not finite, the plateau, the choice of the best."""

import math

import pytest
import torch
from runs import small_recipe

from segue.training import DivergedError
from segue.training.state import PlateauSchedule, new_state, seed_torch
from segue.vectors import Space

SPACE = Space("test", 6)


def stepped(clip: float, scale: float = 1.0):
    """A state after one update, the gradient that it saw, and the weights before."""
    state = new_state(small_recipe(f"gradient_clip={clip}", "model=amn"), SPACE)
    before = [parameter.detach().clone() for parameter in state.model.parameters()]
    state.begin_epoch()
    torch.manual_seed(0)
    state.update(scale * state.model(torch.randn(4, 5, 6)).square().sum(), 0)
    return state, [parameter.grad for parameter in state.model.parameters()], before


def length(gradients) -> float:
    return math.sqrt(sum(float(gradient.double().square().sum()) for gradient in gradients))


def test_the_gradient_is_clipped_to_its_largest_norm():
    _, whole, _ = stepped(clip=1e9)
    _, clipped, _ = stepped(clip=0.5)
    assert length(whole) > 1
    assert length(clipped) == pytest.approx(0.5, rel=1e-4)
    ratio = 0.5 / length(whole)
    for a, b in zip(whole, clipped, strict=True):
        torch.testing.assert_close(a * ratio, b, rtol=1e-4, atol=1e-8)


def test_the_first_update_against_adamw_in_float64():
    state, gradients, before = stepped(clip=1e9)
    recipe = state.recipe
    for parameter, gradient, old in zip(state.model.parameters(), gradients, before, strict=True):
        g, w = gradient.double(), old.double()
        # At the first step the corrected moments are g and g², so the update is a sign.
        wanted = w * (1 - recipe.lr * recipe.weight_decay) - recipe.lr * g / (g.abs() + 1e-8)
        torch.testing.assert_close(parameter.detach().double(), wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e38])
def test_what_is_not_finite_is_refused_before_the_update(bad):
    """1e38: the loss is finite or nearly, its gradient's norm is not."""
    state = new_state(small_recipe("model=amn"), SPACE)
    before = [parameter.detach().clone() for parameter in state.model.parameters()]
    state.begin_epoch()
    with pytest.raises(DivergedError, match=r"epoch 1: .*before the update"):
        state.update(state.model(torch.ones(4, 5, 6)).square().sum() * bad * 1e3, 0)
    for old, parameter in zip(before, state.model.parameters(), strict=True):
        assert torch.equal(old, parameter)


def test_the_plateau_by_hand():
    """Patience 1, factor .5: the second epoch without an improvement halves, and the count begins anew."""
    schedule = PlateauSchedule(factor=0.5, patience=1)
    losses = [1.0, 0.9, 0.95, 0.899_99, 0.95, 0.95, 0.8, 0.8, 0.8]
    #         best best  bad1  bad2: an improvement below 1e-4 is none
    factors = [1, 1, 1, 0.5, 1, 0.5, 1, 1, 0.5]
    assert [schedule.factor_after(loss) for loss in losses] == factors


def test_the_plateau_against_torchs():
    losses = [1 / (1 + (epoch * 7) % 11) for epoch in range(40)]
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.5, patience=3)
    ours, lr = PlateauSchedule(factor=0.5, patience=3), 1.0
    for loss in losses:
        theirs.step(loss)
        lr *= ours.factor_after(loss)
        assert lr == optimiser.param_groups[0]["lr"]
    assert lr < 0.1


def judged(better: str, values: list[float | None], metric: str = "mrr_future") -> list[int]:
    state = new_state(small_recipe("model=amn", f"best={{metric: {metric}, better: {better}}}"), SPACE)
    best = []
    for value in values:
        state.begin_epoch()
        # The loss falls all the time: a best chosen by it would be the last.
        state.judge({"loss": 1 / state.epoch, metric: value})
        best.append(state.best_epoch)
    return best


def test_the_best_is_chosen_by_the_metric_the_recipe_names():
    assert judged("higher", [0.1, 0.3, 0.3, 0.2]) == [1, 2, 2, 2]
    assert judged("lower", [0.1, 0.3, 0.05, 0.2]) == [1, 1, 3, 3]
    assert judged("higher", [None, None, 0.2, None]) == [1, 1, 3, 3]


def test_a_plateau_lowers_the_rate_and_is_told():
    state = new_state(small_recipe("model=amn", "plateau={factor: 0.1, patience: 0}"), SPACE)
    for loss in (1.0, 2.0):
        state.begin_epoch()
        state.judge({"loss": loss, "cos": 0.0})
    assert state.lr == pytest.approx(5e-5)
    assert state.events == ["VAL loss on a plateau: lr 0.0005 → 5e-05"]


def test_every_seed_and_epoch_draws_its_own():
    drawn = []
    for seed, epoch in [(0, 0), (0, 1), (1, 0), (1, 1), (0, 1)]:
        seed_torch(seed, epoch)
        drawn.append(torch.rand(4).tolist())
    assert drawn[1] == drawn[4]
    assert len({tuple(numbers) for numbers in drawn}) == 4
