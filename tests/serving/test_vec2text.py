"""The real vec2text on a tiny model trained here. Skipped where the extra `invert` is not installed.

`make` installs it nowhere (its licence is not an OSI one, and it brings thirty packages). To run this: install
'segue[invert]', or point SEGUE_INVERTER_PYTHON to a Python that has vec2text 0.0.13.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asking import ask
from tiny_vec2text import SCRIPT

from known_stores import build_store
from segue.errors import InputError
from segue.serving.decoder_app import decoder_app
from segue.serving.decoding import StoreDecoder
from segue.serving.encoder_app import encoder_app
from segue.serving.encoding import TextEncoder
from segue.serving.inversion import Inversion
from segue.serving.limits import Settings
from segue.serving.server import running
from segue.serving.upstream import Upstream
from segue.serving.writing import TextWriter
from segue.vectors import Space, Store

PYTHON = os.environ.get("SEGUE_INVERTER_PYTHON") or (sys.executable if find_spec("vec2text") else None)
pytestmark = [
    pytest.mark.skipif(PYTHON is None, reason="vec2text (extra `invert`) is not installed"),
    pytest.mark.timeout(1200),
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vec2text") / "tiny"
    quiet = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    subprocess.run([str(PYTHON), str(SCRIPT), str(folder)], check=True, env={**os.environ, **quiet})
    return folder


@pytest.fixture(scope="module")
def encoder(tiny: Path) -> TextEncoder:
    return TextEncoder.load(str(tiny / "encoder"), "cpu", "fp32")


@pytest.fixture(scope="module")
def texts(tiny: Path) -> list[str]:
    return json.loads((tiny / "texts.json").read_text())["trained"][:12]


@pytest.fixture(scope="module")
def store(tiny: Path, encoder: TextEncoder, texts: list[str]) -> Store:
    folder = build_store(tiny / "store", [encoder.encode(texts)]).path
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "space": encoder.space.to_json()}))
    return Store(folder)


@pytest.fixture(scope="module")
def url(tiny: Path, encoder: TextEncoder, store: Store, serve) -> Iterator[str]:
    settings = Settings(deadline=300)
    with running(encoder_app(encoder, settings), settings) as encoding:
        made = Inversion(str(tiny), store.space, PYTHON, threads=1)
        upstream = Upstream("encoder", encoding, "segue serve encoder")
        writer = TextWriter(made, upstream, store.space, settings.deadline, 1000)
        yield serve(decoder_app(StoreDecoder.of(store), settings, writer))


def write(url: str, vectors: np.ndarray, **more: Any) -> tuple[list[str], np.ndarray]:
    status, answer = ask(f"{url}/decode", {"vectors": vectors.tolist(), "method": "vec2text", **more})
    assert status == 200, answer
    found = [one for (one,) in answer["results"]]
    return [one["text"] for one in found], np.array([one["cosine"] for one in found])


def test_text_comes_back_from_its_vector_and_correction_brings_it_nearer(
    url: str, encoder: TextEncoder, texts: list[str]
):
    """Chance is one sentence's cosine to another. The first hypotheses are half wrong, a round of correction mends
    them: steps are handed through. The cosine in the answer is that of an encoder of our own."""
    vectors = encoder.encode(texts).astype(float)
    chance = (vectors @ vectors.T)[~np.eye(len(texts), dtype=bool)].mean()
    first, first_cosines = write(url, vectors, steps=0)
    mended, mended_cosines = write(url, vectors, steps=2)
    again = encoder.encode(mended).astype(float)
    np.testing.assert_allclose(mended_cosines, (again * vectors).sum(axis=1), atol=1e-5)
    assert first != mended and mended_cosines.mean() > first_cosines.mean()
    assert mended_cosines.mean() > chance + 0.15
    assert sum(a == b for a, b in zip(mended, texts, strict=True)) >= 9


def test_a_beam_is_handed_through_and_many_are_as_one(url: str, encoder: TextEncoder, texts: list[str]):
    vectors = encoder.encode(texts).astype(float)[:4]
    together, cosines = write(url, vectors, steps=1, beam=2)
    alone = [write(url, vectors[i : i + 1], steps=1, beam=2) for i in range(4)]
    assert together == [one for ((one,), _) in alone]
    np.testing.assert_allclose(cosines, [one for (_, (one,)) in alone], atol=1e-5)


def test_a_checkpoint_that_lacks_weights_is_refused(tiny: Path, store: Store, tmp_path: Path):
    for part in ("inversion", "corrector", "t5", "encoder"):
        (tmp_path / part).symlink_to(tiny / part)
    (tmp_path / "corrector").unlink()
    (tmp_path / "corrector").mkdir()
    (tmp_path / "corrector" / "config.json").write_text((tiny / "corrector" / "config.json").read_text())
    with pytest.raises(InputError, match=r"model.safetensors: no such file; weights in safetensors are wanted"):
        Inversion(str(tmp_path), store.space, PYTHON)
    (tmp_path / "corrector" / "model.safetensors").symlink_to(tiny / "inversion" / "model.safetensors")
    with pytest.raises(InputError, match=r"lacks .* weights of a CorrectorEncoderModel"):
        Inversion(str(tmp_path), store.space, PYTHON)


def test_an_inverter_of_another_encoder_is_refused(tiny: Path):
    with pytest.raises(InputError, match="the store's vectors are of gtr-t5-base"):
        Inversion(str(tiny), Space("gtr-t5-base", 768, dense=True), PYTHON)
