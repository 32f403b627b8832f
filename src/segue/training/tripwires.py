"""Tripwires: what a recipe watches for after each epoch, and what then really happens (SPEC §9).

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
later one rolls back, and epochs that are trained again draw their own numbers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from segue.errors import nearest
from segue.objectives.schedule import Epoch
from segue.training.validate import METRICS

if TYPE_CHECKING:
    from segue.recipe import Recipe
    from segue.training.state import State

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


class Tripped(BaseModel):
    """A tripwire that has tripped: after which epoch of which attempt, what was found, what was done."""

    model_config = ConfigDict(strict=True, extra="forbid")

    name: str
    epoch: int
    attempt: int
    found: str
    did: str


class Change(BaseModel):
    """What a tripwire has set, and for how many further epochs; None: for good."""

    model_config = ConfigDict(strict=True, extra="forbid")

    tripwire: str
    left: int | None


class Watch(BaseModel):
    """What a run's tripwires have seen and done: all of it is in a checkpoint.

    values    epoch (as text, for JSON) → the metrics they ask of, of the epochs behind the present weights
    tripped   in the order in which they did
    changes   in force, in the order in which they were made
    lr        to be set when the next epoch begins
    """

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    values: dict[str, dict[str, float | None]] = {}
    tripped: list[Tripped] = []
    changes: list[Change] = []
    lr: float | None = None

    def armed(self, recipe: "Recipe") -> list[Tripwire]:
        """Those that have not tripped yet."""
        gone = {one.name for one in self.tripped}
        return [tripwire for tripwire in recipe.tripwires if tripwire.name not in gone]

    def ahead(self, recipe: "Recipe", epochs: int) -> "Recipe":
        """The recipe with the changes that hold so many epochs from now."""
        sets: dict[str, Any] = {}
        for change in self.changes:
            if change.left is None or change.left >= epochs:
                sets |= next(one.do.set_ for one in recipe.tripwires if one.name == change.tripwire)
        return recipe.changed(sets) if sets else recipe

    def next_epoch(self, recipe: "Recipe") -> "Recipe":
        """The recipe with the changes that hold for the next epoch, which is counted off them."""
        changed = self.ahead(recipe, 1)
        self.changes = [change for change in self.changes if change.left != 0]
        for change in self.changes:
            change.left = change.left if change.left is None else change.left - 1
        return changed

    def forget_after(self, epoch: int) -> None:
        """Drop what was seen of later epochs, which are trained again."""
        self.values = {key: seen for key, seen in self.values.items() if int(key) <= epoch}


@dataclass(frozen=True)
class Trip:
    """A tripwire whose condition holds, and what was found."""

    tripwire: Tripwire
    found: str

    def apply(self, state: "State") -> None:
        """Do what it says: in the state, so that the epoch's checkpoint holds it."""
        do, did = self.tripwire.do, []
        if do.stop:
            did.append(state.stop(self.tripwire.name, do.stop))
        if do.set_:
            state.watch.changes.append(Change(tripwire=self.tripwire.name, left=do.for_))
            state.watch.lr = do.set_.get("lr", state.watch.lr)
            span = "" if do.for_ is None else f" for {do.for_} epoch{'s' if do.for_ > 1 else ''}"
            did.append("sets " + ", ".join(f"{path} to {value}" for path, value in do.set_.items()) + span)
        if do.roll_back_to:
            did.append(state.roll_back_to(_target(self.tripwire, state)))
        told = Tripped(
            name=self.tripwire.name, epoch=state.epoch, attempt=state.attempt, found=self.found, did="; ".join(did)
        )
        state.watch.tripped.append(told)
        state.events.append(f"tripwire {told.name}: {told.found}: {told.did}")


def _target(tripwire: Tripwire, state: "State") -> int:
    back = tripwire.do.roll_back_to
    return back if isinstance(back, int) else state.best_epoch


def _acts(tripwire: Tripwire, state: "State") -> bool:
    """Whether it would do anything now: stop, go back to an earlier epoch, or change how an epoch to come is trained.

    Guards off for an epoch that has none, a weight at what it is already: such a one stays armed for when it counts.
    """
    do, recipe = tripwire.do, state.recipe
    if do.stop:
        return True
    if do.roll_back_to is not None:
        return _target(tripwire, state) < state.epoch
    now = state.go_back or state.epoch
    coming = recipe.epochs - now
    if "lr" in do.set_:  # what it is by then, the plateau decides
        return coming > 0
    for epochs in range(1, min(do.for_ or coming, coming) + 1):
        without = state.watch.ahead(recipe, epochs)
        if without.at(now + epochs) != without.changed(do.set_).at(now + epochs):
            return True
    return False


def tripped(state: "State", val: Mapping[str, float | None]) -> Iterator[Trip]:
    """The tripwires that trip after an epoch with these VAL metrics, in the order of the recipe.

    Each is looked at when those before it have been applied.
    """
    watch, recipe = state.watch, state.recipe
    asked = {str(one.metric) for tripwire in recipe.tripwires for one in tripwire.when.conditions}
    watch.values[str(state.epoch)] = {name: val.get(name) for name in sorted(asked)}
    values = {int(epoch): seen for epoch, seen in watch.values.items()}
    for tripwire in watch.armed(recipe):
        found = tripwire.when.met(values, state.epoch, recipe.horizon)
        if found is not None and _acts(tripwire, state):
            yield Trip(tripwire, found)


def asks_rollout(recipe: "Recipe", epoch: int) -> bool:
    """Whether a tripwire, an expectation, the best epoch or the early stop is about `rollout` at an epoch."""
    always = [recipe.best.metric, recipe.early_stop and recipe.early_stop.metric]
    expected = [one.metric for one in recipe.expectations if one.epoch == epoch]
    watched = [
        condition.metric
        for tripwire in recipe.tripwires
        for condition in tripwire.when.conditions
        if any(tripwire.when.covers(epoch + ahead) for ahead in range(condition.epochs_before + 1))
    ]
    return "rollout" in [*always, *expected, *watched]
