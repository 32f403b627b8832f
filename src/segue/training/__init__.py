"""Training: from a recipe and a store to a run."""

from segue.training.data import open_data
from segue.training.diverged import DivergedError
from segue.training.log import read_history
from segue.training.loop import train
from segue.training.run import finish_run, open_run, read_run, reopen_run, where_it_lies

__all__ = [
    "DivergedError",
    "finish_run",
    "open_data",
    "open_run",
    "read_history",
    "read_run",
    "reopen_run",
    "train",
    "where_it_lies",
]
