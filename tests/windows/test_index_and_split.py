"""Windows against brute force, splits against their definition."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.errors import InputError
from segue.windows import load_split, save_split, split_by_fractions, split_by_ranges, windows_of
from segue.windows.index import run_bounds
from segue.windows.rows import Rows
from segue.windows.split import parse_ranges


def brute_force_windows(documents, positions, context, horizon):
    """Every row whose C context chunks and target have consecutive positions in one document."""
    found = []
    for row in range(len(documents)):
        span = range(row - context + 1, row + horizon + 1)
        if span[0] < 0 or span[-1] >= len(documents):
            continue
        if all(documents[r] == documents[row] and positions[r] - positions[row] == r - row for r in span):
            found.append(row)
    return found


@settings(max_examples=60)
@given(
    st.lists(st.lists(st.integers(1, 3), max_size=12), min_size=1, max_size=4),
    st.integers(2, 4),
    st.integers(1, 2),
)
def test_runs_and_windows_never_cross_a_document_or_a_gap(steps, context, horizon):
    documents = np.concatenate([np.full(len(gaps) + 1, d) for d, gaps in enumerate(steps)])
    positions = np.concatenate([np.cumsum([0, *gaps]) for gaps in steps])
    first, last = run_bounds(documents, positions)
    rows = np.arange(len(documents))
    found = rows[(rows - first >= context - 1) & (last - rows >= horizon)]
    assert found.tolist() == brute_force_windows(documents, positions, context, horizon)


def test_windows_of_a_store_with_a_gap(make_store):
    rng = np.random.default_rng(0)
    store = make_store(
        [rng.standard_normal((9, 4)), rng.standard_normal((3, 4)), rng.standard_normal((12, 4))],
        positions=[np.array([0, 1, 2, 3, 4, 7, 8, 9, 10]), np.arange(3), np.arange(12)],
    )
    windows = windows_of(store, np.arange(3), context=3, horizon=1)
    expected = brute_force_windows(store.document_N, store.position_N, 3, 1)
    assert windows.last_W.tolist() == expected
    assert windows.documents.tolist() == [0, 2]
    for w, row in enumerate(windows.last_W):
        for offset in range(-12, 13):
            other = row + offset
            inside = 0 <= other < 24 and store.document_N[other] == store.document_N[row]
            exists = inside and store.position_N[other] - store.position_N[row] == offset
            assert windows.has(offset)[w] == exists
    assert windows_of(store, np.array([1])).last_W.size == 0


def test_a_sample_is_seeded_and_drawn_over_all_documents(make_store):
    store = make_store([np.random.default_rng(d).standard_normal((20, 4)) for d in range(30)])
    windows = windows_of(store, np.arange(30))
    sample = windows.sample(100, seed=3)
    assert np.array_equal(sample.last_W, windows.sample(100, seed=3).last_W)
    assert not np.array_equal(sample.last_W, windows.sample(100, seed=4).last_W)
    assert len(np.unique(sample.last_W)) == 100
    assert len(sample.documents) > 25
    assert windows.sample(10_000, seed=3) is windows


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_rows_are_unit_and_the_same_in_any_batch(make_store, dtype):
    """The oracle knows a context by its bits: they must not depend on what else was gathered."""
    vectors = np.random.default_rng(0).standard_normal((500, 48))
    rows = Rows(make_store([vectors], dtype=dtype))
    whole = rows(np.arange(500))
    np.testing.assert_allclose(
        whole.numpy(),
        vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        atol=1e-3 if dtype == np.float16 else 1e-6,
    )
    index = np.random.default_rng(1).integers(0, 500, (33, 6))
    assert (rows(index) == whole[index]).all()
    assert (rows(np.array([7])) == whole[7]).all()


def test_split_by_ranges_and_file_roundtrip(make_store, tmp_path):
    store = make_store([np.eye(4)] * 10)
    split = split_by_ranges(store, train="0-3,8", val="4-5", ood="9")
    assert split.train == ("doc-0", "doc-1", "doc-2", "doc-3", "doc-8")
    save_split(split, tmp_path / "split.json", store)
    assert load_split(tmp_path / "split.json") == split
    assert split.documents(store, "VAL").tolist() == [4, 5]


def test_split_by_fractions_covers_every_document_once(make_store):
    store = make_store([np.eye(4)] * 20)
    for seed in (None, 1):
        split = split_by_fractions(store, (0.7, 0.2, 0.1), seed)
        assert [len(part) for part in (split.train, split.VAL, split.OOD)] == [14, 4, 2]
        assert sorted(split.train + split.VAL + split.OOD) == sorted(store.document_ids)
    assert split_by_fractions(store).train == tuple(store.document_ids[:16])
    assert split_by_fractions(store, seed=1) != split_by_fractions(store, seed=2)


@pytest.mark.parametrize("text", ["", "a", "3-1", "1-", "-3", "1;2"])
def test_malformed_ranges_are_refused(text):
    with pytest.raises(InputError, match="ranges of document numbers are wanted"):
        parse_ranges(text, "--train")


def test_bad_splits_are_refused_with_their_reason(make_store, tmp_path):
    store = make_store([np.eye(4)] * 4)
    with pytest.raises(InputError, match=r"found document 7, .* has documents 0-3"):
        split_by_ranges(store, train="0-7", val="1")
    with pytest.raises(InputError, match="'doc-1' is in train and in VAL"):
        split_by_ranges(store, train="0-1", val="1-2")
    with pytest.raises(InputError, match="VAL part has no documents"):
        split_by_fractions(store, (1.0, 0.0, 0.0))
    with pytest.raises(InputError, match="sum to 1"):
        split_by_fractions(store, (0.5, 0.1, 0.1))
    path = tmp_path / "split.json"
    save_split(split_by_ranges(store, train="0-1", val="2"), path, store)
    changed = json.loads(path.read_text())
    path.write_text(json.dumps({**changed, "train": ["doc-0"]}))
    with pytest.raises(InputError, match="changed after it was frozen"):
        load_split(path)
    for damage, told in (
        ({"train": None}, "train part is no list of document ids"),
        ({"VAL": "doc-2"}, "VAL part is no list"),
        ({"OOD": [3]}, "OOD part is no list"),
        ({"how": None}, "how"),
    ):
        path.write_text(json.dumps({**changed, **damage}))
        with pytest.raises(InputError, match=told):
            load_split(path)
    path.write_text(json.dumps({name: value for name, value in changed.items() if name != "how"}))
    with pytest.raises(InputError, match="does not say how it was made"):
        load_split(path)
    path.write_text(json.dumps(changed))
    other = make_store([np.eye(4)], name="other")
    with pytest.raises(InputError, match="lacks 1 of the split's train documents"):
        load_split(path).documents(other, "train")
