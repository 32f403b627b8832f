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


class Knots(BaseModel):
    """Values at some epochs, epoch 1 among them; between two linear, or exponential (equal ratios); the last holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at_: dict[Epoch, Number] = Field(alias="at", min_length=2)
    shape: Literal["linear", "exponential"] = "linear"

    @model_validator(mode="after")
    def _possible(self) -> "Knots":
        if 1 not in self.at_:
            raise ValueError("knots say what holds from epoch 1 on, as {at: {1: 0.02, 5: 0.1}}")
        if self.shape == "exponential" and min(self.at_.values()) <= 0:
            raise ValueError("exponential knots must all be above 0")
        return self

    def at(self, epoch: int) -> float:
        """The value at an epoch."""
        before = max(knot for knot in self.at_ if knot <= epoch)
        after = min((knot for knot in self.at_ if knot > epoch), default=before)
        start, end = self.at_[before], self.at_[after]
        done = (epoch - before) / max(1, after - before)
        if self.shape == "exponential":
            return float(start * (end / start) ** done)
        return start + done * (end - start)


def _shape_of(value: Any) -> str:
    if isinstance(value, Knots) or (isinstance(value, dict) and "at" in value):
        return "knots"
    if isinstance(value, Ramp) or (isinstance(value, dict) and not all(str(key).isdigit() for key in value)):
        return "ramp"
    return "map" if isinstance(value, dict) else "number"


class Schedule(
    RootModel[
        Annotated[
            Annotated[Number, Tag("number")]
            | Annotated[dict[Epoch, Number], Tag("map")]
            | Annotated[Ramp, Tag("ramp")]
            | Annotated[Knots, Tag("knots")],
            Discriminator(_shape_of),
        ]
    ]
):
    """A number · a map from the epoch on which a value begins, epoch 1 included · a ramp · knots.

    In a recipe: `0.01` · `{1: 0, 6: 0.002}` · `{from: 4, to: 10, start: 0.005, end: 0.01, shape: linear}` ·
    `{at: {1: 0.02, 3: 0.05, 9: 0.3}, shape: exponential}`
    """

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="after")
    def _begins_at_once(self) -> "Schedule":
        if isinstance(self.root, dict) and 1 not in self.root:
            raise ValueError("a map by epoch says what holds from epoch 1 on, as {1: 0, 6: 0.002}")
        return self

    def at(self, epoch: int) -> float:
        """The value at an epoch, from 1."""
        if isinstance(self.root, Ramp | Knots):
            return self.root.at(epoch)
        if isinstance(self.root, dict):
            return self.root[max(begin for begin in self.root if begin <= epoch)]
        return self.root

    @property
    def _written(self) -> list[float]:
        """The values that are written down: between them it only interpolates."""
        if isinstance(self.root, Ramp):
            return [self.root.start, self.root.end]
        if isinstance(self.root, Knots):
            return list(self.root.at_.values())
        return list(self.root.values()) if isinstance(self.root, dict) else [self.root]

    @property
    def lowest(self) -> float:
        """The smallest value it ever takes after it began."""
        return min(self._written)

    @property
    def highest(self) -> float:
        """The largest value it ever takes."""
        return max(self._written)
