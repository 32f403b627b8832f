"""Routes of the comparison: the page, and the same as Markdown, CSV and JSON."""

from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from segue.report.compare_page import to_markdown
from segue.report.names import POOLS
from segue.serving.refusals import Refusal
from segue.serving.studio.comparison import Comparisons, chosen, to_csv
from segue.serving.studio.listing import Runs
from segue.serving.studio.pages import Pages

TYPES = {"md": "text/markdown", "csv": "text/csv", "json": "application/json"}


class ComparePages:
    def __init__(self, runs: Runs, pages: Pages):
        self._runs, self._pages = runs, pages
        self._comparisons = Comparisons(runs)

    def router(self) -> APIRouter:
        router = APIRouter(include_in_schema=False)

        @router.get("/compare")
        async def compare(request: Request) -> Response:
            return await run_in_threadpool(self.page, request)

        @router.get("/compare.{form}")
        async def export(request: Request, form: str) -> Response:
            return await run_in_threadpool(self.export, request, form)

        return router

    def page(self, request: Request) -> Response:
        choice = chosen(request.query_params, self._runs)
        found = self._comparisons.of(choice)
        contents: dict[str, Any] = {"headline": "", "sections": []}
        if found is not None:
            contents = self._comparisons.contents(found)
        return self._pages.answer(
            "compare_page.html.j2",
            choice=choice,
            names=list(self._runs.folders()),
            query=request.url.query,
            all_pools=POOLS,
            **contents,
        )

    def export(self, request: Request, form: str) -> Response:
        """Raises Refusal 404 for another form, or where there is nothing to compare."""
        found = self._comparisons.of(chosen(request.query_params, self._runs)) if form in TYPES else None
        if found is None:
            raise Refusal(404, "no such export; /compare.md, .csv and .json of runs there are.")
        headers = {"Content-Disposition": f'attachment; filename="comparison.{form}"'}
        if form == "json":
            return JSONResponse(found.to_json(), headers=headers)
        text = to_markdown(found) if form == "md" else to_csv(found)
        return Response(text, headers=headers, media_type=f"{TYPES[form]}; charset=utf-8")
