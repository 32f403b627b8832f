"""Bodies of the decoder service. Legend: n vectors, D width, k found for each."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from segue.serving.bodies import Body, SpaceBody, Vector

MOST_VECTORS = 1024
MOST_FOUND = 100
MOST_RESULTS = 20_000  # n × k
MOST_EXCLUDED = 256  # vectors
MOST_EXCLUDED_ROWS = 10_000
MOST_STEPS, MOST_BEAM = 50, 8
MOST_INVERTED = 64  # vectors of one request for vec2text
MOST_LISTED = 1000  # documents in one answer
MOST_CHUNKS = 10_000
_ROW = Annotated[int, Field(ge=0, le=(1 << 62))]
_PASSAGE: dict[str, Any] = {
    "text": "The river rose for three days.",
    "cosine": 0.8312,
    "row": 1204,
    "document": "floods-of-1931",
    "title": "Floods of 1931",
    "position": 7,
    "section": "Causes",
}
_PLAIN = {name: value for name, value in _PASSAGE.items() if name in ("row", "position", "text", "section")}


class DecodeBody(Body):
    """Vectors to decode, and how."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"vectors": [[0.031, -0.072]], "k": 3, "exclude_rows": [17]}}
    )
    vectors: Annotated[list[Vector], Field(min_length=1, max_length=MOST_VECTORS, fail_fast=True)] = Field(
        description="n × D, of any length but 0; D is the store's width (GET /info)."
    )
    method: Literal["nearest", "vec2text"] = Field(
        default="nearest",
        description="nearest: chunks of the store. vec2text: text written from the vector (GET /info says if offered).",
    )
    k: Annotated[int, Field(ge=1, le=MOST_FOUND)] = Field(default=1, description="nearest: chunks for each vector.")
    steps: Annotated[int, Field(ge=0, le=MOST_STEPS)] = Field(
        default=5, description="vec2text: rounds of correction; 0 is the first hypothesis."
    )
    beam: Annotated[int, Field(ge=1, le=MOST_BEAM)] = Field(
        default=1, description="vec2text: hypotheses kept in each round; 1 is greedy."
    )
    exclude_rows: Annotated[list[_ROW], Field(max_length=MOST_EXCLUDED_ROWS, fail_fast=True)] = Field(
        default_factory=list, description="nearest: rows that must not be found."
    )
    exclude_vectors: Annotated[list[Vector], Field(max_length=MOST_EXCLUDED, fail_fast=True)] = Field(
        default_factory=list,
        description="nearest: chunks equal to one of these (cosine ≥ .9995) must not be found: the context's own.",
    )
    document: Annotated[str, Field(min_length=1, max_length=1000)] | None = Field(
        default=None, description="nearest: only this document's chunks."
    )
    after_row: _ROW | None = Field(default=None, description="With document: only its chunks after this row.")


class FoundBody(Body):
    """What one vector says. Of vec2text only text and cosine are known."""

    model_config = ConfigDict(json_schema_extra={"example": _PASSAGE})
    text: str | None = Field(default=None, description="None where the store holds no text.")
    cosine: float | None = Field(
        description="Between the vector handed in and the chunk's own; for vec2text, the re-encoded text's. Null only "
        "for an empty text."
    )
    row: int | None = Field(default=None, description="The chunk's row in the store.")
    document: str | None = Field(default=None, description="The id of its document.")
    title: str | None = None
    position: int | None = Field(default=None, description="Its place in the document, from 0.")
    section: str | None = None


class StoreBody(Body):
    """The store that is searched."""

    name: str = Field(description="Its folder's name.")
    chunks: int
    documents: int
    with_text: int = Field(description="Chunks that have a text.")
    space: SpaceBody


class DecodeTimes(Body):
    """Where the time went, in milliseconds."""

    queue: float = Field(description="Waiting for the search or the inverter to be free.")
    decode: float = Field(description="Searching or inverting.")
    encode: float | None = Field(default=None, description="vec2text: the encoder service's answer.")


_STORE: dict[str, Any] = {
    "name": "wiki",
    "chunks": 104281,
    "documents": 2463,
    "with_text": 104281,
    "space": {"id": "minilm-384-8ba24a53c1f7", "encoder": "minilm", "dim": 384},
}


class DecodeAnswer(Body):
    """For each vector its chunks, best first. Fewer than k where the masks leave fewer."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "results": [[_PASSAGE]],
                "method": "nearest",
                "store": _STORE,
                "milliseconds": {"queue": 0.1, "decode": 5.4},
            }
        }
    )
    results: list[list[FoundBody]]
    method: Literal["nearest", "vec2text"]
    store: StoreBody
    milliseconds: DecodeTimes


class DocumentEntry(Body):
    """A document in a list."""

    id: str
    title: str | None = None
    chunks: int = Field(description="How many chunks it has.")


class DocumentList(Body):
    """Documents in the store's order."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "documents": [{"id": "floods-of-1931", "title": "Floods of 1931", "chunks": 42}],
                "total": 1,
            }
        }
    )
    documents: list[DocumentEntry]
    total: int = Field(description="How many match, beyond those listed too.")


class ChunkBody(Body):
    """A chunk of a document."""

    row: int
    position: int
    text: str | None = None
    section: str | None = None


class DocumentAnswer(Body):
    """A document and its chunks, in order."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"id": "floods-of-1931", "title": "Floods of 1931", "total": 1, "chunks": [_PLAIN]}
        }
    )
    id: str
    title: str | None = None
    total: int = Field(description=f"Its chunks in all; an answer holds {MOST_CHUNKS:,} at most.")
    chunks: list[ChunkBody]


class InverterBody(Body):
    """The inverter behind vec2text."""

    name: str
    encoder: str = Field(description="The encoder whose vectors it inverts.")
    dim: int
    tokens: int = Field(description="The longest text it writes, in tokens.")


class DecoderInfo(Body):
    """What decodes here."""

    store: StoreBody
    index: Literal["exact", "faiss"]
    methods: list[Literal["nearest", "vec2text"]]
    inverter: InverterBody | None = None
    notes: list[str] = Field(description="What to know: no texts in the store, why vec2text is not offered.")
    most_vectors: int = MOST_VECTORS
    most_found: int = MOST_FOUND
    most_inverted: int = MOST_INVERTED
