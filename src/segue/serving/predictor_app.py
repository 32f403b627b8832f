"""The predictor service: POST /infer, /predict, /chat, GET /info."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
from fastapi import FastAPI, Request
from prometheus_client import Counter
from starlette.responses import Response

from segue.serving.afar import RemoteHelpers
from segue.serving.batching import Batcher
from segue.serving.chat import (
    Message,
    context_of_chunks,
    context_of_stored,
    context_of_text,
    said,
)
from segue.serving.http import Router, Service, create_app
from segue.serving.limits import Settings
from segue.serving.metrics import Metrics
from segue.serving.prediction import Clock, Context, Step, Wish, roll_out
from segue.serving.predictor_answers import ChatAnswer, InferAnswer, InferTimes, ModelInfo, PredictAnswer, PredictorInfo
from segue.serving.predictor_bodies import ChatBody, InferBody, PredictBody
from segue.serving.refusals import Refusal, problems
from segue.serving.served import Answer, ContextError, Question, ServedModel, answer
from segue.serving.shelf import DeprecatedModelError, LoadingModelError, Served, Shelf, UnknownModelError
from segue.serving.telling import chat_json, prediction_json
from segue.serving.upstream import Upstream

ABOUT = (
    "What comes next: the predicted vector of a context, the passages of a store nearest to it, and how much of it "
    "is a copy of what was just read."
)
BATCH = 256  # contexts in one batch of the queue


class Predicting:
    """What the routes share: the models, the helpers, the counters."""

    def __init__(self, served: Served, encoder: Upstream, decoder: Upstream, settings: Settings):
        self.served, self.metrics = served, Metrics()
        self.queue: Batcher[Question, Answer] = Batcher(
            answer, max_batch=BATCH, max_queue=settings.max_queue, metrics=self.metrics.queue("predict"), name="predict"
        )
        self.helpers = RemoteHelpers(encoder, decoder, self.queue)
        registry = self.metrics.registry
        self._predicted = Counter("segue_predictions", "Contexts answered", ["model"], registry=registry)
        self._copies = Counter("segue_copies_warned", "Copy warnings given", ["model"], registry=registry)
        self._reading = asyncio.Lock()

    async def shelf(self) -> Shelf:
        """The models as they are now: a registry that changed is read before the request that finds it so, but nobody
        waits for what is new in it to be loaded."""
        if self.served.stale:
            async with self._reading:
                await asyncio.to_thread(self.served.refresh)
        return self.served.shelf

    async def find(self, name: str | None) -> ServedModel:
        """The model of a name, or the default. Raises UnknownModelError, LoadingModelError, DeprecatedModelError."""
        return (await self.shelf()).find(name)

    async def rolled(self, model: ServedModel, context: Context, wish: Wish, clock: Clock) -> list[Step]:
        """A rollout, counted."""
        steps = await roll_out(model, context, wish, self.helpers, clock)
        self.count(model, len(steps), sum(step.copy.warning is not None for step in steps))
        return steps

    def count(self, model: ServedModel, predictions: int, copies: int = 0) -> None:
        self._predicted.labels(model.name).inc(predictions)
        self._copies.labels(model.name).inc(copies)

    async def trouble(self) -> list[str]:
        """Why it is not well."""
        shelf = await self.shelf()
        spaces = {model.model.space.id: model.model.space for model in shelf.models.values()}
        return [*await asyncio.to_thread(self.served.trouble), *await self.helpers.trouble([*spaces.values()])]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        try:
            async with self.helpers.encoder, self.helpers.decoder, self.queue:
                yield
        finally:
            self.served.end()


def predictor_app(served: Served, encoder: Upstream, decoder: Upstream, settings: Settings) -> FastAPI:
    """The service around models, an encoder service and a decoder service."""
    predicting = Predicting(served, encoder, decoder, settings)
    router = Router(tags=["predictor"])
    router.include_router(_infer(predicting))
    router.include_router(_predict(predicting))
    router.include_router(_info(predicting))
    service = Service(
        "predictor",
        ABOUT,
        router,
        running=predicting.running,
        health=predicting.trouble,
        metrics=predicting.metrics,
    )
    app = create_app(service, settings)
    for kind in (ContextError, UnknownModelError, LoadingModelError, DeprecatedModelError):
        app.add_exception_handler(kind, _declined)
    return app


async def _declined(_: Request, error: Exception) -> Response:
    """What the plain objects refuse, with its status and its short name."""
    if isinstance(error, UnknownModelError):
        return Refusal(404, str(error), code="unknown_model", field="model").response()
    if isinstance(error, LoadingModelError):
        return Refusal(503, str(error), code="loading", field="model", retry_after=2).response()
    if isinstance(error, DeprecatedModelError):
        return Refusal(410, str(error), code="deprecated", field="model").response()
    assert isinstance(error, ContextError)
    return Refusal(422, str(error), code=error.code, field=error.field).response()


def _infer(predicting: Predicting) -> Router:
    router = Router()

    @router.post(
        "/infer",
        summary="The predicted vector of a context, or of many",
        responses=problems(404, 410, 422),
        response_model_exclude_none=True,
    )
    async def infer(body: InferBody) -> InferAnswer:
        began = time.perf_counter()
        model = await predicting.find(body.model)
        many, given = body.contexts()
        contexts = [_context(vectors) for vectors in given]
        for i, context_LD in enumerate(contexts):
            model.require(context_LD, f"context_vectors[{i}]" if many else "context_vectors")
        asked = [Question(model, context_LD, body.steering, both=True) for context_LD in contexts]
        done = await predicting.queue.submit(asked)
        predicting.count(model, len(contexts))
        vectors = [one.prediction_D.tolist() for one in done.results]
        means = [one.mean_D.tolist() for one in done.results if one.mean_D is not None]
        cosines = [one.cosine_last for one in done.results]
        return InferAnswer(
            model=model.name,
            predicted_vector=None if many else vectors[0],
            predicted_vectors=vectors if many else None,
            mean_vector=None if many or not means else means[0],
            mean_vectors=means if many and means else None,
            copy_cosine=cosines if many else cosines[0],
            warnings=model.warnings(body.steering),
            milliseconds=InferTimes(
                queue=round(1000 * done.waited, 3),
                predict=round(1000 * done.worked, 3),
                total=round(1000 * (time.perf_counter() - began), 3),
            ),
        )

    return router


def _context(vectors: list[list[float]]) -> np.ndarray:
    """(L, D) float32. Raises ContextError for vectors of different widths."""
    width = len(vectors[0])
    odd = next((i for i, vector in enumerate(vectors) if len(vector) != width), None)
    if odd is not None:
        told = f"context_vectors: vector {odd} is {len(vectors[odd])} wide, vector 0 is {width}: one width is wanted."
        raise ContextError(told, "wrong_width", "context_vectors")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as that
        return np.array(vectors, dtype=np.float64).astype(np.float32)


def _predict(predicting: Predicting) -> Router:
    router, helpers = Router(), predicting.helpers
    statuses = problems(404, 410, 422, 502)

    @router.post("/predict", summary="The passages that come next", responses=statuses)
    async def predict(body: PredictBody) -> PredictAnswer:
        model, wish, clock = await predicting.find(body.model), body.wish(), Clock()
        if body.texts is not None:
            context = await context_of_chunks(body.texts, model, helpers, clock)
        elif body.document is not None:
            context = await context_of_text([body.document.text], model, helpers, clock, "document.text")
        else:
            assert body.stored is not None
            context = await context_of_stored(body.stored.id, body.stored.upto, model, helpers, clock)
        steps = await predicting.rolled(model, context, wish, clock)
        return PredictAnswer.model_validate(prediction_json(model, context, wish, steps, clock, body.vectors))

    @router.post("/chat", summary="What would come next after what was said", responses=statuses)
    async def chat(body: ChatBody) -> ChatAnswer:
        model, wish, clock = await predicting.find(body.model), body.wish(), Clock()
        messages = [Message(message.role, message.content) for message in body.messages]
        context = await context_of_text(said(messages, body.continue_ is not None), model, helpers, clock)
        steps = await predicting.rolled(model, context, wish, clock)
        return ChatAnswer.model_validate(chat_json(model, context, wish, steps, clock))

    return router


def _info(predicting: Predicting) -> Router:
    router = Router()

    @router.get("/info", summary="The models, and the services they work with")
    async def info() -> PredictorInfo:
        shelf = await predicting.shelf()
        return PredictorInfo(
            models=[ModelInfo.model_validate(model.info()) for model in shelf.models.values()],
            default=shelf.default,
            deprecated=dict(shelf.deprecated),
            encoder=predicting.helpers.encoder.url,
            decoder=predicting.helpers.decoder.url,
        )

    return router
