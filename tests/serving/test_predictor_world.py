"""The predictor when the world around it changes: services down, a registry, a run deleted."""

import asyncio
import shutil
import socket
import threading
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest
from asking import ask
from predictor_world import closed_url, error_of, service, texts_of
from small_runs import small_run

from conftest import Serve
from segue.serving import predictor_answers, predictor_bodies, registry
from segue.serving.bodies import Body
from segue.serving.limits import Settings
from segue.serving.predictor_app import Predicting
from segue.serving.served import ServedModel, load_served
from segue.serving.shelf import Served
from segue.serving.upstream import Upstream
from segue.vectors import Store


def test_a_service_that_is_down_is_named_with_what_to_start(
    serve: Serve, text_run: Path, text_store: Store, encoder_url: str, decoder_url: str, vectors_ND: np.ndarray
):
    texts = texts_of(text_store, slice(0, 5))
    deaf = service(serve, Served.runs({"small": text_run}), closed_url(), decoder_url)
    error_of(ask(f"{deaf}/predict", {"texts": texts}), 502, "encoder_down", "segue serve encoder")
    assert ask(f"{deaf}/infer", {"context_vectors": vectors_ND[:5].tolist()})[0] == 200
    health = ask(f"{deaf}/health")[1]
    assert health["status"] == "degraded" and "segue serve encoder" in health["why"][0]
    blind = service(serve, Served.runs({"small": text_run}), encoder_url, closed_url())
    error_of(ask(f"{blind}/predict", {"texts": texts}), 502, "decoder_down", "segue serve decoder --store STORE")
    error_of(ask(f"{blind}/chat", {"messages": [{"role": "user", "content": "\n\n".join(texts)}]}), 502, "decoder_down")
    assert "segue serve decoder" in ask(f"{blind}/health")[1]["why"][0]


def test_health_does_not_wait_for_a_service_that_hangs(serve: Serve, text_run: Path, decoder_url: str):
    """What takes a connection and never answers: told within the patience, not after the deadline."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        its = service(serve, Served.runs({"small": text_run}), url, decoder_url)
        health = ask(f"{its}/health")[1]
    assert health["why"] == [f"the encoder at {url} does not answer within 2 s."]


def test_a_model_of_another_space_is_refused(
    serve: Serve, tmp_path: Path, text_store: Store, encoder_url: str, decoder_url: str
):
    """Vectors of another encoder would be compared in silence: one clear error instead, and /health says it too."""
    run = small_run(tmp_path / "foreign", None)
    foreign = service(serve, Served.runs({"foreign": run}), encoder_url, decoder_url)
    error = error_of(ask(f"{foreign}/predict", {"texts": ["x y z."] * 5}), 502, "wrong_space", "384 wide", "wants 16")
    assert "segue serve encoder" in error["message"]
    assert ["384 wide" in line for line in ask(f"{foreign}/health")[1]["why"]] == [True, True]
    crossed = service(serve, Served.runs({"small": run}), decoder_url, encoder_url)
    assert ask(f"{crossed}/predict", {"texts": ["x y z."] * 5})[0] in (404, 502), "the wrong service at the URL"


def test_a_registry_followed_over_http(
    serve: Serve,
    tmp_path: Path,
    text_run: Path,
    causal_run: Path,
    encoder_url: str,
    decoder_url: str,
    vectors_ND: np.ndarray,
):
    folder, copied = tmp_path / "registry", tmp_path / "copied"
    shutil.copytree(text_run, copied, symlinks=True)
    registry.add(folder, "old", copied)
    registry.add(folder, "new", causal_run)
    registry.promote(folder, "old", force=True, why="a test")
    its = service(serve, Served.registry(folder), encoder_url, decoder_url)
    body = {"context_vectors": vectors_ND[:5].tolist()}
    assert ask(f"{its}/infer", body)[1]["model"] == "old" and ask(f"{its}/health")[1]["status"] == "ok"
    registry.promote(folder, "new", force=True, why="a test")
    assert ask(f"{its}/infer", body)[1]["model"] == "new", "the request that finds the registry changed sees the change"
    registry.deprecate(folder, "old", "new")
    error = error_of(ask(f"{its}/infer", {**body, "model": "old"}), 410, "deprecated", "Use new.")
    assert error["field"] == "model"
    info = ask(f"{its}/info")[1]
    assert (info["default"], info["deprecated"]) == ("new", {"old": "new"})
    assert [(model["name"], model["status"]) for model in info["models"]] == [("new", "production")]
    (folder / "registry.json").write_text("{")
    assert ask(f"{its}/infer", body)[1]["model"] == "new"
    health = ask(f"{its}/health")[1]
    assert health["status"] == "degraded" and "registry.json" in health["why"][0]


def test_nobody_waits_while_what_was_promoted_loads(
    serve: Serve, tmp_path: Path, text_run: Path, causal_run: Path, decoder_url: str, vectors_ND: np.ndarray
):
    folder, may_load = tmp_path / "registry", threading.Event()
    registry.add(folder, "old", text_run)
    registry.promote(folder, "old", force=True, why="a test")

    def slow(name: str, *rest: Any) -> ServedModel:
        assert name == "old" or may_load.wait(60)
        return load_served(name, *rest)

    followed = Served.registry(folder, slow)
    its = service(serve, followed, decoder_url, decoder_url)
    registry.add(folder, "new", causal_run)
    registry.promote(folder, "new", force=True, why="a test")
    body = {"context_vectors": vectors_ND[:5].tolist()}
    assert ask(f"{its}/infer", body)[1]["model"] == "old"
    error_of(ask(f"{its}/infer", {**body, "model": "new"}), 503, "loading", "new is being loaded")
    info = ask(f"{its}/info")[1]
    assert [model["name"] for model in info["models"]] == [info["default"]] == ["old"]
    may_load.set()
    followed.settled()
    assert ask(f"{its}/infer", body)[1]["model"] == "new"


def test_a_service_that_ends_loads_nothing_more(tmp_path: Path):
    """Its process would stay until every model that the registry had news of is loaded, for nobody."""
    folder, begun, may_load, loads = tmp_path / "registry", threading.Event(), threading.Event(), list[str]()
    registry.add(folder, "a", small_run(tmp_path / "a"))

    def slow(name: str, *rest: Any) -> ServedModel:
        loads.append(name)
        if name != "a":
            begun.set()
            assert may_load.wait(60)
        return load_served(name, *rest)

    its = Served.registry(folder, slow)
    upstreams = [Upstream(name, closed_url(), f"segue serve {name}") for name in ("encoder", "decoder")]
    predicting = Predicting(its, *upstreams, Settings())

    async def lived() -> None:
        async with predicting.running():
            for name in "bc":
                registry.add(folder, name, small_run(tmp_path / name))
            await predicting.shelf()
            assert await asyncio.to_thread(begun.wait, 60)

    asyncio.run(lived())
    may_load.set()
    its.settled()
    assert loads[0] == "a" and len(loads) == 2, "the one it was at, b or c"


def test_a_run_deleted_under_the_service(
    serve: Serve, tmp_path: Path, text_run: Path, encoder_url: str, decoder_url: str, vectors_ND: np.ndarray
):
    copied = tmp_path / "copied"
    shutil.copytree(text_run, copied, symlinks=True)
    its = service(serve, Served.runs({"small": copied}), encoder_url, decoder_url)
    body = {"context_vectors": vectors_ND[:5].tolist()}
    before = ask(f"{its}/infer", body)[1]["predicted_vector"]
    shutil.rmtree(copied)
    assert ask(f"{its}/infer", body)[1]["predicted_vector"] == pytest.approx(before, abs=1e-7)
    health = ask(f"{its}/health")[1]
    assert health["status"] == "degraded" and "small: its folder is gone" in health["why"][0]


def test_metrics_count_what_each_model_did(
    serve: Serve, text_run: Path, text_store: Store, encoder_url: str, decoder_url: str
):
    its = service(serve, Served.runs({"small": text_run}), encoder_url, decoder_url)
    texts = texts_of(text_store, slice(0, 5))
    value = ask(f"{its}/predict", {"texts": texts, "steps": 4})[1]
    warned = sum(step["copy"]["warning"] is not None for step in value["steps"])
    with urlopen(f"{its}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    assert 'segue_predictions_total{model="small"} 4.0' in lines
    assert f'segue_copies_warned_total{{model="small"}} {float(warned)}' in lines
    assert load_served("small", text_run).status == "served"


def test_every_example_of_the_document_is_one(url: str):
    """What /docs offers to try is accepted by the very body it stands for."""
    tried = 0
    for module in (predictor_bodies, predictor_answers):
        for kind in vars(module).values():
            own = isinstance(kind, type) and issubclass(kind, Body) and kind.__module__ == module.__name__
            if own and (extra := kind.model_config.get("json_schema_extra")):
                kind.model_validate(extra["example"])
                tried += 1
    assert tried == 7
    document = ask(f"{url}/openapi.json")[1]
    for path, statuses in {"/infer": (404, 410, 422), "/predict": (404, 410, 422, 502), "/chat": (410, 502)}.items():
        assert {str(status) for status in statuses} <= document["paths"][path]["post"]["responses"].keys()
