"""vec2text through the decoder service: cosines of the re-encoded text, the queue before the process, what is refused.

The encoder service, the decoder service and the pipes are real; `scripted_worker.py` stands in for vec2text.
"""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asking import ask
from tiny_vec2text import make_encoder, tiny_inverter

from known_stores import build_store
from segue.errors import InputError
from segue.serving import inversion
from segue.serving.decoder_app import decoder_app
from segue.serving.decoding import StoreDecoder
from segue.serving.encoder_app import encoder_app
from segue.serving.encoding import TextEncoder
from segue.serving.inversion import Ask, Inversion
from segue.serving.limits import Settings
from segue.serving.refusals import Refusal
from segue.serving.server import running
from segue.serving.upstream import Upstream
from segue.serving.writing import TextWriter
from segue.vectors import Space, Store

SCRIPT = Path(__file__).parent / "scripted_worker.py"
DEADLINE = 5.0


class Scene:
    """An encoder of 768 numbers, a store of its vectors, a scripted inverter for it, and the service around them."""

    def __init__(self, folder: Path):
        tiny = tiny_inverter()
        self.folder, self.encoder_folder = folder, make_encoder(folder)
        self.encoder = TextEncoder.load(str(self.encoder_folder), "cpu", "fp32")
        self.texts = tiny.sentences(20, seed=5)
        self.vectors = self.encoder.encode(self.texts)
        self.store = self.make_store("store", self.encoder.space)
        for part in ("inversion", "corrector"):
            (folder / part).mkdir()
        self.play("ready", self.texts)

    def make_store(self, name: str, space: Space) -> Store:
        store = build_store(self.folder / name, [self.vectors[:12, : space.dim], self.vectors[12:, : space.dim]])
        manifest = json.loads((store.path / "manifest.json").read_text())
        (store.path / "manifest.json").write_text(json.dumps({**manifest, "space": space.to_json()}))
        return Store(store.path)

    def play(self, start: str, texts: list[str]) -> None:
        script = {"embedder": str(self.encoder_folder), "start": start, "texts": texts}
        (self.folder / "inversion" / "script.json").write_text(json.dumps(script))

    def asked(self) -> list[list[int]]:
        """What the process was asked since the last call: vectors, steps, beam of each request."""
        log = self.folder / "inversion" / "asked.jsonl"
        lines = log.read_text().splitlines() if log.exists() else []
        log.write_text("")
        return [json.loads(line) for line in lines]

    def app(self, encoder_url: str, deadline: float = DEADLINE) -> Any:
        made = Inversion(str(self.folder), self.store.space)
        upstream = Upstream("encoder", encoder_url, "segue serve encoder")
        writer = TextWriter(made, upstream, self.store.space, deadline, 1000)
        return decoder_app(StoreDecoder.of(self.store), Settings(deadline=2 * deadline), writer)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inversion, "WORKER", SCRIPT)
        yield Scene(tmp_path_factory.mktemp("writing"))


@pytest.fixture(scope="module")
def tiny_encoder_url(scene: Scene) -> Iterator[str]:
    with running(encoder_app(scene.encoder, Settings()), Settings()) as url:
        yield url


@pytest.fixture(scope="module")
def url(scene: Scene, tiny_encoder_url: str, serve) -> str:
    return serve(scene.app(tiny_encoder_url))


def trouble(number: int) -> list[float]:
    """A vector whose first number, once of unit length, is the trouble that is asked for: only 1 can be."""
    return [float(number)] + [0.0] * 767


def body(vectors: Any, **more: Any) -> dict[str, Any]:
    return {"vectors": np.asarray(vectors, float).tolist(), "method": "vec2text", **more}


def test_the_cosine_is_that_of_the_text_encoded_again(scene: Scene, url: str):
    asked = 3 * scene.vectors[:6].astype(float)
    scene.asked()
    status, answer = ask(f"{url}/decode", body(asked, steps=7, beam=2))
    assert status == 200 and answer["method"] == "vec2text", answer
    assert scene.asked() == [[6, 7, 2]]
    for vector, (found,) in zip(asked, answer["results"], strict=True):
        assert found["text"] == scene.texts[int(np.argmax(vector)) % len(scene.texts)]
        again = scene.encoder.encode([found["text"]])[0].astype(float)
        assert found["cosine"] == pytest.approx(vector @ again / np.linalg.norm(vector), abs=1e-5)
        assert {name: found[name] for name in found if name not in ("text", "cosine")} == dict.fromkeys(
            ("row", "document", "title", "position", "section")
        )
    assert answer["milliseconds"]["encode"] > 0


def test_requests_with_like_settings_are_inverted_together(scene: Scene, url: str):
    """Twelve requests of two kinds meet in the queue: fewer calls of the process than requests, each its own text."""
    scene.asked()
    bodies = [body(scene.vectors[i : i + 1], steps=1 + i % 2) for i in range(12)]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda one: ask(f"{url}/decode", one), bodies))
    for i, (status, answer) in enumerate(answers):
        assert status == 200
        assert answer["results"][0][0]["text"] == scene.texts[int(np.argmax(scene.vectors[i])) % len(scene.texts)]
    calls = scene.asked()
    assert sum(count for count, _, _ in calls) == 12 and len(calls) < 12
    assert {steps for _, steps, _ in calls} == {1, 2}


def test_info_names_the_inverter(scene: Scene, url: str):
    _, info = ask(f"{url}/info")
    assert info["methods"] == ["nearest", "vec2text"] and info["notes"] == []
    assert info["inverter"]["dim"] == 768 and info["inverter"]["tokens"] == 32
    assert ask(f"{url}/health")[1]["status"] == "ok"


def test_a_crash_is_503_once(url: str, scene: Scene):
    status, answer = ask(f"{url}/decode", body([trouble(1)]))
    assert (status, answer["error"]["code"]) == (503, "inverter_restarting")
    assert ask(f"{url}/decode", body(scene.vectors[:1]))[0] == 200
    assert ask(f"{url}/health")[1]["status"] == "ok"


def test_an_empty_text_has_no_cosine(scene: Scene, tiny_encoder_url: str, serve):
    scene.play("ready", [" "])
    try:
        url = serve(scene.app(tiny_encoder_url))
    finally:
        scene.play("ready", scene.texts)
    assert ask(f"{url}/decode", body(scene.vectors[:2]))[1]["results"][1][0] == {
        "text": " ",
        "cosine": None,
        **dict.fromkeys(("row", "document", "title", "position", "section")),
    }


def test_an_encoder_that_is_down_is_502_and_said_in_health(scene: Scene, serve):
    url = serve(scene.app("http://127.0.0.1:9"))
    status, answer = ask(f"{url}/decode", body(scene.vectors[:1]))
    assert (status, answer["error"]["code"]) == (502, "encoder_down")
    assert "segue serve encoder" in answer["error"]["message"]
    assert ask(f"{url}/health")[1]["status"] == "degraded"
    assert ask(f"{url}/decode", {"vectors": scene.vectors[:1].tolist()})[0] == 200, "the nearest chunks need none"


def test_an_encoder_of_another_space_is_502(scene: Scene, serve, encoder_url: str):
    status, answer = ask(f"{serve(scene.app(encoder_url))}/decode", body(scene.vectors[:1]))
    assert (status, answer["error"]["code"]) == (502, "encoder_space")
    assert "384" in answer["error"]["message"] and "768" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"k": 2}, "unused"),
        ({"exclude_rows": [1]}, "unused"),
        ({"document": "doc-0"}, "unused"),
        ({"steps": 51}, "less_than_equal"),
        ({"beam": 0}, "greater_than_equal"),
    ],
)
def test_what_vec2text_does_not_do_is_refused(scene: Scene, url: str, more: dict, code: str):
    status, answer = ask(f"{url}/decode", body(scene.vectors[:1], **more))
    assert (status, answer["error"]["code"]) == (422, code)


def test_too_many_vectors_for_vec2text(scene: Scene, url: str):
    status, answer = ask(f"{url}/decode", body(np.repeat(scene.vectors[:1], 65, axis=0)))
    assert (status, answer["error"]["code"], answer["error"]["field"]) == (422, "too_long", "vectors")


def test_one_late_group_is_504_and_leaves_the_others_alone(scene: Scene):
    made = Inversion(str(scene.folder), scene.store.space)
    try:
        late = Ask(np.array(trouble(2)), 1, 1, time.monotonic() + 0.3)
        wrong = Ask(np.array(trouble(5)), 3, 1, time.monotonic() + 60)
        good = [Ask(vector, 2, 1, time.monotonic() + 60) for vector in scene.vectors[:2]]
        answers = made.answers([good[0], late, wrong, good[1]])
    finally:
        made.stop()
    expected = [scene.texts[int(np.argmax(vector)) % len(scene.texts)] for vector in scene.vectors[:2]]
    assert [answers[0], answers[3]] == expected
    refusals = [one for one in answers if isinstance(one, Refusal)]
    assert [(one.status, one.code) for one in refusals] == [(504, "inverter_late"), (502, "inverter_failed")]


def test_what_waited_too_long_is_not_begun(scene: Scene):
    """And the process is not killed for it."""
    made = Inversion(str(scene.folder), scene.store.space)
    scene.asked()
    try:
        answers = made.answers([Ask(scene.vectors[0], 1, 1, time.monotonic() - 1)])
        again = made.answers([Ask(scene.vectors[0], 2, 1, time.monotonic() + 60)])
    finally:
        made.stop()
    assert isinstance(answers[0], Refusal) and answers[0].status == 504
    assert isinstance(again[0], str) and scene.asked() == [[1, 2, 1]]


def test_an_inverter_that_does_not_fit_is_refused_at_the_start(scene: Scene):
    narrow = scene.make_store("narrow", Space("minilm", 384))
    with pytest.raises(InputError, match=r"384 wide \(minilm\).*gtr-t5-base.*ielabgroup"):
        Inversion(str(scene.folder), narrow.space)
    with pytest.raises(InputError, match="are of all-mpnet-base-v2"):
        Inversion(str(scene.folder), Space("all-mpnet-base-v2", 768))
    with pytest.raises(InputError, match="no folder and no known inverter"):
        Inversion("gtr-t5-bsae", scene.store.space)
    with pytest.raises(InputError, match="holds no folder 'inversion'"):
        Inversion(str(scene.encoder_folder), scene.store.space)
    scene.play("refuse", [])
    try:
        with pytest.raises(InputError, match="vec2text is not at home"):
            Inversion(str(scene.folder), scene.store.space)
    finally:
        scene.play("ready", scene.texts)


def test_a_store_of_gtr_is_told_how_to_get_text(scene: Scene, serve):
    gtr = Space("gtr-t5-base", 768, pooling="mean", dense=True)
    url = serve(decoder_app(StoreDecoder.of(scene.make_store("gtr", gtr)), Settings()))
    status, answer = ask(f"{url}/decode", body(scene.vectors[:1]))
    assert (status, answer["error"]["code"]) == (422, "no_inverter")
    assert "--inverter gtr-t5-base" in answer["error"]["message"]
