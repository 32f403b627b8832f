"""A run's tripwires at work: what they have seen, which trip after an epoch, what is then done."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from segue.training.tripwires import Tripwire

if TYPE_CHECKING:
    from segue.recipe import Recipe
    from segue.training.state import State


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
