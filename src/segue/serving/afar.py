"""A prediction's helpers over HTTP: texts go to the encoder service, vectors to the decoder service."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import numpy as np

from segue.errors import InputError
from segue.geometry import LEVEL
from segue.serving.batching import Batcher
from segue.serving.decoder_bodies import MOST_FOUND
from segue.serving.decoding import Decoded
from segue.serving.encoder_bodies import MOST_TEXTS
from segue.serving.passages import Passage
from segue.serving.prediction import text_of
from segue.serving.refusals import Refusal
from segue.serving.served import Answer, Question
from segue.serving.upstream import Upstream
from segue.vectors import Space, require_same_space

PATIENCE = 2.0  # seconds: /health is asked by what restarts services
PLACE = ("text", "row", "document", "title", "position", "section")


class RemoteHelpers:
    """`Helpers` over two services and the queue of this one. What they answer is checked before it is believed.

    Raises Refusal 502 for a service that is down, of another embedding space than the model's, or none of ours.
    """

    def __init__(self, encoder: Upstream, decoder: Upstream, queue: Batcher[Question, Answer]):
        self.encoder, self.decoder, self._queue = encoder, decoder, queue

    async def encode(self, texts: Sequence[str], space: Space) -> np.ndarray:
        blocks = [
            await self._encode(texts[start : start + MOST_TEXTS], space) for start in range(0, len(texts), MOST_TEXTS)
        ]
        return np.concatenate(blocks)

    async def _encode(self, texts: Sequence[str], space: Space) -> np.ndarray:
        answer = await self.encoder.post("/encode", {"texts": list(texts)})
        with _believed(self.encoder):
            require_space(self.encoder, space, answer["space"])
            vectors_ND = np.array(answer["embeddings"], dtype=np.float32)
            if vectors_ND.shape != (len(texts), space.dim) or not np.isfinite(vectors_ND).all():
                raise ValueError("another number or width of vectors, or none")
        return vectors_ND

    async def vectors_of(self, passages: Sequence[Passage], space: Space) -> np.ndarray:
        """From their texts: a decoder hands out no vectors. They differ from the stored ones by rounding."""
        return await self.encode([text_of(passage) for passage in passages], space)

    async def infer(self, question: Question) -> Answer:
        return (await self._queue.submit([question])).results[0]

    async def find(
        self,
        vector_D: np.ndarray,
        k: int,
        space: Space,
        *,
        exclude_rows: Sequence[int] = (),
        exclude_ED: np.ndarray | None = None,
    ) -> list[Decoded]:
        masked = [] if exclude_ED is None else exclude_ED.tolist()
        return await self._decode(vector_D, k, space, exclude_rows=list(exclude_rows), exclude_vectors=masked)

    async def after(self, vector_D: np.ndarray, true: Passage, row: int, space: Space) -> list[Decoded]:
        found: list[Decoded] = []
        while True:
            taken = [one.passage.row for one in found]
            where = {"document": true.document, "after_row": row, "exclude_rows": taken}
            page = await self._decode(vector_D, MOST_FOUND, space, **where)
            found += page
            own = next((one.cosine for one in found if one.passage.row == true.row), None)
            if len(page) < MOST_FOUND:
                if own is None:
                    raise _not_ours(self.decoder)
                return found
            if own is not None and page[-1].cosine < own - LEVEL:
                return found

    async def document(self, id_: str) -> list[Passage]:
        passages: list[Passage] = []
        while True:
            # An id is data: nothing in it may end the path, begin a query, or (`..`) lead out of /documents.
            name = quote(id_, safe="").replace(".", "%2E")
            answer = await self.decoder.get(f"/documents/{name}", {"offset": len(passages)})
            with _believed(self.decoder):
                chunks, total = answer["chunks"], int(answer["total"])
                passages += [
                    Passage(one["text"], one["row"], answer["id"], answer["title"], one["position"], one["section"])
                    for one in chunks
                ]
            if len(passages) >= total or not chunks:
                return passages

    async def trouble(self, spaces: Sequence[Space]) -> list[str]:
        """What keeps the two services from being of use to models of these spaces; [] when all is well."""
        both = (self._trouble(self.encoder, spaces, "space"), self._trouble(self.decoder, spaces, "store", "space"))
        return [line for lines in await asyncio.gather(*both) for line in lines]

    async def _trouble(self, service: Upstream, spaces: Sequence[Space], *where: str) -> list[str]:
        """`where` its space stands in its /info."""
        try:
            async with asyncio.timeout(PATIENCE):
                if lines := await service.trouble():
                    return lines
                its: Any = await service.get("/info")
                with _believed(service):
                    for key in where:
                        its = its[key]
                    for space in spaces:
                        require_space(service, space, its)
        except Refusal as refusal:
            return [refusal.message]
        except TimeoutError:
            return [f"the {service.name} at {service.url} does not answer within {PATIENCE:g} s."]
        return []

    async def _decode(self, vector_D: np.ndarray, k: int, space: Space, **more: Any) -> list[Decoded]:
        try:
            answer = await self.decoder.post("/decode", {"vectors": [vector_D.tolist()], "k": k, **more})
        except Refusal as refusal:
            if refusal.code != "wrong_width":  # else the store is another space's, which is not the client's doing
                raise
            raise _other_space(self.decoder, refusal.message) from None
        with _believed(self.decoder):
            require_space(self.decoder, space, answer["store"]["space"])
            return [
                Decoded(Passage(*(one[key] for key in PLACE)), float(one["cosine"])) for one in answer["results"][0]
            ]


def require_space(service: Upstream, ours: Space, theirs: dict[str, Any]) -> None:
    """Raises Refusal 502 where a service's space is not the model's."""
    try:
        require_same_space(ours, Space.from_json(theirs), "the model", f"the {service.name} at {service.url}")
    except InputError as error:
        raise _other_space(service, str(error)) from None


def _other_space(service: Upstream, said: str) -> Refusal:
    return Refusal(502, f"{said} Or start it anew with: {service.remedy}", code="wrong_space")


def _not_ours(service: Upstream) -> Refusal:
    told = f"the {service.name} at {service.url} answered what is none of ours. Start it with: {service.remedy}"
    return Refusal(502, told, code=f"{service.name}_failed")


@contextmanager
def _believed(service: Upstream) -> Iterator[None]:
    """Answers of another form than ours become Refusal 502."""
    try:
        yield
    except (KeyError, TypeError, ValueError, IndexError):
        raise _not_ours(service) from None
