"""Encoders: honest spaces, faithful precision, one line when a model is not to be had."""

import logging
import urllib.error
from email.message import Message
from pathlib import Path

import numpy as np
import pytest
from small_text import SENTENCES, WORDS, save_encoder

from segue.errors import InputError
from segue.vectors import Space, require_same_space
from segue.vectors import encoders as module
from segue.vectors.encoders import ENCODERS, Encoder, canonical, declared_space, load_encoder, settle_precision


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub is out of reach, at once: tests neither wait for a network nor use one."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.is_offline_mode", lambda: False)


def test_minilm_is_what_its_declaration_says() -> None:
    """`segue import --encoder minilm` trusts the declaration: it must be what loading finds, weights hash included."""
    encoder = load_encoder("minilm")
    assert encoder.space == declared_space("minilm") == ENCODERS["minilm"].space
    described = module._space("minilm", encoder._model, encoder.space.revision)
    assert described == encoder.space and encoder.max_tokens == 192


def test_names_of_the_hub_are_the_same_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert canonical("sentence-transformers/all-MiniLM-L6-v2") == canonical("all-MiniLM-L6-v2") == "minilm"
    assert canonical("sentence-transformers/gtr-t5-base") == "gtr-t5-base" and canonical("other/name") == "other/name"
    (tmp_path / "all-MiniLM-L6-v2").mkdir()
    monkeypatch.chdir(tmp_path)
    assert canonical("all-MiniLM-L6-v2") == "all-MiniLM-L6-v2"


def test_a_folder_is_an_encoder_and_its_files_are_its_revision(tiny_encoder: Path, tmp_path: Path) -> None:
    space = load_encoder(str(tiny_encoder)).space
    assert (space.encoder, space.dim, space.dense) == (str(tiny_encoder), 16, False)
    other = save_encoder(tmp_path / "tiny", np.ones((len(WORDS) + 1, 16)), ["[UNK]", *WORDS])
    assert load_encoder(str(other)).space.revision != space.revision


def test_vectors_are_unit_and_zero_stays_zero(tiny_encoder: Path) -> None:
    vectors_ND = load_encoder(str(tiny_encoder)).encode(SENTENCES, batch=2)
    assert vectors_ND.dtype == np.float32
    assert np.abs(np.linalg.norm(vectors_ND, axis=1) - 1).max() < 1e-6


@pytest.mark.parametrize("asked", ["auto", "bf16"])
def test_unfaithful_bfloat16_is_noticed(
    asked: str, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An encoder whose bfloat16 turns every vector by 6°: auto returns to float32, bf16 says so in the space."""
    encode = Encoder.encode

    def turned(self: Encoder, texts: list[str], batch: int) -> np.ndarray:
        vectors_ND = encode(self, texts, batch)
        return vectors_ND + (0.1 * np.roll(vectors_ND, 1, axis=1) if self.precision == "bfloat16" else 0)

    monkeypatch.setattr(Encoder, "encode", turned)
    monkeypatch.setattr(module, "has_bfloat16", lambda device: True)
    monkeypatch.setattr(logging.getLogger("segue"), "propagate", True)
    encoder, fidelity = settle_precision(str(tiny_encoder), asked, "cpu", SENTENCES, 2)
    assert fidelity is not None and not fidelity.faithful and fidelity.n == 7
    assert "wanted 0.999" in caplog.text
    wanted = {"auto": ("float32", "float32"), "bf16": ("bfloat16", "bfloat16")}[asked]
    assert (encoder.precision, encoder.space.precision) == wanted


def test_auto_takes_float32_where_bfloat16_is_slow(tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "has_bfloat16", lambda device: False)
    encoder, fidelity = settle_precision(str(tiny_encoder), "auto", "cpu", SENTENCES, 2)
    assert encoder.precision == "float32" and fidelity is None


def test_fp32_and_unknown_precisions(tiny_encoder: Path) -> None:
    assert settle_precision(str(tiny_encoder), "fp32", "cpu", SENTENCES, 2)[0].precision == "float32"
    with pytest.raises(InputError, match="bf16"):
        settle_precision(str(tiny_encoder), "bf-16", "cpu", SENTENCES, 2)


def test_a_model_that_is_not_to_be_had_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/config.json").write_text("{")
    for name, told in (
        ("gtr-t5-base", "cannot be reached"),
        ("nobody/nothing", "cannot be reached"),
        (str(tmp_path), "neither modules.json nor config.json"),
        (str(tmp_path / "absent"), "no such folder"),
        (str(tmp_path / "file"), "is a file"),
        (str(tmp_path / "broken"), "cannot be loaded"),
    ):
        with pytest.raises(InputError) as caught:
            load_encoder(name)
        assert told in str(caught.value) and "\n" not in str(caught.value), name
    monkeypatch.setattr("huggingface_hub.constants.is_offline_mode", lambda: True)
    with pytest.raises(InputError, match="HF_HUB_OFFLINE"):
        load_encoder("gtr-t5-base")


def test_a_short_name_mistyped_is_met_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where there is no owner in the name: `nobody/minilm` names another model. Offline, and where the hub knows
    no such model."""

    def unknown(*_: object, **__: object) -> None:
        raise urllib.error.HTTPError("hub", 404, "Not Found", Message(), None)

    for offline in (True, False):
        monkeypatch.setattr("huggingface_hub.constants.is_offline_mode", lambda offline=offline: offline)
        monkeypatch.setattr("urllib.request.urlopen", unknown)
        with pytest.raises(InputError, match='Did you mean "minilm"') as caught:
            load_encoder("minilmm")
        assert "\n" not in str(caught.value)
        with pytest.raises(InputError) as caught:
            load_encoder("nobody/minilm")
        assert "Did you mean" not in str(caught.value)


def test_spaces_are_compared_in_what_both_state() -> None:
    """Imported GTR vectors cannot know the hub's commit; they must not be refused for it, nor for less be accepted."""
    embedded = Space("gtr-t5-base", 768, revision="abc", pooling="mean", dense=True)
    require_same_space(embedded, ENCODERS["gtr-t5-base"].space, "a", "b")
    require_same_space(embedded, Space("unstated", 768), "a", "b")
    for other in (
        Space("gtr-t5-base", 768, revision="abd", pooling="mean", dense=True),
        Space("gtr-t5-base", 768, dense=False),
        Space("gtr-t5-base", 768, precision="bfloat16"),
        Space("minilm", 768),
        Space("gtr-t5-base", 384),
    ):
        with pytest.raises(InputError, match="segue embed"):
            require_same_space(embedded, other, "a", "b")
