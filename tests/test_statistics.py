"""The bootstrap against a slow one, and its edges."""

import numpy as np
import pytest

from segue import statistics
from segue.statistics import DocumentBootstrap, Result, result_of, small_sample_factor


def test_means_leave_missing_values_out_and_weigh_documents_by_their_windows():
    documents = np.array([3, 3, 3, 7, 7, 9])
    values = np.array([[1.0, np.nan], [2, 1], [3, np.nan], [10, 5], [20, np.nan], [0, np.nan]])
    draws = DocumentBootstrap(documents, resamples=400, seed=1).means(values)
    np.testing.assert_allclose(draws[0], [36 / 6, 3.0])
    assert draws.shape == (401, 2)
    # Every resampled mean is one that some multiset of three documents has.
    sums, sizes = {3: 6, 7: 30, 9: 0}, {3: 3, 7: 2, 9: 1}
    possible = {
        round((sums[a] + sums[b] + sums[c]) / (sizes[a] + sizes[b] + sizes[c]), 9)
        for a in sums for b in sums for c in sums
    }  # fmt: skip
    resampled = 6 + (draws[1:, 0] - 6) / small_sample_factor(3)
    assert {round(value, 6) for value in resampled} <= {round(value, 6) for value in possible}


def test_interval_covers_the_truth_about_as_often_as_it_says():
    """100 sets of 40 documents whose windows share the document's mean: a bootstrap over windows covers far less."""
    covered = {"documents": 0, "windows": 0}
    for seed in range(100):
        rng = np.random.default_rng(seed)
        of_document = rng.standard_normal(40)
        documents = np.repeat(np.arange(40), 10)
        values = (of_document[documents] + 0.1 * rng.standard_normal(400))[:, None]
        for unit, group in (("documents", documents), ("windows", np.arange(400))):
            found = result_of(DocumentBootstrap(group, resamples=300, seed=seed).means(values)[:, 0])
            assert found.low is not None and found.high is not None
            covered[unit] += found.low <= 0 <= found.high
    assert covered["documents"] >= 88
    assert covered["windows"] <= 65


@pytest.mark.parametrize(("documents", "least"), [(2, 0.85), (3, 0.85), (6, 0.91), (15, 0.92)])
def test_few_documents_do_not_make_an_interval_too_narrow(documents, least):
    """The plain percentile interval covered .51 at two documents and .85 at six: "clear of zero" came by luck."""
    covered = 0
    for seed in range(400):
        of_document = np.random.default_rng(seed).standard_normal(documents)
        values = np.repeat(of_document, 5)[:, None]
        group = np.repeat(np.arange(documents), 5)
        found = result_of(DocumentBootstrap(group, resamples=400, seed=seed).means(values)[:, 0])
        assert found.low is not None and found.high is not None
        covered += found.low <= 0 <= found.high
    assert covered / 400 >= least


def test_the_correction_is_students_and_vanishes():
    assert small_sample_factor(6) == pytest.approx(2.5706 / 1.95996 * (6 / 5) ** 0.5, rel=1e-4)
    assert small_sample_factor(5000) == pytest.approx(1, abs=1e-3)


def test_one_document_has_no_interval():
    found = result_of(DocumentBootstrap(np.zeros(5)).means(np.ones((5, 1)))[:, 0], n=5)
    assert found == Result(1.0, None, None, 5, None)


def test_what_was_not_computed_is_none():
    assert result_of(np.full(11, np.nan)).value is None


def test_draws_are_the_same_kept_or_drawn_again(monkeypatch: pytest.MonkeyPatch):
    """Large sets of documents are resampled block by block; paired comparisons need the very same draws."""
    documents, values = np.arange(50), np.random.default_rng(0).standard_normal((50, 2))
    kept = DocumentBootstrap(documents, resamples=64).means(values)
    monkeypatch.setattr(statistics, "BLOCK_ENTRIES", 50 * 8)
    again = DocumentBootstrap(documents, resamples=64)
    np.testing.assert_array_equal(again.means(values), kept)
    np.testing.assert_array_equal(again.means(values), kept)
