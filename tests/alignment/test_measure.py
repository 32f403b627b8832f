"""Every quantity of 5CAT against a slow float64 loop that shares no code with it."""

import numpy as np
import pytest
import torch
from slow_reference import measure_slowly, windows_by_hand

from segue.alignment import measure as measuring
from segue.alignment.compare import offsets_of
from segue.alignment.figures import columns_of, figures
from segue.alignment.forwards import asks_of, shuffled_orders
from segue.alignment.measure import Part, measure, other_document_rows
from segue.alignment.worlds import rotation_world
from segue.statistics import DocumentBootstrap
from segue.windows import windows_of

CONTEXT, DIM = 4, 12
ABLATIONS = ("shuffle", "reverse", "repeat_last", "other_document", "leave_one_out")


class Crooked:
    """An arbitrary predictor that reads every slot, order and sign: nothing cancels by symmetry."""

    def __init__(self, horizon):
        self.name, self.dim, self.context, self.horizon = "crooked", DIM, CONTEXT, horizon
        self.facets, self.reach = ("mean", "rank"), CONTEXT
        rng = np.random.default_rng(5)
        self.weights = rng.standard_normal((CONTEXT * DIM, DIM)) + 2 * np.tile(np.eye(DIM), (CONTEXT, 1))

    def slow(self, slots):
        return np.tanh(np.concatenate(slots) @ self.weights)

    def predict_with_raw(self, context_BCD):
        raw = torch.tanh(context_BCD.double().flatten(1) @ torch.tensor(self.weights)).float()
        return raw / raw.norm(dim=1, keepdim=True), raw

    def predict(self, context_BCD):
        return self.predict_with_raw(context_BCD)[0]


@pytest.fixture
def gapped_store(make_store):
    documents = rotation_world(5, 14, DIM, noise=0.8, seed=2)
    positions = [np.arange(14) for _ in documents]
    positions[1] = np.array([0, 1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 14, 15, 16])  # a gap within
    positions[3] = np.array([0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14])
    return make_store(documents, positions=positions)


@pytest.mark.parametrize("horizon", [1, 2])
@pytest.mark.parametrize("block", [7, 256])
def test_everything_measured_agrees_with_the_slow_reference(gapped_store, monkeypatch, horizon, block):
    """Blocks cut documents in two: the figures must not know."""
    monkeypatch.setattr(measuring, "BLOCK", block)
    windows = windows_of(gapped_store, np.arange(5), CONTEXT, horizon)
    part = Part("VAL", windows, np.arange(5))
    predictor = Crooked(horizon)
    generator = torch.Generator().manual_seed(0)
    orders = shuffled_orders(len(windows), CONTEXT, generator)
    others = other_document_rows(part, generator)
    slow = measure_slowly(gapped_store, predictor.slow, CONTEXT, horizon, orders.numpy(), others)
    measured = measure({"": predictor}, part, seed=0)
    columns, chance = columns_of(measured, 0, windows, predictor.reach)

    assert len(slow) == len(windows) > 20
    column = {
        "cos": ("cos",), "win_last": ("win_last",), "direction": ("direction",), "par": ("par",), "mse": ("mse",),
        **{name: ("ablations", name) for name in ABLATIONS},
        **{f"{name} mrr": ("ablations_mrr", name) for name in ("shuffle", "reverse", "leave_one_out")},
    }  # fmt: skip
    for name, path in column.items():
        np.testing.assert_allclose(columns[path], [row[name] for row in slow], rtol=2e-4, atol=2e-6, err_msg=name)
    for pool in ("future", "unseen", "document", "corpus"):
        rank = np.array([row[pool] for row in slow])
        np.testing.assert_allclose(columns["retrieval", pool, "mrr"], 1 / rank, err_msg=pool)
        np.testing.assert_array_equal(columns["retrieval", pool, "r5"], rank <= 5, err_msg=pool)
        candidates = [row[f"{pool} candidates"] for row in slow]
        np.testing.assert_array_equal(columns["retrieval", pool, "candidates"], candidates)
        expected = np.mean([np.mean([1 / r for r in range(1, n + 1)]) for n in candidates])
        assert chance["retrieval", pool, "mrr"] == pytest.approx(expected)
        assert chance["retrieval", pool, "r5"] == pytest.approx(np.mean([min(5, n) / n for n in candidates]))
    for k in offsets_of(windows)[1:]:
        expected = [row["s"].get(k, np.nan) for row in slow]
        np.testing.assert_allclose(columns["offsets", str(k)], expected, atol=2e-6, err_msg=str(k))
    for j in range(5):
        np.testing.assert_allclose(columns["rollout", "steps", str(j + 1)], [r["steps"][j] for r in slow], atol=5e-6)
        np.testing.assert_allclose(columns["rollout", "mrr_steps", str(j + 1)], [r["mrr_steps"][j] for r in slow])
    np.testing.assert_allclose(columns["rollout", "mrr"], [np.mean(r["mrr_steps"][1:]) for r in slow])
    coherence = np.array([row["coherence"] for row in slow])
    cos = np.array([row["cos"] for row in slow])
    np.testing.assert_allclose(columns["bins", "low"], np.where(coherence < 0.45, cos, np.nan), atol=2e-6)

    found = figures(measured, 0, windows, DocumentBootstrap(windows.document_W), CONTEXT)
    means = {k: np.nanmean([row["s"].get(k, np.nan) for row in slow]) for k in range(1 - CONTEXT, 4)}
    margin = means[horizon] - max(value for k, value in means.items() if k != horizon)
    assert found.result(("margin",)).value == pytest.approx(margin, abs=2e-6)
    assert found.result(("peak",)).value == max(means, key=lambda k: means[k])
    assert found.result(("margin_last",)).value == pytest.approx(means[horizon] - means[0], abs=2e-6)


def test_windows_are_those_found_by_hand(gapped_store):
    windows = windows_of(gapped_store, np.arange(5), CONTEXT, 1)
    by_hand = [gapped_store.first_row_G[document] + t for document, t in windows_by_hand(gapped_store, CONTEXT, 1)]
    assert windows.last_W.tolist() == by_hand


def test_shuffled_orders_are_every_permutation_but_the_identity():
    orders = shuffled_orders(6000, 3, torch.Generator().manual_seed(0)).tolist()
    counts = {tuple(order): orders.count(order) for order in orders}
    assert len(counts) == 5 and (0, 1, 2) not in counts
    assert min(counts.values()) > 1000


def test_other_document_never_is_the_same(gapped_store):
    windows = windows_of(gapped_store, np.arange(5), CONTEXT, 1)
    rows = other_document_rows(Part("VAL", windows, np.arange(5)), torch.Generator().manual_seed(0))
    assert (gapped_store.document_N[rows] != windows.document_W).all()


def test_one_document_leaves_other_document_uncomputed(make_store):
    store = make_store(rotation_world(1, 20, DIM))
    windows = windows_of(store, np.arange(1), CONTEXT, 1)
    measured = measure({"": Crooked(1)}, Part("VAL", windows, np.arange(1)))
    found = figures(measured, 0, windows, DocumentBootstrap(windows.document_W), CONTEXT)
    assert ("ablations", "other_document") not in found
    assert found.result(("ablations", "other_document")).value is None
    assert found.result(("ablations", "reverse")).value is not None


class Longer(Crooked):
    """Reads up to 6 chunks where there are so many, the whole document where `reach` is None."""

    def __init__(self, reach):
        super().__init__(1)
        self.reach, self.lengths = reach, set()

    def predict_with_raw(self, context_BCD):
        self.lengths.add(context_BCD.shape[1])
        return super().predict_with_raw(context_BCD[:, -CONTEXT:])


@pytest.mark.parametrize("reach", [6, None])
def test_a_longer_reach_is_handed_more_and_its_pool_unseen_shrinks(gapped_store, reach):
    windows = windows_of(gapped_store, np.arange(5), CONTEXT, 1)
    part = Part("VAL", windows, np.arange(5))
    longer, short = Longer(reach), Crooked(1)
    measured = measure({"judged": longer, "control": short}, part)
    assert longer.lengths == set(range(CONTEXT, 7)) if reach else max(longer.lengths) > 10
    handed = windows.earlier_W + 1 if reach is None else np.minimum(windows.earlier_W + 1, 6)
    length = gapped_store.length_G[windows.document_W]
    np.testing.assert_array_equal(measured.candidates["unseen"], length - handed)
    # The same answer from the same last chunks: both are ranked in the judged one's pool, so equally.
    np.testing.assert_array_equal(measured.rank["unseen"][0], measured.rank["unseen"][1])
    columns, _ = columns_of(measured, 0, windows, reach)
    assert np.isnan(columns[("direction",)]).all()


def test_asks_are_in_the_order_of_the_axis():
    kinds = [ask.kind for ask in asks_of(CONTEXT, 1)]
    assert kinds[0] == "whole" and kinds.count("leave_one_out") == CONTEXT and kinds.count("step") == 4
    assert [ask.offset for ask in asks_of(CONTEXT, 1) if ask.kind == "step"] == [2, 3, 4, 5]
    assert [ask.offset for ask in asks_of(CONTEXT, 2) if ask.kind == "step"] == [4, 6, 8, 10]


def test_a_window_alone_of_its_length_is_still_a_batch(gapped_store):
    """A batch of one was once taken for a number: the context lost its first axis."""
    windows = windows_of(gapped_store, np.arange(1), CONTEXT, 1)
    longer = Longer(None)
    alone = measure({"": longer}, Part("VAL", windows, np.arange(1)))
    assert len(longer.lengths) > 5, "every window of one document has a length of its own"
    short = measure({"": Crooked(1)}, Part("VAL", windows, np.arange(1)))
    np.testing.assert_allclose(alone.cos_PSW[:, 0], short.cos_PSW[:, 0], atol=1e-6)
