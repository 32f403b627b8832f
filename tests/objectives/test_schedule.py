"""Weights by epoch, by hand."""

import pytest
from pydantic import ValidationError

from segue.objectives import Schedule


def values(written, epochs):
    return [Schedule.model_validate(written).at(epoch) for epoch in epochs]


def test_a_number_holds_always():
    assert values(0.5, [1, 100]) == [0.5, 0.5]
    assert values("5e-4", [1]) == [0.0005]  # YAML 1.1 reads 5e-4 as text


def test_steps_hold_from_their_epoch_on():
    assert values({1: 0, 6: 0.002, 11: 0.003}, [1, 5, 6, 10, 11, 99]) == [0, 0, 0.002, 0.002, 0.003, 0.003]


def test_linear_ramp():
    ramp = {"from": 4, "to": 10, "start": 0.005, "end": 0.011, "shape": "linear"}
    assert values(ramp, [1, 3, 4, 10, 11]) == pytest.approx([0, 0, 0.005, 0.011, 0.011])
    assert values(ramp, [5, 7]) == pytest.approx([0.006, 0.008])


def test_exponential_ramp():
    ramp = {"from": 2, "to": 4, "start": 0.01, "end": 1, "shape": "exponential"}
    assert values(ramp, [1, 2, 3, 4, 5]) == pytest.approx([0, 0.01, 0.1, 1, 1])


def test_knots():
    linear = {"at": {1: 0.02, 3: 0.06, 5: 0.0}}
    assert values(linear, [1, 2, 3, 4, 5, 9]) == pytest.approx([0.02, 0.04, 0.06, 0.03, 0, 0])
    exponential = {"at": {1: 0.01, 3: 1, 5: 4}, "shape": "exponential"}
    assert values(exponential, [1, 2, 3, 4, 5, 6]) == pytest.approx([0.01, 0.1, 1, 2, 4, 4])


def test_lowest_and_highest():
    for written, low, high in [
        (0.5, 0.5, 0.5),
        ({1: 0.2, 4: 0.1}, 0.1, 0.2),
        ({"from": 2, "to": 4, "start": 3, "end": 1}, 1, 3),
        ({"at": {1: 0.3, 4: 0.1, 5: 0.2}}, 0.1, 0.3),
    ]:
        schedule = Schedule.model_validate(written)
        assert (schedule.lowest, schedule.highest) == (low, high)


@pytest.mark.parametrize(
    "written",
    [
        {"at": {2: 1.0, 3: 1.0}},
        {"at": {1: 1.0}},
        {"at": {1: 0, 3: 1.0}, "shape": "exponential"},
        {2: 1.0},
        {},
        {0: 1, 1: 1},
        {"from": 4, "to": 4, "start": 1, "end": 2},
        {"from": 4, "to": 6, "start": 0, "end": 2, "shape": "exponential"},
        {"from": 4, "to": 6, "start": 0, "end": 2, "shape": "cubic"},
        {"from": 4, "to": 6, "start": 0},
        {"from": 4, "to": 6, "start": 0, "end": 1, "stop": 3},
        float("nan"),
        float("inf"),
        None,
        "much",
        [1, 2],
    ],
)
def test_what_cannot_be_is_refused(written):
    with pytest.raises(ValidationError):
        Schedule.model_validate(written)


@pytest.mark.parametrize(
    "written", [0.5, {1: 0.0, 6: 0.002}, {"from": 1, "to": 3, "start": 1.0, "end": 2.0}, {"at": {1: 1, 3: 2}}]
)
def test_a_schedule_written_out_is_the_same_schedule(written):
    once = Schedule.model_validate(written)
    assert Schedule.model_validate(once.model_dump(by_alias=True)) == once
