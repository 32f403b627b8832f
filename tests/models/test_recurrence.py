"""The GRU written out against torch's own: values and gradients in float64, and bfloat16 no worse than torch's."""

import pytest
import torch
from torch import nn

from segue.models.recurrence import states


def with_gradients(run, layer, x_CBW, weight_CBW):
    """States, then the gradients of x and of all weights of their weighted sum."""
    x_CBW = x_CBW.detach().requires_grad_()
    h_CBW = run(x_CBW)
    return [h_CBW.detach(), *torch.autograd.grad((h_CBW * weight_CBW).sum(), [x_CBW, *layer.parameters()])]


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_values_and_gradients_are_torchs(steps):
    torch.manual_seed(steps)
    layer = nn.GRU(12, 12).double()
    x_CBW, weight_CBW = torch.randn(2, steps, 3, 12, dtype=torch.float64)
    wanted = with_gradients(lambda x: layer(x)[0], layer, x_CBW, weight_CBW)
    got = with_gradients(lambda x: states(layer, x), layer, x_CBW, weight_CBW)
    for ours, theirs in zip(got, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-13, rtol=1e-12)


def test_in_bfloat16_it_is_as_near_to_float32_as_torchs():
    """Its weight gradients are summed in float32, torch's a step at a time in bfloat16."""
    torch.manual_seed(0)
    layer = nn.GRU(64, 64)
    x_CBW, weight_CBW = torch.randn(2, 5, 16, 64)
    exact = with_gradients(lambda x: layer(x)[0], layer, x_CBW, weight_CBW)

    def distance(run):
        with torch.autocast("cpu", torch.bfloat16):
            found = with_gradients(run, layer, x_CBW, weight_CBW)
        assert all(it.dtype == torch.float32 for it in found)
        return [float((it - other).norm() / other.norm()) for it, other in zip(found, exact, strict=True)]

    ours, theirs = distance(lambda x: states(layer, x)), distance(lambda x: layer(x)[0])
    assert all(mine <= 1.2 * its for mine, its in zip(ours, theirs, strict=True)), (ours, theirs)
    assert max(ours) < 0.02


def test_the_same_bits_twice_and_without_gradients():
    torch.manual_seed(0)
    layer, x_CBW = nn.GRU(32, 32), torch.randn(4, 8, 32)
    once = with_gradients(lambda x: states(layer, x), layer, x_CBW, torch.ones(4, 8, 32))
    again = with_gradients(lambda x: states(layer, x), layer, x_CBW, torch.ones(4, 8, 32))
    assert all(map(torch.equal, once, again))
    with torch.no_grad():
        assert torch.equal(states(layer, x_CBW), once[0])
