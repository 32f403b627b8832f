"""The original harness's arithmetic, held to what it printed, and the slip that makes its verdict meaningless."""

import json
from pathlib import Path

import numpy as np
import pytest

from segue.alignment import controls_for, five_cat, part_of
from segue.alignment.figures import Figures
from segue.alignment.legacy import RANKS, legacy_columns, legacy_orders, with_legacy
from segue.alignment.profiles import choose_profiles
from segue.alignment.worlds import rotation_world
from segue.models.controls import SlotWeights, context_mean, copy_last
from segue.models.fitting import fit_controls
from segue.windows import split_by_ranges, windows_of

GOLDEN = Path(__file__).parent / "golden"
DIM = 64
PREDICTORS = {
    "copy_last": copy_last(DIM),
    "context_mean": context_mean(DIM),
    "decay": SlotWeights("decay", np.array([0.05, 0.10, 0.15, 0.25, 0.45]), DIM, 1),
}
PARTS = {"VAL": np.arange(8), "OOD": np.arange(8, 16)}


@pytest.fixture
def golden_store(make_store):
    with np.load(GOLDEN / "ar1_world.npz") as world:
        return make_store(list(world["vectors"].reshape(16, 40, DIM)))


def exact_ranks(store, windows, predictor):
    """Rank of the target among all chunks of its document, in float64, one window at a time."""
    x = store.vectors_ND.astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    ranks = []
    for t in windows.last_W:
        p = predictor.weights @ x[t - 4 : t + 1]
        first = store.first_row_G[store.document_N[t]]
        similarity = x[first : first + 40] @ p
        above = similarity > similarity[t + 1 - first] + 1e-9
        ranks.append(above.sum() + 1)
    return np.array(ranks)


@pytest.mark.parametrize("name", PREDICTORS)
@pytest.mark.parametrize("part", PARTS)
def test_what_the_original_harness_printed(golden_store, name, part):
    printed = json.loads((GOLDEN / "legacy_5cat.json").read_text())[name][part]
    windows = windows_of(golden_store, PARTS[part])
    predictor = PREDICTORS[name]
    found = with_legacy(Figures({}, {}, {}), predictor, part_of(part, windows, PARTS[part]))
    for test, first in (("A", "k=0"), ("C", "reverse"), ("D", "avg_cos@H=5")):
        for key, value in printed[test].items():
            if key != "samples":
                mine = found.result(("legacy", test, key))
                assert mine.value == pytest.approx(value, abs=1e-4), (test, key)
        assert found.result(("legacy", test, first)).n == printed[test]["samples"]
    for key, count in (("low_mean", "low_n"), ("normal_mean", "normal_n")):
        assert (printed["E"][key], printed["E"][count]) == (None, 0)
        assert found.result(("legacy", "E", key)).value is None

    rank = exact_ranks(golden_store, windows, predictor)
    for value in (printed["B"], {key: found.result(("legacy", "B", key)).value for key in (*RANKS, "MRR")}):
        for key, k in RANKS.items():
            assert np.mean(rank + 1 <= k) <= value[key] <= np.mean(rank <= k), key
        assert np.mean(1 / (rank + 1)) <= value["MRR"] <= np.mean(1 / rank)


def test_its_shuffles_are_one_generators_and_may_leave_the_order_as_it_was():
    orders = legacy_orders(2000, 5)
    assert orders[0].tolist() != orders[1].tolist()
    share = (orders == orders.sort(1).values).all(1).float().mean()
    assert 0 < share < 0.03, "one in 120 is the identity"
    assert (legacy_orders(7, 5) == orders[:7]).all()


def test_blocks_do_not_change_the_figures(golden_store, monkeypatch):
    """The generator of the shuffles goes on over blocks, and a document may be cut in two."""
    from segue.alignment import legacy

    windows = windows_of(golden_store, PARTS["VAL"])
    whole = legacy_columns(PREDICTORS["decay"], windows)
    monkeypatch.setattr(legacy, "BLOCK", 23)
    for key, values in legacy_columns(PREDICTORS["decay"], windows).items():
        if key[0] != "B":  # rounding decides some of its ranks
            np.testing.assert_allclose(values, whole[key], atol=1e-6, err_msg=str(key))


def judged(store, name, profile):
    """5CAT of a control on a store cut in three; fitted anew each time, for `random` goes on with its generator."""
    third = store.n_documents // 3
    cuts = [f"{third * i}-{third * (i + 1) - 1}" for i in range(3)]
    split = split_by_ranges(store, train=cuts[0], val=cuts[1], ood=cuts[2])
    documents = {part: split.documents(store, part) for part in ("train", "VAL", "OOD")}
    every = {part: windows_of(store, ids) for part, ids in documents.items()}
    fitted = fit_controls(every.pop("train"), every["VAL"])
    parts = {part: part_of(part, every[part], documents[part]) for part in every}
    predictor = {part: controls_for(fitted, every[part])[name] for part in parts}
    return five_cat(predictor, parts, fitted, every, profile=profile)


@pytest.fixture
def turning(make_store):
    return make_store(rotation_world(36, 20, 16, noise=1.2, seed=1))


def test_a_model_could_only_pass_by_being_wrong(turning):
    """The slip: the exact target fails its gate A and the chunk after the target passes it."""
    result = judged(turning, "oracle", "legacy")
    assert result["profile"] == "legacy" and result["passed"] is False
    assert list(result["profiles"]) == ["original", "skill", "legacy"]
    gates = {name: its["gates"]["legacy"] for name, its in result["controls"].items()}
    assert gates["oracle"]["A"] is False and gates["late_oracle"]["A"] is True
    exact, late = (result["controls"][name]["VAL"]["legacy"] for name in ("oracle", "late_oracle"))
    assert exact["A"]["margin(+1)"]["value"] < -0.2 < 0.2 < late["A"]["margin(+1)"]["value"]
    assert late["A"]["k=1"]["value"] == pytest.approx(result["splits"]["VAL"]["cos"]["value"], abs=0.08)
    assert gates["late_oracle"]["B"] is False, "B asks for the target itself: nobody who knows passes both"
    assert result["profiles"]["original"]["passed"] is True


def test_a_coherence_bin_without_windows_fails_its_gate(golden_store):
    """As it did: the golden world is too coherent for either bin."""
    gate = judged(golden_store, "copy_last", "legacy")["gates"]["E"]
    assert gate["passed"] is False and "could not be computed" in gate["why"]


def test_legacy_is_measured_only_where_it_is_wanted_and_changes_nothing_else(turning):
    """It costs as much as all other tests together; `random` must be dealt the same numbers with it and without."""
    plain = judged(turning, "random", "skill")
    beside = judged(turning, "random", choose_profiles("skill", with_legacy=True))
    assert list(plain["profiles"]) == ["original", "skill"]
    assert "legacy" not in plain["splits"]["VAL"]
    for part in ("VAL", "OOD"):
        assert beside["splits"][part].pop("legacy")
    assert plain["profiles"]["skill"] == beside["profiles"]["skill"]
