"""`causal`: what it sees and does not see, at every position and in generation."""

import numpy as np
import pytest
import torch
from test_families import SMALL, small, unit

from segue.errors import InputError
from segue.models import build_model
from segue.models.causal import Cache, Causal, rotated
from segue.models.network import batches_for
from segue.models.transformer import sinusoids
from segue.recipe import resolve
from segue.vectors import Space
from segue.windows import windows_of
from segue.windows.rows import Rows

SKIP = (1.0, 0.2, 0.0, -0.1)
VARIANTS = [
    {},
    {"residual": 0.5},
    {"positional": 0.3},
    {"residual": 0.5, "positional": 0.3},
    {"skip": SKIP},
    {"positions": "sinusoidal"},
    {"positions": "none", "positional": 0.3},
    {"skip": SKIP, "skip_mean": -0.7, "skip_places": 3, "residual": 0.5, "positional": 0.3},
]


def made(**shared) -> Causal:
    torch.manual_seed(0)
    model = build_model("causal", Space("test", 10), SMALL["causal"].model_copy(update=shared))
    assert isinstance(model, Causal)
    if model.skip is not None:  # where the network begins by saying nothing: as if trained
        torch.nn.init.normal_(model.head[1].weight, std=0.3)
    return model.eval()


def by_hand(model: Causal, document_ND: torch.Tensor) -> np.ndarray:
    """Raw outputs at every position, in float64, one query at a time from the weights: (N, D) → (N, D)"""
    w = {name: tensor.detach().double().numpy() for name, tensor in model.named_parameters()}
    heads, layers = model.options.heads, model.options.layers

    def normed(x, name):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * w[f"{name}.weight"]

    def turned(x, place):
        """Pair i as a complex number, times a unit one."""
        half = len(x) // 2
        z = (x[:half] + 1j * x[half:]) * np.exp(1j * place * 10_000.0 ** (-np.arange(half) / half))
        return np.concatenate([z.real, z.imag])

    x_NW = document_ND.double().numpy() * np.sqrt(10) @ w["project.weight"].T
    for layer in range(layers):
        at = f"blocks.{layer}"
        read = normed(x_NW, f"{at}.attention_norm") @ w[f"{at}.attention.read.weight"].T
        q, k, v = (part.reshape(len(x_NW), heads, -1) for part in np.split(read, 3, axis=1))
        mixed = np.zeros_like(q)
        for n in range(len(x_NW)):
            for h in range(heads):
                scores = [turned(q[n, h], n) @ turned(k[m, h], m) / np.sqrt(q.shape[-1]) for m in range(n + 1)]
                share = np.exp(scores) / np.exp(scores).sum()
                mixed[n, h] = share @ v[: n + 1, h]
        x_NW = x_NW + mixed.reshape(len(x_NW), -1) @ w[f"{at}.attention.out.weight"].T
        gate_up = normed(x_NW, f"{at}.feed_forward_norm") @ w[f"{at}.feed_forward.gate_up.weight"].T
        gate, up = np.split(gate_up, 2, axis=1)
        x_NW = x_NW + (gate / (1 + np.exp(-gate)) * up) @ w[f"{at}.feed_forward.down.weight"].T
    return normed(x_NW, "head.0") @ w["head.1.weight"].T / np.sqrt(10)


def test_against_its_formula_in_float64():
    model, document_BND = made(), unit(2, 7, 10)
    for document_ND, raw_ND in zip(document_BND, model.positions(document_BND).detach().numpy(), strict=True):
        np.testing.assert_allclose(raw_ND, by_hand(model, document_ND), atol=2e-6)


def test_with_a_skip_against_its_formula_in_float64():
    """Σ_k w_k·x_{n−k}, chunks before the document 0, m times the mean so far, by and by, v(place), α times the rest."""
    model, document_BND = made(skip=SKIP, skip_mean=-0.7, skip_places=3, residual=0.5), unit(2, 7, 10)
    place_PD = unit(3, 10, seed=9)
    with torch.no_grad():
        model.skip.place_PD.copy_(place_PD)
    v_ND = [[np.interp(np.log2(n + 1), range(3), place_PD[:, d].double()) for d in range(10)] for n in range(7)]
    for document_ND, raw_ND in zip(document_BND, model.positions(document_BND).detach().numpy(), strict=True):
        x_ND = document_ND.double().numpy()
        u_ND = np.array([sum(w * x_ND[n - k] for k, w in enumerate(SKIP) if n >= k) for n in range(7)])
        u_ND += np.array(v_ND) - 0.7 * np.array([x_ND[: n + 1].mean(0) * min(1, n / (len(SKIP) - 1)) for n in range(7)])
        np.testing.assert_allclose(raw_ND, u_ND + 0.5 * by_hand(model, document_ND), atol=2e-6)


@pytest.mark.parametrize("shared", VARIANTS)
def test_every_position_is_the_prediction_of_what_came_before_it(shared):
    """One pass over a document is training's; `predict` on the document so far is 5CAT's. They are one function."""
    model, document_BND = made(**shared), unit(2, 9, 10)
    raw_BND = model.positions(document_BND)
    for n in range(9):
        torch.testing.assert_close(
            raw_BND[:, n], model.predict_with_raw(document_BND[:, : n + 1])[1], atol=1e-6, rtol=1e-5
        )


@pytest.mark.parametrize("shared", VARIANTS)
def test_a_later_chunk_changes_nothing_before_it(shared):
    model, document_BND = made(**shared), unit(2, 9, 10)
    before_BND = model.positions(document_BND)
    for j in range(9):
        other_BND = document_BND.clone()
        other_BND[:, j] = unit(2, 10, seed=j + 5)
        after_BND = model.positions(other_BND)
        torch.testing.assert_close(after_BND[:, :j], before_BND[:, :j], atol=1e-6, rtol=0)
        assert ((after_BND[:, j:] - before_BND[:, j:]).abs().amax(-1) > 1e-6).all()  # and all after it


@pytest.mark.parametrize("shared", VARIANTS)
def test_no_gradient_reaches_a_later_chunk(shared):
    """Exactly 0: a leak too small to show in values would be trained into a large one."""
    document_BND = unit(2, 6, 10).requires_grad_()
    raw_BND = made(**shared).train().positions(document_BND)
    for n in range(6):
        (gradient_BND,) = torch.autograd.grad(raw_BND[:, n].square().sum(), document_BND, retain_graph=True)
        assert (gradient_BND[:, n + 1 :] == 0).all()
        assert (gradient_BND[:, : n + 1].abs().amax(-1) > 0).all()


@pytest.mark.parametrize("shared", VARIANTS)
def test_padding_does_not_leak(shared):
    model, document_BND = made(**shared), unit(1, 5, 10)
    longer_BND = torch.cat([document_BND, torch.full((1, 3, 10), 1e3)], 1)
    torch.testing.assert_close(model.positions(longer_BND)[:, :5], model.positions(document_BND), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("shared", VARIANTS)
@pytest.mark.parametrize("length", [1, 4])
def test_generation_with_a_cache_equals_predictions_on_grown_contexts(shared, length):
    model, context_BCD = made(**shared), unit(3, length, 10)
    generated_BHD = model.train().generate(context_BCD, 6)
    assert model.training and generated_BHD.shape == (3, 6, 10) and not generated_BHD.requires_grad
    for step in range(6):
        prediction_BD = model.predict(context_BCD)
        torch.testing.assert_close(generated_BHD[:, step], prediction_BD, atol=1e-5, rtol=0)
        context_BCD = torch.cat([context_BCD, prediction_BD[:, None]], 1)
    assert model.generate(context_BCD, 0).shape == (3, 0, 10)


def test_what_a_cache_holds_is_not_computed_again():
    """Else the cache would be right and useless: later steps read one chunk."""
    model, lengths = made(), []
    model.project.register_forward_hook(lambda _, given, __: lengths.append(given[0].shape[1]))
    model.generate(unit(2, 4, 10), 3)
    assert lengths == [4, 1, 1]


def test_a_document_read_in_two_pieces():
    model, document_BND, cache = made(), unit(2, 7, 10), Cache()
    pieces = [model.hidden(piece, cache) for piece in document_BND.split([3, 4], 1)]
    torch.testing.assert_close(torch.cat(pieces, 1), model.hidden(document_BND), atol=1e-6, rtol=1e-5)


def test_sinusoids_are_added_to_the_input():
    """Against a network without places that is handed them; the formula is tested with `transformer`."""
    width = SMALL["causal"].width
    plain, sinusoidal, document_BND = made(positions="none"), made(positions="sinusoidal"), unit(2, 5, 10)
    sinusoidal.load_state_dict(plain.state_dict())
    plain.project.register_forward_hook(lambda _, __, out_BNW: out_BNW + sinusoids(5, width))
    torch.testing.assert_close(sinusoidal.positions(document_BND), plain.positions(document_BND))


def test_without_places_what_was_read_before_is_a_set():
    """One layer: what the last chunk sees has no order. Rotary and sinusoidal places give it one."""
    one = SMALL["causal"].model_copy(update={"layers": 1})
    document_BND, order = unit(2, 6, 10), [3, 0, 4, 1, 2, 5]
    for positions, equal in (("none", True), ("rotary", False), ("sinusoidal", False)):
        torch.manual_seed(0)
        model = build_model("causal", Space("test", 10), one.model_copy(update={"positions": positions})).eval()
        same = torch.allclose(model.predict(document_BND), model.predict(document_BND[:, order]), atol=1e-6)
        assert same == equal, positions


def test_rotary_products_depend_on_the_distance_alone():
    query, key = torch.randn(2, 1, 1, 1, 8, generator=torch.Generator().manual_seed(0)).double()
    products = {
        (m, n): (rotated(query, m) * rotated(key, n)).sum().item() for m, n in ((3, 1), (9, 7), (102, 100), (3, 2))
    }
    assert products[3, 1] == pytest.approx(products[9, 7]) == pytest.approx(products[102, 100], abs=1e-5)
    assert products[3, 1] != pytest.approx(products[3, 2], rel=1e-3)
    torch.testing.assert_close(rotated(query, 5).norm(), query.norm())


@pytest.mark.parametrize("shared", [{}, {"positional": 0.03}])
def test_it_begins_near_copying(shared):
    """What the fresh network reads it can write, so only the rest need be learned."""
    model, context_BCD = made(**shared), unit(50, 5, 10)
    raw_BD = model(context_BCD)
    assert torch.nn.functional.cosine_similarity(raw_BD, context_BCD[:, -1]).mean() > 0.75
    assert 0.5 < raw_BD.norm(dim=1).mean() < 2


def test_beside_a_skip_it_begins_as_the_control_of_the_skip_s_weights_and_learns_from_there():
    torch.manual_seed(0)
    options = SMALL["causal"].model_copy(update={"skip": SKIP, "skip_mean": -0.7, "skip_places": 2})
    model, document_BND = build_model("causal", Space("test", 10), options), unit(2, 7, 10)
    raw_BND = model.train().positions(document_BND)
    for n in range(7):
        recent = sum(w * document_BND[:, n - k] for k, w in enumerate(SKIP) if n >= k)
        mean = min(1, n / (len(SKIP) - 1)) * document_BND[:, : n + 1].mean(1)
        torch.testing.assert_close(raw_BND[:, n], recent - 0.7 * mean)
    (raw_BND - unit(2, 7, 10, seed=3)).square().sum().backward()
    assert model.head[1].weight.grad.abs().max() > 0


def test_what_the_head_reads_is_dropped_in_training_alone():
    """Numbers of the normed state, half of them 0 and the rest doubled: the head is undone to see what it read."""
    narrow = {"width": 8, "dropout": 0.0}
    model, document_BND = made(head_dropout=0.5, **narrow), unit(1, 7, 10)
    torch.testing.assert_close(model.positions(document_BND), made(**narrow).positions(document_BND))
    state_NW = model.head[0](model.hidden(document_BND))[0]
    raw_ND = model.train().positions(document_BND)[0] * 10**0.5
    read_NW = torch.linalg.lstsq(model.head[1].weight, raw_ND.T).solution.T
    dropped_NW = read_NW.abs() < 1e-3
    assert (dropped_NW | ((read_NW - 2 * state_NW).abs() < 1e-3)).all()
    assert 0.2 < dropped_NW.float().mean() < 0.8


@pytest.fixture
def gathered(make_store):
    """Windows and rows of documents of three lengths, the second with a gap in it."""
    documents = [unit(n, 10, seed=n).numpy() for n in (9, 20, 6)]
    store = make_store(documents, positions=[np.arange(9), np.r_[:12, 15:23], np.arange(6)])
    return windows_of(store, np.arange(3)), Rows(store)


@pytest.mark.parametrize("shared", VARIANTS)
def test_a_training_batch_holds_the_predictions_for_its_windows(gathered, shared):
    """Every window of documents read in one padded pass, against `predict` on its whole document so far."""
    model, (windows, rows) = made(**shared), gathered
    seen = []
    for batch in batches_for(model, windows, rows, 8, seed=0, epoch=1):
        raw_BD, delta_BD, last_BD = model.raw_of(batch)[:3]
        assert (delta_BD is None) is (not {"residual", "skip"} & shared.keys())
        for b, (last, earlier) in enumerate(zip(batch.windows.last_W, batch.windows.earlier_W, strict=True)):
            so_far_1ND = rows(np.arange(last - earlier, last + 1))[None]
            torch.testing.assert_close(raw_BD[b], model(so_far_1ND)[0], atol=1e-6, rtol=1e-5)
            if "residual" in shared and "skip" not in shared:
                assert torch.equal(last_BD[b], rows(last[None])[0])
        seen += batch.windows.last_W.tolist()
    assert sorted(seen) == windows.last_W.tolist()


def test_other_families_are_handed_batches_of_windows(gathered):
    windows, rows = gathered
    model = small("amn")
    for batch in batches_for(model, windows, rows, 8, seed=0, epoch=1):
        assert batch.documents is None
        assert torch.equal(model.raw_of(batch).raw_BD, model(batch.context_BCD))


def test_the_channel_grows_over_the_first_chunks_and_tells_nothing_of_what_follows():
    model = made(positional=0.1)
    expected_N = 0.1 * torch.tensor([0, 0.25, 0.5, 0.75, 1, 1, 1])
    for length in (3, 5, 7):
        torch.testing.assert_close(model.with_channel(unit(1, length, 10))[0, :, 10], expected_N[:length])


def test_heads_of_odd_width_are_refused():
    with pytest.raises(InputError, match="384 is not a multiple of twice the heads 5"):
        resolve("p1", ["model={family: causal, heads: 5}"])
