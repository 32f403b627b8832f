"""The decoder service: POST /decode, GET /documents, /documents/{id}, /info."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from fastapi import FastAPI, Path, Query

from segue.serving.batching import Batcher
from segue.serving.bodies import SpaceBody
from segue.serving.decoder_bodies import (
    MOST_CHUNKS,
    MOST_INVERTED,
    MOST_LISTED,
    MOST_RESULTS,
    ChunkBody,
    DecodeAnswer,
    DecodeBody,
    DecoderInfo,
    DecodeTimes,
    DocumentAnswer,
    DocumentEntry,
    DocumentList,
    FoundBody,
    InverterBody,
    StoreBody,
)
from segue.serving.http import Router, Service, create_app
from segue.serving.limits import Settings
from segue.serving.metrics import Metrics
from segue.serving.refusals import Refusal, problems

if TYPE_CHECKING:
    from segue.serving.decoding import Decoded, StoreDecoder
    from segue.serving.nearest import Query as Question
    from segue.serving.writing import TextWriter

ABOUT = (
    "Vectors to text: the nearest chunks of a store, and where an inverter fits, text written from the vector "
    "(vec2text). Every result carries a cosine that was measured, none that was guessed."
)
NEAREST_ONLY = {"k", "exclude_rows", "exclude_vectors", "document", "after_row"}
BATCH = 64  # vectors searched at once; two batches of a store of a million chunks keep a request waiting for a second


def decoder_app(decoder: "StoreDecoder", settings: Settings, writer: "TextWriter | None" = None) -> FastAPI:
    """The service around a store, and an inverter where one fits it."""
    metrics = Metrics()
    queue: Batcher[Question, list[Decoded]] = Batcher(
        decoder.answers,
        max_batch=BATCH,
        max_queue=settings.max_queue,
        metrics=metrics.queue("decode"),
        name="decode",
    )
    store = store_body(decoder)
    router = Router()
    router.include_router(_decode(decoder, queue, writer, store))
    router.include_router(_documents(decoder))

    @router.get("/info", tags=["decoder"], summary="The store, the methods and the limits")
    async def info() -> DecoderInfo:
        return DecoderInfo(
            store=store,
            index=decoder.nearest.index,
            methods=["nearest", "vec2text"] if writer else ["nearest"],
            inverter=InverterBody(**asdict(writer.inversion.about)) if writer else None,
            notes=decoder.notes() if writer else [*decoder.notes(), decoder.no_inverter()],
        )

    @asynccontextmanager
    async def running() -> AsyncIterator[None]:
        async with queue, writer.running(metrics) if writer else nullcontext():
            yield

    async def health() -> list[str]:
        return await writer.trouble() if writer else []

    return create_app(Service("decoder", ABOUT, router, running=running, health=health, metrics=metrics), settings)


def store_body(decoder: "StoreDecoder") -> StoreBody:
    store = decoder.store
    return StoreBody(
        name=store.path.resolve().name,
        chunks=len(store),
        documents=store.n_documents,
        with_text=decoder.passages.with_text,
        space=SpaceBody.of(store.space),
    )


def _decode(
    decoder: "StoreDecoder",
    queue: "Batcher[Question, list[Decoded]]",
    writer: "TextWriter | None",
    store: StoreBody,
) -> Router:
    router = Router(tags=["decoder"])

    @router.post("/decode", summary="What vectors say", responses=problems(404, 422, 502))
    async def decode(body: DecodeBody) -> DecodeAnswer:
        _check_widths(body, decoder)
        if body.method == "vec2text":
            return await _write(body, decoder, writer, store)
        done = await queue.submit(
            decoder.queries(body.vectors, body.k, body.exclude_rows, body.exclude_vectors, _candidates(body, decoder))
        )
        return DecodeAnswer(
            results=[[_found(one) for one in found] for found in done.results],
            method="nearest",
            store=store,
            milliseconds=DecodeTimes(queue=round(1000 * done.waited, 3), decode=round(1000 * done.worked, 3)),
        )

    return router


async def _write(
    body: DecodeBody, decoder: "StoreDecoder", writer: "TextWriter | None", store: StoreBody
) -> DecodeAnswer:
    if writer is None:
        raise Refusal(422, f"method: {decoder.no_inverter()}", code="no_inverter", field="method")
    for field in sorted(body.model_fields_set & NEAREST_ONLY):
        raise Refusal(
            422, f"{field}: is for nearest; vec2text searches nothing. Leave it out.", code="unused", field=field
        )
    if len(body.vectors) > MOST_INVERTED:
        message = f"vectors: found {len(body.vectors):,}, vec2text takes {MOST_INVERTED} at a time."
        raise Refusal(422, message, code="too_long", field="vectors")
    done = await writer.write(decoder.unit(body.vectors), body.steps, body.beam)
    return DecodeAnswer(
        results=[[FoundBody(text=text, cosine=value)] for text, value in zip(done.texts, done.cosines, strict=True)],
        method="vec2text",
        store=store,
        milliseconds=DecodeTimes(
            queue=round(1000 * done.waited, 3),
            decode=round(1000 * done.worked, 3),
            encode=round(1000 * done.encoded, 3),
        ),
    )


def _documents(decoder: "StoreDecoder") -> Router:
    router, passages = Router(tags=["documents"]), decoder.passages

    @router.get("/documents", summary="The store's documents", responses=problems(422))
    async def documents(
        query: Annotated[str, Query(max_length=200, description="Part of an id or a title, in any case.")] = "",
        limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 50,
        offset: Annotated[int, Query(ge=0, le=1 << 62)] = 0,
    ) -> DocumentList:
        found, total = await asyncio.to_thread(passages.search, query, limit, offset)
        entries = [DocumentEntry(id=one.id, title=one.title, chunks=one.chunks) for one in found]
        return DocumentList(documents=entries, total=total)

    @router.get("/documents/{id:path}", summary="A document's chunks", responses=problems(404, 422))
    async def document(
        id: Annotated[str, Path(max_length=1000)],
        offset: Annotated[int, Query(ge=0, le=1 << 62, description="Chunks to leave out at the beginning.")] = 0,
    ) -> DocumentAnswer:
        entry, rows = passages.listed(id), passages.rows_of(id)
        if entry is None or rows is None:
            raise _unknown("id")
        here = range(rows.start, rows.stop)[offset : offset + MOST_CHUNKS]
        chunks = [
            ChunkBody(row=one.row, position=one.position, text=one.text, section=one.section)
            for one in await asyncio.to_thread(passages.at, here)
        ]
        return DocumentAnswer(id=entry.id, title=entry.title, total=entry.chunks, chunks=chunks)

    return router


def _found(one: "Decoded") -> FoundBody:
    passage = one.passage
    return FoundBody(
        text=passage.text,
        cosine=one.cosine,
        row=passage.row,
        document=passage.document,
        title=passage.title,
        position=passage.position,
        section=passage.section,
    )


def _check_widths(body: DecodeBody, decoder: "StoreDecoder") -> None:
    space = decoder.store.space
    for name, vectors in (("vectors", body.vectors), ("exclude_vectors", body.exclude_vectors)):
        for i, vector in enumerate(vectors):
            if len(vector) != space.dim:
                raise Refusal(
                    422,
                    f"{name}[{i}]: found {len(vector)} numbers, {space.dim} are wanted: those of {space.encoder}.",
                    code="wrong_width",
                    field=f"{name}[{i}]",
                )
            if not any(vector):
                raise Refusal(
                    422,
                    f"{name}[{i}]: found zeros only, which point nowhere; send another vector.",
                    code="zero_vector",
                    field=f"{name}[{i}]",
                )
    if len(body.vectors) * body.k > MOST_RESULTS:
        raise Refusal(
            422,
            f"k: found {len(body.vectors):,} vectors with {body.k} chunks each, {MOST_RESULTS:,} chunks in all are the "
            f"most. Send fewer vectors at a time.",
            code="too_many_results",
            field="k",
        )


def _candidates(body: DecodeBody, decoder: "StoreDecoder") -> slice | None:
    """The rows that may be found; None for all. Raises Refusal for an unknown document and rows outside."""
    chunks = len(decoder.store)
    if any(row >= chunks for row in body.exclude_rows):
        message = f"exclude_rows: found a row outside the store, 0 … {chunks - 1} are wanted."
        raise Refusal(422, message, code="unknown_row", field="exclude_rows")
    if body.document is None:
        if body.after_row is not None:
            raise Refusal(422, "after_row: wants a document beside it.", code="missing", field="document")
        return None
    rows = decoder.passages.rows_of(body.document)
    if rows is None:
        raise _unknown("document")
    if body.after_row is None:
        return rows
    if not rows.start <= body.after_row < rows.stop:
        message = f"after_row: found a row of another document, {rows.start} … {rows.stop - 1} are wanted."
        raise Refusal(422, message, code="unknown_row", field="after_row")
    return slice(body.after_row + 1, rows.stop)


def _unknown(field: str) -> Refusal:
    return Refusal(
        404,
        f"{field}: the store holds no such document. GET /documents lists them.",
        code="unknown_document",
        field=field,
    )
