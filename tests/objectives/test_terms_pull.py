"""How hard terms pull: none is a no-op at its recipe's weight, and SPEC §8's figures beside MSE's pull."""

import numpy as np
import pytest
import torch
from term_scenes import built
from torch import Tensor, nn

from segue.objectives import TERMS, Pass, Term
from segue.objectives.guards import ResidualSize
from segue.windows import windows_of
from segue.windows.batches import Batch, gather
from segue.windows.rows import Rows

DIM = 64
# A term that changes the model's gradient by less than this share of MSE's does nothing.
LEAST = 1e-4
# name → its fields with the smallest weight that a recipe of SPEC §9 gives it; weights of ours where none has the term.
RECIPES: dict[str, dict[str, object]] = {
    "mse": {"weight": 1},
    "cosine": {"weight": 0.01},
    "directional": {"weight": 0.002, "margin": 0.01},
    "directional_smooth": {"weight": 1e-4, "margin": 0.02, "gamma": 8},
    "directional_ratio": {"weight": 1e-4, "margin_gap": 0.02, "margin_ratio": 0.05},
    "anti_copy": {"weight": 0.002, "margin": 0.01},
    "future": {"weight": 0.002, "margin": 0.008},
    "rollout": {"weight": 0.05, "steps": 3},
    "positive_floor": {"weight": 1e-3, "floor": 0.10},
    "unit_norm": {"weight": 1e-3},
    "orthogonality": {"weight": 5e-4},
    "residual_size": {"weight": 1e-4},
    "info_nce": {"weight": 1, "temperature": 0.07, "candidates": "batch", "hard_negative": True},
    "next_vs_prev": {"weight": 0.01},
}


OTHER_HEADS = ("energy", "next_code")  # they pull a head that this model has not: test_energy.py, test_codes.py


class UnitNormOfPrediction(Term):
    """The original experiments' guardrail: the length of what has length 1."""

    def per_window(self, made: Pass) -> Tensor:
        return (made.pred_BD.norm(dim=-1) - 1).square()


@pytest.fixture
def batch(make_store) -> Batch:
    """Documents that stay near a topic, so that the chunks of a window have cosines of about .45, as real ones have."""
    draw = np.random.default_rng(2)
    store = make_store([draw.normal(size=(12, DIM)) + 0.9 * draw.normal(size=DIM) for _ in range(6)])
    return gather(windows_of(store, np.arange(6)), Rows(store))


def change(term: Term, batch: Batch) -> float:
    """‖gradient of mse + weight · term − gradient of mse‖ / ‖gradient of mse‖, on the parameters of a whole model.

    The model is fresh but for the length of its output, which is brought to what training brings it to.
    """
    model = built("residual transformer" if isinstance(term, ResidualSize) else "transformer", DIM)
    with torch.no_grad():
        scale = 0.55 / model.read(model.with_channel(batch.context_BCD)).norm(dim=-1).mean()
        for parameter in model.head[-1].parameters():
            parameter.mul_(scale)
    torch.manual_seed(0)
    head = term.head(DIM)
    heads = nn.ModuleDict({} if head is None else {"next_vs_prev": head})
    made = Pass.of(model, batch, 1, Rows(batch.windows.store), heads)
    mse = TERMS["mse"](weight=1).value(made)
    gradients = [
        torch.cat([one.flatten() for one in torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)])
        for loss in (mse, mse + term.weight.at(1) * term.value(made))
    ]
    return float((gradients[1] - gradients[0]).norm() / gradients[0].norm())


@pytest.mark.parametrize("name", [name for name in TERMS if name not in OTHER_HEADS])
def test_at_its_recipes_weight_a_term_changes_the_models_gradient(name, batch):
    assert change(TERMS[name](**RECIPES[name]), batch) > LEAST


def test_a_no_op_would_be_found(batch):
    assert change(UnitNormOfPrediction(weight=1e-3), batch) < LEAST / 100


def at_a_point(name: str, cos_target: float, cos_last: float, along: str, **fields: object) -> float:
    """Slope of a term per unit of cos(p, y) or cos(p, x_t), the other held, at D = 768 and ‖r‖ = .55.

    y and x_t lean to either side of p, so that p can turn to one without turning to the other.
    """
    p, to_y, to_x = torch.linalg.qr(torch.randn(768, 3, dtype=torch.float64)).Q.T
    target = cos_target * p + (1 - cos_target**2) ** 0.5 * to_y
    last = cos_last * p + (1 - cos_last**2) ** 0.5 * to_x
    raw_BD = (0.55 * p)[None].clone().requires_grad_()
    made = Pass.__new__(Pass)
    batch = Batch.__new__(Batch)
    object.__setattr__(batch, "target_BD", target[None])
    object.__setattr__(batch, "context_BCD", last[None, None])
    for field, value in {"batch": batch, "raw_BD": raw_BD, "epoch": 1}.items():
        object.__setattr__(made, field, value)
    TERMS[name](weight=1, **fields).value(made).backward()
    way, cosine = (to_y, cos_target) if along == "target" else (to_x, cos_last)
    return float(raw_BD.grad[0] @ way) * 0.55 / (1 - cosine**2) ** 0.5


@pytest.mark.parametrize(
    ("name", "weight", "cos_last", "along", "times_mse"),
    [
        ("directional", 0.01, 0.5, "target", 7.0),
        ("directional", 0.002, 0.5, "target", 1.4),
        ("directional", 0.002, 0.5, "last", 1.4),
        ("orthogonality", 5e-4, 0.5, "last", 0.35),
        ("orthogonality", 5e-4, 0.72, "last", 0.50),
    ],
)
def test_the_pulls_that_the_spec_states(name, weight, cos_last, along, times_mse):
    """MSE pulls .0014 per unit of cosine at D = 768, ‖r‖ = .55; a third for orthogonality holds at cos(p, x_t) = .5."""
    torch.manual_seed(1)
    mse = at_a_point("mse", 0.55, cos_last, "target")
    assert mse == pytest.approx(-2 * 0.55 / 768, rel=1e-9)
    fields = {"margin": 0.1} if name == "directional" else {}
    pull = at_a_point(name, 0.55, cos_last, along, **fields)
    assert weight * abs(pull / mse) == pytest.approx(times_mse, rel=0.01)
