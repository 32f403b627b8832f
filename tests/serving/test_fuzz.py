"""A small run of the fuzzer (benchmarks/serving_fuzz.py), and that it finds what it looks for."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

# Loaded before any server's thread runs: Python 3.11 fails when two threads parse source at once, as it is imported.
import schemathesis.specs.openapi.schemas  # noqa: F401
from fastapi import FastAPI
from pydantic import ConfigDict
from starlette.responses import Response

from segue.serving.bodies import Body, Number
from segue.serving.decoder_app import decoder_app
from segue.serving.decoding import StoreDecoder
from segue.serving.http import Router, Service, create_app
from segue.serving.limits import Settings
from segue.serving.predictor_app import predictor_app
from segue.serving.refusals import Refusal, problems
from segue.serving.shelf import Served
from segue.serving.upstream import Upstream
from segue.vectors import Store
from serving_fuzz import fuzz, report

Serve = Callable[[FastAPI], str]


def test_the_encoder_stands_it(encoder_url: str):
    tally = fuzz(encoder_url, 110)
    assert not tally.findings, report(tally, 0)
    assert tally.requests >= 100
    statuses = {status for _, status in tally.answers}
    assert {200, 404, 422} <= statuses <= {200, 404, 413, 422}


def test_the_decoder_and_the_predictor_stand_it(serve: Serve, encoder_url: str, text_store: Store, text_run: Path):
    decoder_url = serve(decoder_app(StoreDecoder.of(text_store), Settings()))
    encoder, decoder = Upstream("encoder", encoder_url, "-"), Upstream("decoder", decoder_url, "-")
    predictor_url = serve(predictor_app(Served.runs({"small": text_run}), encoder, decoder, Settings()))
    for url, worked in ((decoder_url, "POST /decode"), (predictor_url, "POST /infer")):
        tally = fuzz(url, 80)
        assert not tally.findings, report(tally, 0)
        assert tally.answers[worked, 200] and tally.answers[worked, 422]
    lone = Served.runs({"small": text_run})
    closed = Upstream("encoder", "http://127.0.0.1:9", "-"), Upstream("decoder", "http://127.0.0.1:9", "-")
    tally = fuzz(serve(predictor_app(lone, *closed, Settings())), 50)
    assert not tally.findings and tally.answers["POST /predict", 502], report(tally, 0)


class Row(Body):
    model_config = ConfigDict(json_schema_extra={"example": {"numbers": [1.0, 2.0, 3.0]}})
    numbers: list[Number]


class Lax(Row):
    model_config = ConfigDict(strict=False, allow_inf_nan=True, extra="allow")
    numbers: list[Annotated[Any, "anything"]]


class Mean(Body):
    mean: float


def test_the_fuzzer_finds_what_is_broken(serve: Serve):
    """A test of the test: each of four services' usual faults, planted."""
    router = Router()

    @router.post("/bug", responses=problems(422))
    async def bug(body: Row) -> Mean:
        return Mean(mean=sum(body.numbers) / len(body.numbers))  # of no numbers

    @router.post("/undocumented", responses=problems(422))
    async def undocumented(body: Row) -> Mean:
        if len(body.numbers) != 3:
            raise Refusal(502, "the decoder is down.")
        return Mean(mean=0.0)

    @router.post("/other", responses=problems(422))
    async def other(body: Row) -> Mean:
        return Response('{"mean": "none", "more": 1}', media_type="application/json")  # type: ignore[return-value]

    @router.post("/nan", responses=problems(422))
    async def nan(body: Lax) -> Mean:
        return Response(f'{{"mean": {max([0.0, *body.numbers], key=repr)}}}', media_type="application/json")  # type: ignore[return-value]

    @router.get("/well")
    async def well() -> Mean:
        return Mean(mean=0.0)

    tally = fuzz(serve(create_app(Service("broken", "", router), Settings())), 300)
    found = {(name, wrong.split(" at ")[0].split(":")[0]) for name, wrong in tally.findings}
    assert {
        ("POST /bug", "500"),
        ("POST /undocumented", "502 is not documented"),
        ("POST /other", "200 is not the documented body"),
        ("POST /nan", "200 is no JSON"),
    } <= found
    assert not {name for name, _ in found} & {"GET /well", "GET /health", "GET /metrics"}
