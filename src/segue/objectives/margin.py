"""What a term that compares cosines asks for: a margin, as a recipe can write it."""

from typing import Annotated

from pydantic import AfterValidator

from segue.objectives.schedule import Schedule


def _between(low: float, high: float, what: str) -> AfterValidator:
    """Refuse a schedule that leaves (low, high]: at `low` the term could never act, above `high` never be satisfied."""

    def check(schedule: Schedule) -> Schedule:
        found = next((at for at in (schedule.lowest, schedule.highest) if not low < at <= high), None)
        if found is not None:
            raise ValueError(f"{what} of {found:g}; above {low:g} and at most {high:g} is wanted")
        return schedule

    return AfterValidator(check)


# Each may change by epoch, as a weight does.
Margin = Annotated[Schedule, _between(-2, 2, "a margin between two cosines")]
RatioMargin = Annotated[Schedule, _between(-1, 1, "a margin of a ratio")]
Level = Annotated[Schedule, _between(-1, 1, "a cosine")]
