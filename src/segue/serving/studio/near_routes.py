"""Same-origin ways to the predictor and the decoder: what is asked goes to their fixed addresses, and nowhere else.

The page's own requests carry the cookie of the studio; the services' token stays here.
"""

import asyncio
import json
from typing import Annotated, Any

from fastapi import Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from segue.serving.http import Router
from segue.serving.passages import Passages
from segue.serving.refusals import Refusal, problems
from segue.serving.studio.near import Near

PASSED_ON = problems(404, 410, 415, 422, 502)


def _takes(example: dict[str, Any]) -> dict[str, Any]:
    """The body in the OpenAPI document; what its fields may be, the predictor's own says."""
    content = {"application/json": {"schema": {"type": "object"}, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


TO_PREDICT = _takes({"texts": ["The river rose for three days.", "By Sunday it had begun to fall."], "k": 3})
TO_CHAT = _takes({"messages": [{"role": "user", "content": "The river rose. Boats were brought."}], "k": 3})


def near_routes(near: Near, passages: Passages | None) -> Router:
    """`passages`: the studio's own store, asked for documents instead of the decoder where there is one."""
    router = Router(prefix="/api", tags=["studio"])

    @router.post("/predict", summary="The predictor's POST /predict", responses=PASSED_ON, openapi_extra=TO_PREDICT)
    async def predict(request: Request) -> Response:
        return JSONResponse(await near.predictor.post("/predict", await _body(request)))

    @router.post("/chat", summary="The predictor's POST /chat", responses=PASSED_ON, openapi_extra=TO_CHAT)
    async def chat(request: Request) -> Response:
        return JSONResponse(await near.predictor.post("/chat", await _body(request)))

    @router.get("/models", summary="The predictor's GET /info", responses=problems(502))
    async def models() -> Response:
        return JSONResponse(await near.models())

    @router.get("/documents", summary="The store's documents", responses=problems(422, 502))
    async def documents(
        query: Annotated[str, Query(max_length=200)] = "",
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        offset: Annotated[int, Query(ge=0, le=1 << 31)] = 0,
    ) -> Response:
        if passages is None:
            asked: dict[str, Any] = {"query": query, "limit": limit, "offset": offset}
            return JSONResponse(await near.decoder.get("/documents", asked))
        found, total = await asyncio.to_thread(passages.search, query, limit, offset)
        entries = [{"id": one.id, "title": one.title, "chunks": one.chunks} for one in found]
        return JSONResponse({"documents": entries, "total": total})

    return router


async def _body(request: Request) -> Any:
    """The JSON of a request. Raises Refusal 415 for another type, which a foreign page's form would have; 422."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(415, "the body's Content-Type must be application/json.")
    try:
        found = json.loads(await request.body())
        json.dumps(found, allow_nan=False)  # NaN, or 1e999, which reads as infinite
    except (ValueError, RecursionError):
        raise Refusal(422, "the body is no JSON that can be read.", code="malformed_json") from None
    if not isinstance(found, dict):
        raise Refusal(422, "a JSON object is wanted as the body.", code="no_object")
    return found
