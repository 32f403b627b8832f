"""A model of two faces: which head makes what, in training, in prediction, in 5CAT, and after loading."""

import numpy as np
import pytest
import torch
from test_families import SMALL, unit

from segue.alignment.measure import Part, measure_judged
from segue.errors import InputError
from segue.models import LatentModel, build_model, load_model, save_model
from segue.models.faces import MeanFace, mean_face
from segue.models.network import batches_for
from segue.objectives import TERMS, Objective
from segue.recipe import resolve
from segue.vectors import Space
from segue.windows import windows_of
from segue.windows.rows import Rows

SKIP = {"skip": (1.0, 0.2, -0.1), "skip_mean": -0.7}


def made(**shared) -> LatentModel:
    torch.manual_seed(0)
    options = SMALL["causal"].model_copy(update={"mean_head": True, **SKIP, **shared})
    model = build_model("causal", Space("test", 10), options, facets=("rank", "mean")).eval()
    for seed, head in enumerate((model.head, model.mean_head)):
        with torch.no_grad():
            head[1].weight.copy_(unit(*head[1].weight.shape, seed=seed + 20))
            head[0].weight.copy_(1 + unit(16, seed=seed + 30))
    return model


@pytest.fixture
def gathered(make_store):
    store = make_store([unit(n, 10, seed=n).numpy() for n in (9, 20, 6)])
    return windows_of(store, np.arange(3)), Rows(store)


def test_the_mean_head_reads_what_the_other_does_without_the_skip():
    """RMSNorm and a matrix of its own, in float64; the model's own prediction is as if it were not there."""
    model, context_BCD = made(), unit(3, 7, 10)
    hidden_BW = model.hidden(context_BCD)[:, -1].detach().double().numpy()
    norm, out = (model.mean_head[i].weight.detach().double().numpy() for i in range(2))
    normed_BW = hidden_BW / np.sqrt((hidden_BW**2).mean(1, keepdims=True) + 1e-6) * norm
    raw_BD = normed_BW @ out.T / np.sqrt(10)
    mean = mean_face(model)
    assert isinstance(mean, MeanFace) and mean.facets == ("mean",) and mean.reach is None
    np.testing.assert_allclose(mean.predict_with_raw(context_BCD)[1], raw_BD, atol=1e-6)
    np.testing.assert_allclose(
        mean.predict(context_BCD), raw_BD / np.linalg.norm(raw_BD, axis=1, keepdims=True), atol=1e-6
    )
    one_faced = build_model("causal", Space("test", 10), SMALL["causal"].model_copy(update=SKIP)).eval()
    one_faced.load_state_dict({name: its for name, its in model.state_dict().items() if "mean_head" not in name})
    assert torch.equal(one_faced.predict(context_BCD), model.predict(context_BCD))
    assert mean_face(one_faced) is None


def test_the_mean_head_has_a_skip_of_its_own():
    """Begins as the weights given; after, what they make is added to what the head makes of the state."""
    weights, document_BND = (0.3, 0.2, 0.4), unit(2, 6, 10)
    fresh = build_model("causal", Space("test", 10), made(mean_skip=weights).options, facets=("rank", "mean")).eval()
    mean = mean_face(fresh)
    assert isinstance(mean, MeanFace)
    for length in (1, 2, 6):
        read_BCD = document_BND[:, :length].double()
        mean_BD = min(1, length - 1) * read_BCD.mean(1)  # of one chunk it is that chunk, which has its weight
        wanted_BD = 0.3 * read_BCD[:, -1] + 0.4 * mean_BD + (0.2 * read_BCD[:, -2] if length > 1 else 0)
        torch.testing.assert_close(mean.predict_with_raw(document_BND[:, :length])[1].double(), wanted_BD)
    with_skip, without = made(mean_skip=weights), made()
    without.load_state_dict({name: its for name, its in with_skip.state_dict().items() if "mean_skip" not in name})
    both = [mean_face(model).predict_with_raw(document_BND)[1].double() for model in (with_skip, without)]
    torch.testing.assert_close(both[0] - both[1], wanted_BD)
    assert torch.equal(with_skip.predict(document_BND), without.predict(document_BND))


def test_a_skip_of_no_mean_head_is_refused():
    with pytest.raises(InputError, match=r"mean_skip is a part of the mean head"):
        resolve("onward", ["model.mean_skip=[0.5, 0.5]"])


@pytest.mark.parametrize("shared", [{}, {"mean_skip": (0.3, 0.2, 0.4)}])
def test_a_training_batch_holds_both_faces_and_no_later_chunk(gathered, shared):
    model, (windows, rows) = made(**shared), gathered
    for batch in batches_for(model, windows, rows, 8, seed=0, epoch=1):
        parts = model.raw_of(batch)
        for b, (last, earlier) in enumerate(zip(batch.windows.last_W, batch.windows.earlier_W, strict=True)):
            so_far_1ND = rows(np.arange(last - earlier, last + 1))[None]
            torch.testing.assert_close(parts.mean_BD[b], model.mean_raw(so_far_1ND)[0], atol=1e-6, rtol=1e-5)
            torch.testing.assert_close(parts.raw_BD[b], model(so_far_1ND)[0], atol=1e-6, rtol=1e-5)


def test_a_term_pulls_the_face_it_names(gathered):
    """mse on the mean face, info_nce on the other: each head's gradient is that of its own term alone."""
    model, (windows, rows) = made(dropout=0.0), gathered
    batch = next(iter(batches_for(model, windows, rows, 100)))
    terms = {
        "mse": TERMS["mse"](weight=3, face="mean"),
        "info_nce": TERMS["info_nce"](weight=1, temperature=0.2, candidates="future"),
    }

    def pulled(names: list[str]) -> tuple[torch.Tensor, torch.Tensor, dict[str, float]]:
        model.zero_grad()
        step = Objective({name: terms[name] for name in names}, rows)(model, batch, 1)
        step.total.backward()
        grads = [
            torch.zeros(()) if w.grad is None else w.grad for w in (model.head[1].weight, model.mean_head[1].weight)
        ]
        return *grads, {name: value.item() for name, value in step.values.items()}

    head, mean_head, values = pulled(["mse", "info_nce"])
    raw_BD = model.raw_of(batch).mean_BD.detach().double()
    assert values["mse"] == pytest.approx((raw_BD - batch.target_BD.double()).square().mean().item(), rel=1e-5)
    torch.testing.assert_close(mean_head, pulled(["mse"])[1])
    torch.testing.assert_close(head, pulled(["info_nce"])[0])
    assert not pulled(["mse"])[0].any() and not pulled(["info_nce"])[1].any()
    assert head.any() and mean_head.any()


def test_5cat_takes_ranks_of_one_face_and_cosines_of_the_other(gathered):
    model, (windows, rows) = made(), gathered
    measured = measure_judged(model, Part("VAL", windows, np.arange(3)))
    mean = mean_face(model)
    for w, (last, earlier) in enumerate(zip(windows.last_W, windows.earlier_W, strict=True)):
        so_far_1ND, target_D = rows(np.arange(last - earlier, last + 1))[None], rows(np.array([last + 1]))[0]
        assert measured.cos_PSW[0, 0, w] == pytest.approx((mean.predict(so_far_1ND)[0] @ target_D).item(), abs=1e-5)
        past = windows.store.first_row_G[windows.document_W[w]] + windows.store.length_G[windows.document_W[w]]
        similarity_N = (rows(np.arange(last + 1, past)) @ model.predict(so_far_1ND)[0]).numpy()
        assert measured.rank_PSW[0, 0, w] == 1 + (similarity_N > similarity_N[0] + 1e-6).sum()
    steps = ~np.isnan(measured.cos_PSW[0, -1])
    assert steps.any() and (steps == ~np.isnan(measured.rank_PSW[0, -1])).all()


def test_both_faces_are_saved(tmp_path):
    model, context_BCD = made(), unit(3, 6, 10)
    loaded = load_model(save_model(model, tmp_path / "model"))
    assert loaded.two_faced and loaded.facets == ("rank", "mean")
    for ours, its in ((model, loaded), (mean_face(model), mean_face(loaded))):
        assert torch.equal(ours.predict(context_BCD), its.predict(context_BCD))


def test_a_term_cannot_name_a_face_that_is_not_there():
    for sets in (["model=causal"], []):
        with pytest.raises(InputError, match=r"objective\.mse: face: the model has no mean head"):
            resolve("p1", [*sets, "objective.mse.face=mean"])
    recipe = resolve("onward", ["model.mean_head=true", "objective.mse={weight: 1, face: mean}"])
    assert recipe.objective["mse"].face == "mean"
