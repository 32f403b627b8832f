"""Routes of the pages about runs: the list, and each run's four views. Both update while a run trains."""

from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from segue.report.run import read_begun
from segue.serving.studio import run_page
from segue.serving.studio.listing import Card, Kept, Runs
from segue.serving.studio.pages import Pages, html

VIEWS = (("training", "Training"), ("report", "5CAT report"), ("notes", "Notes"), ("card", "Model card"))


class RunPages:
    """What the routes answer; each method runs in a thread, for it reads files."""

    def __init__(self, runs: Runs, pages: Pages):
        self._runs, self._pages = runs, pages
        self._reports = Kept(8)

    def router(self) -> APIRouter:
        router = APIRouter(include_in_schema=False)

        @router.get("/")
        async def runs() -> Response:
            return await run_in_threadpool(self.list)

        @router.get("/live/runs")
        async def runs_again(request: Request) -> Response:
            return await run_in_threadpool(self.list_again, request)

        @router.get("/runs/{name:path}")
        async def run(name: str, view: str = "training") -> Response:
            return await run_in_threadpool(self.run, name, view)

        @router.get("/live/runs/{name:path}")
        async def run_again(request: Request, name: str) -> Response:
            return await run_in_threadpool(self.run_again, request, name)

        @router.get("/curves/{name:path}")
        async def curves(name: str) -> Response:
            return await run_in_threadpool(self.curves, name)

        return router

    def _listed(self) -> dict[str, Any]:
        cards = self._runs.cards()
        small = any(card.row and card.row.figures["cos"].small for card in cards)
        return {
            "cards": cards,
            "root": self._runs.root,
            "live": sum(card.live for card in cards),
            "small": small,
        }

    def list(self) -> Response:
        contents = self._listed()
        mark = self._pages.mark("runs_list.html.j2", **contents)
        return self._pages.answer("runs.html.j2", list=self._pages.part("runs_list.html.j2", mark=mark, **contents))

    def list_again(self, request: Request) -> Response:
        return self._pages.again(request, "runs_list.html.j2", **self._listed())

    def _card(self, name: str) -> Card:
        return self._runs.card(name, self._runs.folder(name))

    def run(self, name: str, view: str) -> Response:
        card = self._card(name)
        if card.view is None:
            return self._pages.answer("run_damaged.html.j2", card=card)
        shown = {"training": self._training, "report": self._report, "notes": self._notes, "card": self._model_card}
        return shown.get(view, self._training)(card)

    def _training(self, card: Card) -> Response:
        run = read_begun(self._runs.folder(card.name))
        contents = run_page.now(card, run)
        mark = self._pages.mark("run_live.html.j2", **contents)
        return self._view(
            "run_training.html.j2",
            card,
            "training",
            now=self._pages.part("run_now.html.j2", mark=mark, **contents),
            after=self._pages.part("run_after.html.j2", swap=False, **contents),
            facts=run_page.facts(run),
            recipe=run.recipe,
        )

    def run_again(self, request: Request, name: str) -> Response:
        card, run = self._card(name), read_begun(self._runs.folder(name))
        if card.view is None:
            return Response(status_code=204)
        return self._pages.again(request, "run_live.html.j2", **run_page.now(card, run))

    def curves(self, name: str) -> Response:
        return JSONResponse(run_page.curves(read_begun(self._runs.folder(name))), headers={"Cache-Control": "no-store"})

    def _report(self, card: Card) -> Response:
        folder = self._runs.folder(card.name)

        def made() -> str | None:
            found = run_page.report(folder)
            return None if found is None else self._text("run_report.html.j2", card, "report", **found)

        text = self._reports.of(card.name, [folder], made)
        if text is None:
            what, command = "Not tested yet", f"segue 5cat {folder}"
            return self._absent(card, "report", what, "The 5CAT says what the run is worth, once it is run:", command)
        return html(text)

    def _notes(self, card: Card) -> Response:
        text = run_page.notes_html(self._runs.folder(card.name))
        if text is None:
            return self._absent(card, "notes", "Nothing to note yet", "Notes are written of a run with an epoch.", "")
        return self._view("run_text.html.j2", card, "notes", text=text)

    def _model_card(self, card: Card) -> Response:
        folder = self._runs.folder(card.name)
        text = run_page.card_html(folder)
        if text is None:
            remedy = "A card tells what a run is worth, so it needs a 5CAT:"
            return self._absent(card, "card", "Not tested yet", remedy, f"segue 5cat {folder}")
        return self._view("run_text.html.j2", card, "card", text=text)

    def _absent(self, card: Card, view: str, what: str, remedy: str, command: str) -> Response:
        return self._view("run_absent.html.j2", card, view, what=what, remedy=remedy, command=command)

    def _text(self, template: str, card: Card, view: str, **contents: Any) -> str:
        return self._pages.text(template, card=card, view=view, views=VIEWS, **contents)

    def _view(self, template: str, card: Card, view: str, **contents: Any) -> Response:
        return html(self._text(template, card, view, **contents))
