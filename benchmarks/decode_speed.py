"""Nearest chunks of a store against plain searches, all in one run: `python benchmarks/decode_speed.py STORE`.

Ours    `NearestChunks.search`, exact and (where faiss is installed) through its index, for one query at a time, with
        the masks of a real question: twenty rows and five vectors excluded; and exact inside one document.
Peers   NumPy: the store once converted to float32, `argsort(vectors @ query)`, the same rows masked; faiss: a flat
        index of the same vectors, which is exact too.
Queries noise around chunks of the store, at the cosine of some .74 to the nearest that a predictor's vectors have.

In turns, one thread, so that a drifting machine meets all. Wall time is what a client waits for; processor time is what
it would be on a machine with nothing else to do. Recall: the share of the true ten that the index finds.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from segue.serving.nearest import Hits, NearestChunks
from segue.vectors import Store

MASKED = 20
CONTEXT = 5
Search = Callable[[int], Any]


class Questions:
    """Queries with the masks of a context. Legend: Q queries, D width."""

    def __init__(self, store: Store, count: int):
        rng = np.random.default_rng(0)
        self.rows_Q = rng.integers(CONTEXT, len(store), count)
        noise_QD = 0.9 / np.sqrt(store.dim) * rng.standard_normal((count, store.dim))
        query_QD = np.asarray(store.vectors_ND[self.rows_Q], np.float64) + noise_QD
        self.query_QD = query_QD / np.linalg.norm(query_QD, axis=1, keepdims=True)
        self.masked_QM = rng.integers(0, len(store), (count, MASKED))
        self.document_Q = store.document_N[self.rows_Q]
        self._store = store

    def context(self, q: int) -> np.ndarray:
        row = int(self.rows_Q[q])
        return np.asarray(self._store.vectors_ND[row - CONTEXT : row], np.float64)


def searches(store: Store, asked: Questions, k: int) -> dict[str, Search]:
    """Each way of searching, as a function of the query's number."""
    exact = NearestChunks(store)
    full_ND = np.asarray(store.vectors_ND, np.float32)

    def ours(nearest: NearestChunks, q: int, rows: slice | None = None) -> Hits:
        masks: dict[str, Any] = {"exclude_rows": asked.masked_QM[q].tolist(), "exclude_vectors": asked.context(q)}
        return nearest.search(asked.query_QD[q : q + 1], k, rows=rows, **masks)[0]

    def document(q: int) -> Hits:
        g = int(asked.document_Q[q])
        first = int(store.first_row_G[g])
        return ours(exact, q, slice(first, first + int(store.length_G[g])))

    def numpy_argsort(q: int) -> np.ndarray:
        scores_N = full_ND @ asked.query_QD[q].astype(np.float32)
        scores_N[asked.masked_QM[q]] = -2
        return np.argsort(-scores_N)[:k]

    ways: dict[str, Search] = {
        "segue, exact": lambda q: ours(exact, q),
        "segue, in one document": document,
        "NumPy argsort": numpy_argsort,
    }
    try:
        import faiss
    except ImportError:
        return ways
    faiss.omp_set_num_threads(1)
    flat = faiss.IndexFlatIP(store.dim)
    flat.add(full_ND)
    ways["faiss flat"] = lambda q: flat.search(asked.query_QD[q : q + 1].astype(np.float32), k)
    start = time.process_time()
    indexed = NearestChunks(store, "faiss", progress=lambda what, done, total, unit="": None)
    print(f"index built in {time.process_time() - start:.0f} s of one core")
    ways["segue, faiss"] = lambda q: ours(indexed, q)
    return ways


def milliseconds(values: list[float]) -> dict[str, float]:
    p50, p95 = np.percentile(1000 * np.array(values), [50, 95])
    return {"p50": round(float(p50), 3), "p95": round(float(p95), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    store = Store(options.store)
    asked = Questions(store, options.queries)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["SEGUE_CACHE"] = cache  # so that the index is built, and its time told
        ways = searches(store, asked, options.k)
    wall: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, list[Any]] = {name: [] for name in ways}
    for q in range(options.queries):
        for name, search in ways.items():
            begun, worked = time.perf_counter(), time.thread_time()
            found[name].append(search(q))
            wall[name].append(time.perf_counter() - begun)
            cpu[name].append(time.thread_time() - worked)
    told = {name: {"wall_ms": milliseconds(wall[name]), "cpu_ms": milliseconds(cpu[name])} for name in ways}
    base = told["NumPy argsort"]["cpu_ms"]["p50"]
    print(f"{len(store):,} × {store.dim} {store.vectors_ND.dtype}, k = {options.k}, {options.queries} queries")
    print(f"{'':24}{'wall p50':>10}{'p95':>9}{'cpu p50':>10}{'p95':>9}   times NumPy")
    for name, one in told.items():
        w, c = one["wall_ms"], one["cpu_ms"]
        print(f"{name:24}{w['p50']:10.2f}{w['p95']:9.2f}{c['p50']:10.2f}{c['p95']:9.2f}{base / c['p50']:12.1f} ×")
    recall = None
    if "segue, faiss" in ways:
        pairs = zip(found["segue, exact"], found["segue, faiss"], strict=True)
        recall = float(np.mean([len(set(a.rows_K) & set(b.rows_K)) / len(a.rows_K) for a, b in pairs]))
        print(f"recall@{options.k} of the index, masks included: {recall:.4f}")
    if options.json:
        options.json.write_text(json.dumps({"store": len(store), "dim": store.dim, "ways": told, "recall": recall}))


if __name__ == "__main__":
    main()
