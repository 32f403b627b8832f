"""The learning rate's course: its corners, and that each step is taken with it."""

import math

import pytest
import torch
from runs import history, run_here, small_recipe, world

from segue.errors import InputError
from segue.training import open_data, open_run, train
from segue.training.lr_schedule import LrSchedule
from segue.training.state import State
from segue.windows import split_by_fractions


@pytest.fixture
def store(make_store):
    return make_store(world())


@pytest.mark.parametrize(
    ("warmup", "decay", "share", "factor"),
    [
        (0.1, "none", 0.05, 0.5),
        (0.1, "none", 0.9, 1),
        (0, "linear", 0.25, 0.75),
        (0.2, "linear", 0.6, 0.5),
        (0, "cosine", 0.5, 0.5),
        (0, "cosine", 0.25, (1 + math.sqrt(0.5)) / 2),
        (0.2, "cosine", 0.2, 1),
        (0.2, "cosine", 1, 0),
    ],
)
def test_its_corners(warmup, decay, share, factor):
    assert LrSchedule(warmup=warmup, decay=decay).factor(share) == pytest.approx(factor, abs=1e-12)


def test_every_step_is_taken_at_its_place_in_the_run(store, tmp_path, monkeypatch):
    """Over all epochs, not each: counted at the optimiser."""
    taken: list[float] = []
    update = State.update

    def watched(state, loss, share):
        update(state, loss, share)
        taken.append(state.optimiser.param_groups[0]["lr"])

    monkeypatch.setattr(State, "update", watched)
    recipe = small_recipe("lr_schedule={warmup: 0.25, decay: cosine}", "lr=0.01", "batch=8")
    split = split_by_fractions(store)
    data = open_data(recipe, store, split)
    train(recipe, data, open_run(tmp_path / "run", recipe, store, split))
    per_epoch = math.ceil(len(data.train) / 8)
    assert len(taken) == 3 * per_epoch
    rise, top = taken[: len(taken) // 4], max(taken)
    assert rise == sorted(rise) and 0.009 < top <= 0.01
    assert taken.index(top) == pytest.approx(len(taken) / 4, abs=1)
    fall = taken[taken.index(top) :]
    assert fall == sorted(fall, reverse=True) and 0 < fall[-1] < 1e-4
    assert taken[len(taken) * 5 // 8] == pytest.approx(0.005, rel=0.05)


def test_a_plateau_lowers_all_of_it(store, tmp_path):
    recipe = small_recipe("lr_schedule={decay: linear}", "lr=1e-9", "plateau={factor: 0.5, patience: 0}")
    assert [entry["lr"] for entry in history(run_here(recipe, store, tmp_path / "run"))] == [1e-9, 1e-9, 5e-10]


def test_without_one_the_rate_stays(store, tmp_path):
    run = run_here(small_recipe(), store, tmp_path / "run")
    assert torch.tensor([entry["lr"] for entry in history(run)]).unique().numel() == 1


@pytest.mark.parametrize("text", ["{decay: step}", "{warmup: 1, decay: none}", "{warmup: 0.1}", "0.5"])
def test_another_course_is_one_line(text):
    with pytest.raises(InputError, match=r"lr_schedule"):
        small_recipe(f"lr_schedule={text}")


@pytest.mark.parametrize("decay", ["0", "1", "-0.5"])
def test_an_average_that_is_none_is_one_line(decay):
    with pytest.raises(InputError, match=r"averaging"):
        small_recipe(f"averaging={decay}")
