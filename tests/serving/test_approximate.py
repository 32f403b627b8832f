"""The faiss index: recall against the exact search, masks, and what is kept for the next start."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("faiss", reason="the extra `index` is not installed")

from known_stores import build_store
from segue.serving.nearest import NearestChunks
from segue.vectors import Store

DIM, N = 32, 3000


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Three thousand vectors around a hundred centres, a hundred of them one vector."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((100, DIM))
    vectors = centres[rng.integers(0, 100, N)] + 0.7 * rng.standard_normal((N, DIM))
    vectors[1000:1100] = vectors[1000]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return build_store(tmp_path_factory.mktemp("approximate") / "store", np.array_split(vectors, 30), dtype=np.float16)


@pytest.fixture(scope="module")
def pair(store: Store) -> tuple[NearestChunks, NearestChunks]:
    return NearestChunks(store), NearestChunks(store, "faiss")


def queries(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, DIM))


def test_nearly_all_of_the_nearest_are_found_and_with_the_exact_cosines(
    pair: tuple[NearestChunks, NearestChunks], store: Store
):
    """Guards against copies in the graph: a hundred of them made an island that took 1 query in 40 in."""
    exact, index = pair
    asked, found = queries(200, 1), 0
    for vector_D, true, hits in zip(asked, exact.search(asked, 10), index.search(asked, 10), strict=True):
        found += len(set(hits.rows_K.tolist()) & set(true.rows_K.tolist()))
        chunks_KD = np.asarray(store.vectors_ND[hits.rows_K], float)
        slow_K = chunks_KD @ vector_D / np.linalg.norm(chunks_KD, axis=1) / np.linalg.norm(vector_D)
        np.testing.assert_allclose(hits.cosines_K, slow_K, atol=1e-12)
        assert (np.diff(hits.cosines_K) <= 0).all() and len(set(hits.rows_K.tolist())) == 10
    assert found >= 0.99 * 2000


def test_copies_come_in_the_order_of_their_rows(pair: tuple[NearestChunks, NearestChunks], store: Store):
    same = np.asarray(store.vectors_ND[1000:1001], float)
    assert pair[1].search(same, 30)[0].rows_K.tolist() == list(range(1000, 1030))
    assert pair[1].search(same, 30, exclude_rows=[1000, 1003])[0].rows_K.tolist() == [1001, 1002, *range(1004, 1032)]


def test_masked_rows_and_copies_are_not_found(pair: tuple[NearestChunks, NearestChunks], store: Store):
    """A hundred copies fill the candidates: more are asked for until enough others are there."""
    exact, index = pair
    same = np.asarray(store.vectors_ND[1000:1001], float)
    for options in ({"exclude_vectors": same}, {"exclude_rows": list(range(1000, 1100))}):
        true, hits = exact.search(same, 10, **options)[0], index.search(same, 10, **options)[0]
        assert not set(hits.rows_K.tolist()) & set(range(1000, 1100))
        assert len(set(hits.rows_K.tolist()) & set(true.rows_K.tolist())) >= 9


def test_a_slice_is_searched_exactly(pair: tuple[NearestChunks, NearestChunks]):
    exact, index = pair
    asked = queries(20, 2)
    for true, hits in zip(
        exact.search(asked, 5, rows=slice(40, 90)), index.search(asked, 5, rows=slice(40, 90)), strict=True
    ):
        assert true.rows_K.tolist() == hits.rows_K.tolist()


def test_asked_for_everything_it_misses_nothing(pair: tuple[NearestChunks, NearestChunks]):
    """A graph may not reach every row; the exact search does."""
    assert sorted(pair[1].search(queries(1, 3), N)[0].rows_K.tolist()) == list(range(N))


def test_the_index_is_kept_by_the_stores_hash_and_built_again_when_damaged(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("SEGUE_CACHE", str(tmp_path / "cache"))
    before = {path.name: path.stat().st_mtime_ns for path in store.path.iterdir()}
    built: list[int] = []

    def listen(what: str, done: int, total: int, unit: str = "") -> None:
        assert (what, total, unit) == ("index", N, "vectors")
        built.append(done)

    first = NearestChunks(store, "faiss", progress=listen).search(queries(5, 4), 3)
    assert built[0] == 0 and built[-1] == N
    built.clear()
    second = NearestChunks(store, "faiss", progress=listen).search(queries(5, 4), 3)
    assert not built, "the kept index is read"
    assert [hits.rows_K.tolist() for hits in first] == [hits.rows_K.tolist() for hits in second]
    (kept,) = (tmp_path / "cache" / "indexes").glob("*.faiss")
    kept.write_bytes(kept.read_bytes()[:-7] + b"garbage")
    NearestChunks(store, "faiss", progress=listen)
    assert built and "built again" in caplog.text
    other = build_store(tmp_path / "other", [queries(300, 5)], dtype=np.float16)
    NearestChunks(other, "faiss")
    assert len(list((tmp_path / "cache" / "indexes").glob("*.faiss"))) == 2
    assert before == {path.name: path.stat().st_mtime_ns for path in store.path.iterdir()}, "stores are not written to"
