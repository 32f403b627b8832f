"""Data checks against numbers by hand: each check fails on data made to fail it, and hygiene finds what is planted."""

import numpy as np
import pytest
import torch

from segue.alignment.worlds import ar1_world
from segue.report.checks import contents, write_check_page
from segue.windows import Split, windows_of
from segue.windows import checks as checking
from segue.windows import hygiene as cleaning
from segue.windows.checks import check_windows, sampled_windows
from segue.windows.hygiene import check_split, same_share


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def by_name(checked):
    return {one.name: one for one in checked.checks}


@pytest.mark.parametrize("horizon", [1, 2])
@pytest.mark.parametrize("block", [7, 4096])
def test_every_figure_by_hand(make_store, monkeypatch, horizon, block):
    """One window at a time in float64, with gaps, and blocks that cut documents in two."""
    monkeypatch.setattr(checking, "BLOCK", block)
    documents = ar1_world(6, 16, 12, seed=2)
    positions = [np.arange(16) for _ in documents]
    positions[2] = np.r_[0:8, 20:28]
    store = make_store(documents, positions=positions)
    chosen = np.array([0, 2, 3, 5])
    windows = windows_of(store, chosen, 5, horizon)
    checked = check_windows(windows)
    x = unit(store.vectors_ND.astype(np.float64))
    slots, coherences = [], []
    for t in windows.last_W:
        context, y = x[t - 4 : t + 1], x[t + horizon]
        slots.append(context @ y)
        coherences.append(np.mean([context[i] @ context[i + 1] for i in range(4)]))
    np.testing.assert_allclose([one.value for one in checked.slots], np.mean(slots, axis=0), atol=1e-6)
    found = by_name(checked)
    assert found["coherence"].found.value == pytest.approx(np.mean(coherences), abs=1e-6)
    means = np.mean(slots, axis=0)
    assert found["temporal signal"].found.value == pytest.approx(means[-1] - means[0], abs=1e-6)
    assert found["monotone"].found.value == (np.diff(means) < 0).sum()
    neighbours = []
    for lag in range(1, 11):
        pairs = [
            x[a + i] @ x[a + i + lag]
            for g in chosen
            for a, n in ([(16 * g, 8), (16 * g + 8, 8)] if g == 2 else [(16 * g, 16)])
            for i in range(n - lag)
        ]
        neighbours = pairs if lag == 1 else neighbours
        assert checked.lags[lag - 1].value == pytest.approx(np.mean(pairs), abs=1e-6)
        assert checked.lags[lag - 1].n == len(pairs)
    assert found["adjacent near-duplicates"].found.value == pytest.approx(np.mean(np.array(neighbours) >= 0.9))
    assert sum(checked.adjacent) == len(neighbours)
    assert checked.adjacent == np.histogram(np.clip(neighbours, -0.2, 1), checking.BINS)[0].tolist()


def test_each_check_fails_on_what_it_is_for(make_store):
    rng = np.random.default_rng(0)
    noise = [rng.standard_normal((20, 64)) for _ in range(40)]
    found = by_name(check_windows(windows_of(make_store(noise, name="noise"), np.arange(40))))
    assert not found["coherence"].passed and not found["temporal signal"].passed
    repeated = [np.repeat(rng.standard_normal((2, 16)), 10, axis=0) for _ in range(10)]
    checked = check_windows(windows_of(make_store(repeated, name="repeated"), np.arange(10)))
    found = by_name(checked)
    assert not found["adjacent near-duplicates"].passed and not found["repeat padding"].passed
    assert found["repeat padding"].found.value == 10 * 11, "six and five windows of one chunk repeated, in each half"
    assert not checked.passed
    backwards = [unit(ar1_world(1, 20, 16, seed=s)[0]) for s in range(30)]
    for document in backwards:  # every fifth chunk is the same: the oldest slot is the likest
        document[5:] = unit(document[5:] + 3 * document[:-5])
    found = by_name(check_windows(windows_of(make_store(backwards, name="backwards"), np.arange(30))))
    assert not found["monotone"].passed


def test_a_strong_signal_passes_and_is_not_called_good(make_store):
    """Above +.15 is fine, not a fault: it only leaves the range that the experiments' data had."""
    rng = np.random.default_rng(0)
    steps = [np.cumsum(rng.standard_normal((30, 32)), axis=0) for _ in range(30)]
    signal = by_name(check_windows(windows_of(make_store([d[:8] for d in steps]), np.arange(30))))["temporal signal"]
    assert signal.found.value > 0.15 and signal.passed and signal.good is False and "more is fine" in signal.wanted


def test_a_large_store_is_checked_by_a_seeded_sample_of_whole_documents(make_store):
    store = make_store(ar1_world(50, 12, 8, seed=1))
    windows, of = sampled_windows(store, np.arange(50), most=20)
    again, _ = sampled_windows(store, np.arange(50), most=20)
    other, _ = sampled_windows(store, np.arange(50), most=20, seed=1)
    assert of == 50 and len(windows.documents) == 20 and (np.bincount(windows.document_W)[windows.documents] == 7).all()
    assert np.array_equal(windows.last_W, again.last_W) and not np.array_equal(windows.documents, other.documents)
    checked = check_windows(windows, of=of)
    assert checked.sampled and checked.to_json()["documents_with_windows"] == 50
    assert not check_windows(*sampled_windows(store, np.arange(50))[:1]).sampled


def split_of(train, val, ood=()):
    return Split(*(tuple(f"doc-{i}" for i in part) for part in (train, val, ood)), how="by hand")


def distinct(n, length=12, dim=48, seed=0):
    """Documents of their own subject each, with chunks of their own."""
    rng = np.random.default_rng(seed)
    return [unit(rng.standard_normal(dim) + 0.8 * rng.standard_normal((length, dim))) for _ in range(n)]


def test_hygiene_finds_what_is_planted_and_nothing_else(make_store, monkeypatch):
    monkeypatch.setattr(cleaning, "BLOCK", 2)
    rng = np.random.default_rng(1)
    documents = distinct(12)
    documents[8] = unit(documents[0] + 0.01 * rng.standard_normal((12, 48)))  # VAL: a near copy of train's 0
    documents[9] = np.concatenate([documents[1][:7], documents[9][:5]])  # VAL: 7 of 12 of train's 1
    documents[10] = np.concatenate([documents[2][:5], documents[10][:7]])  # OOD: 5 of 12 of train's 2
    documents[11] = documents[8][3:9].copy()  # OOD: cut from VAL's 8, so of train's 0 too
    documents[5] = documents[4].copy()  # twice in train: no matter here
    store = make_store(documents)
    found = check_split(store, split_of(range(8), (8, 9), (10, 11)))
    assert {(pair.parts, pair.documents): round(pair.share, 3) for pair in found.pairs} == {
        (("train", "VAL"), ("doc-0", "doc-8")): 1.0,
        (("train", "OOD"), ("doc-0", "doc-11")): 1.0,
        (("VAL", "OOD"), ("doc-8", "doc-11")): 1.0,
        (("train", "VAL"), ("doc-1", "doc-9")): round(7 / 12, 3),
    }
    assert found.found.value == 4 and found.documents == 12 and found.left_out == 0
    clean = check_split(make_store(distinct(12), name="clean"), split_of(range(8), (8, 9), (10, 11)))
    assert clean.found.value == 0


def test_related_is_not_the_same(make_store):
    """Means nearly equal, chunks apart: one subject, two texts."""
    rng = np.random.default_rng(3)
    subject = rng.standard_normal(48)
    documents = [unit(subject + 0.6 * rng.standard_normal((40, 48))) for _ in range(3)]
    means = unit(np.array([d.mean(0) for d in documents]))
    assert means[0] @ means[2] > 0.95
    assert check_split(make_store(documents), split_of((0, 1), (2,))).pairs == []


def test_a_document_in_two_parts_is_counted_by_its_id(make_store):
    """`load_split` refuses such a file; a split made in Python must not pass either."""
    store = make_store(distinct(4))
    found = check_split(store, split_of((0, 1), (1, 2), (3,)))
    assert found.twice == ["doc-1"] and [pair.documents for pair in found.pairs] == [("doc-1", "doc-1")]


def test_another_store_as_ood_shares_ids_but_not_documents(make_store):
    store = make_store(distinct(4))
    ood = make_store([*distinct(3, seed=9), store.vectors_ND[:12].copy()], name="ood")
    found = check_split(store, split_of((0, 1), (2, 3)), ood)
    assert found.twice == [] and [pair.documents for pair in found.pairs] == [("doc-0", "doc-3")]


def test_only_the_nearest_candidates_are_compared_and_the_rest_counted(make_store, monkeypatch):
    monkeypatch.setattr(cleaning, "MAX_CANDIDATES", 3)
    rng = np.random.default_rng(3)
    subject = rng.standard_normal(48)
    documents = [unit(subject + 0.6 * rng.standard_normal((12, 48))) for _ in range(8)]
    documents[7] = documents[0].copy()
    found = check_split(make_store(documents), split_of(range(4), range(4, 8)))
    assert [pair.documents for pair in found.pairs] == [("doc-0", "doc-7")] and found.left_out == 16 - 3


def test_the_share_is_of_the_shorter():
    long = torch.eye(8)
    assert same_share(long, long[:3]) == same_share(long[:3], long) == 1
    assert same_share(torch.eye(8)[:4], torch.eye(8)[2:]) == 0.5


def test_the_page_is_whole_and_safe(make_store, tmp_path):
    store = make_store(ar1_world(20, 14, 16, seed=1))
    windows, of = sampled_windows(store, np.arange(20), most=15)
    hygiene = check_split(store, split_of(range(10), range(10, 20)))
    value = {
        "store": "/a/<b>store", "store_hash": "h", "space": "s", "split": None, "context": 5, "horizon": 1,
        **check_windows(windows, of=of, hygiene=hygiene).to_json(),
    }  # fmt: skip
    page = write_check_page(value, tmp_path / "new" / "page.html").read_text()
    assert "&lt;b&gt;store" in page and "<b>store" not in page
    assert "a sample of 20" in page and page.count("<svg") == 3 and "src=" not in page and "http" not in page
    shown = contents(value)
    assert shown["panels"][0].heading == "Neighbours"
    assert len(shown["tables"][0].lines) == 15
