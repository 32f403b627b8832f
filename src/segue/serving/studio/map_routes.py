"""Routes of the map and the chat. Cosines are made here, from the store; what is predicted, the predictor says."""

import asyncio
from typing import Annotated, Any

import numpy as np
from fastapi import Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from segue.errors import InputError
from segue.geometry import normalise
from segue.serving.http import Router
from segue.serving.passages import Passages
from segue.serving.refusals import Refusal, problems
from segue.serving.studio import document_map
from segue.serving.studio.document_map import FARTHEST, Span, span_of
from segue.serving.studio.near import Near
from segue.serving.studio.pages import Pages
from segue.vectors import Space, Store, require_same_space

BEGINNING = 12  # chunks
NO_STORE = "the studio was started without a store; start it with: segue serve studio --store STORE"


class MapPages:
    """`passages` belong to `store`; both None where the studio has none."""

    def __init__(self, store: Store | None, passages: Passages | None, near: Near, pages: Pages):
        self._store, self._passages, self._near, self._pages = store, passages, near, pages

    def router(self) -> Router:
        router = Router()

        @router.get("/map", include_in_schema=False)
        async def map_(request: Request) -> Response:
            name = self._store.path.resolve().name if self._store else ""
            return self._pages.answer("map.html.j2", store=name, most=document_map.MOST)

        @router.get("/chat", include_in_schema=False)
        async def chat() -> Response:
            return self._pages.answer("chat.html.j2", store=bool(self._store))

        @router.get("/api/map", tags=["studio"], summary="A document's map", responses=problems(404, 422))
        async def data(
            document: Annotated[str, Query(min_length=1, max_length=1000)],
            start: Annotated[int, Query(ge=0, le=1 << 31)] = 0,
            model: Annotated[str, Query(max_length=64)] = "",
            steering: Annotated[float, Query(ge=0, lt=1)] = 0.0,
        ) -> Response:
            return JSONResponse(await self.map(document, start, model, steering))

        @router.get("/api/texts", tags=["studio"], summary="How a document begins", responses=problems(404, 422))
        async def texts(document: Annotated[str, Query(min_length=1, max_length=1000)]) -> Response:
            return JSONResponse(await asyncio.to_thread(self.beginning, document))

        return router

    def _span(self, document: str, start: int) -> Span:
        """Raises Refusal 404 without a store, and for an unknown document."""
        if self._passages is None:
            raise Refusal(404, NO_STORE, code="no_store")
        span = span_of(self._passages, document, start)
        if span is None:
            raise Refusal(404, "document: the store holds no such document.", code="unknown_document", field="document")
        return span

    def beginning(self, document: str) -> dict[str, Any]:
        """The texts of its first chunks, None where the store keeps none."""
        rows = self._span(document, 0).rows
        assert self._passages is not None
        return {"texts": [one.text for one in self._passages.at(range(rows.start, rows.stop)[:BEGINNING])]}

    async def map(self, document: str, start: int, model: str, steering: float) -> dict[str, Any]:
        """The document's chunks and likeness; the predictions too, or `trouble`: why there are none.

        Raises Refusal 404 without a store, and for an unknown document.
        """
        span = self._span(document, start)
        assert self._store is not None
        vectors_nD = await asyncio.to_thread(document_map.vectors_of, self._store, span)
        found = await asyncio.to_thread(self._described, span, vectors_nD)
        try:
            return {**found, **await self._predicted(span, vectors_nD, model, steering)}
        except Refusal as refusal:
            return {**found, "trouble": refusal.message}

    def _described(self, span: Span, vectors_nD: np.ndarray) -> dict[str, Any]:
        assert self._passages is not None
        chunks = self._passages.at(range(span.rows.start, span.rows.stop))
        return {
            "document": {"id": span.document, "title": chunks[0].title, "total": span.total, "start": span.start},
            "chunks": [{"position": one.position, "text": one.text, "section": one.section} for one in chunks],
            "likeness": document_map.likeness(vectors_nD),
            "model": None,
            "steps": [],
            "summary": None,
            "trouble": None,
        }

    async def _predicted(self, span: Span, vectors_nD: np.ndarray, model: str, steering: float) -> dict[str, Any]:
        """Raises Refusal where the predictor is down, serves no such model, or one of another space."""
        assert self._store is not None
        info = await self._near.model(model)
        try:
            require_same_space(Space.from_json(info["space"]), self._store.space, "the model", "the studio's store")
        except InputError as error:
            raise Refusal(422, f"{error} Or choose another model.") from None
        at = document_map.places(self._store.position_N[span.rows], info["context"], info["horizon"])
        told = {"model": {key: info[key] for key in ("name", "family", "context", "horizon", "status")}}
        if not at:
            wanted = info["context"] + info["horizon"]
            return {**told, "trouble": f"the document has no {wanted} chunks in a row, so nothing is predicted in it."}
        contexts = document_map.contexts(vectors_nD, at, min(info["reach"] or FARTHEST, FARTHEST))
        predicted = await self._near.infer(info["name"], contexts, steering)
        prediction_TD = normalise(np.asarray(predicted, dtype=np.float32))
        found = await asyncio.to_thread(document_map.map_of, vectors_nD, at, info["horizon"], prediction_TD)
        return {**told, **found}
