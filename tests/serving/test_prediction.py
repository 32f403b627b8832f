"""Rollouts against a plain loop, the copy rule against predictors whose answer is known, the draw, the truth's rank."""

import asyncio
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import SPACE, small_model
from torch import Tensor

from known_stores import build_store
from segue.alignment.worlds import rotation_world
from segue.errors import InputError
from segue.models import LatentModel
from segue.models.network import Parts
from segue.serving.chat import context_of_stored
from segue.serving.decoding import Decoded
from segue.serving.local import LocalHelpers
from segue.serving.passages import Passage
from segue.serving.prediction import Clock, Context, Copy, Step, Wish, drawn, roll_out
from segue.serving.served import ContextError, ServedModel
from segue.serving.telling import prediction_json
from segue.vectors import Store
from segue.vectors.encoders import Encoder

LENGTH = 12


@cache
def helpers_of(store: Store) -> LocalHelpers:
    return LocalHelpers(store, no_encoder)


def no_encoder() -> Encoder:
    raise AssertionError("no text is to be encoded here")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """20 documents of 12 chunks, 16 wide; the fourth has a gap after its seventh chunk."""
    positions = [np.arange(LENGTH) for _ in range(20)]
    positions[3] = np.where(np.arange(LENGTH) < 7, np.arange(LENGTH), np.arange(LENGTH) + 1)
    documents = rotation_world(20, LENGTH, 16, seed=1, noise=1.2)
    return build_store(tmp_path_factory.mktemp("world") / "store", documents, positions)


def ask(
    store: Store, model: LatentModel, upto: int, document: str = "doc-2", **wish: object
) -> tuple[Context, list[Step]]:
    """A stored document's context and the rollout after it."""
    helpers = helpers_of(store)
    its = ServedModel(model.name, Path("nowhere"), "", model)

    async def run() -> tuple[Context, list[Step]]:
        context = await context_of_stored(document, upto, its, helpers, Clock())
        return context, await roll_out(its, context, Wish(**wish), helpers, Clock())  # type: ignore[arg-type]

    return asyncio.run(run())


def unit(store: Store) -> np.ndarray:
    vectors_ND = np.asarray(store.vectors_ND, np.float64)
    return vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True)


def predicted(model: LatentModel, context_LD: np.ndarray, beta: float = 0.0) -> np.ndarray:
    raw_D = model.predict_with_raw(torch.from_numpy(context_LD.astype(np.float32))[None])[1][0].double().numpy()
    raw_D = raw_D - beta * context_LD[-1]
    return raw_D / np.linalg.norm(raw_D)


@pytest.mark.parametrize("family", ["transformer", "causal"])
@pytest.mark.parametrize("feed", ["vector", "passage"])
@pytest.mark.parametrize("beta", [0.0, 0.4])
def test_a_rollout_equals_a_plain_loop(store: Store, family: str, feed: str, beta: float):
    """Context moved on (or grown, for a model that reads all), masks, order, what is fed back."""
    model = small_model(family=family)
    vectors_ND = unit(store)
    upto, first = 6, 2 * LENGTH
    context, steps = ask(store, model, upto, steps=4, k=3, feed=feed, steering=beta)
    begin = first if family == "causal" else first + upto - 4
    read_LD = vectors_ND[begin : first + upto + 1]
    assert context.vectors_LD == pytest.approx(read_LD, abs=1e-6)
    masked = set(range(begin, first + upto + 1))
    for step in steps:
        expected_D = predicted(model, read_LD, beta)
        assert step.prediction_D == pytest.approx(expected_D, abs=1e-5)
        assert step.copy.cosine_last == pytest.approx(expected_D @ read_LD[-1], abs=1e-5)
        cosines_N = vectors_ND @ expected_D
        order = [row for row in np.argsort(-cosines_N) if row not in masked][:3]
        found = [step.shown, *step.others]
        assert [one.passage.row for one in found] == order
        assert [one.cosine for one in found] == pytest.approx(cosines_N[order], abs=1e-5)
        assert step.copy.cosine_found == pytest.approx(cosines_N[order[0]], abs=1e-5)
        masked.add(order[0])
        read_LD = np.concatenate([read_LD, [vectors_ND[order[0]] if feed == "passage" else expected_D]])
        read_LD = read_LD if family == "causal" else read_LD[-5:]


class Known(LatentModel):
    """Answers with a chunk it was given: the last it read, or one that it knows."""

    family = "known"

    def __init__(self, answer_D: np.ndarray | None = None):
        super().__init__(SPACE)
        self.answer_D = None if answer_D is None else torch.from_numpy(answer_D.astype(np.float32))

    def parts(self, context_BCD: Tensor) -> Parts:
        return Parts(context_BCD[:, -1] if self.answer_D is None else self.answer_D.expand(len(context_BCD), -1))


def test_the_copy_rule_knows_a_copy_and_never_warns_of_the_exact_target(store: Store):
    """The rule of the warning on predictors whose answer is known, at every place of every gap-free document."""
    vectors_ND = unit(store)
    for g in (0, 1, 2, 4, 5):
        for upto in range(4, LENGTH - 1):
            target = g * LENGTH + upto + 1
            (copied,) = ask(store, Known(), upto, f"doc-{g}")[1]
            assert copied.copy.cosine_last == pytest.approx(1) and copied.copy.warning is not None
            assert "nearer to the chunk just read (cosine 1.000)" in copied.copy.warning
            (exact,) = ask(store, Known(vectors_ND[target]), upto, f"doc-{g}")[1]
            assert exact.copy.warning is None and exact.shown.passage.row == target
            assert exact.truth.rank == 1 and exact.truth.of == LENGTH - upto - 1


def test_a_level_copy_is_warned_of_and_a_search_that_finds_nothing_is_not():
    assert Copy(0.5, 0.5).warning and Copy(0.5, 0.4999).warning
    assert Copy(0.5, 0.5001).warning is None and Copy(1.0, None).warning is None
    assert "what it predicted before" in Copy(0.6, 0.5, fed=True).warning


def test_the_truths_rank_is_that_of_5cat(store: Store):
    """The pool is every chunk of the document after the context, ties averaged; a later step has a later chunk."""
    model, vectors_ND, upto = small_model(), unit(store), 5
    _, steps = ask(store, model, upto, steps=3)
    after = np.arange(2 * LENGTH + upto + 1, 3 * LENGTH)
    for j, step in enumerate(steps):
        cosines = vectors_ND[after] @ step.prediction_D.astype(np.float64)
        assert step.truth.passage.row == after[j] and step.truth.passage.position == upto + 1 + j
        assert step.truth.rank == 1 + (cosines > cosines[j]).sum() and step.truth.of == len(after) == 6
        assert step.truth.cosine == pytest.approx(cosines[j], abs=1e-6)


def test_tied_truths_share_their_ranks(tmp_path: Path):
    documents = rotation_world(3, LENGTH, 16, seed=4)
    documents[1][8:11] = documents[1][8]
    tied = build_store(tmp_path / "tied", documents)
    (step,) = ask(tied, Known(documents[1][8]), 7, "doc-1")[1]
    assert (step.truth.rank, step.truth.of) == (2.0, 4), "first of three that are level: (1 + 2 + 3) / 3"


def test_a_model_of_another_horizon_is_held_against_the_chunk_it_predicts(store: Store):
    _, steps = ask(store, small_model(horizon=3), 5, steps=2)
    assert [step.truth.passage.position for step in steps] == [8, 11]
    assert ask(store, small_model(horizon=3), 9)[1][0].truth is None, "the document ends before it"


def test_no_context_and_no_truth_crosses_a_gap(store: Store):
    """The fourth document's positions are 0 … 6, 8 … 12."""
    model = small_model()
    assert ask(store, model, 5, "doc-3")[1][0].truth.passage.position == 6
    assert ask(store, model, 6, "doc-3")[1][0].truth is None, "position 7 was dropped; 8 is not the next"
    with pytest.raises(ContextError, match="found 4 chunks in a row up to position 11"):
        ask(store, model, 11, "doc-3")
    assert ask(store, model, 12, "doc-3")[0].rows == list(range(3 * LENGTH + 7, 4 * LENGTH))
    with pytest.raises(ContextError, match="no chunk at position 7"):
        ask(store, model, 7, "doc-3")
    with pytest.raises(InputError, match="no document of this id"):
        ask(store, model, 7, "doc-99")


def test_a_small_store_runs_out_of_passages(tmp_path: Path):
    """What is left to be found ends before the rollout does: said as null, not as a passage found twice."""
    tiny = build_store(tmp_path / "tiny", rotation_world(1, 8, 16, seed=0))
    _, steps = ask(tiny, small_model(), 4, "doc-0", steps=5, k=2)
    assert [step.shown and step.shown.passage.row for step in steps][3:] == [None, None]
    assert sorted(step.shown.passage.row for step in steps[:3]) == [5, 6, 7]
    assert len(ask(tiny, small_model(), 4, "doc-0", steps=5, feed="passage")[1]) == 4, "nothing is left to be fed"


def test_the_draw_follows_the_softmax_and_its_seed():
    cosines = [0.60, 0.58, 0.50]
    generator = np.random.default_rng(0)
    n = 4_000
    counts = Counter(drawn(cosines, 0.05, generator) for _ in range(n))
    weight = np.exp(np.array(cosines) / 0.05)
    for i, share in enumerate(weight / weight.sum()):
        assert counts[i] / n == pytest.approx(share, abs=4 * (share / n) ** 0.5)
    assert {drawn(cosines, 0, generator) for _ in range(9)} == {0}
    assert {drawn(cosines, 1e-9, generator) for _ in range(9)} == {0}, "a temperature of almost 0 overflows nothing"
    assert drawn([], 0.1, generator) is None


def test_a_drawn_reply_can_be_had_again_and_keeps_plain_cosines(store: Store):
    model = small_model()
    wish = {"steps": 3, "k": 6, "temperature": 0.5, "seed": 7}
    rows = [[step.shown.passage.row for step in ask(store, model, 6, **wish)[1]] for _ in range(2)]
    assert rows[0] == rows[1]
    others = [step.shown.passage.row for step in ask(store, model, 6, **{**wish, "seed": 8})[1]]
    assert others != rows[0]
    for step in ask(store, model, 6, **wish)[1]:
        rest = [one.cosine for one in step.others]
        assert rest == sorted(rest, reverse=True) and len(rest) == 5
        assert step.copy.cosine_found == max([*rest, step.shown.cosine])
    first, second = Wish().seeded(), Wish().seeded()
    assert first.seed is not None and first.seed != second.seed and Wish(seed=3).seeded().seed == 3


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ({"k": 0}, "--k: found 0"),
        ({"k": 101}, "from 1 to 100"),
        ({"steps": 21}, "--steps: found 21"),
        ({"steering": 1.0}, "--steering: found 1"),
        ({"steering": float("nan")}, "--steering: found nan"),
        ({"temperature": float("inf")}, "--temperature: found inf"),
        ({"temperature": -1.0}, "--temperature"),
        ({"seed": -1}, "--seed"),
        ({"feed": "vectors"}, 'Did you mean "vector"'),
    ],
)
def test_wishes_out_of_bounds(wish: dict, told: str):
    with pytest.raises(InputError, match=told):
        Wish(**wish).require("--")


def test_what_is_told_holds_all_of_it(store: Store):
    model = small_model("m")
    wish = Wish(k=2, steps=2, steering=0.1).seeded()
    context, steps = ask(store, model, 6, k=2, steps=2, steering=0.1, seed=wish.seed)
    its = ServedModel("m", Path("nowhere"), "", model, doubts=("a doubt",))
    clock = Clock()
    with clock.of("encode"), clock.of("predict"):
        pass
    told = prediction_json(its, context, wish, steps, clock, vectors=True)
    assert told["chunked"] == "stored" and told["asked"]["seed"] == wish.seed
    assert told["warnings"] == ["a doubt; steering it may leave the frontier."]
    assert told["milliseconds"].keys() == {"chunk", "encode", "predict", "decode", "total"}
    assert told["milliseconds"]["total"] >= told["milliseconds"]["encode"] >= told["milliseconds"]["predict"]
    assert [chunk["row"] for chunk in told["context"]] == list(context.rows)
    assert told["truth"] == told["steps"][0]["truth"] and told["truth"]["passage"]["position"] == 7
    assert np.array_equal(np.array(told["steps"][1]["vector"], np.float32), steps[1].prediction_D)


def test_a_passage_without_text_cannot_be_read_again():
    from segue.serving.prediction import text_of

    nothing = Decoded(Passage(None, 3, "d", None, 3, None), 0.5)
    with pytest.raises(ContextError, match="holds no text for row 3"):
        text_of(nothing.passage)
