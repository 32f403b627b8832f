"""The one way training fails that is not the user's input."""


class DivergedError(RuntimeError):
    """Training cannot go on: a loss or gradient is not finite. The input was good, so the command exits with 1, not 2.

    Raised before the update, so weights stay finite; the run keeps the epochs it finished and stays unfinished.
    """
