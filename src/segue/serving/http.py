"""The ground every service stands on: `create_app(service, settings)`.

Adds to a service's own routes: the gate (host, origin, token, body, deadline, request id), errors as one JSON body,
GET /health and /metrics, and an offline GET /docs.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Literal

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import ConfigDict, Field
from pydantic_core import from_json
from starlette.exceptions import HTTPException
from starlette.responses import Response

from segue.errors import InputError
from segue.serving.assets import STATIC, Assets
from segue.serving.bodies import NOT_BLANK, Body
from segue.serving.gate import Gate
from segue.serving.limits import Door, Settings
from segue.serving.metrics import CONTENT_TYPE, Metrics
from segue.serving.refusals import COMMON, Refusal, place, problems

MOST_KEYS = 64  # of one object in a body; none of ours has a third of that
# Commas in a body. While it is read no other request is: a third of a second for so many numbers, and 32 MiB of short
# ones took 1.3 s. It is twice what 256 contexts of 5 × 768 or 1,024 vectors of 768 hold.
MOST_VALUES = 1 << 21


class _JsonRequest(Request):
    """A request whose JSON is read by pydantic's parser: nine times faster than Python's on a list of numbers.

    It lets NaN pass, as Python's does: the field then refuses it by name.
    """

    async def json(self) -> Any:
        body = await self.body()
        if body.count(b",") > MOST_VALUES:
            raise HTTPException(413, f"the body holds more than {MOST_VALUES:,} values. Send less at a time.")
        value = from_json(body)
        _refuse_many_keys(value)
        return value


def _refuse_many_keys(value: Any) -> None:
    """Before they are looked at one by one: each key a body has no field for is an error of its own.

    Raises HTTPException, which is what FastAPI lets through where it reads a body.
    """
    if isinstance(value, dict):
        if len(value) > MOST_KEYS:
            raise HTTPException(422, f"an object has {len(value):,} keys, {MOST_KEYS} may be; see /docs for them.")
        inner: Iterable[Any] = value.values()
    else:
        inner = value if isinstance(value, list) and value and isinstance(value[0], dict) else ()
    for one in inner:
        _refuse_many_keys(one)


class _JsonRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            return await handle(_JsonRequest(request.scope, request.receive))

        return handler


class Router(APIRouter):
    """FastAPI's router, with a faster reading of bodies. A service's routes are made on one."""

    def __init__(self, **options: Any):
        super().__init__(route_class=_JsonRoute, **options)


async def _well() -> list[str]:
    return []


@dataclass
class Service:
    """One service, as `create_app` wants it.

    name      encoder, decoder, predictor, studio
    about     a paragraph for the OpenAPI document
    router    its routes, on a `Router`; handlers are `async` and give their work to a `Batcher`, so that a deadline can
              end them
    running   what lives as long as the app (queues, HTTP clients), entered before the first request and left after the
              last: `lambda: batcher`
    health    why it is not well, one line each; empty is well. Asked at GET /health, so it must be quick
    metrics   its counters: `metrics.queue("encode")` for a Batcher
    pages     serves pages to browsers: with a token set, a link `/?token=TOKEN` lets a browser in
    """

    name: str
    about: str
    router: APIRouter
    running: Callable[[], AbstractAsyncContextManager[Any]] = nullcontext
    health: Callable[[], Awaitable[list[str]]] = _well
    metrics: Metrics = field(default_factory=Metrics)
    pages: bool = False


class Health(Body):
    """Whether a service is well."""

    model_config = ConfigDict(json_schema_extra={"example": {"status": "ok", "why": []}})
    status: Literal["ok", "degraded"]
    why: list[str] = Field(description="What is not well, one line each.")
    service: str = Field(default="", description="encoder, decoder, predictor or studio.")
    version: str = Field(default="", description="The package's version.")


def create_app(service: Service, settings: Settings) -> FastAPI:
    """A FastAPI app around a service's routes. Knows no torch; start it with `server.serve`."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    app = FastAPI(
        title=f"segue {service.name}",
        description=service.about,
        version=version("segue"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses=problems(*COMMON),
        separate_input_output_schemas=False,
    )
    app.add_middleware(
        Gate,
        settings=settings,
        metrics=service.metrics,
        name=service.name,
        pages=service.pages,  # type: ignore[arg-type]
    )
    app.add_exception_handler(InputError, _bad_input)
    app.add_exception_handler(RequestValidationError, _bad_body)
    app.add_exception_handler(HTTPException, _plain)
    app.include_router(service.router)  # first: routes are tried in their order
    app.include_router(_ground(service, Door(settings, f"segue_{service.name}" if service.pages else None)))
    if settings.token:
        _document_token(app)
    return app


def _ground(service: Service, door: Door) -> APIRouter:
    """The routes of every service."""
    router, docs = Router(), Assets(STATIC / "swagger")

    @router.get("/health", tags=["ground"], summary="Is it well?")
    async def health(request: Request) -> Health:
        why = await service.health()
        if why and not door.knows(request.headers):  # the lines name folders and addresses
            why = ["ask with the token to be told why."]
        return Health(status="degraded" if why else "ok", why=why, service=service.name, version=version("segue"))

    @router.get(
        "/metrics",
        tags=["ground"],
        summary="Counters, in Prometheus' text format",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        return Response(service.metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    @router.get("/docs", include_in_schema=False)
    async def page(request: Request) -> Response:
        return docs.answer(request, "index.html")

    @router.get("/docs/{name}", include_in_schema=False)
    async def asset(request: Request, name: str) -> Response:
        return docs.answer(request, name)

    return router


def _document_token(app: FastAPI) -> None:
    """Say in the OpenAPI document that a bearer token is wanted; /docs then shows `Authorize`."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        document = plain()
        schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes["token"] = {"type": "http", "scheme": "bearer"}
        document["security"] = [{"token": []}]
        return document

    app.openapi = openapi  # type: ignore[method-assign]


async def _bad_input(_: Request, error: Exception) -> Response:
    return Refusal(422, str(error)).response()


async def _bad_body(_: Request, error: Exception) -> Response:
    """pydantic's findings as one line. Its own answer would carry the input, NaN and all."""
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    first = found[0]
    kind, where = str(first["type"]), place(first["loc"])
    if kind == "extra_forbidden":
        said = "is not a field of this request; see /docs for those that are"
    elif kind == "missing":
        said = "is missing"
    elif kind == "string_pattern_mismatch" and first.get("ctx", {}).get("pattern") == NOT_BLANK:
        said = "is blank, text is wanted"
    elif kind == "value_error":  # raised by a validator of ours: its text names no input
        said = str(first.get("ctx", {}).get("error", first["msg"]))
    else:
        said = str(first["msg"])
    more = f" ({len(found) - 1} more errors)" if len(found) > 1 else ""
    if where is None and kind in ("missing", "model_attributes_type", "model_type", "dict_type"):
        return Refusal(
            422,
            "a JSON object is wanted as the body, with the header Content-Type: application/json.",
            code="no_object",
        ).response()
    return Refusal(422, f"{where or 'the body'}: {said}{more}.", code=kind, field=where).response()


async def _plain(request: Request, error: Exception) -> Response:
    """What Starlette and FastAPI refuse by themselves: unknown paths and methods, bodies that are no JSON at all."""
    assert isinstance(error, HTTPException)
    if error.status_code == 400:  # not UTF-8, nested too deep, a number of thousands of digits
        return Refusal(422, "the body is no JSON that can be read.", code="malformed_json").response()
    if error.status_code in (413, 422):  # our own, see `_JsonRequest`
        code = {413: "too_many_values", 422: "too_many_keys"}[error.status_code]
        return Refusal(error.status_code, error.detail, code=code).response()
    said = {404: "no such path; GET /docs lists them.", 405: "this path has no such method; GET /docs lists them."}
    message = said.get(error.status_code, "refused.")
    return Refusal(error.status_code, message, headers=dict(error.headers or {})).response()
