"""Documents and chunks: from files to an ordered stream of text."""

from segue.text.chunks import WINDOW, Chunk, Chunked, Chunking, Counts, read_chunks, survey
from segue.text.documents import Document, Paragraph
from segue.text.sources import BUILTIN, Fields, Source, open_source

__all__ = [
    "BUILTIN",
    "WINDOW",
    "Chunk",
    "Chunked",
    "Chunking",
    "Counts",
    "Document",
    "Fields",
    "Paragraph",
    "Source",
    "open_source",
    "read_chunks",
    "survey",
]
