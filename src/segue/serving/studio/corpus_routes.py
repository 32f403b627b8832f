"""Routes of the corpus page: facts of the store, and its checks as they come."""

from dataclasses import replace
from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from segue.report.checks import contents
from segue.serving.refusals import Refusal
from segue.serving.studio.corpus import BOUNDS, Asked, Checks, asked_of, facts
from segue.serving.studio.pages import Pages
from segue.vectors.store import Store

NO_STORE = "the studio was started without a store; start it with: segue serve studio --store STORE"


class CorpusPages:
    def __init__(self, store: Store | None, pages: Pages):
        self._store, self._pages = store, pages
        self._checks = Checks(store) if store else None

    def router(self) -> APIRouter:
        router = APIRouter(include_in_schema=False)

        @router.get("/corpus")
        async def corpus(request: Request) -> Response:
            return await run_in_threadpool(self.page, request)

        @router.get("/live/corpus")
        async def corpus_again(request: Request) -> Response:
            return await run_in_threadpool(self.again, request)

        @router.get("/corpus.json")
        async def corpus_json(request: Request) -> Response:
            return await run_in_threadpool(self.json, request)

        return router

    def page(self, request: Request) -> Response:
        if self._store is None:
            return self._pages.answer("corpus.html.j2", store=None)
        asked = asked_of(dict(request.query_params))
        found = self._found(asked)
        mark = self._pages.mark("corpus_found.html.j2", **found)
        part = self._pages.part("corpus_found.html.j2", mark=mark, **found)
        return self._pages.answer(
            "corpus.html.j2", store=self._store, name=self._store.path.resolve().name, asked=asked, bounds=BOUNDS,
            found=part, facts=facts(self._store),
        )  # fmt: skip

    def again(self, request: Request) -> Response:
        if self._checks is None:
            raise Refusal(404, NO_STORE, code="no_store")
        return self._pages.again(request, "corpus_found.html.j2", **self._found(asked_of(dict(request.query_params))))

    def json(self, request: Request) -> Response:
        """Raises Refusal 404 without a store, 503 while the check runs, 422 where it could not be made."""
        if self._checks is None:
            raise Refusal(404, NO_STORE, code="no_store")
        job = self._checks.of(asked_of(dict(request.query_params)))
        if not job.over:
            raise Refusal(503, "the check is not done yet.", retry_after=2)
        if job.value is None:
            raise Refusal(422, job.why)
        return JSONResponse(job.value)

    def _found(self, asked: Asked) -> dict[str, Any]:
        assert self._checks is not None
        job = replace(self._checks.of(asked))  # as it is now: the check goes on while the page is made
        shown = contents(job.value) if job.value is not None else {}
        return {"job": job, "asked": asked, **shown}
