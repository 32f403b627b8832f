"""Batches of whole documents: every window once, beside its document up to it."""

import numpy as np
import pytest
import torch

from segue.windows import batches as module
from segue.windows import windows_of
from segue.windows.batches import document_batches
from segue.windows.rows import Rows


@pytest.fixture
def store(make_store):
    rng = np.random.default_rng(0)
    lengths = (9, 4, 30, 8, 6, 7, 12)
    documents = [rng.normal(size=(length, 4)) for length in lengths]
    positions = [np.arange(length) for length in lengths]
    positions[2] = np.r_[:10, 13:33]  # a gap: two runs
    return make_store([x / np.linalg.norm(x, axis=-1, keepdims=True) for x in documents], positions=positions)


def everything(store, size=10, chosen=None, **how):
    windows = windows_of(store, np.arange(7))
    return list(document_batches(windows if chosen is None else windows.take(chosen), Rows(store), size, **how))


def test_a_batch_holds_its_documents_up_to_its_windows(store):
    for batch in everything(store, seed=1, epoch=1):
        vectors_GND, document_B, place_B = batch.documents
        assert len(vectors_GND) == len(document_B.unique())
        for b, (last, earlier) in enumerate(zip(batch.windows.last_W, batch.windows.earlier_W, strict=True)):
            assert place_B[b] == earlier
            read_ND = vectors_GND[document_B[b], : place_B[b] + 1].numpy()
            torch.testing.assert_close(read_ND, store.vectors_ND[last - earlier : last + 1])
            torch.testing.assert_close(batch.target_BD[b].numpy(), store.vectors_ND[last + 1])
        torch.testing.assert_close(vectors_GND.norm(dim=-1), torch.ones(vectors_GND.shape[:2]))  # padding too


def test_every_window_once_and_documents_whole(store):
    got = [batch.windows for batch in everything(store, seed=0, epoch=1)]
    assert (
        sorted(np.concatenate([windows.last_W for windows in got])) == windows_of(store, np.arange(7)).last_W.tolist()
    )
    runs = [set(windows.last_W - windows.earlier_W) for windows in got]
    assert sum(map(len, runs)) == len(set.union(*runs))  # no run in two batches


def test_batches_are_about_as_large_as_wanted(make_store):
    rng = np.random.default_rng(0)
    store = make_store([rng.normal(size=(n, 4)) for n in rng.integers(6, 40, size=300)])
    windows = windows_of(store, np.arange(300))
    got = [len(batch) for batch in document_batches(windows, Rows(store), 64, seed=0)]
    assert abs(np.mean(got) - 64) < 5 and max(got) < 64 + 20
    assert min(len(batch) for batch in document_batches(windows, Rows(store), 5, seed=0)) >= 1


def test_padding_is_bounded(make_store):
    """One window of each document, one document long: 1,024 a batch would be mostly padding."""
    lengths = [300, *[10] * 200]
    store = make_store([np.random.default_rng(n).normal(size=(n, 4)) for n in lengths])
    windows = windows_of(store, np.arange(201))
    last = np.r_[np.flatnonzero(np.diff(windows.document_W)), len(windows) - 1]
    got = list(document_batches(windows.take(last), Rows(store), 64, seed=0))
    assert all(batch.documents.vectors_GND.shape[:2].numel() <= max(8 * 64, 300) for batch in got)
    assert sum(len(batch) for batch in got) == 201


def test_seed_and_epoch_decide_the_order_and_nothing_else(store):
    def order(**how):
        return [batch.windows.last_W.tolist() for batch in everything(store, **how)]

    first = order(seed=3, epoch=2)
    torch.rand(5), np.random.default_rng().random()
    assert order(seed=3, epoch=2) == first
    assert order(seed=3, epoch=3) != first
    assert order(seed=4, epoch=2) != first
    assert [last for batch in order() for last in batch] == windows_of(store, np.arange(7)).last_W.tolist()


def test_some_windows_of_a_document(store):
    """Curation keeps some: the document is read up to the last of them."""
    chosen = np.array([0, 2, 9, 11])
    (batch,) = everything(store, size=50, chosen=chosen)
    assert batch.windows.last_W.tolist() == windows_of(store, np.arange(7)).last_W[chosen].tolist()
    assert batch.documents.vectors_GND.shape[1] == batch.windows.earlier_W.max() + 1


def test_a_long_document_is_read_in_pieces(make_store, monkeypatch):
    monkeypatch.setattr(module, "LONGEST", 12)
    store = make_store([np.random.default_rng(0).normal(size=(40, 4))])
    windows, rows = windows_of(store, np.arange(1)), Rows(store)
    seen = []
    for batch in document_batches(windows, rows, 4, seed=0):
        vectors_GND, document_B, place_B = batch.documents
        assert vectors_GND.shape[1] <= 12
        for b, last in enumerate(batch.windows.last_W):
            assert place_B[b] >= min(6, batch.windows.earlier_W[b])
            read_ND = vectors_GND[document_B[b], : place_B[b] + 1]
            assert torch.equal(read_ND, rows(np.arange(last - place_B[b].item(), last + 1)))
        seen += batch.windows.last_W.tolist()
    assert sorted(seen) == windows.last_W.tolist()


def test_other_last_chunks_are_read_wherever_they_stand(store):
    batch = everything(store, seed=0)[0]
    other_BD = torch.eye(4)[torch.arange(len(batch)) % 4]
    changed = batch.with_last(other_BD)
    vectors_GND, document_B, place_B = changed.documents
    assert torch.equal(changed.context_BCD[:, -1], other_BD)
    assert torch.equal(changed.context_BCD[:, :-1], batch.context_BCD[:, :-1])
    assert torch.equal(vectors_GND[document_B, place_B], other_BD)
    first = vectors_GND[:, : batch.windows.context - 1]  # no window ends there
    assert torch.equal(first, batch.documents.vectors_GND[:, : batch.windows.context - 1])
    assert not torch.equal(batch.context_BCD[:, -1], other_BD)
