"""What the figures of docs/onward.md rest on: one pass a document, the candidates' mean taken off, store-wide ranks."""

import numpy as np
import pytest
import torch
from test_causal import SKIP, made
from test_families import unit

from onward_controls import DocumentWeights, OnePass, PoolCentred
from onward_lookup import ranks
from segue.alignment.forwards import predicted
from segue.models.controls import copy_last
from segue.windows import windows_of
from segue.windows.rows import Rows

LENGTHS = (9, 7, 12)


@pytest.fixture
def windows(make_store):
    store = make_store([unit(length, 10, seed=i).numpy() for i, length in enumerate(LENGTHS)])
    return windows_of(store, np.arange(len(LENGTHS)))


def predictors():
    weights_F = np.array([0.1, 0.1, 0.2, 0.4, 1.0, -1.1])
    return made(skip=SKIP, skip_mean=-0.7), DocumentWeights(weights_F, 10)


def test_one_pass_a_document_is_a_prediction_a_window(windows):
    for predictor in predictors():
        asked_WD = predicted(predictor, windows, Rows(windows.store))
        torch.testing.assert_close(OnePass(predictor).predict_windows(windows), asked_WD, atol=1e-6, rtol=1e-5)


def test_a_share_of_the_mean_of_what_is_still_to_come_is_taken_off(windows):
    rows, ends = Rows(windows.store), np.cumsum(LENGTHS)
    for base in (copy_last(10), OnePass(predictors()[0])):
        taken_WD, base_WD = PoolCentred(base, 0.3).predict_windows(windows), predicted(base, windows, rows)
        for w, (last, document) in enumerate(zip(windows.last_W, windows.document_W, strict=True)):
            wanted_D = base_WD[w] - 0.3 * rows(np.arange(last + 1, ends[document])).mean(0)
            torch.testing.assert_close(taken_WD[w], wanted_D / wanted_D.norm(), atol=1e-6, rtol=1e-5)


def test_ranks_in_a_store_are_among_all_that_was_not_read(windows):
    rows, begins = Rows(windows.store), np.cumsum((0, *LENGTHS))
    prediction_WD = predicted(copy_last(10), windows, rows)
    every_ND = rows(np.arange(sum(LENGTHS))).numpy()
    for rank, last, document, pred_D in zip(
        ranks(prediction_WD, windows, rows), windows.last_W, windows.document_W, prediction_WD.numpy(), strict=True
    ):
        left = [n for n in range(sum(LENGTHS)) if not begins[document] <= n <= last]
        cosines = every_ND[left] @ pred_D
        true = cosines[left.index(last + 1)]
        assert rank == (cosines > true + 1e-6).sum() + (abs(cosines - true) <= 1e-6).sum() / 2 + 0.5
