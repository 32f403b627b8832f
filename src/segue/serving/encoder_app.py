"""The encoder service: POST /encode, OpenAI's POST /v1/embeddings and GET /v1/models, GET /info."""

import time

from fastapi import FastAPI

from segue.serving.batching import Batcher
from segue.serving.bodies import SpaceBody
from segue.serving.encoder_bodies import (
    Embedding,
    EmbeddingsAnswer,
    EmbeddingsBody,
    EncodeAnswer,
    EncodeBody,
    EncoderInfo,
    EncodeTimes,
    ModelCard,
    ModelList,
    Usage,
)
from segue.serving.encoding import Encoded, TextEncoder
from segue.serving.http import Router, Service, create_app
from segue.serving.limits import Settings
from segue.serving.metrics import Metrics
from segue.serving.refusals import Refusal, problems

ABOUT = (
    "Text to unit vectors. Requests that arrive together are encoded together. The vectors are those of `segue embed`."
)
MAX_WAIT = (
    0.004  # seconds under load. Of 32 clients two workers got 15 texts a batch instead of 9, a sixth cheaper each
)
PASSES = 2  # passes in one batch of the queue: sorted by length, each then holds less padding


def encoder_app(encoder: TextEncoder, settings: Settings) -> FastAPI:
    """The service around an encoder."""
    metrics = Metrics()
    queue: Batcher[str, Encoded] = Batcher(
        encoder.answers,
        max_batch=PASSES * encoder.batch,
        max_queue=settings.max_queue,
        workers=encoder.workers,
        max_wait=MAX_WAIT,
        metrics=metrics.queue("encode"),
        name="encode",
    )
    router = Router()
    _add_own(router, encoder, queue)
    _add_openai(router, encoder, queue)
    return create_app(Service("encoder", ABOUT, router, running=lambda: queue, metrics=metrics), settings)


def _add_own(router: Router, encoder: TextEncoder, queue: Batcher[str, Encoded]) -> None:
    space = SpaceBody.of(encoder.space)

    @router.post("/encode", tags=["encoder"], summary="Unit vectors of texts", responses=problems(422))
    async def encode(body: EncodeBody) -> EncodeAnswer:
        done = await queue.submit(body.texts)
        return EncodeAnswer(
            embeddings=[one.vector_D.tolist() for one in done.results],
            shape=[len(done.results), space.dim],
            space=space,
            milliseconds=EncodeTimes(queue=round(1000 * done.waited, 3), encode=round(1000 * done.worked, 3)),
        )

    @router.get("/info", tags=["encoder"], summary="The encoder, its space and its limits")
    async def info() -> EncoderInfo:
        return EncoderInfo(
            encoder=encoder.space.encoder,
            names=encoder.names,
            space=space,
            precision=encoder.precision,
            fidelity=encoder.fidelity.to_json() if encoder.fidelity else None,
            max_tokens=encoder.max_tokens,
            batch=encoder.batch,
            device=encoder.device,
        )


def _add_openai(router: Router, encoder: TextEncoder, queue: Batcher[str, Encoded]) -> None:
    loaded = int(time.time())

    @router.post(
        "/v1/embeddings", tags=["OpenAI"], summary="OpenAI-compatible embeddings", responses=problems(404, 422)
    )
    async def embeddings(body: EmbeddingsBody) -> EmbeddingsAnswer:
        if body.model not in encoder.names:
            wanted = ", ".join(encoder.names)
            raise Refusal(404, f"model: not served here. Known: {wanted}.", code="model_not_found", field="model")
        if body.dimensions not in (None, encoder.space.dim):
            raise Refusal(
                422,
                f"dimensions: found {body.dimensions}, the encoder gives {encoder.space.dim}. Leave it out.",
                code="wrong_width",
                field="dimensions",
            )
        texts = [body.input] if isinstance(body.input, str) else body.input
        done = await queue.submit(texts)
        tokens = sum(one.tokens for one in done.results)
        return EmbeddingsAnswer(
            data=[Embedding.of(i, one.vector_D, body.encoding_format) for i, one in enumerate(done.results)],
            model=body.model,
            usage=Usage(prompt_tokens=tokens, total_tokens=tokens),
        )

    @router.get("/v1/models", tags=["OpenAI"], summary="What `model` may be")
    async def models() -> ModelList:
        return ModelList(data=[ModelCard(id=name, created=loaded) for name in encoder.names])
