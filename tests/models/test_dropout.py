"""Dropout by 16 random bits a number: does it drop what it says, and each number on its own."""

import pytest
import torch

from segue.models.dropout import Dropout


@pytest.mark.parametrize("p", [0.05, 0.1, 0.5])
def test_the_share_and_the_mean(p):
    torch.manual_seed(0)
    n = 400_000
    out = Dropout(p)(torch.ones(n))
    kept = out != 0
    assert (~kept).float().mean().item() == pytest.approx(p, abs=4 * (p * (1 - p) / n) ** 0.5)
    assert out[kept].unique().item() == pytest.approx(1 / (1 - p), rel=1e-4)


def test_numbers_of_one_draw_are_dropped_independently():
    """Four share a draw of 64 bits: pairs at distances 1 to 4 must be dropped together in p² of all cases."""
    torch.manual_seed(0)
    n, p = 400_000, 0.3
    dropped = Dropout(p)(torch.ones(n)) == 0
    for distance in (1, 2, 3, 4):
        both = (dropped[distance:] & dropped[:-distance]).float().mean().item()
        assert both == pytest.approx(p**2, abs=5 * (p**2 / n) ** 0.5)
    for place in range(4):
        assert dropped[place::4].float().mean().item() == pytest.approx(p, abs=5 * (p / n) ** 0.5)


def test_the_gradient_goes_where_the_value_went():
    torch.manual_seed(0)
    x = torch.randn(3, 7, 5, dtype=torch.float64, requires_grad=True)  # 105 numbers: the last draw is not used up
    out = Dropout(0.4)(x)
    out.sum().backward()
    torch.testing.assert_close(x.grad, (out / x).detach())
    assert (x.grad == 0).any() and (x.grad != 0).any()


def test_torchs_generator_decides():
    torch.manual_seed(3)
    first = Dropout(0.5)(torch.ones(99))
    assert not torch.equal(Dropout(0.5)(torch.ones(99)), first)
    torch.manual_seed(3)
    assert torch.equal(Dropout(0.5)(torch.ones(99)), first)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_types_are_kept_and_evaluation_drops_nothing(dtype):
    x = torch.randn(10, 3).to(dtype)
    assert Dropout(0.5)(x).dtype == dtype
    assert Dropout(0.5).eval()(x) is x and Dropout(0.0)(x) is x
