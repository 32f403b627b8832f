"""Files of a user's own vectors, read as they are: `.npy` with ids beside it, `.npz`, parquet.

`READERS` picks by ending. Pickled arrays are refused: reading one runs whatever code it holds.
Legend: N rows, D width.
"""

import csv
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from segue.errors import InputError, nearest
from segue.vectors.blocks import BLOCK, Rows


@dataclass(frozen=True)
class Keys:
    """Names of a file's fields; None: the first of `CANDIDATES` that is there."""

    vectors: str | None = None
    document: str | None = None
    position: str | None = None
    text: str | None = None
    title: str | None = None


CANDIDATES = {
    "vectors": ("vectors", "embeddings", "vector", "embedding"),
    "document": ("document", "document_ids", "document_id", "doc_ids", "doc_id", "article_ids", "article_id"),
    "position": ("position", "positions", "chunk_ids", "chunk_id", "chunk_index", "chunk_indices", "index"),
    "text": ("text", "texts"),
    "title": ("title", "titles"),
}
_NEEDED = ("vectors", "document", "position")
Column = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Found:
    """A file's rows in its own order, unchecked.

    vectors_ND  (N, D), any float dtype; a memory map where the file allows
    document_N  each row's document, whole numbers or strings
    position_N  each row's position in it
    text_N      each row's text, or None
    title_N     the title of each row's document, or None
    used        which field was taken for what
    """

    vectors_ND: Rows
    document_N: np.ndarray
    position_N: np.ndarray
    text_N: np.ndarray | None
    title_N: np.ndarray | None
    used: dict[str, str]


def refuse_unreadable(file: Path, ids: Path | None) -> None:
    """Raise InputError when a file of vectors or of ids is missing, empty, closed to the user, or of no known kind."""
    for path in (file, ids):
        if path is None:
            continue
        if not path.is_file():
            raise InputError(
                f"{path}: {'is a folder, a file is wanted' if path.is_dir() else 'no such file'}. Check it."
            )
        if path.stat().st_size == 0:
            raise InputError(f"{path}: is empty, vectors or their ids are wanted. Check the file.")
        try:
            path.open("rb").close()
        except PermissionError:
            raise InputError(f"{path}: is not readable by you. Change its permissions.") from None
    kind = file.suffix.lower()
    if kind not in READERS:
        raise InputError(
            f"{file}: ends in {kind or 'nothing'}, one of {', '.join(READERS)} is wanted. Convert the file."
        )
    if (ids is None) == (kind == ".npy"):
        told = "--ids FILE is wanted, with each row's document and position" if ids is None else "no --ids is wanted"
        raise InputError(f"{file}: for a {kind} file {told}.")


def read_vectors(file: Path, ids: Path | None, keys: Keys) -> Found:
    """Read a file of vectors that `refuse_unreadable` let pass. Raises InputError: damaged, pickled, lacks a field."""
    return READERS[file.suffix.lower()](file, ids, keys)


def _read_npy(file: Path, ids: Path | None, keys: Keys) -> Found:
    assert ids is not None
    columns = _id_columns(ids)
    used = _choose(ids, columns, keys, needed=("document", "position"))
    return _found(_load(file, mmap_mode="r"), columns, used)


def _read_npz(file: Path, ids: Path | None, keys: Keys) -> Found:
    archive = _load(file)
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise InputError(f"{file}: is a single array, an .npz archive is wanted. Name it .npy and give --ids.")
    with archive:
        columns = {name: _member(file, archive, name) for name in archive.files}
        used = _choose(file, columns, keys)
        return _found(columns[used["vectors"]](), columns, used)


def _member(file: Path, archive: Any, name: str) -> Column:
    def read() -> np.ndarray:
        try:
            array: np.ndarray = archive[name]
        except (ValueError, EOFError, zipfile.BadZipFile, OSError) as error:
            raise _unreadable(file, f"array {name!r} of it", error) from None
        return array

    return read


def _read_parquet(file: Path, ids: Path | None, keys: Keys) -> Found:
    table = _parquet(file)
    columns = {name: _parquet_column(file, table, name) for name in table.schema_arrow.names}
    used = _choose(file, columns, keys)
    return _found(_parquet_vectors(file, table, used["vectors"]), columns, used)


READERS: dict[str, Callable[[Path, Path | None, Keys], Found]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".parquet": _read_parquet,
}


def _found(vectors_ND: Rows, columns: Mapping[str, Column], used: dict[str, str]) -> Found:
    optional = {name: columns[used[name]]() if name in used else None for name in ("text", "title")}
    return Found(
        vectors_ND,
        columns[used["document"]](),
        columns[used["position"]](),
        optional["text"],
        optional["title"],
        used,
    )


def _choose(file: Path, columns: Mapping[str, Column], keys: Keys, needed: tuple[str, ...] = _NEEDED) -> dict[str, str]:
    """Which field of a file is what: as the user named it, else the first candidate that is there."""
    used = {}
    for wanted in (field.name for field in fields(Keys)):
        named = getattr(keys, wanted)
        if wanted == "vectors" and wanted not in needed:
            continue
        if named is not None and named not in columns:
            raise InputError(f"{file}: has no field {named!r} (--{wanted}-key). {nearest(named, columns)}")
        name = named or next((name for name in CANDIDATES[wanted] if name in columns), None)
        if name is not None:
            used[wanted] = name
        elif wanted in needed:
            raise InputError(
                f"{file}: has no field for the {wanted} (found: {', '.join(columns) or 'none'}; looked for: "
                f"{', '.join(CANDIDATES[wanted])}). Name it with --{wanted}-key."
            )
    return used


def _load(file: Path, **options: Any) -> Any:
    try:
        return np.load(file, allow_pickle=False, **options)
    except PermissionError:
        raise InputError(f"{file}: is not readable by you. Change its permissions.") from None
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise _unreadable(file, "it", error) from None


def _unreadable(file: Path, what: str, error: Exception) -> InputError:
    if "pickle" in str(error):
        return InputError(
            f"{file}: {what} holds pickled objects, plain arrays are wanted (reading a pickle runs its code, so it is "
            f"refused). Save it again with a number or string dtype, not object."
        )
    return InputError(f"{file}: {what} cannot be read ({error}). Fetch or make the file again.")


def _parquet(file: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file)
    except PermissionError:
        raise InputError(f"{file}: is not readable by you. Change its permissions.") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{file}: is not parquet ({_first_line(error)}). Fetch or make the file again.") from None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def _parquet_column(file: Path, table: pq.ParquetFile, name: str) -> Column:
    def read() -> np.ndarray:
        column = table.read(columns=[name])[name]
        if column.null_count and not pa.types.is_string(column.type):
            row = column.is_null().index(True).as_py()
            raise InputError(f"{file}: field {name!r} is null at row {row}, a value is wanted. Mend the file.")
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            return np.asarray(column.to_numpy())
        return np.asarray(column.to_pylist(), dtype=object)

    return read


def _parquet_vectors(file: Path, table: pq.ParquetFile, name: str) -> np.ndarray:
    """A list column as (N, D), batch by batch; NaN where an entry is null."""
    kind = table.schema_arrow.field(name).type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not is_list or not pa.types.is_floating(kind.value_type):
        raise InputError(f"{file}: field {name!r} is {kind}, lists of floats are wanted. Name it with --vectors-key.")
    n = table.metadata.num_rows
    vectors_ND: np.ndarray | None = None
    row = 0
    for batch in table.iter_batches(batch_size=BLOCK // 8, columns=[name]):
        column = batch.column(0)
        lengths = np.asarray(column.value_lengths().fill_null(-1)) if not pa.types.is_fixed_size_list(kind) else None
        if column.null_count:
            raise InputError(
                f"{file}: field {name!r} is null at row {row + column.is_null().index(True).as_py()}, a vector is "
                f"wanted. Mend the file."
            )
        dim = kind.list_size if lengths is None else int(lengths[0])
        if vectors_ND is None:
            vectors_ND = np.empty((n, dim), dtype=kind.value_type.to_pandas_dtype())
        dim = vectors_ND.shape[1]
        if lengths is not None and (lengths != dim).any():
            bad = int((lengths != dim).argmax())
            raise InputError(
                f"{file}: the vector at row {row + bad} is {lengths[bad]} wide, {dim} as at row 0 is wanted. "
                f"Mend the file."
            )
        flat = column.flatten().to_numpy(zero_copy_only=False)
        vectors_ND[row : row + len(column)] = flat.reshape(-1, dim)
        row += len(column)
    return np.empty((0, 1), dtype=np.float32) if vectors_ND is None else vectors_ND


def _id_columns(ids: Path) -> dict[str, Column]:
    """The fields of a file of ids: .npy (N × 2, or with named fields), .csv, .jsonl or .parquet."""
    kind = ids.suffix.lower()
    if kind == ".npy":
        return _array_columns(ids, _load(ids))
    if kind == ".parquet":
        table = _parquet(ids)
        return {name: _parquet_column(ids, table, name) for name in table.schema_arrow.names}
    if kind not in (".csv", ".jsonl"):
        raise InputError(f"{ids}: ends in {kind or 'nothing'}, one of .npy, .csv, .jsonl, .parquet is wanted.")
    try:
        with ids.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file) if kind == ".csv" else (json.loads(line) for line in file if line.strip())
            records = list(rows)
    except ValueError as error:  # not UTF-8, or not JSON
        raise InputError(f"{ids}: cannot be read as {kind[1:]} ({error}). Mend the file.") from None
    names = list(records[0]) if records and isinstance(records[0], dict) else []
    for row, record in enumerate(records):
        if not isinstance(record, dict) or any(record.get(name) is None for name in names):
            raise InputError(f"{ids}: row {row} lacks one of the fields {', '.join(names)}. Mend the file.")
    return {name: partial(_record_column, records, name) for name in names}


def _record_column(records: list[dict[str, Any]], name: str) -> np.ndarray:
    return np.asarray([record[name] for record in records], dtype=object)


def _array_columns(ids: Path, array: np.ndarray) -> dict[str, Column]:
    if array.dtype.names:
        return {name: partial(array.__getitem__, name) for name in array.dtype.names}
    if array.ndim != 2 or array.shape[1] != 2:
        raise InputError(f"{ids}: has shape {array.shape}, (rows, 2) is wanted: document and position. Mend it.")
    return {"document": lambda: array[:, 0], "position": lambda: array[:, 1]}
