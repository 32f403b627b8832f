"""Contrastive accuracy in both definitions: against a slow loop by ℓ2, and known answers."""

import numpy as np
import pytest
import torch
from crooked import CONTEXT, DIM, Crooked
from slow_reference import contrastive_slowly, windows_by_hand

from segue.alignment.contrastive import batches_of, contrastive_accuracy, share_further
from segue.alignment.measure import Part, measure
from segue.alignment.worlds import rotation_world
from segue.models.controls import Constant, copy_last, know_answers
from segue.models.fitting import corpus_mean
from segue.windows import windows_of
from segue.windows.rows import Rows


def by_path(predictor, windows, seed=0):
    found = contrastive_accuracy({"": predictor}, windows, Rows(windows.store), seed)
    return {path[1]: values[0] for path, values in found.items()}


@pytest.mark.parametrize("horizon", [1, 2])
def test_both_definitions_agree_with_the_slow_loop(make_store, monkeypatch, horizon):
    """The slow loop measures ℓ2 itself: on unit chunks its order is the cosine's."""
    monkeypatch.setattr("segue.alignment.contrastive.batches_of", lambda w, seed: batches_of(w, seed, size=40))
    store = make_store(rotation_world(8, 14, DIM, noise=0.8, seed=2))
    windows = windows_of(store, np.arange(8), CONTEXT, horizon)
    predictor = Crooked(horizon)
    rows_of = [None] * len(windows)
    batches = batches_of(windows, 0, size=40)
    assert [len(batch.rows_N) for batch in batches] == [42, 70]  # three documents, and five with what was left
    for batch in batches:
        for at in batch.at_B:
            rows_of[at] = batch.rows_N.tolist()
    by_hand = windows_by_hand(store, CONTEXT, horizon)
    slow = contrastive_slowly(store, predictor.slow, {"all": by_hand, "context": CONTEXT, "horizon": horizon}, rows_of)
    found = by_path(predictor, windows)
    np.testing.assert_allclose(found["paper"], slow[:, 0], atol=1e-6)
    np.testing.assert_allclose(found["code"], slow[:, 1], atol=1e-6)
    assert set(found["batch"]) == {42.0, 70.0}


def test_known_answers(make_store):
    """The oracle beats every distractor; one vector for all beats as many as chance; copying is no oracle."""
    store = make_store(rotation_world(30, 25, DIM, noise=0.6, seed=1))
    windows = windows_of(store, np.arange(30))
    rows = Rows(store)
    mean = corpus_mean(windows, rows)
    oracle = by_path(know_answers(windows, rows, mean)["oracle"], windows)
    assert (oracle["paper"] == 1).all() and (oracle["code"] == 1).all()
    constant = by_path(Constant("corpus_mean", mean, 5, 1), windows)
    # Averaged over all chunks of a batch, each beats half of the others, whatever the vector.
    assert constant["code"].mean() == pytest.approx(0.5, abs=0.05)
    copied = by_path(copy_last(DIM), windows)
    assert 0.55 < copied["paper"].mean() < 1


def test_a_repeated_truth_ties_and_counts_half(make_store):
    """Two documents that are the same chunks: the oracle cannot be nearer to one of two equal vectors."""
    document = rotation_world(1, 12, DIM, noise=0.6)[0]
    store = make_store([document, document.copy()])
    windows = windows_of(store, np.arange(2))
    rows = Rows(store)
    found = by_path(know_answers(windows, rows, torch.ones(DIM))["oracle"], windows)
    np.testing.assert_allclose(found["code"], (11 + 0.5) / 12)


def test_the_truth_and_its_neighbours_are_no_distractors():
    similarity = torch.tensor([[0.9, 0.8, 0.7, 0.2]])
    distractors = torch.tensor([[False, False, False, True]])
    assert share_further(similarity, similarity[:, 1:2], distractors).item() == 1
    assert torch.isnan(share_further(similarity, similarity[:, 1:2], torch.zeros(1, 4, dtype=torch.bool)))


def test_one_document_has_no_other(make_store):
    store = make_store(rotation_world(1, 20, DIM))
    found = by_path(Crooked(), windows_of(store, np.arange(1), CONTEXT))
    assert np.isnan(found["code"]).all() and not np.isnan(found["paper"]).any()


def test_each_document_is_in_one_batch_with_another(make_store):
    lengths = [9, 700, 30, 12, 600, 8, 300]
    rng = np.random.default_rng(0)
    store = make_store([rng.standard_normal((n, 6)) for n in lengths])
    windows = windows_of(store, np.arange(7))
    batches = batches_of(windows, seed=3)
    assert sorted(np.concatenate([b.at_B for b in batches])) == list(range(len(windows)))
    assert sorted(np.concatenate([b.rows_N for b in batches])) == list(range(len(store)))
    assert all(len(np.unique(b.document_N)) > 1 and len(b.rows_N) >= 512 for b in batches)


def test_l2_is_the_distance_itself(make_store):
    """‖p − y‖, not its square; of the raw output only where there is one."""
    store = make_store(rotation_world(6, 14, DIM, noise=0.8, seed=2))
    windows = windows_of(store, np.arange(6), CONTEXT)

    class Telling(Crooked):
        def predict_with_raw(self, context_BCD):
            return self.predict(context_BCD), 3 * self.predict(context_BCD)

    measured = measure({"": Telling(), "silent": Crooked()}, Part("VAL", windows, np.arange(6)), only_whole=True)
    rows = Rows(store)
    p = Crooked().predict(rows(windows.context_rows())).double()
    y = rows(windows.target_rows()).double()
    np.testing.assert_allclose(measured.l2_PW[0], (p - y).norm(dim=1), atol=1e-6)
    np.testing.assert_allclose(measured.l2_raw_PW[0], (3 * p - y).norm(dim=1), atol=1e-5)
    assert np.isnan(measured.l2_raw_PW[1]).all()
