"""The store: ordered unit vectors on disk, memory-mapped, with the text they came from.

    STORE/vectors.npy         (N, D) float16 or float32, rows in document order
    STORE/chunks.parquet      row by row: document (int32), position (int32), text (string, null when unknown), section
    STORE/documents.parquet   id (string), title (string or null), first_row (int64), length (int32)
    STORE/manifest.json       kind "store": space, dtype, counts, source, hashes

Legend: N rows (chunks), D width, G documents.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from segue.artifacts import hash_file, make_folder, read_manifest, write_atomic, write_manifest
from segue.errors import InputError
from segue.vectors.blocks import BLOCK, Rows
from segue.vectors.space import Space

VECTORS, CHUNKS, DOCUMENTS = "vectors.npy", "chunks.parquet", "documents.parquet"
CHUNK_SCHEMA = pa.schema(
    [("document", pa.int32()), ("position", pa.int32()), ("text", pa.string()), ("section", pa.string())]
)
DOCUMENT_SCHEMA = pa.schema(
    [("id", pa.string()), ("title", pa.string()), ("first_row", pa.int64()), ("length", pa.int32())]
)


class Store:
    """A finished store, opened for reading. Nothing but the manifest is read until asked for."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.manifest = read_manifest(self.path, "store")
        self.space = Space.from_json(self.manifest["space"])

    def __len__(self) -> int:
        return int(self.manifest["counts"]["chunks"])

    @property
    def dim(self) -> int:
        return self.space.dim

    @property
    def n_documents(self) -> int:
        return int(self.manifest["counts"]["documents"])

    @property
    def hash(self) -> str:
        """Hash of the vectors file: what a split, a run and a report name as their input."""
        return str(self.manifest["hashes"][VECTORS])

    @cached_property
    def vectors_ND(self) -> np.ndarray:
        """(N, D) as stored, memory-mapped copy-on-write: torch wants a writable array, the file is never written."""
        vectors: np.ndarray = np.load(self.path / VECTORS, mmap_mode="c", allow_pickle=False)
        return vectors

    @cached_property
    def document_N(self) -> np.ndarray:
        """(N,) int64, index of each row's document."""
        return np.asarray(pq.read_table(self.path / CHUNKS, columns=["document"])["document"], dtype=np.int64)

    @cached_property
    def position_N(self) -> np.ndarray:
        """(N,) int64, each row's position in its document; a jump by more than 1 is a gap no window crosses."""
        return np.asarray(pq.read_table(self.path / CHUNKS, columns=["position"])["position"], dtype=np.int64)

    @cached_property
    def _documents(self) -> pa.Table:
        return pq.read_table(self.path / DOCUMENTS)

    @cached_property
    def document_ids(self) -> list[str]:
        return list(self._documents["id"].to_pylist())

    @cached_property
    def titles(self) -> list[str | None]:
        return list(self._documents["title"].to_pylist())

    @cached_property
    def first_row_G(self) -> np.ndarray:
        """(G,) int64, first row of each document."""
        return np.asarray(self._documents["first_row"], dtype=np.int64)

    @cached_property
    def length_G(self) -> np.ndarray:
        """(G,) int64, number of chunks of each document."""
        return np.asarray(self._documents["length"], dtype=np.int64)

    def texts(self, rows: Sequence[int] | np.ndarray) -> list[str | None]:
        """The text of some rows; None where the store has none."""
        column = pq.read_table(self.path / CHUNKS, columns=["text"])["text"]
        return list(column.take(pa.array(np.asarray(rows, dtype=np.int64))).to_pylist())


def write_store(
    path: str | Path,
    *,
    vectors_ND: Rows,
    chunks: pa.Table,
    documents: pa.Table,
    space: Space,
    made_by: str,
    source: dict[str, Any],
    counts: dict[str, int] | None = None,
    **fields: Any,
) -> Store:
    """Write a store's files, the manifest last. `vectors_ND` may be a memory map or `Blocks`, copied block by block.

    source   what the vectors came from: name, hash, settings
    counts   what was dropped on the way, added to the counts of chunks and documents
    Raises InputError when tables and vectors do not fit together, or the folder cannot be written.
    """
    n, dim = vectors_ND.shape
    if n == 0 or documents.num_rows == 0:
        raise InputError(f"{source.get('name', path)}: gives no chunks, at least one is wanted. Check the source.")
    if dim != space.dim or chunks.num_rows != n or int(np.asarray(documents["length"]).sum()) != n:
        raise ValueError(f"{n} × {dim} vectors, {chunks.num_rows} chunks, {space.dim} wide: a store's parts must agree")
    folder = make_folder(path)
    with write_atomic(folder / VECTORS) as file:
        np.lib.format.write_array_header_2_0(
            file, {"descr": np.lib.format.dtype_to_descr(vectors_ND.dtype), "fortran_order": False, "shape": (n, dim)}
        )
        for start in range(0, n, BLOCK):
            file.write(np.ascontiguousarray(vectors_ND[start : start + BLOCK]).data)
    with write_atomic(folder / CHUNKS) as file:
        pq.write_table(chunks.cast(CHUNK_SCHEMA), file, compression="zstd")
    with write_atomic(folder / DOCUMENTS) as file:
        pq.write_table(documents.cast(DOCUMENT_SCHEMA), file, compression="zstd")
    write_manifest(
        folder,
        "store",
        made_by,
        space=space.to_json(),
        dtype=str(vectors_ND.dtype),
        counts={"documents": documents.num_rows, "chunks": n, **(counts or {})},
        source=source,
        hashes={name: hash_file(folder / name) for name in (VECTORS, CHUNKS, DOCUMENTS)},
        **fields,
    )
    return Store(folder)
