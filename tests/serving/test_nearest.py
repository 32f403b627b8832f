"""Exact search against a slow float64 formula, masks, ties, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from known_stores import build_store
from segue.errors import InputError
from segue.serving.nearest import SAME, NearestChunks, Query
from segue.vectors import Store

DIM = 24


def documents(seed: int, count: int = 30) -> list[np.ndarray]:
    """Random unit vectors in documents of uneven length; every tenth chunk is a copy of the one before."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        vectors = rng.standard_normal((rng.integers(3, 120), DIM))
        vectors[9::10] = vectors[8:-1:10]
        made.append(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    return made


@pytest.fixture(scope="module", params=["float16", "float32", "float32 beyond the budget"])
def nearest(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NearestChunks:
    dtype = np.float16 if request.param == "float16" else np.float32
    store = build_store(tmp_path_factory.mktemp("nearest") / "store", documents(0), dtype=dtype)
    return NearestChunks(store, budget=0 if "beyond" in request.param else 1 << 30)


def slow(store: Store, vector_D: np.ndarray, k: int, allowed: set[int]) -> list[tuple[int, float]]:
    """One cosine after the other, in float64; equal ones in the order of the rows."""
    query = np.array(vector_D, dtype=np.float64)
    scored = []
    for row in sorted(allowed):
        chunk = np.array(store.vectors_ND[row], dtype=np.float64)
        scored.append((-float(chunk @ query / np.sqrt((chunk @ chunk) * (query @ query))), row))
    scored.sort(key=lambda one: (round(one[0], 12), one[1]))
    return [(row, -minus) for minus, row in scored[:k]]


def agrees(store: Store, hits, vector_D: np.ndarray, k: int, allowed: set[int]) -> None:
    wanted = slow(store, vector_D, k, allowed)
    assert hits.rows_K.tolist() == [row for row, _ in wanted]
    np.testing.assert_allclose(hits.cosines_K, [cosine for _, cosine in wanted], atol=1e-12)


@pytest.mark.parametrize("count", [1, 3, 40])
def test_the_nearest_are_those_of_the_slow_formula(nearest: NearestChunks, count: int):
    store = nearest.store
    vectors_QD = 7 * np.random.default_rng(1).standard_normal((count, DIM))
    for hits, vector_D in zip(nearest.search(vectors_QD, 10), vectors_QD, strict=True):
        agrees(store, hits, vector_D, 10, set(range(len(store))))


def test_one_at_a_time_and_many_are_the_same_to_the_bit(nearest: NearestChunks):
    """Guards the two ways of scoring: a product for few queries, blocks in float32 for many."""
    vectors_QD = np.random.default_rng(2).standard_normal((40, DIM))
    for hits, vector_D in zip(nearest.search(vectors_QD, 7), vectors_QD, strict=True):
        alone = nearest.search(vector_D[None], 7)[0]
        assert np.array_equal(hits.rows_K, alone.rows_K) and np.array_equal(hits.cosines_K, alone.cosines_K)


def test_copies_of_a_chunk_come_in_the_order_of_their_rows(tmp_path: Path):
    """Two hundred equal chunks among others: their cosines are equal to the bit, so the lowest rows come first."""
    rng = np.random.default_rng(3)
    others = rng.standard_normal((300, DIM))
    same = rng.standard_normal(DIM)
    rows = np.sort(rng.permutation(500)[:200])
    vectors = np.empty((500, DIM))
    vectors[rows], vectors[np.setdiff1d(np.arange(500), rows)] = same, others
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    hits = NearestChunks(build_store(tmp_path / "store", [vectors])).search(same[None], 30)[0]
    assert hits.rows_K.tolist() == rows[:30].tolist()
    assert len(set(hits.cosines_K.tolist())) == 1


def test_masked_rows_and_vectors_are_not_found(nearest: NearestChunks):
    store = nearest.store
    whole = set(range(len(store)))
    vector_D = np.array(store.vectors_ND[8], dtype=np.float64) + 0.01
    first = nearest.search(vector_D[None], 2)[0].rows_K.tolist()
    assert first == [8, 9], "row 9 is a copy of row 8"
    agrees(store, nearest.search(vector_D[None], 10, exclude_rows=[8, 40])[0], vector_D, 10, whole - {8, 40})
    masked = nearest.search(vector_D[None], 10, exclude_vectors=3 * np.array(store.vectors_ND[[8]], dtype=float))[0]
    agrees(store, masked, vector_D, 10, whole - {8, 9})


def test_a_vector_is_masked_from_a_cosine_of_9995(nearest: NearestChunks):
    store = nearest.store
    chunk_D = np.array(store.vectors_ND[5], dtype=np.float64)
    away_D = np.random.default_rng(4).standard_normal(DIM)
    away_D -= chunk_D * (away_D @ chunk_D) / (chunk_D @ chunk_D)
    away_D /= np.linalg.norm(away_D)
    for cosine, found in ((SAME - 0.0001, True), (SAME + 0.0001, False)):
        mask = cosine * chunk_D / np.linalg.norm(chunk_D) + np.sqrt(1 - cosine**2) * away_D
        assert (5 in nearest.search(chunk_D[None], 3, exclude_vectors=mask[None])[0].rows_K) is found


def test_masks_that_take_nearly_all_leave_the_rest(tmp_path: Path):
    """Ninety-five copies of the excluded vector lie before the five others: the search goes on until it meets them."""
    rng = np.random.default_rng(5)
    same, others = rng.standard_normal((1, DIM)), rng.standard_normal((5, DIM))
    vectors = np.concatenate([np.repeat(same, 95, axis=0), others])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    store = build_store(tmp_path / "store", [vectors])
    hits = NearestChunks(store).search(same, 8, exclude_vectors=same)[0]
    agrees(store, hits, same[0], 8, set(range(95, 100)))
    assert len(NearestChunks(store).search(same, 8, exclude_rows=list(range(100)))[0].rows_K) == 0


def test_a_slice_is_searched_alone(nearest: NearestChunks):
    store = nearest.store
    first, length = int(store.first_row_G[4]), int(store.length_G[4])
    vector_D = np.array(store.vectors_ND[first + 1], dtype=np.float64)
    rows = slice(first, first + length)
    hits = nearest.search(vector_D[None], 5, rows=rows, exclude_rows=[first, 0])[0]
    agrees(store, hits, vector_D, 5, set(range(first + 1, first + length)))
    assert len(nearest.search(vector_D[None], 5, rows=slice(first, first))[0].rows_K) == 0


def test_queries_of_a_batch_keep_their_own_masks(nearest: NearestChunks):
    store = nearest.store
    whole, rng = set(range(len(store))), np.random.default_rng(6)
    queries, allowed = [], []
    for i in range(12):
        masked = rng.integers(0, len(store), 5).tolist()
        limits = slice(3 * i, 50 * (i + 1)) if i % 3 == 0 else None
        queries.append(Query(rng.standard_normal(DIM), 1 + i, masked, rows=limits))
        allowed.append((set(range(len(store))[limits]) if limits else whole) - set(masked))
    for hits, query, its in zip(nearest.answer(queries), queries, allowed, strict=True):
        agrees(store, hits, query.vector_D, query.k, its)


@pytest.mark.parametrize("size", [1e-300, 1e300])
def test_length_does_not_matter(nearest: NearestChunks, size: float):
    vector_D = np.random.default_rng(7).standard_normal(DIM)
    hits, scaled = nearest.search(vector_D[None], 4)[0], nearest.search(size * vector_D[None], 4)[0]
    assert hits.rows_K.tolist() == scaled.rows_K.tolist()
    np.testing.assert_allclose(hits.cosines_K, scaled.cosines_K, atol=1e-12)


@pytest.mark.parametrize(
    ("vectors", "options", "words"),
    [
        (np.ones((1, DIM + 1)), {}, f"vectors {DIM} wide are wanted"),
        (np.ones(DIM), {}, "wide are wanted"),
        (np.full((1, DIM), np.nan), {}, "NaN"),
        (np.full((1, DIM), -np.inf), {}, "infinity"),
        (np.zeros((1, DIM)), {}, "zeros"),
        (np.ones((1, DIM)), {"k": 0}, "from 1"),
        (np.ones((1, DIM)), {"exclude_rows": [-1]}, "exclude_rows"),
        (np.ones((1, DIM)), {"exclude_rows": [10**9]}, "exclude_rows"),
        (np.ones((1, DIM)), {"exclude_vectors": np.ones((1, 3))}, "exclude_vectors"),
    ],
)
def test_what_cannot_be_searched_is_refused(nearest: NearestChunks, vectors: np.ndarray, options: dict, words: str):
    with pytest.raises(InputError, match=words):
        nearest.search(vectors, **options)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_store_that_is_not_finite_is_refused_at_the_start(tmp_path: Path, bad: float, dtype: type):
    made = documents(8, 3)
    made[1][2, 7] = bad
    store = build_store(tmp_path / "store", made, dtype=dtype)
    with pytest.raises(InputError, match=rf"row {len(made[0]) + 2} \(document 'doc-1'\)"):
        NearestChunks(store)
