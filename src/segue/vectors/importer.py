"""A user's own ordered vectors to a store: every row is checked, and what is wrong is named by its row.

Legend: N rows, D width, G documents.
"""

import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from segue.artifacts import hash_file, is_finished, lock, make_folder
from segue.errors import InputError
from segue.geometry import norm, normalise
from segue.progress import Progress, silent
from segue.text import WINDOW, Chunking, Counts, Source, read_chunks
from segue.vectors.blocks import BLOCK, Blocks, Rows
from segue.vectors.embed import finished_store, refuse_foreign
from segue.vectors.encoders import ENCODERS, canonical
from segue.vectors.space import UNSTATED, Space
from segue.vectors.store import Store, write_store
from segue.vectors.tables import Found, Keys, read_vectors, refuse_unreadable

# float16 rounds a unit vector's length by less; what bfloat16 left at .996 is not unit and is normalised.
UNIT = 1e-3
_ZERO = 1e-6
log = logging.getLogger("segue")


@dataclass(frozen=True)
class Order:
    """Which rows make which documents.

    first_row_G, length_G  int64
    document_N, position_N int32, as in the store
    ids                    of the documents, as strings
    """

    ids: list[str]
    first_row_G: np.ndarray
    length_G: np.ndarray
    document_N: np.ndarray
    position_N: np.ndarray

    @property
    def counts(self) -> dict[str, int]:
        inside_N = np.diff(self.document_N) == 0
        return {
            "gaps": int((inside_N & (np.diff(self.position_N) > 1)).sum()),
            "documents_shorter_than_a_window": int((self.length_G < WINDOW).sum()),
        }


def import_vectors(
    file: str | Path,
    out: str | Path,
    *,
    encoder: str | None = None,
    ids: str | Path | None = None,
    keys: Keys | None = None,
    text: Source | None = None,
    chunking: Chunking | None = None,
    progress: Progress = silent,
) -> Store:
    """Make a store at `out` of the vectors in a file, in the file's order; jumps in the positions stay gaps.

    encoder  what made the vectors; None: unstated, and every reader takes them on trust
    ids      document and position of each row, for a `.npy` file
    text     the text the vectors were made of, cut by `chunking`: it must give as many chunks for every document
    Vectors that are not of unit length are normalised, and it is said. float16 stays float16, wider becomes float32.
    A finished store made from the same is returned as it is.
    Raises InputError, naming file, field and row, for whatever else is wrong.
    """
    file, out = Path(file), Path(out)
    keys, chunking = keys or Keys(), chunking or Chunking()
    refuse_unreadable(file, Path(ids) if ids else None)
    asked = {
        "source": hash_file(file),
        "ids": hash_file(ids) if ids else None,
        "encoder": None if encoder is None else canonical(encoder),
        "text": {"source": text.hash(), **text.settings, **chunking.settings} if text else None,
        **{f"{name}_key": key for name, key in asdict(keys).items()},
    }
    if is_finished(out):
        return finished_store(out, "segue import", asked)
    refuse_foreign(out)
    found = read_vectors(file, Path(ids) if ids else None, keys)
    n, dim = _shape(file, found)
    space = _space(encoder, dim, file)
    order = _order(Path(ids) if ids else file, found)
    texts, titles, names = _texts(file, found, order, text, chunking)
    unit = _check_vectors(file, found.vectors_ND, progress)
    counts = order.counts
    _tell(file, space, unit, len(order.ids), counts)
    make_folder(out)
    with lock(out):
        return write_store(
            out,
            vectors_ND=_stored(found.vectors_ND, unit),
            chunks=pa.table(
                {
                    "document": order.document_N,
                    "position": order.position_N,
                    "text": texts,
                    "section": pa.nulls(n, pa.string()),
                }
            ),
            documents=pa.table(
                {"id": names, "title": titles, "first_row": order.first_row_G, "length": order.length_G}
            ),
            space=space,
            made_by="segue import",
            source={
                "name": str(file),
                "hash": asked["source"],
                "settings": {"fields": found.used, "ids": _lineage(ids), "text": text.hash() if text else None},
            },
            counts=counts,
            asked=asked,
            imported={"dtype": str(found.vectors_ND.dtype), "normalised": not unit},
        )


def _tell(file: Path, space: Space, unit: bool, documents: int, counts: dict[str, int]) -> None:
    """What a user should know of an import that went well."""
    if not space.stated:
        log.info(f"{file}: --encoder not stated, so nothing can check that other vectors are comparable")
    if not unit:
        log.info(f"{file}: vectors are not of unit length; they are normalised")
    Counts(documents, documents_shorter_than_a_window=counts["documents_shorter_than_a_window"]).warn(str(file))


def _lineage(ids: str | Path | None) -> dict[str, str] | None:
    return {"name": str(ids), "hash": hash_file(ids)} if ids else None


def _shape(file: Path, found: Found) -> tuple[int, int]:
    """(N, D), checked together with dtype and the lengths of the ids."""
    shape, dtype = found.vectors_ND.shape, found.vectors_ND.dtype
    if len(shape) != 2:
        raise InputError(f"{file}: vectors have shape {shape}, (rows, width) is wanted. Reshape them.")
    if dtype not in (np.float16, np.float32, np.float64):
        raise InputError(f"{file}: vectors are {dtype}, float16, float32 or float64 is wanted. Convert them.")
    if 0 in shape:
        raise InputError(f"{file}: vectors have shape {shape}, at least one row is wanted. Check the file.")
    for name, column in (("document", found.document_N), ("position", found.position_N)):
        if column.shape != (shape[0],):
            raise InputError(
                f"{file}: field {found.used[name]!r} has shape {column.shape}, ({shape[0]},) is wanted, one {name} a "
                f"vector. Mend the file."
            )
    return int(shape[0]), int(shape[1])


def _space(encoder: str | None, dim: int, file: Path) -> Space:
    """The space `segue embed` would give the vectors of this encoder, without loading it."""
    if encoder is None:
        return Space(UNSTATED, dim)
    known = ENCODERS.get(canonical(encoder))
    if known is None:
        return Space(encoder, dim)
    if known.space.dim != dim:
        raise InputError(
            f"{file}: vectors are {dim} wide, {encoder} makes {known.space.dim}. Name the encoder that made them, or "
            f"leave --encoder out."
        )
    return replace(known.space)


def _whole_numbers(file: Path, name: str, column: np.ndarray) -> np.ndarray:
    """A column as int64. Raises InputError for what is no whole number ≥ 0, or too large for the store."""
    if column.dtype.kind in "iu":
        numbers_N = column.astype(np.int64)
    else:
        numbers_N = np.empty(len(column), dtype=np.int64)
        for row, value in enumerate(column.tolist()):
            try:
                numbers_N[row] = int(value)
                wrong = float(value) != numbers_N[row]
            except (TypeError, ValueError, OverflowError):
                wrong = True
            if wrong:
                raise InputError(f"{file}: {name!r} is {value!r} at row {row}, a whole number is wanted. Mend it.")
    bad_N = (numbers_N < 0) | (numbers_N > np.iinfo(np.int32).max)
    if bad_N.any():
        row = int(bad_N.argmax())
        raise InputError(
            f"{file}: {name!r} is {numbers_N[row]} at row {row}, 0 … {np.iinfo(np.int32).max} is wanted. Mend it."
        )
    return numbers_N


def _id(file: Path, name: str, row: int, value: Any) -> str:
    """A document's id as the store keeps it. Raises InputError for NaN, null and the empty string."""
    nothing = "null" if value is None else "NaN" if value != value else "" if str(value).strip() else "empty"
    if nothing:
        raise InputError(f"{file}: {name!r} is {nothing} at row {row}, a document's id is wanted. Mend it.")
    return str(value)


def _order(file: Path, found: Found) -> Order:
    """Documents as runs of rows. Raises InputError where a document comes back, or positions do not rise."""
    document_N = found.document_N
    position_N = _whole_numbers(file, found.used["position"], found.position_N)
    starts_N = np.concatenate([[True], np.asarray(document_N[1:] != document_N[:-1], dtype=bool)])
    first_row_G = np.flatnonzero(starts_N)
    ids: dict[str, int] = {}
    for row in first_row_G.tolist():
        id_ = _id(file, found.used["document"], row, document_N[row])
        if id_ in ids:
            raise InputError(
                f"{file}: ids out of order: document {id_!r} ({found.used['document']}) comes back at row {row} after "
                f"others, its first row is {ids[id_]}; a document's rows must lie together. Sort by document and "
                f"position."
            )
        ids[id_] = row
    falls_N = ~starts_N[1:] & (np.diff(position_N) <= 0)
    if falls_N.any():
        row = int(falls_N.argmax()) + 1
        raise InputError(
            f"{file}: ids out of order: {found.used['position']!r} is {position_N[row]} at row {row} after "
            f"{position_N[row - 1]} in the same document {str(document_N[row])!r}; positions must rise. Sort by "
            f"document and position."
        )
    length_G = np.diff(np.append(first_row_G, len(document_N)))
    index_N = np.repeat(np.arange(len(first_row_G), dtype=np.int32), length_G)
    return Order(list(ids), first_row_G, length_G, index_N, position_N.astype(np.int32))


def _check_vectors(file: Path, vectors_ND: Rows, progress: Progress) -> bool:
    """Whether all are of unit length. Raises InputError at the first row that is not finite, or zero."""
    n, unit = vectors_ND.shape[0], True
    for start in range(0, n, BLOCK):
        with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinity, and is named below
            block_ND = np.asarray(vectors_ND[start : start + BLOCK]).astype(np.float32)
        finite_N = np.isfinite(block_ND).all(axis=1)
        if not finite_N.all():
            row = int((~finite_N).argmax())
            found = "NaN" if np.isnan(block_ND[row]).any() else "infinity"
            raise InputError(
                f"{file}: the vector at row {start + row} holds {found}, finite numbers are wanted. Mend it."
            )
        length_N = norm(block_ND)[:, 0]
        if (length_N < _ZERO).any():
            row = int((length_N < _ZERO).argmax())
            raise InputError(
                f"{file}: the vector at row {start + row} is zero, a direction is wanted. Leave the row out: the jump "
                f"in the positions is kept as a gap."
            )
        unit = unit and bool((np.abs(length_N - 1) <= UNIT).all())
        progress("check", min(start + BLOCK, n), n, "vectors")
    return unit


def _stored(vectors_ND: Rows, unit: bool) -> Rows:
    """The vectors as the store keeps them: unit length, float16 or float32."""
    dtype = np.dtype(np.float16 if vectors_ND.dtype == np.float16 else np.float32)
    if unit and vectors_ND.dtype == dtype:
        return vectors_ND

    def read(start: int, stop: int) -> np.ndarray:
        block_ND = np.asarray(vectors_ND[start:stop], dtype=np.float32)
        return np.asarray(block_ND if unit else normalise(block_ND)).astype(dtype)

    return Blocks((vectors_ND.shape[0], vectors_ND.shape[1]), dtype, read)


def _texts(
    file: Path, found: Found, order: Order, source: Source | None, chunking: Chunking
) -> tuple[pa.Array, pa.Array, list[str]]:
    """Texts of the rows, titles and ids of the documents: from a source, from the file's fields, or none."""
    if source is None:
        texts, titles = _strings(file, "text", found.text_N, order), _strings(file, "title", found.title_N, order)
        return texts, titles.take(pa.array(order.first_row_G)), order.ids
    texts_N, titles_G, ids_G = list[str](), list[str | None](), list[str]()
    for document in read_chunks(source, chunking, Counts()):
        g = len(ids_G)
        if g == len(order.ids):
            break
        if len(document.chunks) != order.length_G[g]:
            raise InputError(
                f"{source.name}: document {document.id!r} has {len(document.chunks)} chunks, {file} has "
                f"{order.length_G[g]} vectors for {order.ids[g]!r}. Give the text and the --chunk the vectors "
                f"were made of (perhaps another --min-chars)."
            )
        ids_G.append(document.id)
        titles_G.append(document.title)
        texts_N += [chunk.text for chunk in document.chunks]
    if len(ids_G) != len(order.ids):
        raise InputError(
            f"{source.name}: has {len(ids_G)} documents with text, {file} has {len(order.ids)}. Give the whole text."
        )
    return pa.array(texts_N, pa.string()), pa.array(titles_G, pa.string()), ids_G


def _strings(file: Path, name: str, column: np.ndarray | None, order: Order) -> pa.Array:
    n = len(order.document_N)
    if column is None:
        return pa.nulls(n, pa.string())
    if column.shape != (n,):
        raise InputError(f"{file}: the {name}s have shape {column.shape}, ({n},) is wanted. Mend the file.")
    values: list[Any] = column.tolist()
    return pa.array([None if value is None else str(value) for value in values], pa.string())
