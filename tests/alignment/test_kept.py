"""Controls kept from before: the same figures bit for bit, found only for what is the same, never trusted unread."""

import json
import shutil

import numpy as np
import pytest
from known_worlds import DIM, DOCUMENTS, LENGTH, WORLDS

import segue
from segue.alignment.beside import as_arrays, measured_of
from segue.alignment.evaluate import evaluate
from segue.alignment.frontier import frontier
from segue.alignment.held_out import held_out
from segue.alignment.measure import Part, measure
from segue.models import build_model, fitting, kept
from segue.models.fitting import fit_controls, kept_controls
from segue.models.kept import Cache, windows_key
from segue.vectors.reversed import Reversed
from segue.windows import split_by_ranges, windows_of

NONE = {"fitted": False, "VAL": False, "OOD": False}
ALL = {"fitted": True, "VAL": True, "OOD": True}


@pytest.fixture
def store(make_store):
    world, options = WORLDS["rotation"]
    return make_store(world(DOCUMENTS, LENGTH, DIM, seed=1, **options))


@pytest.fixture
def split(store):
    return split_by_ranges(store, train="0-59", val="60-74", ood="75-89")


def five_cat(store, split, cache, predictor="copy_last", **options):
    result = evaluate(predictor, store, split, kept=cache, samples=100, **options)
    return result.pop("kept"), result


def test_kept_figures_are_those_measured_and_a_run_without_any(store, split, tmp_path):
    cache = Cache(tmp_path)
    model = build_model("amn", store.space)
    (first, cold), (second, warm), (_, without) = (five_cat(store, split, c, model) for c in (cache, cache, None))
    assert (first, second) == (NONE, ALL)
    assert cold == warm == without


def test_another_predictor_meets_the_same_controls(store, split, tmp_path):
    cache = Cache(tmp_path)
    _, one = five_cat(store, split, cache, "copy_last")
    found, other = five_cat(store, split, cache, "ridge")
    assert found == ALL
    assert [its["VAL"]["cos"] for its in one["controls"].values()] == [
        its["VAL"]["cos"] for its in other["controls"].values()
    ]


@pytest.mark.parametrize("change", ["seed", "samples", "split", "store", "reach", "source"])
def test_what_differs_is_measured_anew(store, split, tmp_path, make_store, monkeypatch, change):
    """Each of these gives other figures: finding the old ones would be a wrong report."""
    cache = Cache(tmp_path / "cache")
    five_cat(store, split, cache)
    options, predictor = {"samples": 100, "seed": 0}, "copy_last"
    if change in options:
        options[change] += 1
    elif change == "split":
        split = split_by_ranges(store, train="0-59", val="60-73", ood="74-89")
    elif change == "store":
        world, known = WORLDS["rotation"]
        store = make_store(world(DOCUMENTS, LENGTH, DIM, seed=2, **known), name="other")
    elif change == "reach":
        predictor = build_model("amn", store.space)
        predictor.reach = 7
    else:
        monkeypatch.setattr(kept, "source_hash", lambda: "sha256:an edited harness")
    found = evaluate(predictor, store, split, kept=cache, **options)["kept"]
    assert found["VAL"] is False and found["OOD"] is False
    assert found["fitted"] is (change in ("seed", "samples", "reach"))


@pytest.mark.parametrize("damage", ["a bit", "cut", "not JSON", "another's"])
def test_damaged_figures_are_measured_anew(store, split, tmp_path, damage, caplog):
    cache = Cache(tmp_path)
    _, whole = five_cat(store, split, cache)
    told = sorted(cache.folder.glob("*.json"))
    for path in told:
        arrays = path.with_suffix(".safetensors")
        blob = bytearray(arrays.read_bytes())
        if damage == "a bit":
            blob[-1] ^= 1
            arrays.write_bytes(blob)
        elif damage == "cut":
            arrays.write_bytes(blob[: len(blob) // 2])
        elif damage == "not JSON":
            path.write_text("{")
        elif path != told[0]:  # renamed: found by the name, refused by the key in it
            shutil.copy(told[0], path)
            shutil.copy(told[0].with_suffix(".safetensors"), arrays)
    found, again = five_cat(store, split, cache)
    assert sum(found.values()) == (1 if damage == "another's" else 0)
    assert again == whole
    assert "damaged" in caplog.text
    assert five_cat(store, split, cache)[0] == ALL


def test_fitted_controls_come_back_as_they_were(store, split, tmp_path):
    train, val = (windows_of(store, split.documents(store, part)) for part in ("train", "VAL"))
    wanted = fit_controls(train, val)
    cache = Cache(tmp_path)
    kept_controls(train, val, "cpu", lambda *_: None, cache)
    found, was_kept = kept_controls(train, val, "cpu", lambda *_: None, cache)
    assert was_kept and list(found) == list(wanted)
    context = np.random.default_rng(0).standard_normal((7, 5, DIM)).astype(np.float32)
    for name in wanted:
        torch_context = fitting.torch.from_numpy(context)
        assert fitting.torch.equal(found[name].predict(torch_context), wanted[name].predict(torch_context)), name
    assert found["ridge"].strength == wanted["ridge"].strength


def test_a_measurement_comes_back_whole(store):
    windows = windows_of(store, np.arange(8))
    measured = measure({"": build_model("amn", store.space)}, Part("VAL", windows, np.arange(8)))
    back = measured_of(*as_arrays(measured))
    for name, values in as_arrays(measured)[0].items():
        np.testing.assert_array_equal(as_arrays(back)[0][name], values)
    assert back.secondary.chance == measured.secondary.chance
    assert back.secondary.columns.keys() == measured.secondary.columns.keys()


def test_what_was_not_asked_for_longest_goes_first(tmp_path, monkeypatch):
    cache = Cache(tmp_path)
    monkeypatch.setattr(kept, "LIMIT", 2000)
    for number in range(4):
        cache.keep({"number": number}, {"values": np.full(100, number, dtype=np.float64)}, {})
        for path in cache.folder.glob("*"):  # a clock too coarse to tell them apart must not decide
            key = json.loads(path.with_suffix(".json").read_text())["key"]["number"]
            kept.os.utime(path, (key, key))
    assert [cache.find({"number": number}) is not None for number in range(4)] == [False, False, True, True]


def test_the_cache_lies_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.delenv("SEGUE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert Cache.of_user().folder == tmp_path / "xdg" / "segue" / "controls"
    monkeypatch.setenv("SEGUE_CACHE", str(tmp_path / "own"))
    assert Cache.of_user().folder == tmp_path / "own" / "controls"
    monkeypatch.setenv("SEGUE_CACHE", "off")
    assert Cache.of_user() is None
    for name in ("SEGUE_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(kept.os, "getuid", lambda: 2**31 - 9)  # a container's user, in no list of users: a traceback
    assert Cache.of_user() is None


def test_a_cache_that_cannot_be_written_stops_nothing(store, split, tmp_path):
    (tmp_path / "file").write_text("")
    assert five_cat(store, split, Cache(tmp_path / "file"))[0] == NONE


def test_a_cache_that_another_user_owns_is_read(tmp_path, monkeypatch):
    """That it was asked for could not be written down, and stopped the command."""
    cache = Cache(tmp_path)
    cache.keep({"a": 1}, {"values": np.arange(3.0)}, {"said": "so"})

    def refuse(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(kept.os, "utime", refuse)
    monkeypatch.setattr(kept.Path, "touch", refuse)
    arrays, beside = cache.find({"a": 1})
    assert arrays["values"].tolist() == [0, 1, 2] and beside == {"said": "so"}


def test_the_source_is_what_its_files_say_and_what_this_process_read(tmp_path, monkeypatch):
    """A process that began before an edit runs the old code: under the hash of the new it would poison the cache."""
    source = tmp_path / "segue"
    (source / "alignment").mkdir(parents=True)
    for name in ("__init__.py", "alignment/compare.py"):
        (source / name).write_text("value = 1\n")
    monkeypatch.setattr(segue, "__file__", str(source / "__init__.py"))

    def found(loaded_at):
        monkeypatch.setattr(segue, "LOADED_AT", loaded_at)
        return kept.source_hash.__wrapped__()

    later = (source / "__init__.py").stat().st_ctime + 1e6
    before = found(later)
    assert before == found(later + 1)
    assert len({before, found(0.0), found(1.0)}) == 3
    (source / "alignment/compare.py").write_text("value = 2\n")
    assert found(later) != before


def test_the_same_rows_read_backwards_are_others(store):
    """A store and its reversal have the same files."""
    forward, backward = (windows_of(one, np.arange(DOCUMENTS)) for one in (store, Reversed(store)))
    np.testing.assert_array_equal(forward.last_W, backward.last_W)
    assert windows_key(forward) != windows_key(backward)


def test_the_frontier_finds_controls_fitted_by_a_5cat(store, split, tmp_path, monkeypatch):
    held = held_out(store, split, 5, 1, samples=100)
    models = {"amn": build_model("amn", store.space)}
    alone = frontier(models, held)
    cache = Cache(tmp_path)
    five_cat(store, split, cache)
    monkeypatch.setattr(fitting, "fit_controls", None)
    assert frontier(models, held, kept=cache) == alone
