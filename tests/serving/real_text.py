"""A small store of real text, encoded by the real MiniLM, and a small network trained on it, all in seconds."""

from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa

from segue.recipe import resolve
from segue.serving.encoding import TextEncoder
from segue.text import Chunking
from segue.text.chunks import cut
from segue.text.reference import reference_documents
from segue.training import finish_run, open_data, open_run, train
from segue.vectors import Store, write_store
from segue.windows import split_by_fractions

DOCUMENTS, CHUNKS = 10, 12
SMALL = ("model={family: transformer, width: 32, layers: 1, heads: 2, feed_forward: 32}", "epochs=3", "batch=16")


def make_text_store(path: Path, encoder: TextEncoder) -> Store:
    """Sentences of Python's language reference: 10 documents of 12 chunks."""
    chunked = ((document, cut(document, Chunking("sentence"))) for document in reference_documents())
    kept = list(islice((pair for pair in chunked if len(pair[1]) >= CHUNKS), DOCUMENTS))
    texts = [chunk.text for _, chunks in kept for chunk in chunks[:CHUNKS]]
    rows = np.arange(len(texts))
    return write_store(
        path,
        vectors_ND=encoder.encode(texts),
        chunks=pa.table(
            {
                "document": rows // CHUNKS,
                "position": rows % CHUNKS,
                "text": texts,
                "section": pa.nulls(len(texts), pa.string()),
            }
        ),
        documents=pa.table(
            {
                "id": [document.id for document, _ in kept],
                "title": [document.title for document, _ in kept],
                "first_row": np.arange(len(kept)) * CHUNKS,
                "length": np.full(len(kept), CHUNKS),
            }
        ),
        space=encoder.space,
        made_by="tests",
        source={"name": "Python's language reference"},
    )


def train_on(store: Store, out: Path, *sets: str, recipe: str = "p1") -> Path:
    """A finished run of a small recipe."""
    resolved, split = resolve(recipe, (*SMALL, *sets)), split_by_fractions(store)
    run = open_run(out, resolved, store, split)
    state = train(resolved, open_data(resolved, store, split), run)
    finish_run(run, state, store, split)
    return run
