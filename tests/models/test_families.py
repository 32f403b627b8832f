"""The families: their exact sizes, what they can and cannot see, and how they predict."""

import numpy as np
import pytest
import torch

from segue.errors import InputError
from segue.models import MODELS, LatentModel, build_model
from segue.models.amn import AttentionMixtureOptions
from segue.models.causal import CausalOptions
from segue.models.gru import GatedRecurrentOptions
from segue.models.lstm import LongShortTermMemoryOptions
from segue.models.transformer import TransformerOptions, sinusoids
from segue.vectors import Space

SMALL = {
    "amn": AttentionMixtureOptions(attention=8, hidden=12, bottleneck=6),
    "transformer": TransformerOptions(width=16, layers=2, heads=4, feed_forward=24),
    "lstm": LongShortTermMemoryOptions(width=12),
    "gru": GatedRecurrentOptions(width=12, layers=2),
    "causal": CausalOptions(width=16, layers=2, heads=2, feed_forward=24),
}


def small(family: str, dim: int = 10, seed: int = 0) -> LatentModel:
    torch.manual_seed(seed)
    return build_model(family, Space("test", dim), SMALL[family])


def unit(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_every_family_is_tested_here():
    assert set(SMALL) == set(MODELS)


@pytest.mark.parametrize(
    ("family", "parameters"),
    [
        ("amn", 1_510_912),
        ("transformer", 17_867_520),
        ("lstm", 5_120_768),
        ("gru", 7_095_552),
        ("causal", 2 * 768 * 384 + 4 * (4 * 384**2 + 3 * 384 * 640 + 2 * 384) + 384),
    ],
)
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


@pytest.mark.parametrize("family", MODELS)
def test_amn_is_blind_to_order_and_no_other_is(family):
    context_BCD = unit(4, 5, 10)
    model = small(family)
    blind = torch.allclose(model.predict(context_BCD), model.predict(context_BCD.flip(1)), atol=1e-6)
    assert blind is (family == "amn")


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


@pytest.mark.parametrize("bidirectional", [False, True])
def test_transformer_against_torchs_own_decoder(bidirectional):
    """The same weights in `nn.TransformerDecoder`, with both masks made by hand, or without."""
    model = small("transformer").eval()
    model.options = model.options.model_copy(update={"bidirectional": bidirectional})
    context_BCD = unit(4, 5, 10)
    layer = torch.nn.TransformerDecoderLayer(16, 4, 24, batch_first=True)
    decoder = torch.nn.TransformerDecoder(layer, 2).eval()
    decoder.layers.load_state_dict(model.layers.state_dict())
    position = [[np.sin(p / 10000 ** (2 * (i // 2) / 16) + (i % 2) * np.pi / 2) for i in range(16)] for p in range(5)]
    torch.testing.assert_close(sinusoids(5, 16), torch.tensor(position, dtype=torch.float32))
    memory = model.project(context_BCD) + torch.tensor(position, dtype=torch.float32)
    mask = torch.tensor([[0.0 if key <= query else -torch.inf for key in range(5)] for query in range(5)])
    masks = {} if bidirectional else {"tgt_mask": mask, "memory_mask": mask}
    last = decoder(memory, memory, **masks)[:, -1]
    torch.testing.assert_close(model(context_BCD), model.head(last), atol=1e-5, rtol=1e-4)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def steps_of(model: LatentModel, prefix: str, layer: int, cell, x_CW: np.ndarray) -> np.ndarray:
    """A recurrent layer step by step, in float64, from its weights: (C, W) → (C, W)"""
    its = dict(model.named_parameters())
    names = [f"{prefix}.{kind}_l{layer}" for kind in ("weight_ih", "bias_ih", "weight_hh", "bias_hh")]
    w_ih, b_ih, w_hh, b_hh = (its[name].detach().double().numpy() for name in names)
    state = (np.zeros(w_hh.shape[1]),) * 2
    hidden = []
    for x in x_CW:
        state = cell(w_ih @ x + b_ih, w_hh @ state[0] + b_hh, *state)
        hidden.append(state[0])
    return np.array(hidden)


def lstm_cell(seen, held, h, c):
    i, f, g, o = np.split(seen + held, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru_cell(seen, held, h, _):
    (r, z, n), (r_, z_, n_) = np.split(seen, 3), np.split(held, 3)
    new = np.tanh(n + sigmoid(r + r_) * n_)
    keep = sigmoid(z + z_)
    return ((1 - keep) * new + keep * h, None)


def test_lstm_against_its_formula_in_float64():
    model = small("lstm").eval()
    for context_CD in unit(3, 5, 10):
        x_CW = context_CD.double().numpy()
        for layer in range(2):
            x_CW = steps_of(model, "layers", layer, lstm_cell, x_CW)
        raw_D = model.head.weight.detach().numpy() @ x_CW[-1] + model.head.bias.detach().numpy()
        np.testing.assert_allclose(model(context_CD[None])[0].detach().numpy(), raw_D, atol=1e-6)


def test_gru_against_its_formula_in_float64():
    model = small("gru").eval()
    for context_CD in unit(3, 5, 10):
        x_CW = model.project(context_CD).detach().double().numpy()
        for i, block in enumerate(model.blocks):
            x_CW = x_CW + steps_of(model, f"blocks.{i}.recurrent", 0, gru_cell, x_CW)
            spread = (x_CW - x_CW.mean(-1, keepdims=True)) / np.sqrt(x_CW.var(-1, keepdims=True) + 1e-5)
            x_CW = spread * block.norm.weight.detach().numpy() + block.norm.bias.detach().numpy()
        raw_D = model.head.weight.detach().numpy() @ x_CW[-1] + model.head.bias.detach().numpy()
        np.testing.assert_allclose(model(context_CD[None])[0].detach().numpy(), raw_D, atol=1e-6)


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
