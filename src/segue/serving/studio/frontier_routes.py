"""Route of the frontier: one plane at a time, with a list of what stands on it."""

from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from segue.report import frontier as report
from segue.report.run import FIVE_CAT, SPLITS
from segue.serving.studio.frontier import FEW, Gathered, gather, picture, shown
from segue.serving.studio.listing import Kept, Runs
from segue.serving.studio.pages import Pages


class FrontierPages:
    def __init__(self, runs: Runs, pages: Pages):
        self._runs, self._pages = runs, pages
        self._kept = Kept(2)

    def router(self) -> APIRouter:
        router = APIRouter(include_in_schema=False)

        @router.get("/frontier")
        async def frontier(request: Request) -> Response:
            return await run_in_threadpool(self.page, request)

        return router

    def _groups(self) -> list[Gathered]:
        cards = [card for card in self._runs.cards() if not card.problem]
        folders = self._runs.folders()
        tested = {card.name: folders[card.name] for card in cards if (folders[card.name] / FIVE_CAT).is_file()}
        return self._kept.of(tuple(tested), list(tested.values()), lambda: gather(tested)) if tested else []

    def page(self, request: Request) -> Response:
        groups = self._groups()
        if not groups:
            return self._pages.answer("frontier_page.html.j2", groups=[])
        choice = shown(request.query_params, len(groups))
        group = groups[choice.group]
        chart, listed = picture(group, choice)
        runs = sum(one.kind == "run" for one in listed)
        contents: dict[str, Any] = {
            "groups": [one.title for one in groups],
            "choice": choice,
            "axes": report.AXES,
            "splits": SPLITS,
            "chart": chart,
            "listed": listed,
            "crowded": runs > FEW,
            "measured": report.measured_on(group.found, choice.split) if chart else "",
            "without_curve": group.without_curve,
            "tables": report.tables(group.found),
        }
        return self._pages.answer("frontier_page.html.j2", **contents)
