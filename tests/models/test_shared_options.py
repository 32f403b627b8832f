"""The options that every family has: the positional channel, the residual model, and the skip."""

import numpy as np
import pytest
import torch
import yaml
from test_families import SMALL, unit
from test_saved import edit

from segue.errors import InputError
from segue.models import MODELS, LatentModel, build_model, load_model, save_model
from segue.models.controls import SlotWeights
from segue.models.network import Options
from segue.models.skip import Skip
from segue.models.steered import Steered
from segue.recipe import resolve
from segue.vectors import Space

SPACE = Space("test", 10)
SKIP = (1.0, 0.2, 0.0, -0.1)


def made(family: str, **shared) -> LatentModel:
    torch.manual_seed(0)
    return build_model(family, SPACE, SMALL[family].model_copy(update=shared)).eval()


def test_a_skip_of_no_chunk_is_refused():
    with pytest.raises(InputError, match="skip"):
        resolve("p1", ["model.skip=[]"])
    for part in ("skip_mean", "skip_places"):
        with pytest.raises(InputError, match=f"{part} is a part of a skip"):
            resolve("p1", [f"model.{part}=1"])


@pytest.mark.parametrize("family", MODELS)
def test_neither_changes_anything_by_itself(family):
    """What a channel adds is a column in the weights that read the input, what a residual adds is α."""
    plain, residual, positional = (made(family, **it) for it in ({}, {"residual": 0.5}, {"positional": 0.03}))
    assert {*residual.state_dict()} - {*plain.state_dict()} == {"alpha"}
    assert residual.parameter_count == plain.parameter_count + 1
    assert positional.state_dict().keys() == plain.state_dict().keys()
    before = plain.state_dict()
    wider = {n: t.shape for n, t in positional.state_dict().items() if t.shape != before[n].shape}
    assert wider and all(shape[1] == before[name].shape[1] + 1 for name, shape in wider.items())


@pytest.mark.parametrize("family", MODELS)
def test_a_residual_model_moves_from_the_last_chunk(family):
    context_BCD = unit(3, 5, 10)
    plain, residual = made(family), made(family, residual=0.3)
    residual.load_state_dict({**plain.state_dict(), "alpha": torch.tensor(0.7)})
    raw_BD, delta_BD, last_BD = residual.parts(context_BCD)[:3]
    assert torch.equal(last_BD, context_BCD[:, -1])
    torch.testing.assert_close(delta_BD, plain(context_BCD))
    torch.testing.assert_close(raw_BD, context_BCD[:, -1] + 0.7 * delta_BD)
    assert torch.equal(residual(context_BCD), raw_BD)
    assert made(family, residual=0.3).alpha.item() == pytest.approx(0.3)
    assert plain.parts(context_BCD)[1:] == (None,) * 5


@pytest.mark.parametrize("family", MODELS)
def test_a_skip_is_a_weighted_sum_of_the_last_chunks_beside_what_is_read(family):
    """Also where the context is shorter than the weights: what is not there counts as 0."""
    plain, skipping = made(family), made(family, skip=SKIP)
    assert {*skipping.state_dict()} - {*plain.state_dict()} == {"skip.weight_K"}
    skipping.load_state_dict({**plain.state_dict(), "skip.weight_K": torch.tensor(SKIP)})
    weight_K = np.array(SKIP)
    for length in (5, 3, 1):
        context_BCD = unit(3, length, 10)
        u_BD = np.einsum("k,bkd->bd", weight_K[:length], context_BCD.double().numpy()[:, ::-1][:, : len(SKIP)])
        raw_BD, delta_BD, carried_BD = skipping.parts(context_BCD)[:3]
        np.testing.assert_allclose(carried_BD.detach().numpy(), u_BD, atol=1e-6)
        np.testing.assert_allclose(raw_BD.detach().numpy(), u_BD + plain(context_BCD).detach().numpy(), atol=1e-6)
        torch.testing.assert_close(delta_BD, plain(context_BCD))


def test_a_skip_whose_network_says_nothing_is_the_control_of_these_weights():
    model, context_BCD = made("amn", skip=SKIP, residual=0.5), unit(20, 5, 10)
    with torch.no_grad():
        model.alpha.zero_()
    control = SlotWeights("by hand", np.array([0, *SKIP[::-1]]), 10, 1)
    torch.testing.assert_close(model.predict(context_BCD), control.predict(context_BCD))


@pytest.mark.parametrize("family", MODELS)
def test_a_skip_is_learned(family):
    """dL/dw_k = Σ x_{t−k} · dL/dy."""
    model, context_BCD, target_BD = made(family, skip=SKIP), unit(3, 5, 10), unit(3, 10, seed=2)
    raw_BD = model(context_BCD)
    (raw_BD - target_BD).square().mean().backward()
    pull_BD = 2 * (raw_BD - target_BD).detach() / raw_BD.numel()
    by_hand_K = torch.einsum("bkd,bd->k", context_BCD.flip(1)[:, : len(SKIP)], pull_BD)
    torch.testing.assert_close(model.skip.weight_K.grad, by_hand_K, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("family", MODELS)
def test_a_skip_s_mean_is_of_all_that_was_read_and_is_learned(family):
    """dL/dm = Σ mean · dL/dy."""
    plain, model = made(family, skip=SKIP), made(family, skip=SKIP, skip_mean=-0.7)
    model.load_state_dict({**plain.state_dict(), "skip.mean": torch.tensor(-0.7)})
    context_BCD, target_BD = unit(3, 7, 10), unit(3, 10, seed=2)
    raw_BD = model(context_BCD)
    torch.testing.assert_close(raw_BD, plain(context_BCD) - 0.7 * context_BCD.sum(1) / 7)
    (raw_BD - target_BD).square().mean().backward()
    by_hand = (context_BCD.mean(1) * 2 * (raw_BD - target_BD)).mean()
    assert model.skip.mean.grad.item() == pytest.approx(by_hand.item(), rel=1e-4)


@pytest.mark.parametrize("family", MODELS)
@pytest.mark.parametrize(("length", "shares"), [(1, {0: 1}), (2, {1: 1}), (3, {1: 0.415037, 2: 0.584963}), (9, {2: 1})])
def test_a_skip_s_places_are_a_vector_for_how_much_was_read(family, length, shares):
    """Three vectors, for 1, 2 and from 4 chunks on; at 3 between the last two, log₂ 3 = 1.585. They begin at 0."""
    plain, model, context_BCD = made(family, skip=SKIP), made(family, skip=SKIP, skip_places=3), unit(3, length, 10)
    place_PD = unit(3, 10, seed=3)
    model.load_state_dict({**plain.state_dict(), "skip.place_PD": torch.zeros(3, 10)})
    assert not made(family, skip=SKIP, skip_places=3).skip.place_PD.any()
    torch.testing.assert_close(model(context_BCD), plain(context_BCD))
    with torch.no_grad():
        model.skip.place_PD.copy_(place_PD)
    v_D = sum(share * place_PD[place] for place, share in shares.items())
    torch.testing.assert_close(model(context_BCD) - plain(context_BCD), v_D.expand(3, 10), atol=1e-6, rtol=1e-4)
    model(context_BCD).sum().backward()
    by_hand_P = torch.tensor([3.0 * shares.get(place, 0) for place in range(3)])
    torch.testing.assert_close(model.skip.place_PD.grad[:, 0], by_hand_P, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", MODELS)
def test_alpha_is_learned(family):
    """dL/dα = Σ delta · dL/dy."""
    residual, context_BCD = made(family, residual=0.5), unit(3, 5, 10)
    raw_BD, delta_BD, _ = residual.parts(context_BCD)[:3]
    target_BD = unit(3, 10, seed=2)
    (raw_BD - target_BD).square().mean().backward()
    by_hand = (delta_BD * 2 * (raw_BD - target_BD)).mean()
    assert residual.alpha.grad.item() == pytest.approx(by_hand.item(), rel=1e-4)


def test_the_channel_runs_from_0_to_1_over_the_slots():
    model = made("amn", positional=0.03)
    wide_BCI = model.with_channel(unit(2, 5, 10))
    assert torch.equal(wide_BCI[..., :10], unit(2, 5, 10))
    torch.testing.assert_close(wide_BCI[..., 10], 0.03 * torch.tensor([[0, 0.25, 0.5, 0.75, 1]] * 2))
    assert model.with_channel(unit(2, 1, 10))[0, 0, 10] == pytest.approx(0.03)


def test_with_the_channel_amn_sees_order_and_its_mean_and_mixture_do_not():
    context_BCD = unit(4, 5, 10)
    model = made("amn", positional=1.0)
    assert not torch.allclose(model(context_BCD), model(context_BCD.flip(1)), atol=1e-4)
    with torch.no_grad():
        model.key.weight.zero_()  # no scores: every chunk has the same share, so only mean and mixture are left
    torch.testing.assert_close(model(context_BCD), model(context_BCD.flip(1)))


@pytest.mark.parametrize("family", MODELS)
def test_every_family_reads_the_channel(family):
    context_BCD = unit(2, 5, 10)
    small, large = made(family, positional=0.1), made(family, positional=0.9)
    large.load_state_dict(small.state_dict())
    assert not torch.allclose(small(context_BCD), large(context_BCD), atol=1e-5)


@pytest.mark.parametrize("family", MODELS)
def test_all_are_saved(tmp_path, family):
    model = made(family, positional=0.05, residual=0.5, skip=SKIP, skip_mean=-0.7, skip_places=3)
    with torch.no_grad():
        model.alpha.fill_(0.25)
        model.skip.weight_K[1] = 0.6
    loaded = load_model(save_model(model, tmp_path / "model"))
    assert torch.equal(model.predict(unit(3, 5, 10)), loaded.predict(unit(3, 5, 10)))
    assert (loaded.options.positional, loaded.options.residual, loaded.alpha.item()) == (0.05, 0.5, 0.25)
    assert (loaded.options.skip, loaded.skip.weight_K[1].item()) == (SKIP, pytest.approx(0.6))


def test_models_saved_before_there_were_shared_options_still_load(tmp_path):
    model = made("amn")
    folder = save_model(model, tmp_path / "model")
    described = yaml.safe_load((folder / "model.yaml").read_text())
    for name in Options.model_fields:
        described["options"].pop(name)
    edit(folder, description=described)
    assert torch.equal(load_model(folder).predict(unit(3, 5, 10)), model.predict(unit(3, 5, 10)))


def test_a_steered_residual_model_keeps_its_delta():
    base, context_BCD = made("amn", residual=0.5), unit(3, 5, 10)
    raw_BD, delta_BD, _ = Steered(base, 0.2).parts(context_BCD)[:3]
    torch.testing.assert_close(raw_BD, base(context_BCD) - 0.2 * context_BCD[:, -1])
    torch.testing.assert_close(delta_BD, base.parts(context_BCD).delta_BD)


def test_a_change_of_family_keeps_them(tmp_path):
    """`--set model=…` on p2 or v3 is that recipe with another network, not another recipe."""
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: p1\nmodel: {residual: 0.5, positional: 0.03, skip: [1, 0.2], layers: 2}\n")
    options = resolve(mine, ["model=amn"]).model.options
    assert (options.residual, options.positional, options.skip) == (0.5, 0.03, (1, 0.2))
    options = resolve(mine, ["model={family: amn, positional: null}"]).model.options
    assert (options.residual, options.positional) == (0.5, None)


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 0.4, 0.2)])
def test_a_skip_s_mean_comes_in_over_the_first_chunks(weights):
    """With m < 0 a context of one chunk would be answered by its opposite."""
    skip, document_ND = Skip(weights, -1.1), unit(1, 6, 10)[0]
    for read in range(1, 7):
        share = min(1, (read - 1) / max(1, len(weights) - 1))
        slots_D = sum(w * document_ND[read - 1 - k] for k, w in enumerate(weights[:read]))
        wanted_D = slots_D - 1.1 * share * document_ND[:read].mean(0)
        torch.testing.assert_close(skip(document_ND[None])[0, read - 1], wanted_D)
        torch.testing.assert_close(skip.at_end(document_ND[None, :read])[0], wanted_D)


def test_a_skip_says_at_its_end_under_autocast_what_it_says_of_the_whole_document():
    """In bfloat16 it was off by .001: training reads the one, serving the other."""
    skip, document_BND = Skip([1, 0.4, 0.2], -1.1), unit(3, 9, 10)
    wanted_BD = skip(document_BND)[:, -1]
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(skip.at_end(document_BND), wanted_BD, atol=1e-6, rtol=0)
        torch.testing.assert_close(skip(document_BND)[:, -1], wanted_BD, atol=1e-6, rtol=0)
