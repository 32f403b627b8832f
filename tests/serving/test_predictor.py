"""The predictor over real sockets, with the real encoder and decoder services behind it."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from asking import ask
from predictor_world import error_of, service, texts_of
from real_text import CHUNKS
from small_runs import small_run

from conftest import Serve
from segue.models import build_model, load_model
from segue.models.causal import CausalOptions
from segue.models.faces import MeanFace
from segue.models.outside import Claims
from segue.models.remote import RemotePredictor
from segue.serving.encoding import TextEncoder
from segue.serving.shelf import Served
from segue.vectors import Store


def test_a_served_vector_is_the_models_own(url: str, text_run: Path, vectors_ND: np.ndarray):
    """One class from training to serving: nothing is rounded, padded or normalised on the way.

    To the last bit but one: beside other threads a processor's matrix products may add in another order.
    """
    model = load_model(text_run)
    context_BLD = np.stack([vectors_ND[i : i + 5] for i in range(9)])
    expected_BD = model.predict(torch.from_numpy(context_BLD)).numpy()
    alone_D = model.predict(torch.from_numpy(context_BLD[:1]))[0].numpy()
    status, value = ask(f"{url}/infer", {"context_vectors": context_BLD[0].tolist()})
    assert status == 200 and value.keys() == {"model", "predicted_vector", "copy_cosine", "warnings", "milliseconds"}
    assert np.array(value["predicted_vector"]) == pytest.approx(alone_D, abs=1e-7)
    assert value["copy_cosine"] == pytest.approx(float(alone_D @ context_BLD[0, -1]), abs=1e-6)
    status, value = ask(f"{url}/infer", {"context_vectors": context_BLD.tolist(), "model": "small"})
    assert np.array(value["predicted_vectors"]) == pytest.approx(expected_BD, abs=1e-7)
    assert value["copy_cosine"] == pytest.approx((expected_BD * context_BLD[:, -1]).sum(1), abs=1e-6)


def test_a_model_of_two_faces_answers_with_both_and_looks_up_by_their_sum(
    serve: Serve, text_store: Store, tmp_path: Path, encoder_url: str, decoder_url: str, vectors_ND: np.ndarray
):
    """The ranking face is the prediction, steered or not; the mean is its own, whatever else shares the batch."""
    torch.manual_seed(3)
    options = CausalOptions(width=16, layers=1, heads=2, feed_forward=16, mean_head=True)
    model = build_model("causal", text_store.space, options, name="both")
    with torch.no_grad():  # fresh, both heads are one function
        for parameter in model.mean_head.parameters():
            parameter.normal_()
    run = small_run(tmp_path / "both", None, model.eval())
    its = service(serve, Served.runs({"both": run}), encoder_url, decoder_url)
    context_BLD = torch.from_numpy(np.stack([vectors_ND[i : i + 5] for i in range(3)]))
    ranked_BD, mean_BD = model.predict(context_BLD).numpy(), MeanFace(model).predict(context_BLD).numpy()
    assert (ranked_BD * mean_BD).sum(1).max() < 0.9
    value = ask(f"{its}/infer", {"context_vectors": context_BLD.tolist()})[1]
    assert np.array(value["predicted_vectors"]) == pytest.approx(ranked_BD, abs=1e-6)
    assert np.array(value["mean_vectors"]) == pytest.approx(mean_BD, abs=1e-6)
    value = ask(f"{its}/infer", {"context_vectors": context_BLD[1].tolist(), "steering": 0.5})[1]
    assert np.array(value["mean_vector"]) == pytest.approx(mean_BD[1], abs=1e-6)
    assert np.abs(np.array(value["predicted_vector"]) - ranked_BD[1]).max() > 0.01
    texts = texts_of(text_store, slice(0, 5))
    value = ask(f"{its}/predict", {"texts": texts, "k": 3})[1]
    assert value["face"] == "ranking + mean"
    sum_D = (ranked_BD + mean_BD)[0] / np.linalg.norm((ranked_BD + mean_BD)[0])
    step = value["steps"][0]
    for one in (step["predicted"], *step["alternatives"]):
        assert one["cosine"] == pytest.approx(vectors_ND[one["row"]] @ sum_D, abs=1e-4)
    # The warning compares the two: one vector's cosines, not the ranking face's with the sum's.
    assert step["copy"]["cosine_last"] == pytest.approx(vectors_ND[4] @ sum_D, abs=1e-4)
    chat = ask(f"{its}/chat", {"messages": [{"role": "user", "content": "\n\n".join(texts)}]})[1]
    assert chat["face"] == "ranking + mean"
    assert ask(f"{its}/info")[1]["models"][0]["faces"] == ["ranking", "mean"]


def test_the_remote_predictor_of_5cat_asks_it(url: str, text_run: Path, vectors_ND: np.ndarray):
    context_BLD = torch.from_numpy(np.stack([vectors_ND[i : i + 5] for i in range(70)]))
    remote = RemotePredictor(url, 384, Claims())
    found_BD = remote.predict(context_BLD)
    model = load_model(text_run)
    expected_BD = torch.cat([model.predict(block) for block in context_BLD.split(64)])
    assert torch.allclose(found_BD, expected_BD, atol=1e-6, rtol=0)


def test_many_clients_with_models_and_lengths_of_their_own_each_get_their_answer(
    url: str, text_run: Path, causal_run: Path, vectors_ND: np.ndarray
):
    """A batch that mixes requests up gives somebody another's vector."""
    models = {"small": load_model(text_run), "causal": load_model(causal_run)}

    def one(i: int) -> None:
        name = ("small", "causal")[i % 2]
        length, beta = (5 if name == "small" else 1 + i % 9), (0.0, 0.2)[i % 3 % 2]
        context_LD = vectors_ND[i : i + length]
        status, value = ask(f"{url}/infer", {"context_vectors": context_LD.tolist(), "model": name, "steering": beta})
        assert status == 200
        raw_D = models[name].predict_with_raw(torch.from_numpy(context_LD)[None])[1][0].numpy()
        expected_D = raw_D - beta * context_LD[-1]
        expected_D /= np.linalg.norm(expected_D)
        assert np.array(value["predicted_vector"]) == pytest.approx(expected_D, abs=1e-5)

    with ThreadPoolExecutor(16) as clients:
        list(clients.map(one, range(64)))


def test_what_infer_refuses(url: str, vectors_ND: np.ndarray):
    good = vectors_ND[:5].tolist()

    def infer(vectors: Any, **more: Any) -> tuple[int, Any]:
        return ask(f"{url}/infer", {"context_vectors": vectors, **more})

    error = error_of(infer([row[:383] for row in good]), 422, "wrong_width", "383 wide, small wants 384")
    assert error["field"] == "context_vectors"
    error_of(infer([*good[:4], good[4][:10]]), 422, "wrong_width", "vector 4 is 10 wide, vector 0 is 384")
    error_of(infer(good[:4]), 422, "context_too_short", "found 4 chunks, small wants 5")
    error_of(infer([*good, good[0]]), 422, "context_too_long", "found 6 chunks, small wants 5")
    error = error_of(infer([good, good[:3]]), 422, "context_too_short", "found 3 chunks")
    assert error["field"] == "context_vectors[1]"
    error_of(infer([[2 * x for x in row] for row in good]), 422, "not_unit", "vector", "has length 2")
    error_of(infer([[1e300] * 384] * 5), 422, "not_finite")
    error_of(infer([[0] * 384] * 5), 422, "not_unit", "has length 0")
    for raw in ("NaN", "Infinity", "-Infinity", "1e999"):
        body = json.dumps({"context_vectors": good}).replace(str(good[2][7]), raw, 1)
        status, value = ask(f"{url}/infer", raw=body.encode())
        assert status == 422 and raw not in value["error"]["message"]
    for vectors in ([], [[]], [[[]]], [good, []], "x", None, [["1"] * 384] * 5, [[True] * 384] * 5, [good] * 257):
        assert infer(vectors)[0] == 422
    assert infer(good, steering=1)[0] == 422 and infer(good, extra=1)[0] == 422
    assert infer(vectors_ND[:1].tolist(), model="causal")[0] == 200
    error_of(infer(good, model="smal"), 404, "unknown_model", 'Did you mean "small"? Known: causal, small.')
    error = error_of(infer(good, model="<b>"), 404, "unknown_model", "Known: causal, small.")
    assert "<b>" not in json.dumps(error)
    told = infer([[1.0, "a"]])[1]["error"], infer([[[1.0, "a"]]])[1]["error"]  # by places that a client knows
    assert [error["field"] for error in told] == ["context_vectors[0][1]", "context_vectors[0][0][1]"]


def test_predict_is_encoder_model_and_search_one_after_the_other(
    url: str, text_run: Path, text_store: Store, text_encoder: TextEncoder, vectors_ND: np.ndarray
):
    texts = texts_of(text_store, slice(2 * CHUNKS, 2 * CHUNKS + 5))
    status, value = ask(f"{url}/predict", {"texts": ["read before this.", *texts], "k": 4, "vectors": True})
    assert status == 200, value
    context_LD = text_encoder.encode(texts)
    prediction_D = load_model(text_run).predict(torch.from_numpy(context_LD)[None])[0].double().numpy()
    (step,) = value["steps"]
    assert np.array(step["vector"]) == pytest.approx(prediction_D, abs=1e-5)
    cosines_N = vectors_ND.astype(np.float64) @ prediction_D
    context_rows = range(2 * CHUNKS, 2 * CHUNKS + 5)
    order = [int(row) for row in np.argsort(-cosines_N) if row not in context_rows][:4]
    found = [step["predicted"], *step["alternatives"]]
    assert [one["row"] for one in found] == order
    assert [one["text"] for one in found] == texts_of(text_store, order)
    assert [one["cosine"] for one in found] == pytest.approx(cosines_N[order], abs=1e-5)
    assert [one["document"] for one in found] == [text_store.document_ids[row // CHUNKS] for row in order]
    assert step["copy"]["cosine_last"] == pytest.approx(prediction_D @ context_LD[-1], abs=1e-5)
    assert (step["copy"]["warning"] is not None) == (step["copy"]["cosine_last"] >= found[0]["cosine"])
    assert [chunk["text"] for chunk in value["context"]] == texts and value["chunked"] == "given"
    assert value["face"] is None, "it has one"
    times = value["milliseconds"]
    assert times["total"] >= times["encode"] + times["predict"] + times["decode"] > 0
    again = ask(f"{url}/predict", {"document": {"text": "\n\n".join(texts)}, "k": 4})[1]
    assert again["chunked"] == "paragraph" and again["steps"][0]["predicted"] == step["predicted"]


def test_a_rollout_feeds_what_it_says(
    url: str, text_run: Path, text_store: Store, text_encoder: TextEncoder, vectors_ND: np.ndarray
):
    model, texts = load_model(text_run), texts_of(text_store, slice(0, 5))

    def next_of(context_LD: np.ndarray) -> np.ndarray:
        return model.predict(torch.from_numpy(context_LD)[None])[0].numpy()

    for feed in ("vector", "passage"):
        value = ask(f"{url}/predict", {"texts": texts, "steps": 3, "feed": feed, "vectors": True})[1]
        context_LD = text_encoder.encode(texts)
        for step in value["steps"]:
            prediction_D = next_of(context_LD)
            assert np.array(step["vector"]) == pytest.approx(prediction_D, abs=1e-4)
            fed_D = prediction_D if feed == "vector" else vectors_ND[step["predicted"]["row"]]
            context_LD = np.concatenate([context_LD[1:], fed_D[None]])
        rows = [step["predicted"]["row"] for step in value["steps"]]
        assert len({*rows, *range(5)}) == 8, "nothing is found twice, nothing that was read is found"


def test_what_was_read_before_the_context_is_not_found_either(url: str, text_store: Store):
    """The model reads five of eleven chunks; a passage that the reader has already seen is no prediction."""
    read = range(5 * CHUNKS, 5 * CHUNKS + 11)
    texts = texts_of(text_store, slice(read.start, read.stop))
    id_ = text_store.document_ids[5]
    for source in (
        {"texts": texts},
        {"document": {"text": "\n\n".join(texts)}},
        {"stored": {"id": id_, "upto": 10}},
    ):
        value = ask(f"{url}/predict", {**source, "k": 50})[1]
        (step,) = value["steps"]
        assert len(value["context"]) == 5 and len(step["alternatives"]) == 49
        assert not {one["row"] for one in (step["predicted"], *step["alternatives"])} & {*read}


def test_a_stored_document_and_its_truth(url: str, text_run: Path, text_store: Store, vectors_ND: np.ndarray):
    g, upto = 3, 6
    id_, first = text_store.document_ids[g], g * CHUNKS
    status, value = ask(f"{url}/predict", {"stored": {"id": id_, "upto": upto}, "steps": 2})
    assert status == 200, value
    assert [chunk["row"] for chunk in value["context"]] == [*range(first + 2, first + 7)]
    context_LD = torch.from_numpy(vectors_ND[first + 2 : first + 7])
    cosines = vectors_ND[first + 7 : first + CHUNKS] @ load_model(text_run).predict(context_LD[None])[0].numpy()
    truth = value["truth"]
    assert truth == value["steps"][0]["truth"]
    assert (truth["passage"]["row"], truth["of"], truth["rank"]) == (
        first + 7,
        CHUNKS - 7,
        1 + (cosines > cosines[0]).sum(),
    )
    assert truth["cosine"] == pytest.approx(cosines[0], abs=1e-4)
    assert value["steps"][1]["truth"]["passage"]["position"] == upto + 2
    last = ask(f"{url}/predict", {"stored": {"id": id_, "upto": CHUNKS - 1}})[1]
    assert last["truth"] is None
    everything = ask(f"{url}/predict", {"stored": {"id": id_, "upto": upto}, "model": "causal"})[1]
    assert len(everything["context"]) == upto + 1, "a causal model reads the document from its beginning"
    error_of(ask(f"{url}/predict", {"stored": {"id": id_, "upto": 3}}), 422, "context_too_short", "found 4 chunks")
    error_of(ask(f"{url}/predict", {"stored": {"id": id_, "upto": 99}}), 422, "no_position", f"0 to {CHUNKS - 1}")
    error_of(ask(f"{url}/predict", {"stored": {"id": "../../etc", "upto": 9}}), 404, "unknown_document")


def test_what_predict_refuses(url: str, text_store: Store):
    texts = texts_of(text_store, slice(0, 5))

    def predict(**body: Any) -> tuple[int, Any]:
        return ask(f"{url}/predict", body)

    error_of(predict(texts=texts[:4]), 422, "context_too_short", "texts: found 4 chunks, small wants 5")
    error_of(predict(document={"text": "One. Two."}), 422, "context_too_short", "document.text: found 0 paragraphs")
    assert "found 0 of texts, document and stored" in predict()[1]["error"]["message"]
    assert "found 2 of" in predict(texts=texts, document={"text": "x"})[1]["error"]["message"]
    wrong = (
        *({"k": 0}, {"k": 101}, {"steps": 21}, {"steering": 1.0}, {"temperature": -1}, {"feed": "both"}, {"seed": -1}),
        *({"texts": []}, {"texts": [" "] * 5}, {"texts": ["x" * 20_001] * 5}, {"texts": ["x"] * 1001}, {"k": 2.5}),
        *({"texts": ["a\ud800b"] * 5}, {"stored": {"id": "x", "upto": -1}}, {"model": ""}),
    )
    for body in wrong:
        assert predict(**{"texts": texts, **body})[0] == 422, body
    error_of(predict(texts=texts, model="other"), 404, "unknown_model")
    for id_ in ("..", ".", "../info", "a/../../info", "x?offset=1#"):  # an id is data, and leads nowhere else
        error_of(predict(stored={"id": id_, "upto": 4}), 404, "unknown_document")


def test_chat_reads_the_users_text_and_says_how(url: str, text_store: Store):
    texts = texts_of(text_store, slice(0, 6))
    talk = [{"role": "user", "content": texts[0]}, {"role": "assistant", "content": "Not read. And not this either."}]

    def chat(*messages: dict[str, str], **more: Any) -> dict[str, Any]:
        status, value = ask(f"{url}/chat", {"messages": [*messages], **more})
        assert status == 200, value
        return value

    error_of(ask(f"{url}/chat", {"messages": talk}), 422, "context_too_short", "1 paragraph", "small wants 5")
    plain = [f"This is the plain sentence number {i} of them." for i in range(5)]
    split = [{"role": "user", "content": " ".join(some)} for some in (plain[:3], plain[3:])]
    value = chat(split[0], talk[1], split[1])
    assert value["chunked"] == "sentence" and [chunk["text"] for chunk in value["context"]] == plain
    direct = ask(f"{url}/predict", {"texts": [chunk["text"] for chunk in value["context"]]})[1]["steps"][0]
    assert value["reply"] == direct["predicted"] and value["copy"] == direct["copy"]
    assert value["found_in"] == {
        key: value["reply"][key] for key in ("row", "document", "title", "position", "section")
    }
    user = {"role": "user", "content": "\n\n".join(texts[:5])}
    first = chat(user)
    assert first["chunked"] == "paragraph" and len(first["steps"]) == 1
    further = chat(user, {"role": "assistant", "content": first["reply"]["text"]}, **{"continue": 3})
    assert [chunk["text"] for chunk in further["context"]] == [*texts[1:5], first["reply"]["text"]]
    assert len(further["steps"]) == 3 and further["reply"] == further["steps"][0]["predicted"]
    assert first["reply"]["row"] not in [step["predicted"]["row"] for step in further["steps"]]
    assert chat(user, steering=0.3)["warnings"] == [], "p1's objective is mse alone: nothing to doubt"


def test_a_drawn_reply_tells_its_seed(url: str, text_store: Store):
    body = {"texts": texts_of(text_store, slice(0, 5)), "k": 20, "temperature": 1.0}
    first = ask(f"{url}/predict", body)[1]
    again = ask(f"{url}/predict", {**body, "seed": first["asked"]["seed"]})[1]
    assert again["steps"] == first["steps"]
    rows = {ask(f"{url}/predict", {**body, "seed": seed})[1]["steps"][0]["predicted"]["row"] for seed in range(4)}
    assert len(rows) > 1
    cosines = [one["cosine"] for one in first["steps"][0]["alternatives"]]
    assert cosines == sorted(cosines, reverse=True) and len(cosines) == 19
