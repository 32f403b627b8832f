"""Models that come with segue: found by name, whole, and what their card says they are."""

import json
import re
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from segue.alignment.measure import Part, measure_judged
from segue.errors import InputError
from segue.models import load_model
from segue.models.faces import MeanFace
from segue.models.saved import SHIPPED, WEIGHTS, model_folder, shipped_models
from segue.report.run import read_begun, read_run
from segue.serving import registry
from segue.text.reference import reference_documents
from segue.vectors.encoders import load_encoder
from segue.windows import windows_of

MOST_BYTES = 10_000_000


@pytest.mark.parametrize("name", shipped_models())
def test_it_is_whole_small_and_has_a_card(name):
    model = load_model(name)
    assert (SHIPPED / name / WEIGHTS).stat().st_size < MOST_BYTES
    card = (SHIPPED / name / "README.md").read_text(encoding="utf-8")
    assert f"{model.parameter_count:,} parameters" in card and re.search(r"^license: ", card, re.M)
    assert model.space == load_encoder(model.space.encoder).space


def test_onward_is_among_them():
    assert "onward" in shipped_models()


def test_a_folder_of_that_name_goes_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert model_folder("onward") == SHIPPED / "onward"
    (tmp_path / "onward").mkdir()
    assert model_folder("onward") == Path("onward")
    assert model_folder(tmp_path / "onward") == tmp_path / "onward"


def test_where_a_name_cannot_stand_for_it_is_said(tmp_path: Path):
    for missing in (lambda: read_run("onward"), lambda: read_begun("onward")):
        with pytest.raises(InputError, match="comes with segue, not a run"):
            missing()
    with pytest.raises(InputError, match="with segue comes onward"):
        load_model(tmp_path / "onwrd")
    registry.add(tmp_path / "registry", "ours", Path("onward"))
    with pytest.raises(InputError, match=r"onward comes with segue and has no 5cat\.json"):
        registry.promote(tmp_path / "registry", "ours")


def test_it_names_the_next_paragraph_of_texts_it_never_saw(make_store):
    """Far above chance. So is a fresh network, being its skip (.555, these weights .554): the next test asks more."""
    documents = islice((one for one in reference_documents() if len(one.paragraphs) > 9), 20)
    texts = [[paragraph.text for paragraph in document.paragraphs[:40]] for document in documents]
    unit_ND = load_encoder("minilm").encode([text for one in texts for text in one], 32)
    store = make_store(np.split(unit_ND, np.cumsum([len(one) for one in texts])[:-1]))
    windows = windows_of(store, np.arange(len(texts)))
    rank_W = measure_judged(load_model("onward"), Part("all", windows, windows.documents), only_whole=True).rank_PSW
    left_W = np.concatenate([np.arange(len(one) - 5, 0, -1) for one in texts])
    by_chance = np.mean([(1 / np.arange(1, left + 1)).mean() for left in left_W])
    assert (1 / rank_W[0, 0]).mean() > 1.25 * by_chance


@pytest.mark.parametrize("read", [1, 2, 3, 4])
def test_after_few_paragraphs_it_does_not_turn_away_from_what_was_read(read):
    """It is trained after five. Without care the mean it takes off is all that was read: cos −.9 to a first chunk."""
    documents = islice((one for one in reference_documents() if len(one.paragraphs) > read), 8)
    texts = [one.text for document in documents for one in document.paragraphs[:read]]
    context_BCD = torch.from_numpy(load_encoder("minilm").encode(texts, 32)).unflatten(0, (8, read))
    for predictor in (model := load_model("onward"), MeanFace(model)):
        assert (predictor.predict(context_BCD) * context_BCD[:, -1]).sum(-1).mean() > 0.5


def test_its_heads_have_learned_something():
    """Beside a skip both begin by saying nothing: an untrained network of these options would rank as well here."""
    model = load_model("onward")
    context_BCD = torch.nn.functional.normalize(torch.randn(4, 9, model.dim), dim=-1)
    for head, skip in ((model.head, model.skip), (model.mean_head, model.mean_skip)):
        added_BD = model.written(model.hidden(context_BCD)[:, -1], head).detach()
        assert added_BD.norm(dim=-1).min() > 0.01 * skip.at_end(context_BCD).norm(dim=-1).max()


def test_the_command_line_knows_it_by_name(segue, tmp_path):
    """`segue rank` asks it of a text; a name that is none is told."""
    read = "The harbour was built in 1890. It lies in the north of the island. A fort guarded its mouth."
    candidates = tmp_path / "next.txt"
    candidates.write_text("Ships of the navy were built there.\n\nCheese is made of milk.\n\nFog is common.")
    ran = segue("rank", "onward", "--text", read, "--candidates", candidates, "--json", "-", "--device", "cpu")
    assert ran.status == 0, ran.err
    assert sorted(one["ranks"]["model"] for one in json.loads(ran.out)["ranked"]) == [1, 2, 3]
    ran = segue("rank", "onwards", "--text", read, "--candidates", candidates)
    assert (ran.status, ran.err.count("\n")) == (2, 1) and "onwards" in ran.err


def test_a_model_of_two_faces_is_not_steered(segue, tmp_path):
    """Steering would drop its mean face and still claim to be one."""
    ran = segue("steer", "onward", "--data", tmp_path, "--margin", "0", "--out", tmp_path / "steered")
    assert (ran.status, ran.err.count("\n")) == (2, 1) and "two faces" in ran.err
    assert not (tmp_path / "steered").exists()
