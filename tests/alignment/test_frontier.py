"""The frontier of SPEC §4, proved where E[target | context] is known, and measured as 5CAT measures."""

import numpy as np
import pytest
import torch
from known_worlds import make_world

from segue.alignment import five_cat
from segue.alignment.frontier import (
    BETAS,
    METRICS,
    NO_RAW,
    curve,
    drawn,
    frontier,
    frontier_beside,
    require_same_windows,
)
from segue.alignment.held_out import held_out
from segue.alignment.measure import BLOCK, Part
from segue.errors import InputError
from segue.models.controls import ATTAINABLE, UNATTAINABLE, context_mean, copy_last
from segue.models.fitting import ridge
from segue.windows import split_by_ranges
from segue.windows.rows import Rows

KINDS, TARGETS, DIM = 12, 5, 8


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


class FiniteWorld:
    """Twelve contexts, each followed by one of five targets with equal chance: every expectation is a plain mean.

    context_KCD   the contexts
    target_KJD    what may follow each
    m_KD          E[target | context], of lengths between about .4 and .9
    """

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        self.context_KCD = unit(rng.standard_normal((KINDS, 5, DIM)) + 0.6)
        drawn = rng.standard_normal((KINDS, TARGETS, DIM)) * rng.uniform(0.2, 0.9, (KINDS, 1, 1))
        self.target_KJD = unit(0.7 * self.context_KCD[:, None, -1] + 0.6 * self.context_KCD[:, None, -3] + drawn)
        self.m_KD = self.target_KJD.mean(1)
        self.last_KD = self.context_KCD[:, -1]

    def cos(self, p_KD):
        """Over targets one by one, as a test would: not p·m."""
        return float(np.einsum("kd,kjd->kj", p_KD, self.target_KJD).mean())

    def margin(self, p_KD):
        return self.cos(p_KD) - float((p_KD * self.last_KD).sum(1).mean())

    def steered(self, beta):
        return unit(self.m_KD - beta * self.last_KD)

    def best_cos(self, margin):
        """The curve's cos at a margin, by bisection; below the unsteered one's margin nothing holds it back."""
        if margin <= self.margin(self.steered(0)):
            return self.cos(self.steered(0))
        low, high = 0.0, 1.0
        assert margin < self.margin(self.steered(1.0))
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self.margin(self.steered(middle)) < margin else (low, middle)
        return self.cos(self.steered(high))


@pytest.fixture(scope="module")
def finite():
    return FiniteWorld()


@pytest.mark.parametrize("beta", [0.0, 0.1, 0.35, 0.6, 0.9, 0.99])
def test_lagrange_certificate(finite, beta):
    """Weak duality: any p with margin ≥ M has cos ≤ mean ‖(1+λ)m − λx‖ − λM, for every λ ≥ 0. The curve attains it."""
    lam = beta / (1 - beta)
    margin = finite.margin(finite.steered(beta))
    bound = np.linalg.norm((1 + lam) * finite.m_KD - lam * finite.last_KD, axis=1).mean() - lam * margin
    assert finite.cos(finite.steered(beta)) == pytest.approx(bound, abs=1e-9)
    for other in np.linspace(0, 60, 200):  # and no other multiplier gives a lower bound: it is the tight one
        loose = np.linalg.norm((1 + other) * finite.m_KD - other * finite.last_KD, axis=1).mean() - other * margin
        assert loose >= bound - 1e-9


@pytest.mark.parametrize("wanted", [0.0, 0.15, 0.35])
def test_gradient_ascent_does_not_pass_the_curve(finite, wanted):
    """Any unit vectors at all, pushed up in cos under a penalty on the margin, end on the curve and not above it."""
    assert finite.margin(finite.steered(0)) < wanted < finite.margin(finite.steered(0.99))
    generator = torch.Generator().manual_seed(1)
    free = torch.randn(3, KINDS, DIM, generator=generator, dtype=torch.float64, requires_grad=True)
    m, last = torch.as_tensor(finite.m_KD), torch.as_tensor(finite.last_KD)
    optimiser = torch.optim.Adam([free], lr=0.05)
    multiplier = torch.zeros(3, dtype=torch.float64)
    for step in range(800):
        p = torch.nn.functional.normalize(free, dim=-1)
        cos, short = (p * m).sum(-1).mean(-1), wanted - (p * (m - last)).sum(-1).mean(-1)
        loss = (-cos + multiplier * short + 10 * short.clamp(min=0) ** 2).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 20 == 19:
            multiplier = (multiplier + short.detach()).clamp(min=0)
    for p in unit(free.detach().numpy()):
        bound = finite.best_cos(finite.margin(p))
        assert finite.cos(p) <= bound + 1e-6
        assert finite.cos(p) == pytest.approx(bound, abs=2e-3), "the ascent got there: the bound is not idle"
        assert finite.margin(p) == pytest.approx(wanted, abs=0.02)


def test_no_perturbation_passes_the_curve(finite):
    rng = np.random.default_rng(2)
    for beta in (0.0, 0.2, 0.5, 0.8):
        for size in (1e-3, 1e-2, 0.1, 1.0):
            for _ in range(60):
                p = unit(finite.steered(beta) + size * rng.standard_normal((KINDS, DIM)))
                if finite.margin(p) < finite.margin(finite.steered(1.0)) - 1e-6:
                    assert finite.cos(p) <= finite.best_cos(finite.margin(p)) + 1e-9


def below(finite, p):
    """How far a predictor lies below the curve at its own margin."""
    return finite.best_cos(finite.margin(p)) - finite.cos(p)


def test_other_families_and_wrong_steering_lie_below(finite):
    """Off another chunk, β that differs by window, ‖r‖ made meaningless by a unit norm, subtraction from x_t's own
    direction away: all clearly worse at their own margin. What `steer` warns of is the second."""
    beta = 0.5
    rng = np.random.default_rng(3)
    wrong = {
        "another chunk": unit(finite.m_KD - beta * finite.context_KCD[:, -2]),
        "unit norm": unit(unit(finite.m_KD) - beta * finite.last_KD),
        "a beta for each window": unit(finite.m_KD - rng.uniform(0, 1, (KINDS, 1)) * finite.last_KD),
        "projection": unit(finite.m_KD - 0.9 * (finite.m_KD * finite.last_KD).sum(1, keepdims=True) * finite.last_KD),
        "a copy of an early slot": finite.context_KCD[:, 0],
    }
    for name, p in wrong.items():
        assert below(finite, p) > 1e-3, name
    assert abs(below(finite, finite.steered(beta))) < 1e-9


def test_a_worse_estimate_lies_below(finite):
    """Half the samples' mean for m: the whole curve of it is under the true one's."""
    estimate = finite.target_KJD[:, :2].mean(1)
    for beta in (0.0, 0.3, 0.6):
        assert below(finite, unit(estimate - beta * finite.last_KD)) > 1e-3


class Known:
    """Knows m of a finite world: finds the context it is handed."""

    def __init__(self, world):
        self.name, self.dim, self.context, self.horizon = "m", DIM, 5, 1
        self.facets, self.reach, self.calls = ("mean",), 5, 0
        self._context = torch.as_tensor(world.context_KCD.reshape(KINDS, -1), dtype=torch.float32)
        self._m = torch.as_tensor(world.m_KD, dtype=torch.float32)

    def predict_with_raw(self, context_BCD):
        self.calls += len(context_BCD)
        raw = self._m[torch.cdist(context_BCD.flatten(1), self._context).argmin(1)]
        return raw / raw.norm(dim=1, keepdim=True), raw

    def predict(self, context_BCD):
        return self.predict_with_raw(context_BCD)[0]


def test_the_drawn_curve_is_the_true_one(finite, make_store):
    """A store that holds each context with each of its targets once: what is drawn of it is the closed form.

    Predictors fitted on the very same documents, ridge's whole curve among them, lie on or under it.
    """
    pairs = zip(finite.context_KCD, finite.target_KJD, strict=True)
    store = make_store([np.vstack([c, y[None]]) for c, ys in pairs for y in ys] * 2)
    n = KINDS * TARGETS
    held = held_out(store, split_by_ranges(store, train=f"0-{n - 1}", val=f"{n}-{2 * n - 1}"), 5, 1)
    for at in drawn(Known(finite), held.parts)["splits"]["VAL"]["curve"]:
        p = finite.steered(at["beta"])
        assert at["cos"]["value"] == pytest.approx(finite.cos(p), abs=1e-6)
        assert at["margin_last"]["value"] == pytest.approx(finite.margin(p), abs=1e-6)
    rows = Rows(store)
    fitted = ridge(held.train, held.every["VAL"], rows, rows)
    for other in (fitted, copy_last(DIM), context_mean(DIM)):
        its = drawn(other, held.parts)["splits"]["VAL"]
        for at in [its["point"], *(its["curve"] or [])]:
            margin = at["margin_last"]["value"]
            if margin < finite.margin(finite.steered(1.0)):
                assert at["cos"]["value"] <= finite.best_cos(margin) + 1e-6, other.name


MADE = {}  # the world is the same for all tests, and made once


@pytest.fixture
def world(make_store):
    if not MADE:
        MADE["rotation"] = make_world(make_store, "rotation")
    return MADE["rotation"]


def test_each_point_is_what_a_slow_formula_gives(world):
    """cos, margin_last, future MRR and direction of normalise(r − β·x_t), window by window in float64.

    On several blocks of windows of one size: each must be forwarded anew.
    """
    fitted, beta = world.fitted["ridge"], 0.4
    part = Part("train", world.every["train"], world.every["train"].documents)
    assert len(part.windows) > 3 * BLOCK
    windows, x = part.windows, world.store.vectors_ND.astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    weights = fitted.weights_CDD.double().numpy()
    rows = {name: [] for name in METRICS}
    for t, earlier, document in zip(windows.last_W, windows.earlier_W, windows.document_W, strict=True):
        p = unit(x[t - 4 : t + 1].reshape(-1) @ weights - beta * x[t])
        end = world.store.first_row_G[document] + world.store.length_G[document]
        rows["cos"].append(p @ x[t + 1])
        rows["margin_last"].append(p @ x[t + 1] - p @ x[t])
        rows["mrr_future"].append(1 / (1 + (x[t + 2 : end] @ p > p @ x[t + 1]).sum()))
        if earlier >= 5:
            rows["direction"].append(p @ x[t + 1] > p @ x[t - 5])
    (found,) = curve(fitted, part, (beta,))
    for name, path in METRICS.items():
        assert found.result(path).value == pytest.approx(np.mean(rows[name]), abs=2e-6), name


def test_a_window_is_forwarded_once_for_the_whole_curve(finite, make_store):
    store = make_store([np.vstack([c, y[:2]]) for c, y in zip(finite.context_KCD, finite.target_KJD, strict=True)] * 3)
    held = held_out(store, split_by_ranges(store, train="0-11", val="12-23", ood="24-35"), 5, 1)
    known = Known(finite)
    curve(known, held.parts["VAL"], BETAS)
    assert known.calls == len(held.parts["VAL"].windows)


def test_every_control_is_there_and_only_ridge_has_a_curve(world):
    split = split_by_ranges(world.store, train="0-59", val="60-74", ood="75-89")
    held = held_out(world.store, split, 5, 1)
    found = frontier({"ridge": world.fitted["ridge"], "plain": copy_last(16)}, held)
    predictors = found["predictors"]
    names = {"ridge", "plain", "ridge (control)", *ATTAINABLE, *UNATTAINABLE}
    assert names <= set(predictors)
    assert predictors["plain"]["not_drawn"] == NO_RAW and predictors["plain"]["splits"]["VAL"]["curve"] is None
    assert predictors["plain"]["splits"] == predictors["copy_last"]["splits"]
    assert predictors["ridge"]["splits"] == predictors["ridge (control)"]["splits"]
    point, first = (predictors["ridge"]["splits"]["OOD"][key] for key in ("point", "curve"))
    assert point == {metric: first[0][metric] for metric in METRICS}, "β = 0 is the model itself"
    margins = [at["margin_last"]["value"] for at in first]
    assert margins == sorted(margins) and found["betas"] == list(BETAS)


def test_beside_a_5cat_the_controls_are_the_ones_it_measured(world):
    split = split_by_ranges(world.store, train="0-59", val="60-74", ood="75-89")
    held = held_out(world.store, split, 5, 1)
    model = world.fitted["ridge"]
    tested = five_cat(dict.fromkeys(held.parts, model), held.parts, world.fitted, held.every)
    beside, whole = frontier_beside(model, held, tested), frontier({"r": model}, held)
    for name in ("copy_last", "rank_weights", "oracle"):
        mine, theirs = (one["predictors"][name]["splits"]["OOD"]["point"] for one in (beside, whole))
        for metric in METRICS:
            assert mine[metric]["value"] == pytest.approx(theirs[metric]["value"], abs=1e-9), (name, metric)
    assert beside["predictors"]["ridge"]["splits"] == whole["predictors"]["r"]["splits"]


def test_predictors_of_different_windows_share_no_axes():
    with pytest.raises(InputError, match=r"far: reads 5 chunks and predicts offset \+2, near reads 5 .* \+1"):
        require_same_windows({"near": copy_last(8), "far": copy_last(8, horizon=2)})
