"""`segue rank`: the order against a slow formula, candidates with a hub among them, the command line on real text."""

import json

import numpy as np
import pytest
from small_runs import small_model, small_run

from segue.errors import InputError
from segue.models import load_model
from segue.serving.ranking import ranking, ranks_of
from segue.windows.rows import Rows


def unit(*shape: int, seed: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=shape)
    return (drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("centre", [0, 0.5, 1])
def test_the_score_against_its_formula_one_pair_at_a_time(centre):
    prediction_D, context_LD, candidates_ND = unit(8, seed=0), unit(4, 8, seed=1), unit(9, 8, seed=2)
    made = ranking(prediction_D, context_LD, candidates_ND, centre)
    for n, y_D in enumerate(candidates_ND.astype(np.float64)):
        shared = np.mean([y_D @ other_D for other_D in candidates_ND.astype(np.float64)])
        assert made.score_N[n] == pytest.approx(y_D @ prediction_D - centre * shared, abs=1e-9)
        assert made.last_N[n] == pytest.approx(y_D @ context_LD[-1], abs=1e-7)
    mean_D = context_LD.astype(np.float64).sum(0)
    np.testing.assert_allclose(made.mean_N, candidates_ND @ mean_D / np.linalg.norm(mean_D), atol=1e-7)
    assert [made.score_N[n] for n in made.order] == sorted(made.score_N, reverse=True)


def test_ranks_are_those_of_the_definition_ties_averaged():
    score_N = np.array([0.5, 0.7, 0.5, 0.1, 0.5 + 1e-9, 0.9])
    by_hand = [
        1 + sum(b > a + 1e-6 for b in score_N) + (sum(abs(b - a) <= 1e-6 for b in score_N) - 1) / 2 for a in score_N
    ]
    assert ranks_of(score_N).tolist() == by_hand == [4, 2, 4, 6, 4, 1]


def test_a_candidate_near_to_everything_is_what_the_centre_is_for():
    """A hub (the candidates' mean) beats the true one by cosine to the prediction; what all share tells nothing."""
    others_ND = unit(30, 64, seed=3) + 0.8 * unit(64, seed=4)
    others_ND /= np.linalg.norm(others_ND, axis=1, keepdims=True)
    true_D, hub_D = others_ND[0], others_ND.mean(0) / np.linalg.norm(others_ND.mean(0))
    prediction_D = 0.4 * true_D + hub_D  # what a mean of many possible next chunks is like
    prediction_D /= np.linalg.norm(prediction_D)
    candidates_ND = np.concatenate([others_ND, hub_D[None]])
    plain, centred = (ranking(prediction_D, others_ND[:1], candidates_ND, centre) for centre in (0, 1))
    assert plain.order[0] == 30
    assert centred.order[0] == 0


@pytest.mark.parametrize(
    ("count", "width", "centre", "said"),
    [
        (0, 8, 0.5, "found no candidate"),
        (1, 8, 0.5, "found one candidate"),
        (3, 7, 0.5, "7 wide, the model wants 8"),
        (3, 8, 1.5, "--centre: found 1.5"),
    ],
)
def test_what_cannot_be_ordered_is_refused(count, width, centre, said):
    with pytest.raises(InputError, match=said):
        ranking(unit(8, seed=0), unit(4, 8, seed=1), unit(count, width, seed=2), centre)
    broken_ND = unit(3, 8, seed=2)
    broken_ND[1, 3] = np.nan
    with pytest.raises(InputError, match="vector 1 is not finite"):
        ranking(unit(8, seed=0), unit(4, 8, seed=1), broken_ND)


READ = [
    "The sun rose slowly over the hills of the farm.",
    "Birds sang in the old apple trees beside the house.",
    "The farmer woke early and went out to the stable.",
    "He fed the cows and the two horses with fresh hay.",
    "Then he milked the cows, one after the other, by hand.",
]
TEXT = "\n\n".join(READ)
CANDIDATES = ["The milk went to the dairy.", "Kernel modules are loaded on demand.", "In the evening he slept."]


@pytest.fixture(scope="module")
def asked(text_run, text_store):
    return [text_run, "--store", text_store.path, "--threads", 1]


def test_texts_are_ordered_as_the_model_s_own_prediction_says(segue, text_run, text_encoder, tmp_path):
    (tmp_path / "candidates.json").write_text(json.dumps(CANDIDATES))
    (tmp_path / "candidates.txt").write_text("\n\n".join(CANDIDATES))
    (tmp_path / "read.txt").write_text(TEXT)
    told = []
    for name in ("candidates.json", "candidates.txt"):
        ran = segue("rank", text_run, "--text", tmp_path / "read.txt", "--candidates", tmp_path / name, "--json", "-")
        assert ran.status == 0, ran.err
        told.append(json.loads(ran.out))
    assert told[0] == told[1]
    context_LD = text_encoder.encode(READ)
    candidates_ND = text_encoder.encode(CANDIDATES).astype(np.float64)
    import torch

    prediction_D = load_model(text_run).predict(torch.from_numpy(context_LD)[None])[0].double().numpy()
    score_N = candidates_ND @ prediction_D - 0.5 * candidates_ND @ candidates_ND.mean(0)
    assert [row["candidate"] for row in told[0]["ranked"]] == np.argsort(-score_N).tolist()
    np.testing.assert_allclose([row["score"] for row in told[0]["ranked"]], np.sort(score_N)[::-1], atol=1e-4)
    assert told[0]["truth"] is None and told[0]["context"] == READ


def test_a_stored_document_s_following_chunks_and_the_rank_of_the_next(segue, asked, text_store):
    first, length = int(text_store.first_row_G[2]), int(text_store.length_G[2])
    ran = segue("rank", *asked, "--document", text_store.document_ids[2], "--upto", 6, "-k", 0, "--json", "-")
    assert ran.status == 0, ran.err
    value = json.loads(ran.out)
    assert value["candidates"] == len(value["ranked"]) == length - 7
    assert sorted(row["position"] for row in value["ranked"]) == [*range(7, length)]
    vectors_ND = Rows(text_store)(np.arange(first, first + length)).double().numpy()
    similarity_N = vectors_ND[7:] @ vectors_ND[6]
    assert value["truth"]["last"] == 1 + (similarity_N > similarity_N[0] + 1e-6).sum()
    next_one = next(row for row in value["ranked"] if row["position"] == 7)
    assert value["truth"] == next_one["ranks"]
    assert "the true next chunk: rank" in segue("rank", *asked, "--document", text_store.document_ids[2]).out


def test_a_store_s_chunks_are_candidates(segue, asked, text_store):
    document = text_store.document_ids[0]
    ran = segue("rank", *asked, "--document", document, "--candidates", text_store.path, "-k", 3, "--json", "-")
    value = json.loads(ran.out)
    assert value["candidates"] == len(text_store) and len(value["ranked"]) == 3
    assert value["ranked"][0]["text"] and value["truth"] is None


def test_bad_input_is_told_in_a_line(segue, asked, text_run, make_store, tmp_path):
    def said(*arguments: object) -> str:
        ran = segue("rank", *arguments)
        assert (ran.status, ran.out, ran.err.strip().count("\n")) == (2, "", 0), ran.err
        return ran.err

    texts = tmp_path / "candidates.json"
    text = [text_run, "--text", TEXT, "--candidates", texts]
    for written, wanted in (
        ([], "found no candidate"),
        (["one"], "found one candidate"),
        (["one", " "], "text 2 of 2 is empty"),
        (["one", 2], "something else than a list of texts"),
    ):
        texts.write_text(json.dumps(written))
        assert wanted in said(*text)
    texts.write_text("[")
    assert "no JSON file" in said(*text)
    texts.write_text(json.dumps(CANDIDATES))
    assert "found 0 paragraphs" in said(text_run, "--text", "", "--candidates", texts)
    assert "exactly one of the two" in said(*asked)
    assert "nothing is known of what may follow" in said(text_run, "--text", TEXT)
    assert "--centre: found 2" in said(*text, "--centre", 2)
    other = make_store([unit(9, 16, seed=5)], name="other")
    assert "16 wide" in said(*text[:3], "--candidates", other.path)
    narrow = small_run(tmp_path / "narrow", model=small_model())
    assert "384 wide" in said(narrow, "--text", TEXT, "--candidates", texts, "--encoder", "minilm")
