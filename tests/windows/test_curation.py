"""What windows are chosen by, against slow float64 formulas."""

import numpy as np
import pytest

from segue.alignment.worlds import rotation_world
from segue.windows import curation, windows_of
from segue.windows.curation import coherences, step_cosines, top
from segue.windows.rows import Rows


@pytest.fixture
def windows(make_store):
    store = make_store([3.0 * document for document in rotation_world(6, 20, 8, seed=3, noise=1.0)])
    return windows_of(store, np.arange(5), context=4, horizon=2)


def unit(windows) -> np.ndarray:
    vectors = windows.store.vectors_ND.astype(np.float64)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("block", [8192, 7])
def test_scores_against_the_formulas_whatever_the_block(windows, monkeypatch, block):
    monkeypatch.setattr(curation, "BLOCK", block)
    x, rows = unit(windows), Rows(windows.store)
    steps = [x[last] @ x[last + 2] for last in windows.last_W]
    hangs = [np.mean([x[last - k] @ x[last - k - 1] for k in range(3)]) for last in windows.last_W]
    np.testing.assert_allclose(step_cosines(windows, rows), steps, atol=1e-6)
    np.testing.assert_allclose(coherences(windows, rows), hangs, atol=1e-6)


def test_the_top_share_is_the_largest_and_equals_go_to_the_first():
    score = np.array([0.1, 0.9, 0.5, 0.5, 0.5, 0.2])
    assert top(score, 0.5).tolist() == [False, True, True, True, False, False]
    assert top(score, 1.0).all()
    assert top(score, 1e-9).tolist() == [False, True, False, False, False, False]  # never none
    drawn = np.random.default_rng(0).normal(size=1000)
    kept = top(drawn, 0.3)
    assert kept.sum() == 300 and drawn[kept].min() > drawn[~kept].max()
