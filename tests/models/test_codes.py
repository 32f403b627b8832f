"""The quantised head: its clusters, its logits, its samples, in every family, saved and fitted once."""

import numpy as np
import pytest
import torch
from scipy.cluster.vq import kmeans2
from test_families import SMALL, unit

from segue.errors import InputError
from segue.models import MODELS, LatentModel, build_model, load_model, save_model
from segue.models.causal import CausalOptions
from segue.models.clusters import PER_CLUSTER, kmeans, nearest, seeds
from segue.models.codes import chunks_of
from segue.recipe import resolve
from segue.training import open_data, train
from segue.vectors import Space
from segue.windows import Split, windows_of
from segue.windows.rows import Rows

SPACE, CODES = Space("test", 10), 6


def made(family: str, **shared) -> LatentModel:
    torch.manual_seed(0)
    options = SMALL[family].model_copy(update={"codes": CODES, **shared})
    return build_model(family, SPACE, options).eval()


def some_points(count: int = 300) -> torch.Tensor:
    draw = torch.Generator().manual_seed(1)
    centre_KD = 2 * torch.randn(7, 5, generator=draw)
    return centre_KD[torch.randint(7, (count,), generator=draw)] + torch.randn(count, 5, generator=draw)


def test_lloyd_s_steps_are_scipy_s():
    """From the same seeds the same centroids and shares."""
    point_ND = some_points()
    centroid_KD, share_K = kmeans(point_ND, 7, seed=3)
    first = point_ND[seeds(point_ND, 7, np.random.default_rng(3))].double().numpy()
    wanted_KD, code_N = kmeans2(point_ND.double().numpy(), first, iter=50, minit="matrix")
    np.testing.assert_allclose(centroid_KD.numpy(), wanted_KD, atol=1e-4)
    np.testing.assert_allclose(share_K.numpy(), np.bincount(code_N, minlength=7) / len(point_ND), atol=1e-6)
    assert (nearest(point_ND, centroid_KD).numpy() == code_N).all()


def test_seeds_are_drawn_by_squared_distance():
    """Two points that coincide and one far away: the second seed is never the first one's twin."""
    point_ND = torch.tensor([[0.0, 0], [0, 0], [5, 0], [0, 1]])
    second = [seeds(point_ND, 2, np.random.default_rng(s)) for s in range(400)]
    assert not any(set(both) == {0, 1} for both in second)
    from_0 = [both[1] for both in second if both[0] == 0]
    assert from_0.count(2) / len(from_0) == pytest.approx(25 / 26, abs=0.05)


def test_no_cluster_stays_empty_and_a_seed_is_a_result():
    """Also with more clusters than different points; a large set is thinned."""
    point_ND = some_points(2 * PER_CLUSTER + 900)
    first, again, other = (kmeans(point_ND, 2, seed)[0] for seed in (4, 4, 5))
    assert torch.equal(first, again) and not torch.equal(first, other)
    few_KD, share_K = kmeans(torch.eye(3).repeat(4, 1), 5, 0)
    assert torch.isfinite(few_KD).all() and share_K.sum() == pytest.approx(1)


@pytest.mark.parametrize("family", MODELS)
@pytest.mark.parametrize("shared", [{}, {"skip": (1.0, 0.2), "skip_mean": -0.3}, {"residual": 0.5}], ids=str)
def test_a_prediction_is_the_expected_centroid(family, shared):
    """By a float64 softmax of the same model's output without the codes."""
    model, plain, context_BCD = made(family, **shared), made(family, codes=None, **shared), unit(4, 5, 10)
    state = model.state_dict()
    plain.load_state_dict({name: state[name] for name in plain.state_dict()})
    assert {*state} - {*plain.state_dict()} == {"codes.centroid_KD", "codes.logit.weight", "codes.logit.bias"}
    raw_BD = plain(context_BCD).detach().double().numpy()
    logits_BK = raw_BD @ state["codes.logit.weight"].double().numpy().T + state["codes.logit.bias"].double().numpy()
    share_BK = np.exp(logits_BK) / np.exp(logits_BK).sum(1, keepdims=True)
    expected_BD = share_BK @ state["codes.centroid_KD"].double().numpy()
    np.testing.assert_allclose(model(context_BCD).detach().numpy(), expected_BD, atol=1e-5)
    predicted_BD = model.predict(context_BCD).numpy()
    np.testing.assert_allclose(predicted_BD, expected_BD / np.linalg.norm(expected_BD, axis=1)[:, None], atol=1e-5)
    likeliest_BD = state["codes.centroid_KD"].numpy()[share_BK.argmax(1)]
    np.testing.assert_allclose(model.samples(context_BCD, 1, 0.0)[:, 0].numpy(), likeliest_BD, atol=1e-6)


def test_samples_are_centroids_drawn_by_their_shares():
    model, context_BCD = made("gru"), unit(1, 5, 10)
    centroid_KD = model.codes.centroid_KD
    for temperature in (0.3, 1.0):
        sample_MD = model.samples(context_BCD, 4000, temperature, torch.Generator().manual_seed(0))[0]
        code_M = (sample_MD @ centroid_KD.T).argmax(1)
        torch.testing.assert_close(sample_MD, centroid_KD[code_M])
        logits_K = model.parts(context_BCD).logits_BK[0].detach().double().numpy() / temperature
        wanted_K = np.exp(logits_K - logits_K.max())
        drawn_K = np.bincount(code_M, minlength=CODES) / 4000
        np.testing.assert_allclose(drawn_K, wanted_K / wanted_K.sum(), atol=0.03)
    again = [model.samples(context_BCD, 9, 1.0, torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(again[0], again[1]) and not torch.equal(again[0], again[2])


def test_causal_generates_what_it_predicts_and_reads_positions_alike():
    model, context_BCD = made("causal", skip=(1.0, 0.3)), unit(2, 6, 10)
    path_BSD, growing_BND = model.generate(context_BCD, 3), context_BCD
    for step in range(3):
        growing_BND = torch.cat([growing_BND, model.predict(growing_BND)[:, None]], 1)
        torch.testing.assert_close(path_BSD[:, step], growing_BND[:, -1], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(model.positions(context_BCD)[:, -1], model(context_BCD), atol=1e-5, rtol=1e-4)


@pytest.fixture
def store(make_store):
    draw = np.random.default_rng(0)
    return make_store([draw.normal(size=(length, 10)) for length in (9, 8, 12, 30, 9, 9)])


def test_codes_are_of_the_train_documents_alone_and_fixed(store, tmp_path):
    """Of two runs and of the loaded model: the clusters of the train chunks by the recipe's seed, bit for bit."""
    sets = ("model={family: amn, attention: 4, hidden: 5, bottleneck: 4}", "epochs=2", "batch=16", "model.codes=4")
    recipe = resolve("p1", [*sets, "objective={mse: null, next_code: {weight: 1}}", "seed=5"])
    parts = [tuple(store.document_ids[i] for i in part) for part in ((0, 1, 2), (3, 4), (5,))]
    split = Split(*parts, how="by hand")
    data = open_data(recipe, store, split)
    runs = []
    for name in "ab":
        (tmp_path / name).mkdir()
        runs.append(train(recipe, data, tmp_path / name).model)
    loaded = load_model(tmp_path / "a" / "epochs" / "002")
    train_ND = Rows(store)(np.arange(9 + 8 + 12))
    wanted_KD, _ = kmeans(train_ND, 4, 5)
    for model in (*runs, loaded):
        assert torch.equal(model.codes.centroid_KD, wanted_KD)
    assert torch.equal(runs[0].codes.logit.weight, runs[1].codes.logit.weight)
    assert not torch.equal(runs[0].codes.logit.weight, 10 * wanted_KD), "the logits are trained"
    context_BCD = Rows(store)(data.val.context_rows())
    assert torch.equal(runs[0].eval().predict(context_BCD), loaded.predict(context_BCD))


def test_the_code_of_a_chunk_is_the_same_under_autocast():
    """In bfloat16 .4 % of the chunks had another: the term would have asked for a code that is not theirs."""
    model, chunk_ND = made("amn"), unit(1, 5000, 10)[0]
    with torch.autocast("cpu", torch.bfloat16):
        code_N = model.codes.of(chunk_ND)
    half_K = model.codes.centroid_KD.double().square().sum(1) / 2
    wanted_N = (chunk_ND.double() @ model.codes.centroid_KD.double().T - half_K).argmax(1)
    assert torch.equal(code_N, wanted_N)


def test_chunks_are_those_of_whole_documents(store):
    windows = windows_of(store, np.array([4, 1]))
    rows, every = Rows(store), np.r_[9:17, 59:68]
    np.testing.assert_allclose(chunks_of(windows, rows, 17, 0), rows(every))
    some = [chunks_of(windows, rows, 16, seed) for seed in (0, 0, 1, 2, 3)]
    left_out = {int((rows(every)[:, None] == its[None]).all(-1).any(1).logical_not().nonzero()) for its in some}
    assert torch.equal(some[0], some[1]) and len(left_out) > 1  # one chunk each, by the seed


def test_what_cannot_be_is_refused(store, tmp_path):
    model = made("amn")
    with pytest.raises(InputError, match=r"model\.codes: found 6 codes, the train documents have 5 chunks"):
        model.codes.fit(unit(1, 5, 10)[0], 0)
    with pytest.raises(InputError, match=r"objective\.next_code: the model has no quantised head: set model\.codes"):
        resolve("p1", ["objective.next_code={weight: 1}"])
    with pytest.raises(InputError, match="codes and noise both draw samples"):
        resolve("onward", ["model.noise=4", "model.codes=8", "objective.energy={weight: 1}"])
    with pytest.raises(InputError, match="codes"):
        resolve("p1", ["model.codes=1"])
    with pytest.raises(InputError, match="draws no samples"):
        build_model("causal", SPACE, CausalOptions(width=8, heads=2)).samples(unit(1, 3, 10), 1)
    saved = save_model(model, tmp_path / "model")
    loaded = load_model(saved)
    assert torch.equal(loaded.codes.centroid_KD, model.codes.centroid_KD)
