"""What a user did wrong, said in one line.

`InputError` is the only family of errors a user is expected to meet: the command line prints it as one line and exits
with 2, a service answers with 4xx. Anything else is a bug and keeps its traceback.
"""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Bad input. The message names the file or field, the value found, the value wanted, and the remedy."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error line for an unknown name: `Did you mean "p1"? Known: p1, p3.`"""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    meant = f'Did you mean "{close[0]}"? ' if close else ""
    return f"{meant}Known: {', '.join(names)}."
