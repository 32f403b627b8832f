"""The studio's HTTP: pages over run folders and a store, and a same-origin way to the predictor and the decoder."""

from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import Response

import segue.report
from segue.serving.assets import Assets
from segue.serving.http import Router, Service, create_app
from segue.serving.limits import Settings
from segue.serving.passages import Passages
from segue.serving.server import default_url
from segue.serving.studio.compare_routes import ComparePages
from segue.serving.studio.corpus_routes import CorpusPages
from segue.serving.studio.frontier_routes import FrontierPages
from segue.serving.studio.listing import Runs
from segue.serving.studio.map_routes import MapPages
from segue.serving.studio.near import Near
from segue.serving.studio.near_routes import near_routes
from segue.serving.studio.pages import Pages
from segue.serving.studio.run_routes import RunPages
from segue.vectors import Store

HERE = Path(__file__).parent / "studio"
ABOUT = "Pages for people: runs while they train, their reports, comparisons, data, predictions, a chat."


@dataclass(frozen=True)
class Sources:
    """What the studio looks at. `predictor`, `decoder`: addresses of the services; `store`: None shows no data."""

    runs: Path
    store: Path | None = None
    predictor: str = default_url("predictor")
    decoder: str = default_url("decoder")


def studio_app(sources: Sources, settings: Settings) -> FastAPI:
    """Raises InputError when the folder of runs or the store cannot be read."""
    pages, runs = Pages(), Runs(sources.runs)
    store = Store(sources.store) if sources.store else None
    passages = Passages(store) if store else None
    near = Near(sources.predictor, sources.decoder, settings.token)
    router = Router()
    router.include_router(RunPages(runs, pages).router())
    router.include_router(ComparePages(runs, pages).router())
    router.include_router(FrontierPages(runs, pages).router())
    router.include_router(CorpusPages(store, pages).router())
    router.include_router(MapPages(store, passages, near, pages).router())
    router.include_router(near_routes(near, passages))
    router.include_router(_static())
    return create_app(Service("studio", ABOUT, router, running=near.running, pages=True), settings)


def _static() -> APIRouter:
    """Styles and scripts: ours, those of others, the report's."""
    router = APIRouter(include_in_schema=False)
    ours = Assets(HERE / "static")
    others = Assets(HERE / "static" / "vendor")
    reports = Assets(Path(segue.report.__file__).parent / "templates")

    @router.get("/static/{name}")
    async def static(request: Request, name: str) -> Response:
        return ours.answer(request, name)

    @router.get("/vendor/{name}")
    async def vendor(request: Request, name: str) -> Response:
        return others.answer(request, name)

    @router.get("/report/{name}")
    async def report(request: Request, name: str) -> Response:
        return reports.answer(request, name)

    return router
