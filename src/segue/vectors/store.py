"""The store: ordered unit vectors on disk, memory-mapped, with the text they came from.

    STORE/vectors.npy         (N, D) float16 or float32, rows in document order
    STORE/chunks.parquet      row by row: document (int32), position (int32), text (string, null when unknown), section
    STORE/documents.parquet   id (string), title (string or null), first_row (int64), length (int32)
    STORE/manifest.json       kind "store": space, dtype, counts, source, hashes

Legend: N rows (chunks), D width, G documents.
"""

import tokenize
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from segue.artifacts import MANIFEST, hash_file, make_folder, read_manifest, write_atomic, write_manifest
from segue.errors import InputError
from segue.progress import Progress, silent
from segue.vectors.blocks import BLOCK, Rows
from segue.vectors.space import Space

VECTORS, CHUNKS, DOCUMENTS = FILES = ("vectors.npy", "chunks.parquet", "documents.parquet")
CHUNK_SCHEMA = pa.schema(
    [("document", pa.int32()), ("position", pa.int32()), ("text", pa.string()), ("section", pa.string())]
)
DOCUMENT_SCHEMA = pa.schema(
    [("id", pa.string()), ("title", pa.string()), ("first_row", pa.int64()), ("length", pa.int32())]
)


# What a manifest must hold for a store to be read at all.
_WANTED = {"space": dict, "dtype": str, "counts": dict, "source": dict, "hashes": dict, "made_by": str, "made_at": str}


class Store:
    """A finished store, opened for reading. Nothing but the manifest and the files' headers is read until asked for.

    Raises InputError, naming the file, when one is missing, cut off or of another shape than the manifest says. What
    lies inside the files, `verify` checks.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.manifest = read_manifest(self.path, "store")
        self.space = self._described()
        self._check_vectors()
        for name, schema, rows in ((CHUNKS, CHUNK_SCHEMA, len(self)), (DOCUMENTS, DOCUMENT_SCHEMA, self.n_documents)):
            self._check_table(name, schema, rows)

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
        return self._mapped("c")

    @cached_property
    def document_N(self) -> np.ndarray:
        """(N,) int64, index of each row's document."""
        return np.asarray(self._read(CHUNKS, ["document"])["document"], dtype=np.int64)

    @cached_property
    def position_N(self) -> np.ndarray:
        """(N,) int64, each row's position in its document; a jump by more than 1 is a gap no window crosses."""
        return np.asarray(self._read(CHUNKS, ["position"])["position"], dtype=np.int64)

    @cached_property
    def _documents(self) -> pa.Table:
        return self._read(DOCUMENTS)

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
        column = self._read(CHUNKS, ["text"])["text"]
        return list(column.take(pa.array(np.asarray(rows, dtype=np.int64))).to_pylist())

    def verify(self, progress: Progress = silent) -> None:
        """Read everything: the vectors are finite, and every file is the one whose hash the manifest holds.

        Raises InputError naming the file, and of a vector that is not finite its row and document. Takes as long as
        reading the files; hashing runs at 1.4 GB/s on a core of the machine it was measured on.
        """
        self.require_finite(progress=progress)
        for name in FILES:
            try:
                found = hash_file(self.path / name)
            except OSError as error:
                raise self._damaged(name, f"cannot be read ({_first_line(error)})") from None
            if found != self.manifest["hashes"][name]:
                raise self._damaged(
                    name, f"was changed: its hash is {found[:19]}…, {self.manifest['hashes'][name][:19]}… is wanted"
                )

    def require_finite(self, rows: np.ndarray | None = None, progress: Progress = silent) -> None:
        """Refuse vectors with NaN or infinity, of some rows or of all: InputError naming the row and its document."""
        n = len(self) if rows is None else len(rows)
        for start in range(0, n, BLOCK):
            here = slice(start, start + BLOCK)
            block_ND = self.vectors_ND[here] if rows is None else self.vectors_ND[rows[here]]
            finite_N = np.isfinite(block_ND).all(axis=1)
            if not finite_N.all():
                at = start + int((~finite_N).argmax())
                row = at if rows is None else int(rows[at])
                found = "NaN" if np.isnan(self.vectors_ND[row]).any() else "infinity"
                document = self.document_ids[self.document_N[row]]
                raise self._damaged(
                    VECTORS, f"holds {found} at row {row} (document {document!r}), finite numbers are wanted"
                )
            progress("verify", min(start + BLOCK, n), n, "vectors")

    def _described(self) -> Space:
        """The space, and whether the manifest says all that is asked of it."""
        for name, kind in _WANTED.items():
            if not isinstance(self.manifest.get(name), kind):
                wanted = "an object" if kind is dict else "a string"
                raise self._damaged(MANIFEST, f"has {self.manifest.get(name)!r} for {name!r}, {wanted} is wanted")
        numbers = {"counts": ("chunks", "documents"), "space": ("dim",)}
        strings = {"hashes": FILES, "space": ("encoder",)}
        for fields, type_, wanted in ((numbers, int, "a number"), (strings, str, "a string")):
            for name, key in ((name, key) for name, keys in fields.items() for key in keys):
                found = self.manifest[name].get(key)
                if not isinstance(found, type_):
                    raise self._damaged(MANIFEST, f"has {found!r} for {key!r} of its {name}, {wanted} is wanted")
        try:
            return Space.from_json(self.manifest["space"])
        except TypeError as error:
            raise self._damaged(MANIFEST, f"describes a space that this segue does not know ({error})") from None

    def _mapped(self, mode: Literal["r", "c"]) -> np.memmap:
        try:
            return np.lib.format.open_memmap(self.path / VECTORS, mode=mode)
        except FileNotFoundError:
            raise self._damaged(VECTORS, f"is missing, {self._shape} is wanted") from None
        except (OSError, ValueError, SyntaxError, tokenize.TokenError) as error:
            raise self._damaged(
                VECTORS, f"cannot be read ({_first_line(error)}), an array of {self._shape} is wanted"
            ) from None

    def _check_vectors(self) -> None:
        vectors = self._mapped("r")
        found = f"{' × '.join(map(str, vectors.shape))} {vectors.dtype}"
        if found != self._shape:
            raise self._damaged(VECTORS, f"is {found}, the manifest says {self._shape}")
        size, wanted = (self.path / VECTORS).stat().st_size, vectors.offset + vectors.nbytes
        if size != wanted:
            raise self._damaged(VECTORS, f"is {size:,} bytes long, {wanted:,} are wanted")

    @property
    def _shape(self) -> str:
        return f"{len(self)} × {self.dim} {self.manifest['dtype']}"

    def _check_table(self, name: str, schema: pa.Schema, rows: int) -> None:
        try:
            found = pq.read_metadata(self.path / name)
        except (OSError, pa.ArrowException) as error:
            raise self._unreadable(name, error) from None
        if found.num_rows != rows:
            raise self._damaged(name, f"has {found.num_rows} rows, the manifest says {rows}")
        if lacking := [column for column in schema.names if column not in found.schema.names]:
            raise self._damaged(name, f"lacks the column {lacking[0]!r} (found: {', '.join(found.schema.names)})")

    def _read(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        try:
            return pq.read_table(self.path / name, columns=columns)
        except (OSError, pa.ArrowException) as error:
            raise self._unreadable(name, error) from None

    def _unreadable(self, name: str, error: Exception) -> InputError:
        missing = isinstance(error, FileNotFoundError)
        found = "is missing" if missing else f"cannot be read ({_first_line(error)})"
        return self._damaged(name, f"{found}, a parquet file is wanted")

    def _damaged(self, name: str, what: str) -> InputError:
        """What is wrong with one of the files, and the way out."""
        made_by = self.manifest.get("made_by")
        command = f"`{made_by}`" if isinstance(made_by, str) else "the command that made it"
        return InputError(
            f"{self.path / name}: {what}. The store is damaged: delete {self.path} and make it again with {command}, "
            f"or copy it again."
        )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


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
        hashes={name: hash_file(folder / name) for name in FILES},
        **fields,
    )
    return Store(folder)
