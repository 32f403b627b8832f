"""How long work says how far it is, without knowing who listens."""

from typing import Protocol


class Progress(Protocol):
    """Called with what is being done, how much of it is done and how much there is, in `unit`s.

    `total` may be 0 while unknown. Calls come often; the listener decides what to show.
    """

    def __call__(self, what: str, done: int, total: int, unit: str = "") -> None: ...


def silent(what: str, done: int, total: int, unit: str = "") -> None:
    """Nobody listens."""
