"""What the predictor service answers. Legend: B contexts, D width."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from segue.serving.bodies import Body, SpaceBody
from segue.serving.decoder_bodies import FoundBody
from segue.serving.registry import Status

_SPACE: dict[str, Any] = {"id": "minilm-384-8ba24a53c1f7", "encoder": "minilm", "dim": 384}
_CONTEXT: list[Any] = [{"text": "By Sunday the water had begun to fall."}]
_PASSAGE: dict[str, Any] = {
    "text": "What it left behind took a month to clear away.",
    "cosine": 0.6121,
    "row": 1204,
    "document": "floods-of-1931",
    "title": "Floods of 1931",
    "position": 7,
    "section": "Causes",
}
_COPY: dict[str, Any] = {"cosine_last": 0.5514, "cosine_found": 0.6121}
_ASKED: dict[str, Any] = {"k": 2, "steps": 1, "steering": 0.0, "temperature": 0.0, "seed": 1, "feed": "vector"}
_TIMES: dict[str, Any] = {"chunk": 0.1, "encode": 11.2, "predict": 1.9, "decode": 5.4, "total": 19.0}
_OTHER = {**_PASSAGE, "text": "Every spring it is told again.", "cosine": 0.5902, "row": 77}

FaceName = Annotated[
    Literal["ranking + mean"] | None,
    Field(description="Of a model of two faces: passages are looked up by the sum of both; null: it has one."),
]


class InferTimes(Body):
    """Where the time went, in milliseconds."""

    queue: float = Field(description="Waiting for the models to be free.")
    predict: float
    total: float


class InferAnswer(Body):
    """The prediction: of one context `predicted_vector`, of many `predicted_vectors`."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model": "p1",
                "predicted_vector": [0.28, 0.96],
                "copy_cosine": 0.96,
                "warnings": [],
                "milliseconds": {"queue": 0.1, "predict": 1.8, "total": 2.2},
            }
        }
    )
    model: str
    predicted_vector: list[float] | None = Field(default=None, description="D numbers, of length 1.")
    predicted_vectors: list[list[float]] | None = Field(default=None, description="B × D, each of length 1.")
    mean_vector: list[float] | None = Field(
        default=None, description="Of a model of two faces what its mean face says, of length 1; never steered."
    )
    mean_vectors: list[list[float]] | None = Field(default=None, description="The same of many: B × D.")
    copy_cosine: float | list[float] = Field(description="Cosine of the prediction to the last chunk read.")
    warnings: list[str] = Field(description="What to know before believing a steered prediction.")
    milliseconds: InferTimes


class PassageBody(Body):
    """A passage of the store."""

    text: str | None = None
    row: int
    document: str
    title: str | None = None
    position: int
    section: str | None = None


class ContextChunk(Body):
    """A chunk that was read."""

    text: str | None = None
    row: int | None = Field(default=None, description="Its row in the store, where it is known to be there.")


class CopyBody(Body):
    """How near the prediction lies to what was read last."""

    cosine_last: float = Field(description="Cosine of what was searched for to the last chunk read.")
    cosine_found: float | None = Field(default=None, description="To the nearest passage found.")
    warning: str | None = Field(
        default=None, description="Set when cosine_last ≥ cosine_found: repeating the last chunk would be nearer."
    )


class TruthBody(Body):
    """The passage that really came."""

    passage: PassageBody
    cosine: float = Field(description="To the prediction.")
    rank: float = Field(description="Among all chunks of the document after the context, 1 is best, ties averaged.")
    of: int


class StepBody(Body):
    """One prediction."""

    predicted: FoundBody | None = Field(default=None, description="Null where no passage is left to be found.")
    alternatives: list[FoundBody] = Field(description="The rest of the k, best first.")
    copy_: CopyBody = Field(alias="copy")
    truth: TruthBody | None = None
    vector: list[float] | None = None


class AskedBody(Body):
    """What was asked for; with this seed the answer can be had again."""

    k: int
    steps: int
    steering: float
    temperature: float
    seed: int
    feed: str


class PredictTimes(Body):
    """Where the time went, in milliseconds."""

    chunk: float = Field(description="Cutting the text, or fetching the document.")
    encode: float
    predict: float
    decode: float
    total: float


class PredictAnswer(Body):
    """What comes next, step by step."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model": "p1",
                "chunked": "given",
                "context": _CONTEXT,
                "steps": [{"predicted": _PASSAGE, "alternatives": [_OTHER], "copy": _COPY}],
                "asked": _ASKED,
                "warnings": [],
                "milliseconds": _TIMES,
            }
        }
    )
    model: str
    face: FaceName = None
    chunked: Literal["given", "paragraph", "sentence", "stored"] = Field(description="Who cut the text, and into what.")
    context: list[ContextChunk] = Field(description="What was read, oldest first.")
    steps: list[StepBody]
    truth: TruthBody | None = Field(default=None, description="Of the first step; of a stored document only.")
    asked: AskedBody
    warnings: list[str]
    milliseconds: PredictTimes


class PlaceBody(Body):
    """Where a reply was found."""

    row: int
    document: str
    title: str | None = None
    position: int
    section: str | None = None


class ChatAnswer(Body):
    """The passage predicted next, and what to think of it."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model": "p1",
                "reply": _PASSAGE,
                "alternatives": [_OTHER],
                "copy": _COPY,
                "found_in": {key: _PASSAGE[key] for key in ("row", "document", "title", "position", "section")},
                "steps": [{"predicted": _PASSAGE, "alternatives": [_OTHER], "copy": _COPY}],
                "chunked": "sentence",
                "context": _CONTEXT,
                "asked": _ASKED,
                "warnings": [],
                "milliseconds": _TIMES,
            }
        }
    )
    model: str
    face: FaceName = None
    reply: FoundBody | None = Field(default=None, description="The first step's; null where none is left to be found.")
    alternatives: list[FoundBody]
    copy_: CopyBody = Field(alias="copy")
    found_in: PlaceBody | None = None
    steps: list[StepBody] = Field(description="Of a continuation all of them.")
    chunked: Literal["paragraph", "sentence"]
    context: list[ContextChunk]
    asked: AskedBody
    warnings: list[str]
    milliseconds: PredictTimes


class ModelInfo(Body):
    """A model that is served."""

    name: str
    family: str
    dim: int
    context: int
    horizon: int
    facets: list[str]
    faces: list[str] = Field(
        default_factory=list, description="Of a model of two: `ranking`, which searches go by, and `mean`; else none."
    )
    reach: int | None = Field(default=None, description="Chunks it reads; null: all so far.")
    space: SpaceBody
    parameters: int
    precision: str
    status: Status
    run: str = Field(description="The folder it was loaded from.")
    gates: dict[str, dict[str, bool | None]] | None = Field(
        default=None, description="Profile → gate of the run's 5CAT → passed; null: not judged, or no 5CAT."
    )


class PredictorInfo(Body):
    """What predicts here."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "models": [
                    {
                        "name": "p1",
                        "family": "transformer",
                        "dim": 384,
                        "context": 5,
                        "horizon": 1,
                        "facets": ["mean"],
                        "reach": 5,
                        "space": _SPACE,
                        "parameters": 1054336,
                        "precision": "fp32",
                        "status": "production",
                        "run": "/runs/p1",
                        "gates": {"skill": {"A": False, "B": False, "C": True, "D": False, "E": False}},
                    }
                ],
                "default": "p1",
                "deprecated": {"p0": "p1"},
                "encoder": "http://127.0.0.1:7001",
                "decoder": "http://127.0.0.1:7002",
            }
        }
    )
    models: list[ModelInfo]
    default: str | None = Field(default=None, description="Who answers where no model is named.")
    deprecated: dict[str, str] = Field(description="Name → the model to use instead.")
    encoder: str
    decoder: str
