"""Windows over a store, never materialised: splits, the window index, batches, data checks."""

from segue.windows.index import Windows, windows_of
from segue.windows.split import Split, load_split, save_split, split_by_fractions, split_by_ranges

__all__ = ["Split", "Windows", "load_split", "save_split", "split_by_fractions", "split_by_ranges", "windows_of"]
