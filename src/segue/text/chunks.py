"""Documents cut into chunks, the near-empty ones dropped and counted.

Positions count the kept chunks of a document. A dropped near-empty chunk (a rule, a page number, "IV.") leaves no
gap: a reader passes over it, and a window may too. But what is dropped between two kept chunks may add up, with a
large `min_chars` or a long run of one-word lines; from `REAL` letters or digits on, real content was lost there: the
next position is one further, and no window crosses it.
"""

import logging
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from segue.errors import InputError, nearest
from segue.progress import Progress, silent
from segue.text.documents import Document, Paragraph
from segue.text.sources import Source

MIN_CHARS = 10  # letters or digits; below it a chunk says nothing an encoder could place
REAL = 40  # letters or digits; the shortest paragraph of the project's measured texts
_TELL = 50_000  # chunks read between two reports of progress: about a second
WINDOW = 6  # C + 1 = 5 context chunks and a target (SPEC §1)

# ISO 639-1. sentencex tells no list of its own and cuts what it does not know as English, in silence (1.0.32).
# Codes of three letters (small Wikipedias) are taken on trust.
_LANGUAGES = (
    "aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en "
    "eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv "
    "ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne "
    "ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg sh si sk sl sm sn so sq sr ss "
    "st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu"
)
_LETTER = re.compile(r"[^\W_]")
log = logging.getLogger("segue")


@dataclass(frozen=True)
class Chunking:
    """How documents are cut.

    name       a key of CHUNKERS
    words      words in a chunk, for `words`
    language   two letters, for `sentence`
    min_chars  letters or digits below which a chunk is dropped
    """

    name: str = "paragraph"
    words: int = 100
    language: str = "en"
    min_chars: int = MIN_CHARS

    def __post_init__(self) -> None:
        if self.name not in CHUNKERS:
            raise InputError(f"--chunk: found {self.name!r}. {nearest(self.name, CHUNKERS)}")
        if self.words < 1:
            raise InputError(f"--words: found {self.words}, a number from 1 is wanted.")
        if self.name == "sentence" and not _is_language(self.language):
            raise InputError(
                f"--language: found {self.language!r}, a language's code is wanted: two letters as en, de, fr (ISO "
                f"639-1), or three where it has no two."
            )
        if self.min_chars < 1:
            raise InputError(f"--min-chars: found {self.min_chars}, a number from 1 is wanted.")

    @property
    def settings(self) -> dict[str, Any]:
        """What decides on the chunks; part of an artifact's lineage."""
        used = {"paragraph": (), "sentence": ("language",), "words": ("words",)}[self.name]
        return {"chunk": self.name, "min_chars": self.min_chars, **{key: getattr(self, key) for key in used}}


class Chunker(ABC):
    def __init__(self, chunking: Chunking):
        self.chunking = chunking

    @abstractmethod
    def cut(self, document: Document) -> Iterator[Paragraph]:
        """The document's chunks in order, near-empty ones still among them."""


class Paragraphs(Chunker):
    """A chunk is a paragraph."""

    def cut(self, document: Document) -> Iterator[Paragraph]:
        yield from document.paragraphs


class Sentences(Chunker):
    """A chunk is a sentence, cut by the library sentencex; never across paragraphs."""

    def cut(self, document: Document) -> Iterator[Paragraph]:
        from sentencex import segment

        for paragraph in document.paragraphs:
            for sentence in segment(self.chunking.language, paragraph.text):
                if sentence := sentence.strip():
                    yield Paragraph(sentence, paragraph.section)


class Words(Chunker):
    """A chunk is N words, without overlap and across paragraphs; the last one takes what is left."""

    def cut(self, document: Document) -> Iterator[Paragraph]:
        words = ((word, p.section) for p in document.paragraphs for word in p.text.split())
        while piece := list(islice(words, self.chunking.words)):
            yield Paragraph(" ".join(word for word, _ in piece), piece[0][1])


CHUNKERS: dict[str, type[Chunker]] = {"paragraph": Paragraphs, "sentence": Sentences, "words": Words}


@dataclass(frozen=True)
class Chunk:
    """One chunk to be encoded: which document (index among those kept), where in it, and its text."""

    document: int
    position: int
    text: str
    section: str | None


@dataclass(frozen=True)
class Chunked:
    """A document that has chunks."""

    id: str
    title: str | None
    chunks: tuple[Chunk, ...]


@dataclass
class Counts:
    """What a reading of a source met.

    documents  with at least one chunk; those without text are counted apart and get no row
    dropped    near-empty chunks
    """

    documents: int = 0
    chunks: int = 0
    dropped: int = 0
    documents_without_text: int = 0
    documents_shorter_than_a_window: int = 0

    def to_json(self) -> dict[str, int]:
        return asdict(self)

    def warn(self, name: str) -> None:
        """Say what a user should know before training on it."""
        if self.documents_without_text:
            log.warning(f"{name}: {self.documents_without_text:,} documents without text, left out")
        if self.documents_shorter_than_a_window:
            log.warning(
                f"{name}: {self.documents_shorter_than_a_window:,} of {self.documents:,} documents are shorter than "
                f"a window ({WINDOW} chunks), they give no training example"
            )


def _is_language(code: str) -> bool:
    return code in _LANGUAGES.split() or re.fullmatch("[a-z]{3}", code) is not None


def _letters(text: str, most: int) -> int:
    """Letters and digits of a text, counted up to `most`."""
    return sum(1 for _ in islice(_LETTER.finditer(text), most))


def _kept(document: Document, index: int, chunker: Chunker, counts: Counts) -> Iterator[Chunk]:
    position, lost = -1, 0
    for piece in chunker.cut(document):
        if (letters := _letters(piece.text, chunker.chunking.min_chars)) < chunker.chunking.min_chars:
            counts.dropped += 1
            lost += letters
            continue
        position += 2 if lost >= REAL and position >= 0 else 1
        lost = 0
        yield Chunk(index, position, piece.text, piece.section)


def cut(document: Document, chunking: Chunking) -> tuple[Chunk, ...]:
    """One document's chunks, the near-empty ones dropped."""
    return tuple(_kept(document, 0, CHUNKERS[chunking.name](chunking), Counts()))


def read_chunks(source: Source, chunking: Chunking, counts: Counts, limit: int | None = None) -> Iterator[Chunked]:
    """The first `limit` documents of a source, cut; `counts` grows along the way.

    Raises InputError when the source cannot be read or two documents share an id.
    """
    chunker = CHUNKERS[chunking.name](chunking)
    places: dict[str, str] = {}
    for document in islice(source.documents(), limit):
        if document.id in places:
            raise InputError(
                f"{source.name}: the id {document.id!r} stands at {places[document.id]} and at {document.place}, ids "
                f"must differ. Name another field with --id-field."
            )
        places[document.id] = document.place
        chunks = tuple(_kept(document, counts.documents, chunker, counts))
        if not chunks:
            counts.documents_without_text += 1
            continue
        counts.documents += 1
        counts.chunks += len(chunks)
        counts.documents_shorter_than_a_window += len(chunks) < WINDOW
        yield Chunked(document.id, document.title, chunks)


@dataclass(frozen=True)
class Survey:
    """A first reading: what there is, and texts drawn evenly from all of it."""

    counts: Counts
    sample: tuple[str, ...]


def survey(
    source: Source,
    chunking: Chunking,
    limit: int | None = None,
    sample: int = 256,
    progress: Progress = silent,
) -> Survey:
    """Read everything once and keep only counts and a sample (seeded, each chunk as likely as any other).

    Worth its seconds: a broken line is found before the first hour of encoding, and the work's length is known.
    Raises InputError like `read_chunks`, and when there is no chunk at all.
    """
    counts, drawn, generator, n = Counts(), list[str](), random.Random(0), 0
    for document in read_chunks(source, chunking, counts, limit):
        for chunk in document.chunks:
            n += 1
            if len(drawn) < sample:
                drawn.append(chunk.text)
            elif (slot := generator.randrange(n)) < sample:
                drawn[slot] = chunk.text
            if n % _TELL == 0:
                progress("read", n, 0, "chunks")
    if n >= _TELL:
        progress("read", n, n, "chunks")
    if not counts.chunks:
        raise InputError(
            f"{source.name}: gives no chunks ({counts.documents_without_text} documents without text, {counts.dropped} "
            f"near-empty chunks), at least one is wanted. Check the source, --text-field or --min-chars."
        )
    return Survey(counts, tuple(drawn))
