"""Candidates from a faiss index, for stores too large to read at every question.

    CACHE/indexes/NAME.faiss   the index
    CACHE/indexes/NAME.npy     for each row the first one with the same vector
    CACHE/indexes/NAME.json    the key they are found by and the hashes of both; written last

CACHE as in `segue.models.kept`. NAME is the hash of the key: the hash of the store's vectors, what was built and by
which faiss. A store is never written into. Safe to delete at any time.

HNSW over 8-bit vectors: of what was tried on 104,281 × 384 MiniLM vectors (one core), ten nearest found after ranking
the candidates by their cosines: IVF 1,024 with 64 lists read .974 in .4 ms, built in 6 s; HNSW 32 at ef 128 .994 in .5
ms, at 256 .9985 in .8 ms, built in 18 s, 68 MB. faiss's own filters are not used: with a narrow one HNSW found 1 of 10
(DESIGN). Masked rows are taken out afterwards, and a document's slice is searched exactly.

Only different vectors are indexed: copies of one are each other's neighbours and no one else's, an island of the graph
that a search does not leave. A hundred copies among 3,000 chunks cost 1 query in 40 all of its results.
"""

import importlib
import logging
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from segue.artifacts import hash_file, hash_json, make_folder, read_json, write_atomic, write_json
from segue.errors import InputError
from segue.models.kept import Cache
from segue.progress import Progress
from segue.serving.copies import Copies
from segue.vectors import Store

if TYPE_CHECKING:
    from segue.serving.nearest import Scan

log = logging.getLogger("segue")

SPEC = "HNSW32,SQ8"
EF_BUILD, EF_SEARCH = 80, 256
SPARE = 4  # candidates for each one wanted, and FEWEST at least: 8 bits swap neighbours
FEWEST = 40
MOST = 4096  # candidates beyond this, or beyond half the store: reading it all is faster, and misses none
TRAINED_ON = 65536  # rows that the range of 8 bits is taken from
STEP = 4096  # rows added at once: a second or so
LIMIT = 8 << 30  # bytes kept of all indexes


class FaissScan:
    """Candidates from an HNSW graph; the exact scan where so many are wanted that a graph is the slower way."""

    def __init__(self, index: Any, copies: Copies, exact: "Scan"):
        self._index, self._copies, self._exact = index, copies, exact

    def candidates(self, unit_QD: np.ndarray, wanted: list[int], excluded: list[np.ndarray]) -> list[np.ndarray]:
        most_Q = [m + len(rows) for m, rows in zip(wanted, excluded, strict=True)]
        count = max(FEWEST, SPARE * max(most_Q, default=0))
        if count > min(MOST, self._index.ntotal // 2):
            return self._exact.candidates(unit_QD, wanted, excluded)
        settings = _faiss().SearchParametersHNSW(efSearch=max(EF_SEARCH, count))
        _, found_QM = self._index.search(unit_QD.astype(np.float32), count, params=settings)
        return [
            np.setdiff1d(self._copies.expand(found_M[found_M >= 0], most), masked)
            for found_M, most, masked in zip(found_QM, most_Q, excluded, strict=True)
        ]


def open_scan(store: Store, exact: "Scan", progress: Progress) -> FaissScan:
    """The index of a store, from the user's cache or built now and kept there.

    Raises InputError when faiss is not installed.
    """
    if find_spec("faiss") is None:
        raise InputError(
            "--index faiss: faiss is not installed. Install it with: pip install 'segue[index]', or use --index exact."
        )
    # Its own count of threads would take every core beside torch's.
    _faiss().omp_set_num_threads(torch.get_num_threads())
    key = {"store": store.hash, "spec": SPEC, "ef": EF_BUILD, "faiss": _faiss().__version__}
    folder = _folder()
    path = folder / f"{hash_json(key).removeprefix('sha256:')[:32]}.faiss" if folder else None
    found = _kept(path, key) if path else None
    if found is None:
        found = _build(store, progress)
        if path:
            _keep(*found, path, key)
    return FaissScan(*found, exact)


def _faiss() -> Any:
    """Imported when it is used: it is an extra."""
    return importlib.import_module("faiss")


def _folder() -> Path | None:
    cache = Cache.of_user()
    return cache.folder.parent / "indexes" if cache else None


def _build(store: Store, progress: Progress) -> tuple[Any, Copies]:
    """The graph, block by block: what is in memory is the index and one block."""
    faiss, vectors_ND = _faiss(), store.vectors_ND
    progress("index", 0, len(store), "vectors")
    copies = Copies.of(vectors_ND)
    rows_U = copies.rows_U
    index = faiss.index_factory(store.dim, SPEC, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = EF_BUILD
    some = np.linspace(0, len(store) - 1, min(len(store), TRAINED_ON)).astype(np.int64)
    index.train(np.ascontiguousarray(vectors_ND[some], dtype=np.float32))
    for start in range(0, len(rows_U), STEP):
        index.add(np.ascontiguousarray(vectors_ND[rows_U[start : start + STEP]], dtype=np.float32))
        last = min(start + STEP, len(rows_U)) - 1
        progress("index", int(rows_U[last]) + 1, len(store), "vectors")
    progress("index", len(store), len(store), "vectors")
    return index, copies


def _kept(path: Path, key: dict[str, Any]) -> tuple[Any, Copies] | None:
    """An index kept before; None where there is none, or a damaged one."""
    told, first = path.with_suffix(".json"), path.with_suffix(".npy")
    try:
        if not told.exists():
            return None
        its = read_json(told)
        if its["key"] != key or its["hashes"] != [hash_file(path), hash_file(first)]:
            raise ValueError("its hash differs")
        found = _faiss().read_index(str(path)), Copies(np.load(first, allow_pickle=False))
        os.utime(path)
    except (InputError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        log.warning("%s: the kept index is of no use (%s); built again", path, str(error).splitlines()[0])
        return None
    return found


def _keep(index: Any, copies: Copies, path: Path, key: dict[str, Any]) -> None:
    """Write an index, whole or not at all. Never the reason a command fails."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    told, first = path.with_suffix(".json"), path.with_suffix(".npy")
    try:
        make_folder(path.parent)
        told.unlink(missing_ok=True)
        _faiss().write_index(index, str(partial))
        partial.replace(path)
        with write_atomic(first) as file:
            np.save(file, copies.first_N)
        write_json(told, {"key": key, "hashes": [hash_file(path), hash_file(first)]})
        _make_room(path)
    except (InputError, OSError, RuntimeError) as error:
        log.info("the index is not kept for the next time: %s", error)
    finally:
        partial.unlink(missing_ok=True)


def _make_room(newest: Path) -> None:
    """Delete what was not asked for longest until the rest is within `LIMIT`."""
    total = 0
    for path in sorted(newest.parent.glob("*.faiss"), key=lambda path: path.stat().st_mtime, reverse=True):
        total += path.stat().st_size
        if total > LIMIT and path != newest:
            for suffix in (".json", ".npy", ".faiss"):
                path.with_suffix(suffix).unlink(missing_ok=True)
