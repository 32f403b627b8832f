"""Text to vectors: encoders, the store, import of a user's own."""

from segue.vectors.space import Space, require_same_space
from segue.vectors.store import Store, write_store

__all__ = ["Space", "Store", "require_same_space", "write_store"]
