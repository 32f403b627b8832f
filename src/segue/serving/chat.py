"""From what people write to the chunks a model reads. Nothing is padded, nothing is made up.

A conversation's context is the user's own text: what we answered before is no part of it, unless the answer is to be
continued. Texts are cut as corpora are (`segue.text`): Markdown and HTML stay text.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from segue.serving.bodies import LONGEST_TEXT
from segue.serving.passages import Passage
from segue.serving.prediction import Clock, Context, Helpers
from segue.serving.served import LONGEST, ContextError, ServedModel
from segue.text import Chunking, Document
from segue.text.chunks import Chunk, cut
from segue.text.documents import plain_paragraphs

# The sentence cutter takes time in the square of a paragraph's brackets and quotes: .8 s for this many.
LONGEST_PARAGRAPH = 100_000  # characters
# Chunks read before the context that are encoded only so that they are not found: a tenth of a second's work.
BEFORE = 64
MOST_ROWS = 5_000  # of a stored document, masked in a search
Role = Literal["user", "assistant"]
How = Literal["paragraph", "sentence"]


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True)
class Cut:
    """Chunks of a text, oldest first.

    how     the chunker that was used
    counts  how many chunks each chunker tried made
    before  those before `texts`, the last `BEFORE` of them: not for the model, but the user has read them
    """

    texts: tuple[str, ...]
    how: How
    counts: dict[str, int]
    before: tuple[str, ...] = ()


def said(messages: Sequence[Message], continued: bool = False) -> list[str]:
    """What is read of a conversation: the user's text; of an answer to be continued all that was said."""
    return [message.content for message in messages if continued or message.role == "user"]


def cut_text(texts: Sequence[str], wanted: int) -> Cut:
    """Texts as one document: its paragraphs; its sentences, where those are fewer than wanted.

    A blank line ends a paragraph, and so does the end of a text. As in training, no context crosses a place where
    real content was dropped (`segue.text.chunks`): of several runs the last one counts. A paragraph longer than
    `LONGEST_PARAGRAPH` is not cut into sentences.
    """
    paragraphs = tuple(paragraph for text in texts for paragraph in plain_paragraphs(text))
    document = Document("", paragraphs)
    found = _last_run(cut(document, Chunking("paragraph")))
    counts = {"paragraph": len(found)}
    if len(found) >= wanted or any(len(paragraph.text) > LONGEST_PARAGRAPH for paragraph in paragraphs):
        return Cut(found, "paragraph", counts)
    found = _last_run(cut(document, Chunking("sentence")))
    return Cut(found, "sentence", {**counts, "sentence": len(found)})


def _last_run(chunks: Sequence[Chunk]) -> tuple[str, ...]:
    """The texts after the last gap."""
    begin = 0
    for i in range(1, len(chunks)):
        if chunks[i].position != chunks[i - 1].position + 1:
            begin = i
    return tuple(chunk.text for chunk in chunks[begin:])


def chunks_of_text(texts: Sequence[str], served: ServedModel, field: str = "messages") -> Cut:
    """The last chunks of a text, as many as a model reads. Raises ContextError when they are too few, or too long."""
    model = served.model
    made = cut_text(texts, model.context)
    if len(made.texts) < (model.reach or 1):
        counted = ", ".join(f"{n} {how}{'' if n == 1 else 's'}" for how, n in made.counts.items())
        told = f"{field}: found {counted}, {served.name} wants {served.wanted} in a row."
        raise ContextError(f"{told} Write more; nothing is padded.", "context_too_short", field)
    kept = made.texts[-(model.reach or LONGEST) :]
    too_long = [len(text) for text in kept if len(text) > LONGEST_TEXT]
    if too_long:
        told = f"{field}: a {made.how} has {too_long[0]:,} characters, {LONGEST_TEXT:,} may be."
        raise ContextError(f"{told} Put blank lines between paragraphs.", "chunk_too_long", field)
    before = tuple(text for text in _before(made.texts, len(kept)) if len(text) <= LONGEST_TEXT)
    return replace(made, texts=kept, before=before)


def _before(texts: Sequence[str], kept: int) -> Sequence[str]:
    """The last of those before the `kept` last ones, as many as one request to the encoder still takes."""
    room = min(BEFORE, LONGEST - kept)
    return texts[max(0, len(texts) - kept - room) : len(texts) - kept]


async def context_of_text(
    texts: Sequence[str], served: ServedModel, helpers: Helpers, clock: Clock, field: str = "messages"
) -> Context:
    """`chunks_of_text`, encoded."""
    with clock.of("chunk"):
        made = await asyncio.to_thread(chunks_of_text, texts, served, field)
    return await _read(made.before, made.texts, made.how, served, helpers, clock)


async def context_of_chunks(texts: Sequence[str], served: ServedModel, helpers: Helpers, clock: Clock) -> Context:
    """Chunks as a client cut them, the last ones where a model reads a fixed number. Raises ContextError."""
    reach = served.model.reach
    kept = list(texts)[-(reach or LONGEST) :]
    served.require_chunks(len(kept), "texts")
    return await _read(_before(texts, len(kept)), kept, "given", served, helpers, clock)


async def _read(
    before: Sequence[str], texts: Sequence[str], how: str, served: ServedModel, helpers: Helpers, clock: Clock
) -> Context:
    """A context and what was read before it, encoded in one request."""
    with clock.of("encode"):
        vectors_ND = await helpers.encode([*before, *texts], served.model.space)
    before_ED, context_LD = vectors_ND[: len(before)], vectors_ND[len(before) :]
    return Context(context_LD, texts, how, before_ED=before_ED if len(before) else None)


async def context_of_stored(id_: str, upto: int, served: ServedModel, helpers: Helpers, clock: Clock) -> Context:
    """Chunks of a stored document up to a position, in one gap-free run; what follows is the truth.

    Raises ContextError for a position that is none of the document's, and for too few chunks before it.
    """
    with clock.of("chunk"):
        passages = await helpers.document(id_)
    at = next((i for i, passage in enumerate(passages) if passage.position == upto), None)
    if at is None:
        raise ContextError(
            f"stored.upto: the document has no chunk at position {upto}, {passages[0].position} to "
            f"{passages[-1].position} are wanted.",
            "no_position",
            "stored.upto",
        )
    begin = at
    while begin > 0 and passages[begin - 1].position == passages[begin].position - 1:
        begin -= 1
    reach = served.model.reach
    run: Sequence[Passage] = passages[begin : at + 1][-(reach or LONGEST) :]
    if len(run) < (reach or 1):
        raise ContextError(
            f"stored.upto: found {len(run)} chunks in a row up to position {upto}, {served.name} wants "
            f"{served.wanted}. Give a later position.",
            "context_too_short",
            "stored.upto",
        )
    with clock.of("encode"):
        vectors_LD = await helpers.vectors_of(run, served.model.space)
    texts, rows = [passage.text for passage in run], [passage.row for passage in run]
    before = [passage.row for passage in passages[: at + 1 - len(run)]]
    return Context(vectors_LD, texts, "stored", rows, upto, passages[at + 1 :], before_rows=before[-MOST_ROWS:])
