"""Candidates from a faiss index, for stores too large to read at every question."""

from typing import TYPE_CHECKING

from segue.errors import InputError
from segue.progress import Progress
from segue.vectors import Store

if TYPE_CHECKING:
    from segue.serving.nearest import Scan


def open_index(store: Store, progress: Progress) -> "Scan":
    """The index of a store, from the user's cache or built now."""
    raise InputError("--index faiss: not built yet.")
