"""Stores made of known vectors."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from segue.vectors import Space, Store, write_store


def build_store(
    path: Path,
    documents: Sequence[np.ndarray],
    positions: Sequence[np.ndarray] | None = None,
    dtype: type = np.float32,
    encoder: str = "test",
) -> Store:
    """A finished store of those documents, (N, D) each."""
    lengths = np.array([len(document) for document in documents])
    vectors_ND = np.concatenate(list(documents)).astype(dtype)
    n = len(vectors_ND)
    position_N = np.concatenate(positions if positions is not None else [np.arange(k) for k in lengths])
    return write_store(
        path,
        vectors_ND=vectors_ND,
        chunks=pa.table(
            {
                "document": np.repeat(np.arange(len(documents)), lengths),
                "position": position_N,
                "text": [f"chunk {row}" for row in range(n)],
                "section": pa.nulls(n, pa.string()),
            }
        ),
        documents=pa.table(
            {
                "id": [f"doc-{i}" for i in range(len(documents))],
                "title": pa.nulls(len(documents), pa.string()),
                "first_row": np.concatenate([[0], np.cumsum(lengths)[:-1]]),
                "length": lengths,
            }
        ),
        space=Space(encoder=encoder, dim=vectors_ND.shape[1]),
        made_by="tests",
        source={"name": "made in a test", "hash": "none"},
    )
