"""The snapped and the re-encoded rollout: against a slow loop, and what each mode must and must not change."""

import numpy as np
import pytest
import torch
from crooked import CONTEXT, DIM, Crooked
from slow_reference import snapped_slowly, windows_by_hand

from segue.alignment import five_cat, part_of, secondary
from segue.alignment.compare import Corpus
from segue.alignment.figures import columns_of, figures
from segue.alignment.measure import Part, measure
from segue.alignment.rollouts import Reencoder, Snap, fed_rollouts
from segue.alignment.worlds import rotation_world
from segue.models.controls import copy_last, know_answers
from segue.models.fitting import fit_controls
from segue.statistics import DocumentBootstrap
from segue.windows import windows_of
from segue.windows.rows import Rows


def corpus_of(store, documents):
    part = Part("VAL", windows_of(store, documents, CONTEXT), documents)
    return Corpus(part.corpus_rows(), Rows(store)(part.corpus_rows()))


@pytest.mark.parametrize("horizon", [1, 2])
def test_snapped_steps_agree_with_the_slow_loop(make_store, monkeypatch, horizon):
    monkeypatch.setattr("segue.alignment.rollouts.BLOCK", 7)
    store = make_store(rotation_world(5, 17, DIM, noise=0.8, seed=2))
    documents = np.array([0, 1, 3, 4])  # document 2 is of another part: nothing may snap to it
    windows = windows_of(store, documents, CONTEXT, horizon)
    long_enough = windows.later_W >= (5 if horizon == 1 else 10)
    corpus, predictor = corpus_of(store, documents), Crooked(horizon)
    found = fed_rollouts("snapped", {"": predictor}, windows.take(long_enough), Rows(store), Snap(corpus))
    by_hand = [pair for pair in windows_by_hand(store, CONTEXT, horizon) if pair[0] != 2]
    slow = [
        snapped_slowly(store, corpus.rows_N.tolist(), predictor.slow, document, t, CONTEXT, horizon)
        for (document, t), far in zip(by_hand, long_enough, strict=True)
        if far
    ]
    assert len(slow) > 10
    for j in range(5):
        np.testing.assert_allclose(
            found["rollout", "snapped", "steps", str(j + 1)][0], [s[0][j] for s in slow], atol=5e-6
        )
        np.testing.assert_allclose(found["rollout", "snapped", "mrr_steps", str(j + 1)][0], [s[1][j] for s in slow])
    np.testing.assert_allclose(found["rollout", "snapped", "mean"][0], [np.mean(s[0]) for s in slow], atol=5e-6)
    np.testing.assert_allclose(found["rollout", "snapped", "mrr"][0], [np.mean(s[1][1:]) for s in slow])


def test_what_was_read_is_never_fed_back(make_store):
    """Else copy_last would snap to x_t for ever, and the mode would measure that."""
    store = make_store(rotation_world(4, 14, DIM, noise=0.8, seed=3))
    corpus = corpus_of(store, np.arange(4))
    snap = Snap(corpus)
    taken = snap.places(np.arange(3, 8)[None])
    prediction = corpus.vectors_ND[5:6]
    fed, after = snap.feed(prediction, taken)
    assert after.shape == (1, 6) and after[0, -1] not in taken[0]
    others = [row for row in range(len(store)) if row not in range(3, 8)]
    nearest = others[int((corpus.vectors_ND[others] @ prediction[0]).argmax())]
    assert after[0, -1] == nearest
    torch.testing.assert_close(fed[0], corpus.vectors_ND[nearest], rtol=0, atol=0)
    _, again = snap.feed(prediction, after)
    assert len(set(again[0].tolist())) == 7, "what was taken once is not taken twice"


def test_the_oracle_snaps_to_the_truth_and_copy_last_moves(make_store):
    store = make_store(rotation_world(20, 20, DIM, noise=0.6, seed=1))
    windows = windows_of(store, np.arange(20))
    predictors = {
        "oracle": know_answers(windows, Rows(store), torch.ones(DIM))["oracle"],
        "copy_last": copy_last(DIM),
    }
    measured = measure(predictors, Part("VAL", windows, np.arange(20)))
    bootstrap = DocumentBootstrap(windows.document_W)
    oracle, copied = (figures(measured, p, windows, bootstrap, 5) for p in range(2))
    assert oracle.result(("rollout", "snapped", "mean")).value == pytest.approx(1, abs=1e-6)
    assert oracle.result(("rollout", "snapped", "mrr")).value == 1
    step = ("rollout", "steps", "2"), ("rollout", "snapped", "steps", "2")
    assert copied.result(step[0]).value != pytest.approx(copied.result(step[1]).value, abs=1e-3)
    first = ("rollout", "steps", "1"), ("rollout", "snapped", "steps", "1")
    assert copied.result(first[0]).value == pytest.approx(copied.result(first[1]).value, abs=1e-6), "step 1 is shared"


def test_a_long_reach_masks_all_it_was_handed(make_store):
    store = make_store(rotation_world(4, 14, DIM, noise=0.8, seed=3))
    windows = windows_of(store, np.arange(4), CONTEXT)
    seen = []

    class Watching(Snap):
        def feed(self, prediction_BD, taken_BT):
            seen.append(taken_BT.shape[1])
            return super().feed(prediction_BD, taken_BT)

    far = windows.take(windows.later_W >= 5)
    fed_rollouts("snapped", {"": Crooked(reach=None)}, far, Rows(store), Watching(corpus_of(store, np.arange(4))))
    assert set(seen) == {length + step for length in range(CONTEXT, 10) for step in range(4)}


def test_reencoding_by_a_faithful_decoder_is_the_raw_rollout(make_store, monkeypatch):
    """Vectors written as numbers and read again: the raw rollout but for the digits; and five_cat reports it."""
    monkeypatch.setattr(secondary, "SAMPLE", 60)
    store = make_store(rotation_world(40, 14, DIM, noise=0.8, seed=2))
    ids = {"train": np.arange(20), "VAL": np.arange(20, 40)}
    every = {part: windows_of(store, documents) for part, documents in ids.items()}
    fitted = fit_controls(every["train"], every["VAL"])
    written = []

    def decode(vectors_BD):
        written.append(len(vectors_BD))
        return [" ".join(f"{value:.7f}" for value in vector) for vector in vectors_BD]

    def encode(texts):
        return 2 * np.array([[float(word) for word in text.split()] for text in texts])

    part = part_of("VAL", every["VAL"], ids["VAL"])
    found = five_cat(
        {"VAL": fitted["ridge"]}, {"VAL": part}, fitted, {"VAL": every["VAL"]}, reencoder=Reencoder(decode, encode, 30)
    )
    rollout = found["splits"]["VAL"]["rollout"]
    assert max(written) <= 30 and rollout["reencoded"]["mean"]["n"] <= 30 < rollout["snapped"]["mean"]["n"]
    assert [len(rollout["reencoded"][name]) for name in ("steps", "mrr_steps")] == [5, 5]
    measured = measure({"": fitted["ridge"]}, part, reencoder=Reencoder(decode, encode, 30))
    columns, _ = columns_of(measured, 0, part.windows, 5)
    for j in "12345":
        text, raw = columns["rollout", "reencoded", "steps", j], columns["rollout", "steps", j]
        there = ~np.isnan(text)
        np.testing.assert_allclose(text[there], raw[there], atol=1e-5)


def test_without_a_decoder_it_is_null_and_a_wrong_width_is_refused(make_store):
    store = make_store(rotation_world(30, 14, DIM, noise=0.8, seed=2))
    windows = windows_of(store, np.arange(30), CONTEXT)
    part = Part("VAL", windows, np.arange(30))
    value = figures(
        measure({"": Crooked()}, part), 0, windows, DocumentBootstrap(windows.document_W), CONTEXT
    ).to_json()
    assert value["rollout"]["reencoded"] is None and value["rollout"]["snapped"]["mean"]["n"] > 0
    assert value["l2_raw"] is None and value["contrastive"]["batch"] > 0
    with pytest.raises(ValueError, match="gave"):
        measure({"": Crooked()}, part, reencoder=Reencoder(lambda v: ["" for _ in v], lambda t: np.zeros((len(t), 3))))


def test_the_sample_is_the_same_for_every_predictor_and_bounded(make_store, monkeypatch):
    monkeypatch.setattr(secondary, "SAMPLE", 25)
    monkeypatch.setattr(secondary, "SNAP_PAIRS", 0)
    monkeypatch.setattr(secondary, "SNAP_LEAST", 9)
    store = make_store(rotation_world(10, 14, DIM, noise=0.8, seed=2))
    windows = windows_of(store, np.arange(10), CONTEXT)
    measured = measure({"a": Crooked(), "b": Crooked()}, Part("VAL", windows, np.arange(10)))
    counts = {path: (~np.isnan(values)).sum(1) for path, values in measured.secondary.columns.items()}
    assert (counts["contrastive", "paper"] == 25).all() and (counts["rollout", "snapped", "mean"] <= 9).all()
    for values_PW in measured.secondary.columns.values():
        np.testing.assert_array_equal(values_PW[0], values_PW[1])


def test_a_file_of_predictions_has_contrastive_accuracy_and_no_rollout(make_store):
    """It knows the windows as they stand: nothing can be fed back, and NaN must not become a rank."""
    store = make_store(rotation_world(10, 14, DIM, noise=0.8, seed=2))
    windows = windows_of(store, np.arange(10), CONTEXT)
    crooked = Crooked()

    class File(Crooked):
        def predict_windows(self, some):
            return crooked.predict(Rows(store)(some.context_rows()))

        def predict(self, context_BCD):
            raise AssertionError("a file cannot be asked")

    measured = measure({"file": File(), "live": crooked}, Part("VAL", windows, np.arange(10)))
    for path, (file_W, live_W) in measured.secondary.columns.items():
        if path[0] == "contrastive":
            np.testing.assert_array_equal(file_W, live_W)
        else:
            assert np.isnan(file_W).all() and not np.isnan(live_W).all(), path
