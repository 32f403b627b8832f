"""The energy score and the head it trains: proper, finite, and a fork in the road is learnt as a fork."""

import numpy as np
import pytest
import torch
from term_scenes import CONTEXT, some_documents
from torch.nn.functional import normalize

from segue.errors import InputError
from segue.models import build_model, load_model, save_model
from segue.models.causal import CausalOptions
from segue.models.network import batches_for
from segue.models.sampler import Sampler, _moments
from segue.objectives import TERMS, Objective, Pass
from segue.recipe import resolve
from segue.vectors import Space
from segue.windows import windows_of
from segue.windows.batches import Batch, gather
from segue.windows.rows import Rows

DIM = 6


def model_with_noise():
    torch.manual_seed(2)
    options = CausalOptions(width=8, layers=1, heads=2, feed_forward=12, dropout=0, noise=3, skip=(1.0, 0.2))
    model = build_model("causal", Space("test", DIM), options, context=CONTEXT)
    with torch.no_grad():  # as if trained: what begins at 0 hides what stands before it
        for silent in (model.sampler.centre, model.sampler.gain, model.sampler.outward, model.head[1]):
            silent.weight.normal_(std=0.3)
    return model


@pytest.fixture
def gathered(make_store):
    store = make_store(some_documents())
    return windows_of(store, np.arange(4), CONTEXT), Rows(store)


def score(drawn_BMD: torch.Tensor, target_BD: torch.Tensor, batch: Batch, rows: Rows) -> float:
    """The term on made-up samples and targets."""
    asked = Batch(batch.windows, batch.context_BCD, target_BD)
    made = Pass(None, asked, target_BD, 1, rows, drawn=lambda count: drawn_BMD[:, :count])
    return TERMS["energy"](weight=1, samples=drawn_BMD.shape[1]).per_window(made).mean().item()


def test_it_is_smallest_where_samples_are_distributed_as_the_target(gathered):
    """Targets around a direction: samples of the same spread score better than the direction, or a wider cloud."""
    windows, rows = gathered
    draw = torch.Generator().manual_seed(0)
    centre_D = torch.eye(DIM)[0]
    batch = gather(windows.take(np.zeros(4000, dtype=int)), rows)

    def about(spread: float, *shape: int) -> torch.Tensor:
        return normalize(centre_D + spread * torch.randn(*shape, DIM, generator=draw), dim=-1)

    target_BD = about(0.4, 4000)
    found = {spread: score(about(spread, 4000, 4), target_BD, batch, rows) for spread in (0, 0.2, 0.4, 0.8)}
    assert min(found, key=found.get) == 0.4
    assert found[0.4] < found[0] - 0.02


def test_its_gradient_is_finite_where_all_samples_are_the_target(gathered):
    windows, rows = gathered
    batch = gather(windows, rows)
    sample_BMD = batch.target_BD[:, None].repeat(1, 3, 1).requires_grad_()
    made = Pass(None, batch, batch.target_BD, 1, rows, drawn=lambda _: sample_BMD)
    value = TERMS["energy"](weight=1, samples=3).value(made)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-3) and torch.isfinite(sample_BMD.grad).all()


def test_a_fork_is_learnt_as_a_fork():
    """From one state two ways lead on, three times in four the first: the mean lies between, the samples on both."""
    torch.manual_seed(0)
    sampler, state_BW, read_B3D = Sampler(4, 2, 32, DIM), torch.ones(256, 4), torch.zeros(256, 3, DIM)
    ways = torch.eye(DIM)[:2]
    optimiser = torch.optim.Adam(sampler.parameters(), lr=0.01)
    for _ in range(250):
        target_BD = ways[(torch.rand(256) < 0.25).long()]
        drawn_BMD = sampler.drawn(state_BW, read_B3D, 4)
        to_target = (drawn_BMD - target_BD[:, None]).norm(dim=-1).mean()
        apart = torch.stack([(drawn_BMD[:, i] - drawn_BMD[:, j]).norm(dim=-1) for i in range(4) for j in range(i)])
        optimiser.zero_grad()
        (to_target - apart.mean() / 2).backward()
        optimiser.step()
    sample_MD = sampler.drawn(state_BW[:1], read_B3D[:1], 2000).detach()[0]
    assert (sample_MD @ ways.T).amax(1).mean() > 0.95
    assert ((sample_MD @ ways[1]) > 0.7).float().mean() == pytest.approx(0.25, abs=0.06)


def test_the_term_pulls_the_generative_head_and_what_it_reads_and_not_the_other(gathered):
    model, (windows, rows) = model_with_noise().train(), gathered
    batch = next(iter(batches_for(model, windows, rows, 100)))
    step = Objective({"energy": TERMS["energy"](weight=1)}, rows)(model, batch, 1)
    step.total.backward()
    for name, parameter in model.named_parameters():
        pulled = parameter.grad is not None and bool(parameter.grad.abs().max() > 0)
        assert pulled is not name.startswith(("head.", "skip.")), name


def test_it_begins_as_a_linear_regression_with_noise_of_three_kinds(make_store):
    """Six numbers by NumPy's least squares; samples by the formula written out in float64 from the same noise."""
    draw = np.random.default_rng(0)
    store = make_store([0.4 * draw.normal(size=(n, DIM)) + draw.normal(size=DIM) for n in (30, 7, 50)])
    windows, rows = windows_of(store, np.arange(3), CONTEXT), Rows(store)
    read, target = [], []
    for last, earlier in zip(windows.last_W, windows.earlier_W, strict=True):
        so_far_ND = rows(np.arange(last - earlier, last + 1)).double().numpy()
        recent = [so_far_ND[-1 - k] if k < len(so_far_ND) else np.zeros(DIM) for k in range(5)]
        read.append(np.stack([*recent, so_far_ND.mean(0)], 1))
        target.append(rows(np.array([last + 1]))[0].double().numpy())
    number_F = np.linalg.lstsq(np.concatenate(read), np.concatenate(target))[0]

    options = CausalOptions(width=8, layers=1, heads=2, feed_forward=12, noise=DIM)
    model = build_model("causal", Space("test", DIM), options, context=CONTEXT).eval()
    model.prepare(windows, rows, 0)
    sampler = model.sampler
    np.testing.assert_allclose([*sampler.carried.weight_K.tolist(), sampler.carried.mean.item()], number_F, atol=1e-5)

    context_BCD = rows(np.arange(40, 50))[None]  # of the third document
    so_far_ND = context_BCD[0].double().numpy()
    noise_MZ = torch.randn(1, 50, DIM + 3, generator=torch.Generator().manual_seed(3))[0].double().numpy()
    stretch, lean, own = sampler.stretch.item(), sampler.lean.tolist(), 0.7 * noise_MZ[:, :3]
    assert stretch > 0.01 and lean[0] >= 0 and lean[1] >= 0
    centre_D = number_F[:5] @ so_far_ND[:-6:-1] + number_F[5] * so_far_ND.mean(0)
    leaning_MD = np.outer(own[:, 1], lean[0] * so_far_ND[-1]) + np.outer(own[:, 2], lean[1] * so_far_ND.mean(0))
    spread_DZ = sampler.spread.weight.detach().double().numpy() / DIM**0.5
    spread_MD = np.exp(stretch * own[:, :1]) * (0.7 * noise_MZ[:, 3:] @ spread_DZ.T)
    wanted_MD = centre_D + leaning_MD + spread_MD
    wanted_MD /= np.linalg.norm(wanted_MD, axis=1, keepdims=True)
    sample_MD = model.samples(context_BCD, 50, 0.7, torch.Generator().manual_seed(3))[0]
    np.testing.assert_allclose(sample_MD.numpy(), wanted_MD, atol=1e-5)

    narrow = Sampler(8, 2, 12, DIM)
    narrow.fit(windows, rows, 0)
    widest = np.linalg.eigvalsh(spread_DZ @ spread_DZ.T)[-2:]
    np.testing.assert_allclose(narrow.spread.weight.detach().square().sum(0) / DIM, widest, atol=1e-6)
    with pytest.raises(InputError, match=r"model\.noise: found 7, the vectors are 6 wide"):
        Sampler(8, 7, 12, DIM).fit(windows, rows, 0)


def test_the_moments_of_residuals_are_those_they_were_made_with():
    draw, many, dim = np.random.default_rng(1), 20_000, 60
    on_W2D = draw.normal(size=(many, 2, dim))
    on_W2D /= np.linalg.norm(on_W2D, axis=2, keepdims=True)
    axis_D = np.linspace(0.5, 1.5, dim) / dim**0.5
    length_W1, lean_W2 = np.exp(0.3 * draw.normal(size=(many, 1))), draw.normal(size=(many, 2)) * (0.4, 0.2)
    off_WD = length_W1 * axis_D * draw.normal(size=(many, dim)) + np.einsum("wk,wkd->wd", lean_W2, on_W2D)
    lean_2, stretch, left_DD = _moments(torch.tensor(off_WD), torch.tensor(on_W2D))
    np.testing.assert_allclose(lean_2, (0.4, 0.2), atol=0.02)
    assert stretch.item() == pytest.approx(0.3, abs=0.03)
    np.testing.assert_allclose(left_DD.diagonal(), axis_D**2, rtol=0.12)
    no_lean_2 = _moments(torch.tensor(axis_D * draw.normal(size=(many, dim))), torch.tensor(on_W2D))[0]
    assert no_lean_2.max() < 0.03


def test_a_document_that_repeats_its_first_chunk_says_nothing_of_lean(make_store):
    """Last chunk and mean are one vector there: the fit neither stops nor takes rounding errors for weights."""
    draw = np.random.default_rng(0)
    varied, same = [draw.normal(size=(30, DIM)) for _ in range(3)], np.repeat(draw.normal(size=(1, DIM)), 12, 0)
    store = make_store([*varied, np.concatenate([same, draw.normal(size=(9, DIM))]), same])
    for documents in ([0, 1, 2, 3, 4], [4]):
        sampler = Sampler(8, 3, 12, DIM)
        sampler.fit(windows_of(store, np.array(documents), CONTEXT), Rows(store), 0)
        assert all(torch.isfinite(parameter).all() for parameter in sampler.parameters())
        assert sampler.lean.max() < (2 if len(documents) > 1 else 1e-9)


def test_samples_are_of_the_document_so_far_unit_and_their_seed_s(gathered):
    """In a training batch and on demand; at temperature 0 all alike, at 1 not."""
    model, (windows, rows) = model_with_noise().eval(), gathered
    for batch in batches_for(model, windows, rows, 9):
        alike_BMD = model.raw_of(batch).drawn(2, 0.0)
        for b, (last, earlier) in enumerate(zip(batch.windows.last_W, batch.windows.earlier_W, strict=True)):
            so_far_1ND = rows(np.arange(last - earlier, last + 1))[None]
            torch.testing.assert_close(alike_BMD[b], model.samples(so_far_1ND, 2, 0.0)[0], atol=1e-5, rtol=1e-4)
    context_BCD = rows(windows.context_rows())
    first, again, other = (model.samples(context_BCD, 7, 1.0, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert first.shape == (len(windows), 7, DIM) and torch.equal(first, again) and not torch.equal(first, other)
    torch.testing.assert_close(first.norm(dim=-1), torch.ones(len(windows), 7))
    spread = [1 - (x[:, 1:] * x[:, :1]).sum(-1).mean() for x in (first, model.samples(context_BCD, 7, 3.0))]
    assert 1e-4 < spread[0] < spread[1]


def test_the_head_is_saved_and_its_want_is_told(tmp_path, gathered):
    model, (windows, rows) = model_with_noise().eval(), gathered
    loaded = load_model(save_model(model, tmp_path / "model"))
    drawn = [
        one.samples(rows(windows.context_rows()), 3, 1.0, torch.Generator().manual_seed(0)) for one in (model, loaded)
    ]
    assert torch.equal(*drawn)
    with pytest.raises(InputError, match="draws no samples"):
        build_model("causal", Space("test", DIM), CausalOptions(width=8, heads=2)).samples(torch.ones(1, 2, DIM), 1)
    with pytest.raises(InputError, match=r"objective\.energy: the model has no generative head"):
        resolve("p1", ["model=causal", "objective.energy={weight: 1}"])
    assert resolve("onward", ["model.noise=16", "objective.energy={weight: 1}"]).objective["energy"].samples == 8
