"""The schema of a recipe. It has no defaults of its own but those of what came later: a resolved recipe says all."""

from collections.abc import Mapping
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, field_validator, model_validator

from segue.errors import nearest
from segue.models.network import Options
from segue.objectives import TERMS, Schedule, Term
from segue.training.curation import Curation
from segue.training.lr_schedule import LrSchedule
from segue.training.tripwires import Tripwire
from segue.training.validate import METRICS

Facet = Literal["mean", "rank"]
# What training reads anew at each epoch, so what a tripwire can set.
CHANGEABLE = ("objective", "context_drop", "curation", "lr", "weight_decay", "gradient_clip", "batch", "precision")
RHO = "rho."  # what an expectation of a term's share of MSE begins with


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _known_metric(name: str) -> str:
    if name not in METRICS:
        raise ValueError(f"unknown metric. {nearest(name, METRICS)}")
    return name


def _expected_metric(name: str) -> str:
    return name if name.startswith(RHO) and name.removeprefix(RHO) in TERMS else _known_metric(name)


class ModelChoice(_Section):
    """A family and its options. In a recipe `model: amn`, or `model: {family: transformer, layers: 2}`."""

    family: str
    options: SerializeAsAny[Options]


class Plateau(_Section):
    """The learning rate times `factor` when VAL loss has not improved for more than `patience` epochs."""

    factor: float = Field(gt=0, lt=1)
    patience: int = Field(ge=0)


class Best(_Section):
    """The VAL metric by which the best epoch is chosen, and which way is better."""

    metric: str
    better: Literal["higher", "lower"]

    _metric = field_validator("metric")(_known_metric)


class EarlyStop(_Section):
    """Train no further when a VAL metric was no better than its best for `patience` epochs in a row."""

    metric: str
    better: Literal["higher", "lower"]
    patience: int = Field(ge=1)

    _metric = field_validator("metric")(_known_metric)


class Expectation(_Section):
    """What the authors of a recipe expected at an epoch: told in the report, never acted on.

    metric   of VAL, or `rho.TERM`: weight · term / mse over the epoch's training
    """

    epoch: int = Field(ge=1)
    metric: str
    low: float | None = None
    high: float | None = None

    _metric = field_validator("metric")(_expected_metric)


class Recipe(_Section):
    """A resolved recipe.

    context, horizon  C and h of SPEC §1
    lr, weight_decay  of AdamW; `plateau` changes lr by epoch, `lr_schedule` (null: nothing does) by step
    batch             windows a step
    gradient_clip     largest norm of the whole gradient
    averaging         decay of a moving average of the weights; the average is what is validated and saved. null: none
    objective         name of a term → its fields, `weight` among them
    context_drop      probability, by epoch, with which the last chunk is hidden from the model in training
    precision         fp32; bf16: autocast; auto: bf16 where the device computes in it, else fp32
    facets            what the model claims to be: `mean` (close to the target), `rank` (orders candidates)
    curation          which train windows an epoch learns from: a name of `CURATIONS` → its value; null: all
    tripwires         what is watched for after each epoch, and what is then done (`segue.training.tripwires`)
    early_stop        null: all epochs are trained
    expectations      what its authors expected of VAL, told in the report
    reported          what the experiments that it re-runs saw, in their words and figures
    next_steps        what to try after it, told in the notes
    """

    name: str = Field(min_length=1)
    model: ModelChoice
    context: int = Field(ge=2)
    horizon: int = Field(ge=1)
    epochs: int = Field(ge=1)
    batch: int = Field(ge=1)
    lr: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    gradient_clip: float = Field(gt=0)
    plateau: Plateau
    lr_schedule: LrSchedule | None = None
    averaging: float | None = Field(None, gt=0, lt=1)
    objective: dict[str, SerializeAsAny[Term]] = Field(min_length=1)
    context_drop: Schedule = Schedule(0.0)
    curation: dict[str, SerializeAsAny[Curation]] | None = None
    tripwires: tuple[Tripwire, ...] = ()
    early_stop: EarlyStop | None = None
    best: Best
    facets: tuple[Facet, ...] = Field(min_length=1)
    seed: int = Field(ge=0, lt=2**63)
    precision: Literal["auto", "fp32", "bf16"]
    expectations: tuple[Expectation, ...] = ()
    reported: str = ""
    next_steps: tuple[str, ...] = ()

    @field_validator("context_drop")
    @classmethod
    def _probability(cls, drop: Schedule) -> Schedule:
        if not 0 <= drop.lowest <= drop.highest < 1:
            raise ValueError(f"a probability from {drop.lowest:g} to {drop.highest:g}; from 0 to below 1 is wanted")
        return drop

    @model_validator(mode="after")
    def _terms_fit_the_model(self) -> "Recipe":
        for name, term in self.objective.items():
            if fault := term.face_fault(self.model.options) or term.fault(self.model.options):
                raise ValueError(f"objective.{name}: {fault}")
        return self

    @model_validator(mode="after")
    def _always_something_to_minimise(self) -> "Recipe":
        for epoch in range(1, self.epochs + 1):
            if not any(term.weight.at(epoch) for term in self.objective.values()):
                raise ValueError(f"objective: every weight is 0 at epoch {epoch}, at least one above 0 is wanted")
        return self

    def to_json(self) -> dict[str, Any]:
        """The whole recipe as it would be written: `parse` of it is the same recipe."""
        value = self.model_dump(mode="json", by_alias=True)
        value["model"] = {"family": self.model.family, **value["model"]["options"]}
        # JSON has text keys; a schedule's are epochs.
        value["context_drop"] = self.context_drop.model_dump(by_alias=True)
        value["objective"] = {name: term.model_dump(by_alias=True) for name, term in self.objective.items()}
        value["curation"] = {name: its.written() for name, its in self.curation.items()} if self.curation else None
        value["tripwires"] = [tripwire.written() for tripwire in self.tripwires]
        return value

    def changed(self, sets: Mapping[str, Any]) -> "Recipe":
        """The recipe with dotted fields set anew, as its tripwires do. Raises InputError for what cannot be changed."""
        from segue.recipe.parsing import parse, set_field  # which knows this class

        fields = {**self.to_json(), "tripwires": []}
        for path, value in sets.items():
            set_field(fields, path, value)
        return parse(fields, self.name)

    def at(self, epoch: int) -> dict[str, Any]:
        """What decides how an epoch is trained: `CHANGEABLE`, schedules at their values, without terms of weight 0."""
        objective = {name: _at(term, epoch) for name, term in self.objective.items() if term.weight.at(epoch)}
        rest = {name: _at(getattr(self, name), epoch) for name in CHANGEABLE if name != "objective"}
        return {"objective": objective, **rest}

    def completed(self, written: Mapping[str, Any]) -> dict[str, Any]:
        """An older recipe's fields with the defaults of those that came later. Raises InputError for what is none."""
        from segue.recipe.parsing import parse

        return parse(written, self.name).to_json()

    def to_yaml(self) -> str:
        """The resolved recipe as a file."""
        return yaml.safe_dump(self.to_json(), sort_keys=False, allow_unicode=True, width=120)


def _at(value: Any, epoch: int) -> Any:
    """A part of a recipe with every schedule in it at its value."""
    if isinstance(value, Schedule):
        return value.at(epoch)
    if isinstance(value, BaseModel):
        return {name: _at(getattr(value, name), epoch) for name in type(value).model_fields}
    return {name: _at(its, epoch) for name, its in value.items()} if isinstance(value, Mapping) else value
