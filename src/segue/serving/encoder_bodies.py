"""Bodies of the encoder service. Legend: n texts, D width."""

import base64
from typing import Annotated, Literal

import numpy as np
from pydantic import ConfigDict, Discriminator, Field, Tag
from pydantic.config import JsonDict

from segue.serving.bodies import Body, SpaceBody, Text

MOST_TEXTS = 1024
MOST_INPUTS = 2048  # what OpenAI's own endpoint takes
_SPACE: JsonDict = {"id": "minilm-384-8ba24a53c1f7", "encoder": "minilm", "dim": 384}


class EncodeBody(Body):
    """Texts to encode."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"texts": ["The river rose for three days.", "Then it fell."]}}
    )
    texts: Annotated[list[Text], Field(min_length=1, max_length=MOST_TEXTS, fail_fast=True)] = Field(
        description="None blank. What is beyond the encoder's max_tokens (GET /info) is not read."
    )


class EncodeTimes(Body):
    """Where the time went, in milliseconds."""

    queue: float = Field(description="Waiting for the encoder to be free.")
    encode: float = Field(description="From the first text's beginning to the last one's end.")


class EncodeAnswer(Body):
    """Unit vectors, in the order of the texts."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "embeddings": [[0.031, -0.072], [0.055, 0.018]],
                "shape": [2, 384],
                "space": _SPACE,
                "milliseconds": {"queue": 0.4, "encode": 11.2},
            }
        }
    )
    embeddings: list[list[float]] = Field(description="n × D, each of length 1.")
    shape: Annotated[list[int], Field(min_length=2, max_length=2)] = Field(description="[n, D]")
    space: SpaceBody
    milliseconds: EncodeTimes


class EncoderInfo(Body):
    """What encodes here, and how."""

    encoder: str
    names: list[str] = Field(description="What `model` may be in /v1/embeddings.")
    space: SpaceBody
    precision: str = Field(description="float32 or bfloat16: what is computed in.")
    fidelity: dict[str, float] | None = Field(
        default=None, description="Cosine of the vectors in bfloat16 to float32's: mean, min, over n passages."
    )
    max_tokens: int | None = Field(default=None, description="Tokens read of a text.")
    batch: int = Field(description="Texts in one pass.")
    device: str
    most_texts: int = MOST_TEXTS


class EmbeddingsBody(Body):
    """OpenAI's request for embeddings."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"input": ["The river rose for three days."], "model": "minilm"}}
    )
    # Told apart by type, so that a refusal speaks of the one that was meant.
    input: Annotated[
        Annotated[Text, Tag("as one")]
        | Annotated[list[Text], Field(min_length=1, max_length=MOST_INPUTS, fail_fast=True), Tag("as many")],
        Discriminator(lambda value: "as many" if isinstance(value, list) else "as one"),
    ]
    model: Annotated[str, Field(min_length=1, max_length=300)] = Field(description="One of GET /v1/models.")
    encoding_format: Literal["float", "base64"] = Field(
        default="float", description="base64: float32 numbers, little-endian."
    )
    dimensions: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="The encoder's own width; it has no other."
    )
    user: Annotated[str, Field(max_length=300)] | None = Field(default=None, description="Not used.")


class Embedding(Body):
    """One input's unit vector."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str = Field(description="D numbers, or their bytes in base64.")

    @classmethod
    def of(cls, index: int, vector_D: np.ndarray, encoding_format: str) -> "Embedding":
        if encoding_format == "base64":
            return cls(index=index, embedding=base64.b64encode(vector_D.astype("<f4").tobytes()).decode("ascii"))
        return cls(index=index, embedding=vector_D.tolist())


class Usage(Body):
    """Tokens the encoder read, counted by its tokenizer."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(Body):
    """OpenAI's answer."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "object": "list",
                "data": [{"object": "embedding", "index": 0, "embedding": [0.031, -0.072]}],
                "model": "minilm",
                "usage": {"prompt_tokens": 9, "total_tokens": 9},
            }
        }
    )
    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Usage


class ModelCard(Body):
    """One model, in OpenAI's words."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="When this service loaded it, in seconds since 1970.")
    owned_by: str = "segue"


class ModelList(Body):
    """What `model` may be."""

    object: Literal["list"] = "list"
    data: list[ModelCard]
