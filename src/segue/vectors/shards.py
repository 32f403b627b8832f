"""Shards: the part of a store that is encoded, in files that are whole or not there.

STORE/shards/00000.arrow   document, position, text, section, vector of a fixed number of chunks
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from segue.artifacts import make_folder, write_atomic
from segue.text import Chunk
from segue.vectors.blocks import Blocks
from segue.vectors.store import CHUNK_SCHEMA

SHARDS = "shards"


class Shards:
    """The shards of an unfinished store, numbered from 0."""

    def __init__(self, store: Path):
        self.folder = store / SHARDS

    def path(self, number: int) -> Path:
        return self.folder / f"{number:05d}.arrow"

    def has(self, number: int, rows: int) -> bool:
        """Whether a shard is there and whole; a damaged one counts as missing and is made again."""
        try:
            return _read(self.path(number)).num_rows == rows
        except (FileNotFoundError, pa.ArrowInvalid):
            return False

    def write(self, number: int, chunks: Sequence[Chunk], vectors_ND: np.ndarray) -> None:
        """Write one shard: its chunks and their (N, D) vectors, float16 or float32."""
        columns = zip(*((c.document, c.position, c.text, c.section) for c in chunks), strict=True)
        table = pa.table(dict(zip(CHUNK_SCHEMA.names, columns, strict=True)), schema=CHUNK_SCHEMA)
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(vectors_ND.ravel()), vectors_ND.shape[1])
        table = table.append_column("vector", vectors)
        make_folder(self.folder)
        with write_atomic(self.path(number)) as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)

    def merged(self, number: int) -> tuple[pa.Table, Blocks]:
        """The first `number` shards as one: chunks, and vectors (N, D) in blocks. Memory-mapped, nothing is copied."""
        table = pa.concat_tables([_read(self.path(i)) for i in range(number)])
        vectors = table["vector"]
        dim = vectors.type.list_size

        def read(start: int, stop: int) -> np.ndarray:
            parts = [part.flatten().to_numpy() for part in vectors.slice(start, stop - start).chunks]
            return np.concatenate(parts).reshape(-1, dim)

        dtype = vectors.type.value_type.to_pandas_dtype()
        return table.select(CHUNK_SCHEMA.names), Blocks((table.num_rows, dim), dtype, read)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _read(path: Path) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
