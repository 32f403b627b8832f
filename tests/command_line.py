"""The command line as tests run it: in this process, status and both streams caught."""

from collections.abc import Callable
from typing import NamedTuple


class Ran(NamedTuple):
    """How a command ended and what it wrote."""

    status: int
    out: str
    err: str


Segue = Callable[..., Ran]
Refused = Callable[..., str]
