"""What the bodies of all services share. Legend: D width, n vectors."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from segue.vectors import Space

LONGEST_TEXT = 20_000  # characters
NOT_BLANK = r"\S"


class Body(BaseModel):
    """A body of ours: unknown keys, NaN, infinity, and numbers written as text or `true` are refused (422)."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
# Lists of a request fail fast: each bad number would else be an error of its own, two minutes of them in one body.
Vector = Annotated[list[Number], Field(min_length=1, max_length=16_384, fail_fast=True, description="D numbers.")]
Text = Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT, pattern=NOT_BLANK)]


class SpaceBody(Body):
    """The embedding space of vectors. Two with one `id` can be compared."""

    id: str = Field(description="Equal for vectors that can be compared.")
    encoder: str
    dim: int = Field(description="Width D.")
    revision: str | None = None
    pooling: str | None = None
    dense: bool | None = None
    normalisation: str = "unit"
    prompt: str | None = None
    precision: str = "float32"
    transform: str | None = None

    @classmethod
    def of(cls, space: Space) -> "SpaceBody":
        return cls(**space.to_json())
