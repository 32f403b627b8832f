"""`segue predict` and `segue chat` in one process: files, pipes, JSON, and what they refuse."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from real_text import CHUNKS
from small_runs import small_run

from command_line import Ran, Segue
from segue.models import load_model
from segue.vectors import Store


def refused(ran: Ran, *told: str) -> None:
    assert (ran.status, ran.out) == (2, ""), ran
    assert ran.err.startswith("error: ") and ran.err.count("\n") == 1, ran.err
    for piece in told:
        assert piece in ran.err, ran.err


def typed(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def predicted_row(store: Store, run: Path, rows: range) -> int:
    """The nearest chunk to the model's prediction after some rows, slowly."""
    vectors_ND = np.asarray(store.vectors_ND)
    prediction_D = load_model(run).predict(torch.from_numpy(vectors_ND[rows])[None])[0].numpy()
    order = np.argsort(-(vectors_ND @ prediction_D))
    return int(next(row for row in order if row not in rows))


def test_a_stored_document_without_any_encoder(segue: Segue, text_run: Path, text_store: Store):
    """The store's own vectors are read; the run names its store."""
    id_ = text_store.document_ids[1]
    asked = ("predict", text_run, "--document", id_, "--upto", 6, "--store", text_store.path)
    value = json.loads(segue(*asked, "--json", "-").out)
    expected = predicted_row(text_store, text_run, range(CHUNKS + 2, CHUNKS + 7))
    assert value["steps"][0]["predicted"]["row"] == expected
    assert value["truth"]["passage"]["position"] == 7 and value["milliseconds"]["encode"] < 5000
    shown = segue(*asked, "--steps", 2)
    assert shown.status == 0 and shown.out.count("→") == 2 and "truth:" in shown.out
    assert str(text_store.texts([expected])[0])[:40] in " ".join(shown.out.split())
    by_default = json.loads(
        segue("predict", text_run, "--document", id_, "--json", "-", "--store", text_store.path).out
    )
    assert by_default["truth"]["passage"]["position"] == CHUNKS - 1, "up to the last chunk but one"


def test_a_text_from_a_file_a_pipe_or_the_line(
    segue: Segue, text_run: Path, text_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    text = "\n\n".join(str(one) for one in text_store.texts(range(5)))
    expected = predicted_row(text_store, text_run, range(5))
    (tmp_path / "read.txt").write_text(text)
    for given in (tmp_path / "read.txt", "-"):
        typed(monkeypatch, text)
        ran = segue("predict", text_run, "--text", given, "--store", text_store.path, "--json", tmp_path / "told.json")
        assert ran.status == 0, ran.err
        value = json.loads((tmp_path / "told.json").read_text())
        assert (value["chunked"], value["steps"][0]["predicted"]["row"]) == ("paragraph", expected)
    refused(segue("predict", text_run, "--text", "Only this one.", "--store", text_store.path), "small wants 5 chunks")


def test_what_predict_refuses(segue: Segue, text_run: Path, text_store: Store, tmp_path: Path):
    store = ("--store", text_store.path)
    text = ("--text", "One sentence here.")
    refused(segue("predict", text_run, *store), "exactly one of the two is wanted")
    refused(segue("predict", text_run, *store, *text, "--document", "x"), "exactly one of the two is wanted")
    refused(segue("predict", text_run, *store, *text, "--upto", 3), "--upto: is for --document")
    refused(segue("predict", text_run, *store, "--document", "nowhere"), "no document of this id", "its first is")
    refused(segue("predict", tmp_path / "no", *store, *text), "no such model")
    refused(segue("predict", text_run, "--store", tmp_path / "no", *text), "no such store")
    refused(segue("predict", text_run, *store, *text, "--steps", 0), "--steps: found 0")
    refused(segue("predict", text_run, *store, *text, "--precision", "fp8"), "--precision: found 'fp8'")
    (tmp_path / "latin.txt").write_bytes("é".encode("latin-1"))
    refused(segue("predict", text_run, *store, "--text", tmp_path / "latin.txt"), "is not UTF-8")
    foreign = small_run(tmp_path / "foreign", None)
    refused(segue("predict", foreign, *store, *text), "384 wide", "wants 16")
    refused(segue("predict", foreign, *text), "--store: ", "does not name its own")


def test_a_conversation_through_a_pipe(
    segue: Segue, text_run: Path, text_store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    texts = [str(one) for one in text_store.texts(range(5))]
    lines = (*texts, "", "/continue 2", "/steer .3", "/steer 2", "/k", "/contine", texts[0], "/quit", "never read")
    typed(monkeypatch, *lines)
    ran = segue("chat", text_run, "--store", text_store.path, "--json", "-", "--k", 3)
    assert ran.status == 0
    replies: list[dict[str, Any]] = [json.loads(line) for line in ran.out.splitlines()]
    told = ran.err.splitlines()
    assert sum("small wants 5 chunks in a row" in line for line in told) == 4, "until the fifth paragraph came"
    assert any("steering: found 2" in line for line in told) and any('Did you mean "continue"' in line for line in told)
    assert any("/k: found nothing, a number is wanted" in line for line in told)
    first, further, steered = replies
    assert first["reply"]["row"] == predicted_row(text_store, text_run, range(5))
    assert [chunk["text"] for chunk in further["context"]] == [*texts[1:], first["reply"]["text"]]
    assert len(further["steps"]) == 2 and steered["asked"]["steering"] == 0.3
    assert [chunk["text"] for chunk in steered["context"]] == [*texts[1:], texts[0]], "replies are not read"


def test_a_conversation_that_never_got_a_reply(
    segue: Segue, text_run: Path, text_store: Store, monkeypatch: pytest.MonkeyPatch
):
    typed(monkeypatch, "Hello there, model.", "/continue")
    ran = segue("chat", text_run, "--store", text_store.path)
    assert ran.status == 2 and ran.out == "" and "there is no reply yet" in ran.err.splitlines()[-1]
    typed(monkeypatch)
    assert segue("chat", text_run, "--store", text_store.path).status == 0, "nothing said, nothing wrong"


def test_a_stores_text_cannot_write_on_the_terminal():
    from segue.cli.predict import plain, short

    assert plain("a\x1b[31mred\x07\u202e") == "a·[31mred··"
    assert short("x" * 200) == "x" * 99 + "…" and short(None) == "(no text)"


def test_serve_predictor_refuses_in_one_line(segue: Segue, tmp_path: Path):
    refused(segue("serve", "predictor"), "exactly one of the two is wanted")
    refused(segue("serve", "predictor", "--run", tmp_path / "no", "--port", 0), "no such model")
    refused(segue("serve", "predictor", "--registry", tmp_path, "--port", 0), "registry.json: no such file")
    run = small_run(tmp_path / "run")
    refused(segue("serve", "predictor", "--run", run, "--run", f"run={run}", "--port", 0), "two runs are called run")
    refused(
        segue("serve", "predictor", "--run", run, "--encoder", "no-url", "--port", 0), "--encoder no-url: is no URL"
    )
