"""What is not computed twice: the same answers as the long way."""

import numpy as np
import pytest
import torch
from crooked import CONTEXT, DIM, Crooked
from known_worlds import WORLDS

from segue.alignment.forwards import Chance, Questions, ablated, answer, asks_of, grown
from segue.models import fitting
from segue.models.controls import Ridge
from segue.models.fitting import RIDGE_STRENGTHS, highest, ridge
from segue.windows import windows_of
from segue.windows.rows import Rows


class Counted(Crooked):
    """Counts the contexts it is asked."""

    asked = 0

    def predict(self, context_BCD):
        self.asked += len(context_BCD)
        return super().predict(context_BCD)


@pytest.mark.parametrize("reach", [CONTEXT, 6, None])
def test_every_ask_is_answered_as_if_asked_alone(make_store, reach):
    """The last slot dropped and the last chunk appended is the context itself: one forward saved a window."""
    rng = np.random.default_rng(3)
    store = make_store([rng.standard_normal((n, DIM)) for n in (12, 14, 9)])
    windows, rows = windows_of(store, np.arange(3), CONTEXT), Rows(store)
    order_WC = torch.stack([torch.randperm(CONTEXT) for _ in range(len(windows))])
    chance = Chance(order_WC, rows(np.zeros(len(windows), dtype=int)))
    asks = asks_of(CONTEXT, 1)
    answer_SBD = torch.empty(len(asks), len(windows), DIM)
    predictor = Counted(reach=reach)
    answer(predictor, Questions(windows, rows, asks, chance), answer_SBD)
    plain, asked = Crooked(reach=reach), 0
    for w in range(len(windows)):
        length = windows.earlier_W[w] + 1 if reach is None else min(windows.earlier_W[w] + 1, reach)
        context = rows(windows.last_W[w] + np.arange(1 - length, 1))[None]
        rolled, step = context, plain.predict(context)
        here = Chance(chance.order_BC[w : w + 1], chance.other_BD[w : w + 1])
        for s, ask in enumerate(asks):
            asked += 1
            if ask.kind == "step":
                if windows.later_W[w] < 5:
                    assert answer_SBD[s, w].isnan().all()
                    asked -= 1
                    continue
                rolled = grown(rolled, step, reach)
                wanted = step = plain.predict(rolled)
            else:
                wanted = plain.predict(context if ask.kind == "whole" else ablated(ask, context, CONTEXT, here))
            torch.testing.assert_close(answer_SBD[s, w], wanted[0], atol=1e-6, rtol=0)
    assert predictor.asked == asked - len(windows)


@pytest.mark.parametrize("place", range(8))
@pytest.mark.parametrize("start", [0, 4, 7])
def test_climbing_finds_the_only_maximum(place, start):
    tried = []
    found = highest(lambda at: tried.append(at) or -abs(at - place), 8, start)
    assert found == place
    if 0 < place < 7:
        assert len(tried) <= abs(place - start) + 3


@pytest.mark.parametrize("start", [0, 4, 7])
def test_where_both_ends_are_high_the_higher_is_found(start):
    """As measured where train says nothing of VAL: noise, 36 documents of 10 chunks, D = 8."""
    scores = [-0.0080, -0.0127, -0.0183, -0.0182, -0.0142, -0.0115, -0.0103, -0.0099]
    assert highest(scores.__getitem__, 8, start) == 0


@pytest.mark.parametrize("name", list(WORLDS))
def test_the_ridge_is_the_best_of_all_strengths(make_store, name):
    """Against every strength solved in float64 by NumPy, from contexts laid out by hand."""
    world, options = WORLDS[name]
    store = make_store(world(60, 20, 8, seed=3, **options))
    train, val, rows = windows_of(store, np.arange(40)), windows_of(store, np.arange(40, 60)), Rows(store)
    found = ridge(train, val, rows, rows)
    x = store.vectors_ND.astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)

    def flat(windows):
        return x[windows.context_rows()].reshape(len(windows), -1), x[windows.target_rows()]

    (x_train, y_train), (x_val, y_val) = flat(train), flat(val)
    scores, solved = [], []
    for strength in RIDGE_STRENGTHS:
        weights = np.linalg.solve(x_train.T @ x_train + strength * np.eye(40), x_train.T @ y_train)
        raw = x_val @ weights
        solved.append(weights)
        scores.append(((raw / np.linalg.norm(raw, axis=1, keepdims=True)) * y_val).sum(1).mean())
    best = int(np.argmax(scores))
    assert isinstance(found, Ridge) and found.strength == RIDGE_STRENGTHS[best]
    np.testing.assert_allclose(found.weights_CDD.numpy(), solved[best], atol=1e-5)


def test_moments_are_whole_though_half_is_computed(make_store):
    rng = np.random.default_rng(1)
    store = make_store([rng.standard_normal((30, 6)) for _ in range(4)])
    windows = windows_of(store, np.arange(4))
    gram, moment = fitting._moments(windows, Rows(store))
    flat = Rows(store)(windows.context_rows()).flatten(1).double()
    torch.testing.assert_close(gram, flat.T @ flat, atol=1e-5, rtol=0)
    torch.testing.assert_close(moment, flat.T @ Rows(store)(windows.target_rows()).double(), atol=1e-5, rtol=0)
