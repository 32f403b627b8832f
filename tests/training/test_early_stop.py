"""The early stop's count, by hand."""

from segue.training.early_stop import Patience


def ends_after(values, *, higher, patience) -> int:
    """The epoch after which it is over; 0: never."""
    count = Patience(higher, patience)
    return next((epoch for epoch, value in enumerate(values, start=1) if count.is_over(value)), 0)


def test_by_hand():
    values = [0.1, 0.3, 0.3, 0.2, 0.31, 0.3, 0.3]
    assert [ends_after(values, higher=True, patience=patience) for patience in (1, 2, 3)] == [3, 4, 0]
    assert ends_after([-value for value in values], higher=False, patience=2) == 4
    assert ends_after([0.5, None, None], higher=True, patience=2) == 3  # not computed is no better
    assert ends_after([None, None, 0.1], higher=True, patience=3) == 0
