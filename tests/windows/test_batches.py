"""Batches: every window once, in an order that the seed and the epoch decide alone."""

import numpy as np
import pytest
import torch

from segue.windows import windows_of
from segue.windows.batches import batches
from segue.windows.rows import Rows


@pytest.fixture
def store(make_store):
    rng = np.random.default_rng(0)
    documents = [rng.normal(size=(length, 4)) for length in (9, 4, 12, 8)]
    return make_store([x / np.linalg.norm(x, axis=-1, keepdims=True) for x in documents])


def order(windows, rows, **how):
    return [batch.windows.last_W.tolist() for batch in batches(windows, rows, 5, **how)]


def test_a_row_has_the_same_bits_in_whatever_batch_and_however_often(make_store):
    """Lengths are noted at the first gather: the first, a later one and one among other rows must not differ."""
    raw_ND = np.random.default_rng(0).normal(size=(60, 384)).astype(np.float16) * np.logspace(-2, 2, 60)[:, None]
    raw_ND[7] = 0
    store = make_store([raw_ND.astype(np.float16)])
    every = np.arange(60)
    first_ND, rows = Rows(store)(every), Rows(store)
    for index in (every[30:31], every[::-1].copy(), every, every.reshape(12, 5)):
        assert torch.equal(rows(index), first_ND[index])
    exact_ND = store.vectors_ND.astype(np.float64)
    lengths_N = np.linalg.norm(exact_ND, axis=1)
    exact_ND[lengths_N > 0] /= lengths_N[lengths_N > 0, None]
    np.testing.assert_allclose(first_ND.numpy(), exact_ND, atol=1e-7, rtol=0)


@pytest.mark.parametrize("horizon", [1, 2])
def test_a_batch_holds_its_windows_vectors(store, horizon):
    windows = windows_of(store, np.arange(4), context=5, horizon=horizon)
    for batch in batches(windows, Rows(store), 5, seed=1, epoch=1):
        assert len(batch) == len(batch.context_BCD) == len(batch.target_BD)
        for i, last in enumerate(batch.windows.last_W):
            torch.testing.assert_close(batch.context_BCD[i].numpy(), store.vectors_ND[last - 4 : last + 1])
            torch.testing.assert_close(batch.target_BD[i].numpy(), store.vectors_ND[last + horizon])


def test_every_window_once_and_the_last_batch_smaller(store):
    windows = windows_of(store, np.arange(4))
    got = order(windows, Rows(store), seed=0, epoch=1)
    assert [len(batch) for batch in got] == [5] * (len(windows) // 5) + [len(windows) % 5]
    assert sorted(last for batch in got for last in batch) == windows.last_W.tolist()
    assert [last for batch in order(windows, Rows(store)) for last in batch] == windows.last_W.tolist()


def test_seed_and_epoch_decide_the_order_and_nothing_else(store):
    windows, rows = windows_of(store, np.arange(4)), Rows(store)
    first = order(windows, rows, seed=3, epoch=2)
    torch.rand(5), np.random.default_rng().random()
    assert order(windows, rows, seed=3, epoch=2) == first
    assert order(windows, rows, seed=3, epoch=3) != first
    assert order(windows, rows, seed=4, epoch=2) != first
