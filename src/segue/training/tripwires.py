"""Tripwires as a recipe writes them: what is watched for after each epoch, and what then really happens (SPEC §9).

    tripwires:
      - name: the rollout costs too much
        when: {epochs: [4, 5], metric: cos, falls_by: 0.05}
        do: {set: {objective.rollout.weight: 0.03}}
      - name: guards against nothing
        when: {epochs: [3, null], all: [{metric: peak, not_horizon: true}, {metric: margin_last, at_most: 0}]}
        do: {set: {objective.directional.weight: 0}, for: 1}
      - name: gate A
        when: {epochs: 4, any: [{metric: margin_last, below: 0.02}, {metric: rollout, below: 0.46}]}
        do: {stop: stage A did not pass its gate}

Each trips at most once in a run, and only where it does something: one that rolls back where there is an earlier epoch
to go back to, one that sets where an epoch to come is then trained otherwise. What a tripwire has set stays set when a
later one rolls back, and epochs that are trained again draw their own numbers. `trips` watches a run for them.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from segue.errors import nearest
from segue.objectives.schedule import Epoch
from segue.training.validate import METRICS

# Epoch → VAL metrics of the epochs behind the present weights.
Values = Mapping[int, Mapping[str, float | None]]
COMPARED = ("below", "at_most", "above", "at_least", "falls_by", "regresses_by", "not_horizon")
SMALLER_IS_BETTER = ("loss", "mse")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Compared(_Section):
    """A metric and exactly one comparison.

    below, at_most, above, at_least   with a number
    falls_by       by more than this share of its value at the epoch before
    regresses_by   at each of the last `running` epochs worse by more than this than at the epoch before
    not_horizon    (`peak`) the peak is not at the offset predicted
    """

    metric: str | None = None
    below: float | None = None
    at_most: float | None = None
    above: float | None = None
    at_least: float | None = None
    falls_by: float | None = Field(None, ge=0)
    regresses_by: float | None = Field(None, ge=0)
    running: int | None = Field(None, ge=1)
    not_horizon: Literal[True] | None = None

    @field_validator("metric")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None and name not in METRICS:
            raise ValueError(f"unknown metric. {nearest(name, METRICS)}")
        return name

    @property
    def comparisons(self) -> list[str]:
        """Names of the comparisons it makes."""
        return [name for name in COMPARED if getattr(self, name) is not None]

    def _require_one(self) -> None:
        if self.metric is None or len(self.comparisons) != 1:
            raise ValueError(f"a metric and exactly one of {', '.join(COMPARED)} is wanted")
        if self.not_horizon and self.metric != "peak":
            raise ValueError(f"not_horizon asks of `peak`, not of {self.metric!r}")
        if self.running is not None and self.regresses_by is None:
            raise ValueError("`running` goes with regresses_by")


class Condition(_Compared):
    """A comparison of a VAL metric, as `{metric: cos, below: 0.45}`."""

    @model_validator(mode="after")
    def _one_comparison(self) -> "Condition":
        self._require_one()
        return self

    @property
    def epochs_before(self) -> int:
        """How many epochs before the present one it looks at."""
        return (self.running or 1) if self.regresses_by is not None else int(self.falls_by is not None)

    def met(self, values: Values, epoch: int, horizon: int) -> str | None:
        """Words for what was found when it holds. What was not computed holds nothing: None."""
        assert self.metric is not None
        seen = [values.get(e, {}).get(self.metric) for e in range(epoch - self.epochs_before, epoch + 1)]
        told = [value for value in seen if value is not None]
        if len(told) < len(seen):
            return None
        now, before = told[-1], told[0]
        held = {
            "below": lambda limit: now < limit,
            "at_most": lambda limit: now <= limit,
            "above": lambda limit: now > limit,
            "at_least": lambda limit: now >= limit,
            "falls_by": lambda share: before - now > share * abs(before),
            "regresses_by": lambda step: all(self._worse(later, sooner) > step for sooner, later in pairwise(told)),
            "not_horizon": lambda _: now != horizon,
        }
        (how,) = self.comparisons
        if not held[how](getattr(self, how)):
            return None
        path = " → ".join(f"{value:.4g}" for value in told)
        limit = horizon if how == "not_horizon" else getattr(self, how)
        return f"{self.metric} {path}, {how.replace('_', ' ')} {limit:g}"

    def _worse(self, later: float, sooner: float) -> float:
        return later - sooner if self.metric in SMALLER_IS_BETTER else sooner - later


class When(_Compared):
    """At which epochs, and which comparison: one, `all` of several, or `any` of several.

    epochs   one, or [from, to], both included, `to` null: to the end; without: every epoch
    """

    epochs: tuple[Epoch, Epoch | None] = (1, None)
    all: tuple[Condition, ...] | None = Field(None, min_length=1)
    any: tuple[Condition, ...] | None = Field(None, min_length=1)

    @field_validator("epochs", mode="before")
    @classmethod
    def _one_epoch(cls, written: Any) -> Any:
        return (written, written) if isinstance(written, int) else written

    @model_validator(mode="after")
    def _one_way(self) -> "When":
        first, last = self.epochs
        if last is not None and last < first:
            raise ValueError(f"epochs {first} to {last} are none; [from, to] is wanted")
        inline = self.metric is not None or self.running is not None or bool(self.comparisons)
        if inline + (self.all is not None) + (self.any is not None) != 1:
            raise ValueError("one comparison of a metric, or `all: […]`, or `any: […]` is wanted")
        if inline:
            self._require_one()
        return self

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Its comparisons."""
        inline = {name: getattr(self, name) for name in _Compared.model_fields}
        return self.all or self.any or (Condition(**inline),)

    def covers(self, epoch: int) -> bool:
        """Whether an epoch is one of its own."""
        return self.epochs[0] <= epoch <= (self.epochs[1] or epoch)

    def met(self, values: Values, epoch: int, horizon: int) -> str | None:
        """Words for what was found when it holds, else None."""
        if not self.covers(epoch):
            return None
        found = [condition.met(values, epoch, horizon) for condition in self.conditions]
        said = [words for words in found if words is not None]
        return "; ".join(said) if len(said) == len(found) or (self.any and said) else None


class Do(_Section):
    """What happens.

    set            dotted field of the recipe → its value from the next epoch on, or with `for` for the next n epochs
    roll_back_to   go on from an epoch, or from the `best`: weights, moments, lr, plateau and controllers as they were
    stop           end training with this verdict; `segue train --force` goes on
    """

    set_: dict[str, Any] = Field({}, alias="set")
    for_: int | None = Field(None, alias="for", ge=1)
    roll_back_to: Epoch | Literal["best"] | None = None
    stop: str | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _something(self) -> "Do":
        if not (self.set_ or self.roll_back_to or self.stop):
            raise ValueError("nothing would happen; set, roll_back_to or stop is wanted")
        if self.stop and (self.set_ or self.roll_back_to):
            raise ValueError("what stops cannot do more; leave out set and roll_back_to, or stop")
        if self.for_ and not self.set_:
            raise ValueError("`for` says how many epochs `set` holds, and there is no `set`")
        if self.for_ and "lr" in self.set_:
            raise ValueError("lr is changed by the plateau too, so it is set for good; leave out `for`")
        return self


class Tripwire(_Section):
    """Something to watch for, and what to do about it, once."""

    name: str = Field(min_length=1)
    when: When
    do: Do

    @model_validator(mode="after")
    def _goes_back(self) -> "Tripwire":
        back = self.do.roll_back_to
        if isinstance(back, int) and back >= self.when.epochs[0]:
            raise ValueError(
                f"rolls back to epoch {back}, and may trip at epoch {self.when.epochs[0]}; an epoch before is wanted"
            )
        return self

    def written(self) -> dict[str, Any]:
        """The map as a recipe has it, without what is not used."""
        return self.model_dump(by_alias=True, exclude_defaults=True)
