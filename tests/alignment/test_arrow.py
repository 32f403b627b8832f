"""The arrow of time: of skill and of law, in worlds whose answers are known; and the reversed view it rests on."""

import numpy as np
import pytest

from segue.alignment.arrow import arrow
from segue.alignment.worlds import ar1_world, rotation_world
from segue.errors import InputError
from segue.geometry import normalise
from segue.models.controls import copy_last
from segue.vectors.reversed import Reversed
from segue.windows import split_by_ranges, windows_of
from segue.windows.rows import Rows

LOUD = 0.8


def echo_world(documents, length, dim, *, seed=0):
    """Each chunk is half news, half an echo: x_t = [a·u_t, b·u_{t−1}], u_t new, b = .8 louder than a = .6.

    From the past u_t is known, so b of the next chunk: cos b. From the future u_{t−1} is, so a of the chunk before:
    cos a. News is lost going back faster than it fades going on: an arrow of skill, for ridge as for anybody.
    """
    rng = np.random.default_rng(seed)
    news = normalise(rng.standard_normal((documents, length + 1, dim // 2)))
    mix_DD, _ = np.linalg.qr(rng.standard_normal((dim, dim)))
    quiet = np.sqrt(1 - LOUD**2)
    return list(np.concatenate([quiet * news[:, 1:], LOUD * news[:, :-1]], axis=2) @ mix_DD)


def split_of(store):
    return split_by_ranges(store, train="0-79", val="80-99", ood="100-119")


def clear(result):
    return result["low"] > 0 or result["high"] < 0


def test_an_arrow_of_skill_and_its_sign(make_store):
    """echo: cos .8 forwards, .6 backwards; the same documents turned round: the same figures, the other sign."""
    documents = echo_world(120, 24, 24)
    store = make_store(documents)
    found = arrow(store, split_of(store))
    cos = found["skill"]["cos"]
    assert cos["forward"]["value"] == pytest.approx(LOUD, abs=0.04)
    assert cos["reversed"]["value"] == pytest.approx(np.sqrt(1 - LOUD**2), abs=0.04)
    assert cos["difference"]["low"] > 0.15
    assert found["skill"]["mrr_future"]["difference"]["value"] >= 0
    assert found["transfer"]["cos"]["low"] > 0.1

    turned = make_store([document[::-1] for document in documents], name="turned")
    back = arrow(turned, split_of(turned))
    for metric in ("cos", "mrr_future"):
        there, here = found["skill"][metric], back["skill"][metric]
        assert here["difference"]["value"] == pytest.approx(-there["difference"]["value"], abs=1e-4)
        assert here["difference"]["low"] == pytest.approx(-there["difference"]["high"], abs=1e-3)
        assert here["forward"]["value"] == pytest.approx(there["reversed"]["value"], abs=1e-4)
        assert back["transfer"][metric]["value"] == pytest.approx(found["transfer"][metric]["value"], abs=1e-4)


@pytest.mark.parametrize("seed", [0, 1])
def test_no_arrow_in_a_reversible_world(make_store, seed):
    store = make_store(ar1_world(120, 24, 16, seed=seed))
    found = arrow(store, split_of(store))
    for metric in ("cos", "mrr_future"):
        assert not clear(found["skill"][metric]["difference"]), metric
        assert abs(found["transfer"][metric]["value"]) < 0.005, metric
    assert not clear(found["transfer"]["cos"])


@pytest.mark.parametrize("seed", [0, 1])
def test_rotation_has_an_arrow_of_law_but_none_of_skill(make_store, seed):
    """With R⁻¹ for R the reversed world is the same world: as predictable, but not by one who learned R."""
    store = make_store(rotation_world(120, 24, 16, noise=1.2, seed=seed))
    found = arrow(store, split_of(store))
    assert not clear(found["skill"]["cos"]["difference"])
    assert found["skill"]["cos"]["forward"]["value"] > 0.5
    assert found["transfer"]["cos"]["low"] > 0.2 and found["transfer"]["mrr_future"]["low"] > 0.1


def test_copy_last_is_no_different_either_way_but_for_the_edges(make_store):
    """cos(x_t, x_{t+1}) is symmetric: only the four neighbours at each document's edge differ."""
    store = make_store(echo_world(120, 24, 24))
    found = arrow(store, split_of(store))["copy_last"]["cos"]
    x = store.vectors_ND.reshape(120, 24, 24)[80:]
    adjacent = (x[:, 1:] * x[:, :-1]).sum(-1)
    assert found["forward"]["value"] == pytest.approx(adjacent[:, 4:].mean(), abs=1e-6)
    assert found["reversed"]["value"] == pytest.approx(adjacent[:, :-4].mean(), abs=1e-6)


def test_a_trainer_is_handed_both_readings(make_store):
    store = make_store(ar1_world(120, 12, 8))
    handed = {}

    def trainer(which, way):
        handed[way] = which
        return copy_last(8, 3)

    found = arrow(store, split_of(store), trainer, context=3)
    assert list(handed) == ["forward", "reversed"] and handed["forward"] is store
    assert isinstance(handed["reversed"], Reversed)
    assert found["method"] == "copy_last" and found["skill"] == found["copy_last"]
    assert found["transfer"]["cos"]["value"] == 0


@pytest.mark.parametrize("samples", [5000, 40])
def test_mirrored_windows_hold_the_same_chunks(make_store, samples):
    """Also when sampled: what one reading judges the other judges, from the other end."""
    seen = {}

    class Spy:
        """Notes the contexts it is asked about whole."""

        def __init__(self, way):
            self.way, self.name, self.dim, self.context, self.horizon = way, way, 8, 3, 1
            self.facets, self.reach = ("mean",), 3

        def predict(self, context_BCD):
            seen.setdefault(self.way, []).append(context_BCD.numpy())
            return context_BCD[:, -1]

    store = make_store(ar1_world(120, 12, 8))
    found = arrow(store, split_of(store), lambda _, way: Spy(way), context=3, samples=samples)
    # Each spy saw the forward windows, then the reversed ones in reversed row order: the middle two chunks of a span
    # of four are in both contexts, in the other order.
    contexts = np.concatenate(seen["forward"])
    n = found["data"]["windows"]
    assert n == min(samples, 40 * 9) and len(contexts) == 2 * n
    forward, back = contexts[:n], contexts[n:][::-1]
    np.testing.assert_array_equal(forward[:, 1], back[:, 2])
    np.testing.assert_array_equal(forward[:, 2], back[:, 1])


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_the_reversed_view_is_a_store_of_reversed_documents(make_store, dtype):
    """Ragged documents, gaps, ids and texts: as a store written backwards would be."""
    rng = np.random.default_rng(0)
    lengths = (9, 14, 6, 11)
    documents = [normalise(rng.standard_normal((n, 8))) for n in lengths]
    gapped = np.array([0, 1, 2, 3, 4, 5, 6, 9, 10, 11, 12, 13, 14, 15])
    positions = [np.arange(n) if n != 14 else gapped for n in lengths]
    store = make_store(documents, positions=positions, dtype=dtype)
    back = [document[::-1] for document in documents[::-1]]
    back_positions = [(p[-1] - p)[::-1] for p in positions[::-1]]
    written, view = make_store(back, name="written", positions=back_positions, dtype=dtype), Reversed(store)
    for name in ("vectors_ND", "document_N", "position_N", "first_row_G", "length_G"):
        np.testing.assert_array_equal(getattr(view, name), getattr(written, name))
    assert view.document_ids == store.document_ids[::-1] and len(view) == 40 and view.n_documents == 4
    assert view.texts([0, 5]) == store.texts([39, 34]) and view.titles == [None] * 4
    assert np.shares_memory(view.vectors_ND, store.vectors_ND), "nothing is copied"
    ours, theirs = (windows_of(s, np.arange(4), 3, 2) for s in (view, written))
    for name in ("last_W", "earlier_W", "later_W", "document_W"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    index = np.arange(40).reshape(8, 5)
    assert Rows(view)(index).equal(Rows(written)(index))


def test_what_arrow_refuses(make_store):
    store = make_store(ar1_world(120, 5, 8))
    with pytest.raises(InputError, match="6 chunks in a row"):
        arrow(store, split_of(store))
    with pytest.raises(InputError, match="--samples: found 0"):
        arrow(store, split_of(store), samples=0)
