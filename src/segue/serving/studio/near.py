"""The services the studio asks: the predictor for what comes next, the decoder for documents and passages."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from segue.serving.refusals import Refusal
from segue.serving.upstream import Upstream

AT_ONCE = 64  # contexts in one question: 64 × 5 × 384 numbers are a megabyte of JSON


def _stranger() -> Refusal:
    return Refusal(502, "what answers as the predictor is none of ours. Give --predictor the predictor's address.")


class Near:
    """Both upstreams, for the app's life."""

    def __init__(self, predictor: str, decoder: str, token: str | None):
        self.predictor = Upstream("predictor", predictor, "segue serve predictor --run RUN", token)
        self.decoder = Upstream("decoder", decoder, "segue serve decoder --store STORE", token)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self.predictor, self.decoder:
            yield

    async def models(self) -> dict[str, Any]:
        """The predictor's GET /info. Raises Refusal 502 where it is down."""
        found = await self.predictor.get("/info")
        if not isinstance(found, dict) or not isinstance(found.get("models"), list):
            raise _stranger()
        return found

    async def model(self, name: str) -> dict[str, Any]:
        """One model as GET /info has it; the default where no name is given. Raises Refusal 404, 502."""
        info = await self.models()
        wanted = name or info.get("default")
        found = next((one for one in info["models"] if one.get("name") == wanted), None)
        if not isinstance(found, dict):
            raise Refusal(404, "the predictor serves no such model.", code="unknown_model", field="model")
        return found

    async def infer(self, model: str, contexts: list[Any], steering: float) -> list[list[float]]:
        """The predicted vector of each context, in their order."""
        found: list[list[float]] = []
        for first in range(0, len(contexts), AT_ONCE):
            body: dict[str, Any] = {
                "context_vectors": contexts[first : first + AT_ONCE],
                "model": model,
                "steering": steering,
            }
            answer = await self.predictor.post("/infer", body)
            predicted = answer.get("predicted_vectors") if isinstance(answer, dict) else None
            if not isinstance(predicted, list) or len(predicted) != len(body["context_vectors"]):
                raise _stranger()
            found += predicted
        return found
