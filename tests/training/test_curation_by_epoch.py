"""Curation: which windows an epoch really learns from."""

import json

import numpy as np
import pytest
from runs import history, run_here, small_recipe, weights, world

from segue.errors import InputError
from segue.training import open_data
from segue.windows import split_by_fractions, split_by_ranges


@pytest.fixture
def store(make_store):
    return make_store(world())


def cosines(data) -> np.ndarray:
    """cos(x_t, y) of all train windows, in float64."""
    x = data.train.store.vectors_ND.astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return (x[data.train.last_W] * x[data.train.target_rows()]).sum(1)


def opened(store, *sets, split=None):
    recipe = small_recipe(*sets)
    return recipe, open_data(recipe, store, split or split_by_fractions(store))


def test_forward_distinct_keeps_by_epoch_the_share_least_like_its_last_chunk(store):
    recipe, data = opened(store, "epochs=6", "curation={forward_distinct: {1: 0.3, 3: 0.7, 5: 1}}")
    cosine, every = cosines(data), len(data.train)
    for epoch, share in ((1, 0.3), (2, 0.3), (3, 0.7), (5, 1.0)):
        chosen = data.windows(recipe, epoch)
        limit = np.sort(cosine)[round(share * every) - 1]
        assert set(chosen.last_W) == set(data.train.last_W[cosine <= limit])
        assert (np.diff(chosen.last_W) > 0).all()
    assert data.windows(recipe, 5) is data.train
    counts = [round(share * every) for share in (0.3, 0.3, 0.7, 0.7, 1, 1)]
    assert data.progress(recipe, 4) == (sum(counts[:3]), sum(counts))


def test_each_chooses_among_what_the_one_before_left(store):
    both = "curation={near_duplicates: {cosine: 0.4}, forward_distinct: 0.5}"
    recipe, data = opened(store, both)
    cosine = cosines(data)
    left = np.sort(cosine[cosine < 0.4])
    limit = left[round(0.5 * len(left)) - 1]
    assert set(data.windows(recipe, 1).last_W) == set(data.train.last_W[cosine <= limit])


def test_coherent_keeps_a_range(store):
    recipe, data = opened(store, "curation={coherent: {low: 0.2, high: 0.35}}")
    x = store.vectors_ND.astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    hangs = np.array([np.mean([x[t - k] @ x[t - k - 1] for k in range(4)]) for t in data.train.last_W])
    wanted = (hangs >= 0.2) & (hangs <= 0.35)
    assert 0 < wanted.sum() < len(wanted)
    assert (data.windows(recipe, 1).last_W == data.train.last_W[wanted]).all()


def test_near_duplicates_drops_train_documents_that_are_tested_on(make_store):
    documents = world(documents=12)
    documents[11] = documents[2] + 1e-3  # VAL holds a train document again
    store = make_store(documents)
    split = split_by_ranges(store, train="0-7", val="8-11")
    recipe, data = opened(store, "curation={near_duplicates: {cosine: 1, documents: true}}", split=split)
    assert set(data.windows(recipe, 1).documents) == {0, 1, 3, 4, 5, 6, 7}
    assert set(data.train.documents) == set(range(8))


def test_training_learns_from_the_chosen_windows_alone(store, tmp_path):
    """By the number of steps; and a share of 1 is no curation at all, to the bit."""
    recipe, data = opened(store, "epochs=2", "curation={forward_distinct: 0.4}")
    run = run_here(recipe, store, tmp_path / "run")
    whole = run_here(small_recipe("epochs=2"), store, tmp_path / "whole")
    steps = [json.loads(line)["steps"] for line in (run / "history.jsonl").read_text().splitlines()]
    assert steps == [-(-len(data.windows(recipe, epoch)) // 32) for epoch in (1, 2)]
    assert weights(run, 1) != weights(whole, 1)
    ones = run_here(small_recipe("epochs=2", "curation={forward_distinct: 1}"), store, tmp_path / "ones")
    assert history(ones) == history(whole) and weights(ones, 2) == weights(whole, 2)


def test_a_curation_that_leaves_nothing_is_refused_before_there_is_a_run(store):
    with pytest.raises(
        InputError, match=r"curation.coherent: none of the 475 train windows is left at epoch 1"
    ) as told:
        opened(store, "curation={coherent: {low: 0.99}}")
    assert "\n" not in str(told.value)
    later = "{name: a, when: {metric: cos, below: 2}, do: {set: {curation: {coherent: {low: 0.99}}}}}"
    with pytest.raises(InputError, match="tripwire 'a'"):
        opened(store, f"tripwires=[{later}]")
