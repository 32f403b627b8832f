"""The families: their exact sizes, what they can and cannot see, and how they predict."""

import numpy as np
import pytest
import torch

from segue.errors import InputError
from segue.models import MODELS, LatentModel, build_model
from segue.models.amn import AttentionMixtureOptions
from segue.models.transformer import TransformerOptions, sinusoids
from segue.vectors import Space

SMALL = {
    "amn": AttentionMixtureOptions(attention=8, hidden=12, bottleneck=6),
    "transformer": TransformerOptions(width=16, layers=2, heads=4, feed_forward=24),
}


def small(family: str, dim: int = 10, seed: int = 0) -> LatentModel:
    torch.manual_seed(seed)
    return build_model(family, Space("test", dim), SMALL[family])


def unit(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_every_family_is_tested_here():
    assert set(SMALL) == set(MODELS)


@pytest.mark.parametrize(("family", "parameters"), [("amn", 1_510_912), ("transformer", 17_867_520)])
def test_sizes_at_768_are_exact(family, parameters):
    """SPEC §7. A bias or a LayerNorm more or less is another model than the experiments'."""
    with torch.device("meta"):
        model = build_model(family, Space("test", 768))
    assert model.parameter_count == parameters


@pytest.mark.parametrize("family", MODELS)
@pytest.mark.parametrize("dim", [1, 7, 384])
@pytest.mark.parametrize("length", [1, 5, 9])
def test_any_width_and_any_context_length(family, dim, length):
    prediction_BD = small(family, dim).predict(unit(3, length, dim))
    assert prediction_BD.shape == (3, dim)
    assert prediction_BD.dtype == torch.float32
    torch.testing.assert_close(prediction_BD.norm(dim=-1), torch.ones(3))


def test_amn_is_blind_to_order_and_transformer_is_not():
    context_BCD = unit(4, 5, 10)
    for family, blind in (("amn", True), ("transformer", False)):
        model = small(family)
        assert torch.allclose(model.predict(context_BCD), model.predict(context_BCD.flip(1)), atol=1e-6) is blind


@pytest.mark.parametrize("family", MODELS)
def test_every_chunk_of_the_context_is_read(family):
    """A mask that is one too strict hides a chunk and nothing else complains."""
    context_BCD = unit(1, 5, 10).requires_grad_()
    small(family).eval()(context_BCD).square().sum().backward()
    assert (context_BCD.grad[0].norm(dim=-1) > 1e-6).all()


def test_amn_against_its_formula_in_float64():
    model = small("amn").double()
    context_BCD = unit(4, 5, 10).double()
    w = {name: tensor.detach().numpy() for name, tensor in model.named_parameters()}

    def linear(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def gelu(x):
        return x * 0.5 * (1 + torch.erf(torch.from_numpy(x) / 2**0.5).numpy())

    def layer_norm(x, name):
        spread = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return spread * w[f"{name}.weight"] + w[f"{name}.bias"]

    for context_CD, raw_D in zip(context_BCD.numpy(), model(context_BCD).detach().numpy(), strict=True):
        mean = context_CD.mean(0)
        score = np.array([linear(mean, "query") @ linear(x, "key") for x in context_CD]) / np.sqrt(8)
        share = np.exp(score) / np.exp(score).sum()
        hidden = layer_norm(gelu(linear(np.concatenate([mean, share @ context_CD]), "correction.0")), "correction.2")
        hidden = layer_norm(gelu(linear(hidden, "correction.3")), "correction.5")
        np.testing.assert_allclose(raw_D, mean + linear(hidden, "correction.6"), atol=1e-12)


def test_transformer_against_torchs_own_decoder():
    """The same weights in `nn.TransformerDecoder`, with both masks made by hand."""
    model = small("transformer").eval()
    context_BCD = unit(4, 5, 10)
    layer = torch.nn.TransformerDecoderLayer(16, 4, 24, batch_first=True)
    decoder = torch.nn.TransformerDecoder(layer, 2).eval()
    decoder.layers.load_state_dict(model.layers.state_dict())
    position = [[np.sin(p / 10000 ** (2 * (i // 2) / 16) + (i % 2) * np.pi / 2) for i in range(16)] for p in range(5)]
    torch.testing.assert_close(sinusoids(5, 16), torch.tensor(position, dtype=torch.float32))
    memory = model.project(context_BCD) + torch.tensor(position, dtype=torch.float32)
    mask = torch.tensor([[0.0 if key <= query else -torch.inf for key in range(5)] for query in range(5)])
    last = decoder(memory, memory, tgt_mask=mask, memory_mask=mask)[:, -1]
    torch.testing.assert_close(model(context_BCD), model.head(last), atol=1e-5, rtol=1e-4)


def test_predicting_while_training_drops_nothing_and_changes_no_mode():
    model = small("transformer")
    model.train()
    model.layers[0].eval()  # a frozen part stays frozen
    context_BCD = unit(4, 5, 10)
    assert not torch.equal(model(context_BCD), model(context_BCD))
    first, raw_BD = model.predict_with_raw(context_BCD)
    assert torch.equal(first, model.predict(context_BCD))
    assert not first.requires_grad
    torch.testing.assert_close(first, torch.nn.functional.normalize(raw_BD, dim=-1))
    assert model.training and model.layers[1].training and not model.layers[0].training


@pytest.mark.parametrize("shape", [(2, 5, 11), (5, 10)])
def test_another_width_is_bad_input(shape):
    with pytest.raises(InputError, match="10"):
        small("amn").predict(torch.zeros(shape))


def test_the_seed_decides_the_weights():
    same, other = small("amn", seed=3), small("amn", seed=4)
    for a, b, c in zip(small("amn", seed=3).parameters(), same.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
        assert a.ndim < 2 or not torch.equal(a, c)


def test_an_unknown_family_names_the_nearest():
    with pytest.raises(InputError, match='"transformer"'):
        build_model("transfomer", Space("test", 4))
