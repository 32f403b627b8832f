"""Ordering: greedy order of shuffled spans against a slow loop, and predictors whose order is known."""

import itertools

import numpy as np
import pytest
import torch
from crooked import CONTEXT, DIM, Crooked
from slow_reference import order_slowly, unit, windows_by_hand

from segue.alignment.figures import columns_of
from segue.alignment.measure import Part, measure
from segue.alignment.ordering import SPAN, binary_order, kendall_tau, span_orders
from segue.alignment.worlds import ar1_world, rotation_world
from segue.models.controls import Random, copy_last, know_answers
from segue.windows import windows_of
from segue.windows.rows import Rows


@pytest.mark.parametrize("reach", [CONTEXT, 6, None])
def test_spans_are_ordered_as_the_slow_loop_orders_them(make_store, reach):
    documents = rotation_world(5, 14, DIM, noise=0.8, seed=2)
    positions = [np.arange(14) for _ in documents]
    positions[1] = np.array([0, 1, 2, 3, 4, 5, 6, 7, 20, 21, 22, 23, 24, 25])  # no span crosses a gap
    store = make_store(documents, positions=positions)
    windows = windows_of(store, np.arange(5), CONTEXT)
    predictor = Crooked(reach=reach)
    found = span_orders({"": predictor}, windows, Rows(store), seed=4)
    shuffles = np.random.default_rng(4).permuted(np.tile(np.arange(SPAN), ((windows.later_W >= SPAN).sum(), 1)), axis=1)
    tau, perfect, drawn = [], [], 0
    for w, (document, t) in enumerate(windows_by_hand(store, CONTEXT, 1)):
        if windows.later_W[w] < SPAN:
            tau, perfect = [*tau, np.nan], [*perfect, np.nan]
            continue
        x = [unit(v) for v in store.vectors_ND[store.first_row_G[document] :][: store.length_G[document]]]
        one = order_slowly(predictor.slow, x[t - CONTEXT + 1 : t + 1], x[t + 1 : t + 6], shuffles[drawn].tolist())
        tau, perfect, drawn = [*tau, one[0]], [*perfect, one[1]], drawn + 1
    assert 10 < drawn < len(windows) and 0 < np.nansum(perfect) < drawn
    np.testing.assert_allclose(found["ordering", "kendall_tau"][0], tau)
    np.testing.assert_array_equal(found["ordering", "perfect_match"][0], perfect)


def test_kendall_tau_counts_inversions():
    """Over all permutations of five: mean 0, 1 for the order itself, −1 for its reverse."""
    every = np.array(list(itertools.permutations(range(5))))
    tau = kendall_tau(every)
    assert tau.mean() == pytest.approx(0) and tau[0] == 1 and tau[-1] == -1
    inversions = [sum(a > b for a, b in itertools.combinations(order, 2)) for order in every.tolist()]
    np.testing.assert_allclose(tau, 1 - np.array(inversions) / 5)


def test_known_answers(make_store):
    """The oracle is perfect. The late oracle takes +2, +3, +4, +5 and is left with +1: τ = (6 − 4)/10, binary 0."""
    store = make_store(rotation_world(30, 25, DIM, noise=0.6, seed=1))
    windows = windows_of(store, np.arange(30))
    rows = Rows(store)
    known = know_answers(windows, rows, torch.ones(DIM))
    predictors = {name: known[name] for name in ("oracle", "late_oracle")} | {"random": Random(DIM, 5, 1)}
    measured = measure(predictors, Part("VAL", windows, np.arange(30)))
    columns = [columns_of(measured, p, windows, 5)[0] for p in range(3)]
    for p, (tau, perfect, binary) in enumerate([(1, 1, 1), (0.2, 0, 0)]):
        judged = windows.later_W >= SPAN if p == 0 else windows.later_W >= SPAN + 1  # +6 is the mean at the very end
        for name, value in (("kendall_tau", tau), ("perfect_match", perfect)):
            np.testing.assert_allclose(columns[p]["ordering", name][judged], value, atol=1e-12)
        late = windows.later_W >= 2
        assert (columns[p]["ordering", "binary"][late] == binary).all()
    assert abs(np.nanmean(columns[2]["ordering", "kendall_tau"])) < 0.1
    assert np.nanmean(columns[2]["ordering", "binary"]) == pytest.approx(0.5, abs=0.1)


def test_copying_orders_a_chain_of_decaying_likeness(make_store):
    """In the AR(1) world the next chunk is likest the last on average: copy_last orders better than chance."""
    store = make_store(ar1_world(30, 25, DIM, seed=1))
    windows = windows_of(store, np.arange(30))
    tau = span_orders({"": copy_last(DIM)}, windows, Rows(store))["ordering", "kendall_tau"]
    assert np.nanmean(tau) > 0.05


def test_binary_order_counts_ties_half():
    found = binary_order(np.array([0.2, 0.1, 0.3, np.nan, 0.1]), np.array([0.1, 0.2, 0.3, 0.1, np.nan]))
    np.testing.assert_array_equal(found, [1, 0, 0.5, np.nan, np.nan])


def test_not_computed_for_a_further_horizon(make_store):
    store = make_store(rotation_world(6, 20, DIM, seed=2))
    windows = windows_of(store, np.arange(6), CONTEXT, 2)
    measured = measure({"": Crooked(2)}, Part("VAL", windows, np.arange(6)))
    columns, _ = columns_of(measured, 0, windows, CONTEXT)
    assert not any(path[0] == "ordering" for path in columns)
    assert ("contrastive", "paper") in columns
