"""Geometry against slow float64, on both kinds of array."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from segue.geometry import cosine, normalise, rank_of_true


def test_normalise_and_cosine_agree_with_float64_on_numpy_and_torch():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((7, 5)), rng.standard_normal((7, 5))
    expected = [sum(x * y) / (sum(x * x) ** 0.5 * sum(y * y) ** 0.5) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(cosine(a, b), expected, rtol=1e-12)
    np.testing.assert_allclose(cosine(torch.tensor(a), torch.tensor(b)).numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose((normalise(a) ** 2).sum(1), 1, rtol=1e-12)


def test_the_zero_vector_stays_zero_and_its_gradient_is_finite():
    x = torch.zeros(2, 3, requires_grad=True)
    normalise(x).sum().backward()
    assert torch.equal(normalise(x), torch.zeros(2, 3))
    assert x.grad is not None and x.grad.isfinite().all()


@given(st.lists(st.integers(0, 3), min_size=2, max_size=9), st.data())
def test_rank_averages_ties(scores: list[int], data: st.DataObject):
    """Against a sort: the rank of a tied item is the mean of the places its equals take."""
    true = data.draw(st.integers(0, len(scores) - 1))
    candidates = np.array(data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores))))
    candidates[true] = True
    ordered = sorted((s for s, c in zip(scores, candidates, strict=True) if c), reverse=True)
    places = [place for place, s in enumerate(ordered, start=1) if s == scores[true]]
    similarity = np.array([scores], dtype=np.float32)
    found = rank_of_true(similarity, similarity[:, [true]], candidates[None])
    assert found[0] == np.mean(places)


def test_identical_rows_are_level_wherever_their_column_stands():
    """A product gives copies of a row values that differ in the last bit, according to their column."""
    rng = np.random.default_rng(0)
    rows = torch.tensor(normalise(rng.standard_normal((37, 384))), dtype=torch.float32)
    rows[[5, 18, 33, 36]] = rows[2].clone()
    queries = torch.tensor(normalise(rng.standard_normal((264, 384))), dtype=torch.float32)
    similarity = queries @ rows.T
    ranks = [rank_of_true(similarity, similarity[:, [c]], torch.ones(37, dtype=torch.bool)) for c in (2, 5, 18, 33, 36)]
    exact = (queries.double() @ rows[2].double())[:, None]
    others = np.delete(np.arange(37), [2, 5, 18, 33, 36])
    above = ((queries.double() @ rows[others].double().T) > exact).sum(1)
    for rank in ranks:
        assert torch.equal(rank.double(), above + 3.0), "five copies share five places: the mean is two below the first"
