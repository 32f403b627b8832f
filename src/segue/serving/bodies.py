"""What the bodies of all services share. Legend: D width, n vectors."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

LONGEST_TEXT = 20_000  # characters


class Body(BaseModel):
    """A body of ours: unknown keys, NaN, infinity, and numbers written as text or `true` are refused (422)."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Vector = Annotated[list[Number], Field(min_length=1, max_length=16_384, description="D numbers.")]
Text = Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT)]
