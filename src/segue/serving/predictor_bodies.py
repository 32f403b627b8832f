"""What the predictor service is asked. Legend: B contexts, L chunks of one, D width."""

from typing import Annotated, Any, Literal, Self, cast

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from segue.serving.bodies import Body, Number, Text, Vector
from segue.serving.prediction import HOTTEST, MOST_PASSAGES, MOST_STEPS, SEEDS, Wish
from segue.serving.served import LONGEST

MOST_CONTEXTS = 256
MOST_CHUNKS = 1000
MOST_MESSAGES = 1000
LONGEST_DOCUMENT = 1_000_000  # characters
_CHUNKS: list[Any] = [
    "The river rose for three days.",
    "On the fourth it stood at the market.",
    "Boats were brought from the lake.",
    "The bakery on the hill took people in.",
    "By Sunday the water had begun to fall.",
]

Name = Annotated[str, Field(min_length=1, max_length=64)]
ModelName = Annotated[Name | None, Field(description="One of GET /info; the default without it.")]
Steering = Annotated[
    Number, Field(ge=0, lt=1, description="β: p = normalise(r − β·x_t). Takes the last chunk off; 0 leaves it.")
]
K = Annotated[int, Field(ge=1, le=MOST_PASSAGES, description="Passages looked at for each step.")]
Temperature = Annotated[
    Number,
    Field(ge=0, le=HOTTEST, description="0: the nearest passage; T: one of the k, drawn by exp(cosine / T)."),
]
Seed = Annotated[int | None, Field(ge=0, lt=SEEDS, description="Seed of that draw; without it one is drawn and told.")]
FeedName = Annotated[
    Literal["vector", "passage"],
    Field(description="What the next step reads: the predicted vector, or the passage's."),
]


def _nesting(value: Any) -> str:
    """Which of the two forms is meant, so that a refusal speaks of it."""
    deep = (
        isinstance(value, list) and value and isinstance(value[0], list) and value[0] and isinstance(value[0][0], list)
    )
    return "as many" if deep else "as one"


ContextVectors = Annotated[list[Vector], Field(min_length=1, max_length=LONGEST, fail_fast=True)]


class InferBody(Body):
    """One context, or many."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"context_vectors": [[0.6, 0.8], [0.0, 1.0]], "model": "p1", "steering": 0.0}}
    )
    context_vectors: Annotated[
        Annotated[ContextVectors, Tag("as one")]
        | Annotated[
            list[ContextVectors], Field(min_length=1, max_length=MOST_CONTEXTS, fail_fast=True), Tag("as many")
        ],
        Discriminator(_nesting),
    ] = Field(description="L × D, or B × L × D: unit vectors of the model's space, oldest chunk first.")
    model: ModelName = None
    steering: Steering = 0.0

    def contexts(self) -> tuple[bool, list[list[list[float]]]]:
        """Whether many were sent, and all of them."""
        many = _nesting(self.context_vectors) == "as many"
        return many, cast(list[list[list[float]]], self.context_vectors if many else [self.context_vectors])


class DocumentText(Body):
    """A text that the service cuts into chunks."""

    text: Annotated[str, Field(min_length=1, max_length=LONGEST_DOCUMENT)]


class StoredDocument(Body):
    """A document of the decoder's store, as far as it was read."""

    id: Annotated[str, Field(min_length=1, max_length=1000)]
    upto: Annotated[int, Field(ge=0, lt=1 << 31, description="Position of the last chunk read.")]


class PredictBody(Body):
    """What was read, given in one of three ways, and how to go on."""

    model_config = ConfigDict(json_schema_extra={"example": {"texts": _CHUNKS, "k": 2}})
    texts: Annotated[list[Text], Field(min_length=1, max_length=MOST_CHUNKS, fail_fast=True)] | None = Field(
        default=None, description="Chunks, oldest first; a model that reads C of them reads the last C."
    )
    document: DocumentText | None = Field(default=None, description="Or a text, cut into paragraphs or sentences.")
    stored: StoredDocument | None = Field(default=None, description="Or a document of the decoder's store.")
    model: ModelName = None
    k: K = 5
    steps: Annotated[int, Field(ge=1, le=MOST_STEPS, description="How far to roll out.")] = 1
    steering: Steering = 0.0
    temperature: Temperature = 0.0
    seed: Seed = None
    feed: FeedName = "vector"
    vectors: bool = Field(default=False, description="Whether the predicted vectors are wanted too.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = sum(source is not None for source in (self.texts, self.document, self.stored))
        if given != 1:
            raise ValueError(f"found {given} of texts, document and stored, exactly one is wanted")
        return self

    def wish(self) -> Wish:
        """What is asked for, seeded."""
        return Wish(self.k, self.steps, self.steering, self.temperature, self.seed, self.feed).seeded()


class MessageBody(Body):
    """One turn."""

    role: Literal["user", "assistant"]
    content: Annotated[str, Field(min_length=1, max_length=LONGEST_DOCUMENT)]


class ChatBody(Body):
    """A conversation. The user's own text is what is read."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"messages": [{"role": "user", "content": " ".join(_CHUNKS)}], "k": 2}}
    )
    messages: Annotated[list[MessageBody], Field(min_length=1, max_length=MOST_MESSAGES, fail_fast=True)]
    continue_: Annotated[int, Field(ge=1, le=MOST_STEPS)] | None = Field(
        default=None, alias="continue", description="Go on from the replies too, so many passages."
    )
    model: ModelName = None
    k: K = 5
    steering: Steering = 0.0
    temperature: Temperature = 0.0
    seed: Seed = None
    feed: FeedName = "vector"

    def wish(self) -> Wish:
        """What is asked for, seeded."""
        return Wish(self.k, self.continue_ or 1, self.steering, self.temperature, self.seed, self.feed).seeded()
