"""Numbers that change by epoch. Epochs count from 1; "from" is inclusive."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, RootModel, Tag, model_validator

Epoch = Annotated[int, Field(ge=1)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class Ramp(BaseModel):
    """0 before `from`; `start` there; `end` from `to` on; between them linear, or exponential (equal ratios)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    from_: Epoch = Field(alias="from")
    to: Epoch
    start: Number
    end: Number
    shape: Literal["linear", "exponential"] = "linear"

    @model_validator(mode="after")
    def _possible(self) -> "Ramp":
        if self.to <= self.from_:
            raise ValueError(f"a ramp from {self.from_} to {self.to} has no epochs; `to` must be later")
        if self.shape == "exponential" and min(self.start, self.end) <= 0:
            raise ValueError(f"an exponential ramp from {self.start} to {self.end}: both must be above 0")
        return self

    def at(self, epoch: int) -> float:
        """The value at an epoch."""
        if epoch < self.from_:
            return 0.0
        done = min(1.0, (epoch - self.from_) / (self.to - self.from_))
        if self.shape == "exponential":
            return float(self.start * (self.end / self.start) ** done)
        return self.start + done * (self.end - self.start)


def _shape_of(value: Any) -> str:
    if isinstance(value, Ramp) or (isinstance(value, dict) and not all(str(key).isdigit() for key in value)):
        return "ramp"
    return "steps" if isinstance(value, dict) else "number"


class Schedule(
    RootModel[
        Annotated[
            Annotated[Number, Tag("number")]
            | Annotated[dict[Epoch, Number], Tag("steps")]
            | Annotated[Ramp, Tag("ramp")],
            Discriminator(_shape_of),
        ]
    ]
):
    """A number · a map from the epoch on which a value begins, epoch 1 included · a ramp.

    In a recipe: `0.01` · `{1: 0, 6: 0.002}` · `{from: 4, to: 10, start: 0.005, end: 0.01, shape: linear}`
    """

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="after")
    def _begins_at_once(self) -> "Schedule":
        if isinstance(self.root, dict) and 1 not in self.root:
            raise ValueError("a map by epoch says what holds from epoch 1 on, as {1: 0, 6: 0.002}")
        return self

    def at(self, epoch: int) -> float:
        """The value at an epoch, from 1."""
        if isinstance(self.root, Ramp):
            return self.root.at(epoch)
        if isinstance(self.root, dict):
            return self.root[max(begin for begin in self.root if begin <= epoch)]
        return self.root

    @property
    def lowest(self) -> float:
        """The smallest value it ever takes after it began."""
        if isinstance(self.root, Ramp):
            return min(self.root.start, self.root.end)
        return min(self.root.values()) if isinstance(self.root, dict) else self.root

    @property
    def highest(self) -> float:
        """The largest value it ever takes."""
        if isinstance(self.root, Ramp):
            return max(self.root.start, self.root.end)
        return max(self.root.values()) if isinstance(self.root, dict) else self.root
