"""Recipes: what a run is made of, as data.

A recipe is a YAML file with the fields of `Recipe`; `extends: NAME` takes another one and changes only what differs.
Shipped ones lie in `segue/recipes/`. The schema has no defaults of its own: a resolved recipe says all.
"""

from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal, TypeGuard, TypeVar, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    SerializeAsAny,
    ValidationError,
    field_validator,
    model_validator,
)

from segue.errors import InputError, nearest
from segue.models.families import family_named
from segue.models.network import Options
from segue.objectives import TERMS, Schedule, Term
from segue.training.curation import CURATIONS, Curation
from segue.training.lr_schedule import LrSchedule
from segue.training.tripwires import Tripwire
from segue.training.validate import METRICS

Facet = Literal["mean", "rank"]
Section = TypeVar("Section", bound=BaseModel)
# What training reads anew at each epoch, so what a tripwire can set.
CHANGEABLE = ("objective", "context_drop", "curation", "lr", "weight_decay", "gradient_clip", "batch", "precision")
RHO = "rho."  # what an expectation of a term's share of MSE begins with
# Steps of an error's location that stand for no key: the shapes of a schedule, the kinds of a weight.
SCHEDULE_TAGS = ("number", "map", "ramp", "knots", "[key]", "by epoch", "controlled")


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
        fields = {**self.to_json(), "tripwires": []}
        for path, value in sets.items():
            _set(fields, path, value)
        return parse(fields, self.name)

    def at(self, epoch: int) -> dict[str, Any]:
        """What decides how an epoch is trained: `CHANGEABLE`, schedules at their values, without terms of weight 0."""
        objective = {name: _at(term, epoch) for name, term in self.objective.items() if term.weight.at(epoch)}
        rest = {name: _at(getattr(self, name), epoch) for name in CHANGEABLE if name != "objective"}
        return {"objective": objective, **rest}

    def completed(self, written: Mapping[str, Any]) -> dict[str, Any]:
        """An older recipe's fields with the defaults of those that came later. Raises InputError for what is none."""
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


def _sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The sections named in a field's type, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _sections_in(inner)


def _fields_at(section: type[BaseModel], location: Iterable[Any]) -> list[str]:
    """The known keys of the section that an error's location lies in."""
    for step in location:
        field = section.model_fields.get("root" if issubclass(section, RootModel) else str(step))
        section = next(_sections_in(field.annotation), section) if field else section
    return [field.alias or name for name, field in section.model_fields.items()]


def _checked(cls: type[Section], values: Any, recipe: str, where: str = "") -> Section:
    """Validate one section; the first trouble as one line with the key, the value found and what is wanted."""
    if not isinstance(values, Mapping):
        raise InputError(f"recipe {recipe}: {where}: found {values!r}, a map of keys is wanted.")
    try:
        return cls.model_validate(dict(values))
    except ValidationError as error:
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        inner = [str(step) for step in first["loc"] if step not in SCHEDULE_TAGS]
        key = ".".join([where, *inner] if where else inner)
        if first["type"] == "extra_forbidden":
            known = _fields_at(cls, first["loc"][:-1]) + (["extends"] if cls is Recipe and len(inner) == 1 else [])
            told = f"unknown key {key!r}. {nearest(inner[-1], known)}"
        elif first["type"] == "missing":
            told = f"lacks {key!r}. Add it, or begin with `extends: p1`."
        else:
            found = "" if isinstance(first["input"], dict | BaseModel) else f"found {first['input']!r}: "
            told = f"{key + ': ' if key else ''}{found}{first['msg'].removeprefix('Value error, ').rstrip('.')}."
        raise InputError(f"recipe {recipe}: {told}") from None


def parse(values: Mapping[str, Any], recipe: str) -> Recipe:
    """A recipe from its fields, `extends` already resolved. Raises InputError, naming the key and the nearest known."""
    fields = dict(values)
    if "model" in fields:
        model = fields["model"]
        model = dict(model) if isinstance(model, Mapping) else {"family": model}
        family = model.pop("family", None)
        options = _checked(family_named(str(family)).options_type, model, recipe, "model")
        fields["model"] = ModelChoice(family=str(family), options=options)
    if "objective" in fields:
        terms = fields["objective"]
        if not isinstance(terms, Mapping):
            raise InputError(f"recipe {recipe}: objective: found {terms!r}, a map of terms is wanted: {list(TERMS)}.")
        for name in terms:
            if name not in TERMS:
                raise InputError(f"recipe {recipe}: objective: unknown term {name!r}. {nearest(str(name), TERMS)}")
        fields["objective"] = {
            name: _checked(TERMS[name], term, recipe, f"objective.{name}") for name, term in terms.items()
        }
    if fields.get("curation") is not None:
        fields["curation"] = _curations(fields["curation"], recipe)
    if "tripwires" in fields:
        fields["tripwires"] = _tripwires(fields["tripwires"], recipe)
    found = _checked(Recipe, fields, recipe)
    _require_that_tripwires_can_act(found)
    return found


def _curations(written: Any, recipe: str) -> dict[str, Curation] | None:
    if not isinstance(written, Mapping):
        raise InputError(f"recipe {recipe}: curation: found {written!r}, a map of one of {list(CURATIONS)} is wanted.")
    for name in written:
        if name not in CURATIONS:
            raise InputError(f"recipe {recipe}: curation: unknown {name!r}. {nearest(str(name), CURATIONS)}")
    return {
        name: _checked(CURATIONS[name], CURATIONS[name].fields(value), recipe, f"curation.{name}")
        for name, value in written.items()
    } or None


def _tripwires(written: Any, recipe: str) -> list[Tripwire]:
    if not isinstance(written, list | tuple) or not all(isinstance(one, Mapping) for one in written):
        raise InputError(f"recipe {recipe}: tripwires: found {written!r}, a list of {{name, when, do}} is wanted.")
    names = [str(one.get("name", number)) for number, one in enumerate(written, start=1)]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"recipe {recipe}: tripwires: {twice[0]!r} is there twice, a name of its own is wanted.")
    return [_checked(Tripwire, one, recipe, f"tripwires.{name}") for name, one in zip(names, written, strict=True)]


def _require_that_tripwires_can_act(recipe: Recipe) -> None:
    """Refuse what a tripwire could not do, alone or after all the others. Raises InputError."""
    together: dict[str, Any] = {}
    for tripwire in recipe.tripwires:
        together |= tripwire.do.set_
        for sets in (tripwire.do.set_, together):
            if sets:
                try:
                    recipe.changed(sets)
                except InputError as error:
                    said = str(error).removeprefix(f"recipe {recipe.name}: ")
                    raise InputError(f"recipe {recipe.name}: tripwires.{tripwire.name}.do.set: {said}") from None


def _set(fields: dict[str, Any], path: str, value: Any) -> None:
    """Set a dotted field that training reads anew each epoch. Raises InputError, naming the nearest, for another."""
    steps = path.split(".")
    inside: Any = {key: fields[key] for key in CHANGEABLE if key in fields}
    for depth, step in enumerate(steps):
        if not isinstance(inside, Mapping) or step not in inside:
            known = [".".join([*steps[:depth], str(key)]) for key in (inside if isinstance(inside, Mapping) else ())]
            remedy = "Name another field, or drop the recipe's tripwires by `--set tripwires=[]`."
            raise InputError(f"cannot change {path!r}. {nearest(path, known or CHANGEABLE)} {remedy}")
        inside = inside[step]
    if steps[0] == "objective" and len(steps) < 3:
        fields_of = [f"{path}.{key}" for key in inside]
        raise InputError(f"cannot change the whole of {path!r}. {nearest(f'{path}.weight', fields_of)}")
    holder = fields
    for step in steps[:-1]:
        holder[step] = dict(holder[step])
        holder = holder[step]
    holder[steps[-1]] = value


def _merged(base: Mapping[str, Any], over: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """What differs laid over what it extends: sections and terms key by key, values (schedules too) whole.

    A section or term set to null is dropped. A change of the model's family drops the other family's options, but for
    those that every family has: a residual model stays residual. Tripwires are laid over by name; an empty list drops
    them.
    """
    result = dict(base)
    for key, value in over.items():
        if depth == 0 and key == "model" and value is not None:
            value = dict(value) if isinstance(value, Mapping) else {"family": value}
            if "family" in value and value["family"] != _family(base):
                result[key] = _shared_options(base) | value
                continue
        old = result.get(key)
        if depth == 0 and key == "tripwires" and old and value:
            result[key] = _by_name(old, value)
        elif value is None and key in result:
            del result[key]
        elif is_section(value) and is_section(old) and (depth == 0 or (depth == 1 and "weight" in old)):
            result[key] = _merged(old, value, depth + 1)
        else:
            result[key] = value
    return result


def is_section(value: Any) -> TypeGuard[Mapping[str, Any]]:
    """Whether a value is a map of fields, not a schedule written as a map: that is one value."""
    return isinstance(value, Mapping) and not any(isinstance(key, int) or key in ("from", "at") for key in value)


def _shared_options(values: Mapping[str, Any]) -> dict[str, Any]:
    model = values.get("model")
    return {key: model[key] for key in Options.model_fields if key in model} if isinstance(model, Mapping) else {}


def _by_name(base: Any, over: Any) -> Any:
    """Lists of named things: those of the same name replaced in their place, new ones after."""
    if not all(isinstance(one, Mapping) for listed in (base, over) for one in listed):
        return over  # refused when it is validated
    named = {one.get("name", id(one)): one for one in (*base, *over)}
    return list(named.values())


def _family(values: Mapping[str, Any]) -> Any:
    model = values.get("model")
    return model.get("family") if isinstance(model, Mapping) else model


def shipped() -> dict[str, Path]:
    """Name → file of the recipes in the package."""
    found = Path(str(files("segue"))) / "recipes"
    return {path.stem: path for path in sorted(found.glob("*.yaml"))}


def _file(name_or_path: str | Path, beside: Path | None = None) -> Path:
    text = str(name_or_path)
    if not text.endswith((".yaml", ".yml")):
        known = shipped()
        if text not in known:
            raise InputError(f"recipe: unknown name {text!r}. {nearest(text, known)} A file of yours ends in .yaml.")
        return known[text]
    path = Path(text) if beside is None else beside.parent / text
    if not path.is_file():
        raise InputError(f"{path}: no such recipe file. Check the path.")
    return path


def read_fields(name_or_path: str | Path) -> dict[str, Any]:
    """The fields of a recipe file with what it extends laid under it, not yet validated. Raises InputError."""
    return _read(_file(name_or_path), ())


def _read(path: Path, children: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in children:
        raise InputError(f"{path}: extends itself. Remove one `extends`.")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        said = " ".join(str(error).split())
        raise InputError(f"{path}: is not valid YAML ({said}). Mend the file.") from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise InputError(f"{path}: found {type(values).__name__}, a map of keys is wanted. See `segue recipe show p1`.")
    base = values.pop("extends", None)
    own = {"name": path.stem, **values}
    return own if base is None else _merged(_read(_file(base, path), (*children, path.resolve())), own)


def _with_override(fields: dict[str, Any], text: str) -> dict[str, Any]:
    """`a.b=c` laid over the fields, c parsed as YAML."""
    key, equals, value_text = text.partition("=")
    steps = key.strip().split(".")
    if not equals or not all(steps):
        raise InputError(f"--set: found {text!r}, KEY=VALUE is wanted, as epochs=2 or objective.mse.weight=0.5.")
    try:
        value: Any = yaml.safe_load(value_text)
    except yaml.YAMLError:
        raise InputError(f"--set: the value of {text!r} is not valid YAML. Quote it.") from None
    if value == {}:
        raise InputError(f"--set: {text!r} changes nothing. Say which fields, or null to drop {key.strip()}.")
    for step in reversed(steps):
        value = {step: value}
    return _merged(fields, value)


def resolve(name_or_path: str | Path, sets: Iterable[str] = ()) -> Recipe:
    """A whole recipe: a shipped name or a YAML file, what it extends, and `--set` overrides, validated.

    Raises InputError for an unknown name, key or term (the nearest suggested) and for a value that cannot be.
    """
    fields = read_fields(name_or_path)
    for text in sets:
        fields = _with_override(fields, text)
    return parse(fields, str(fields["name"]))


def header(path: Path) -> str:
    """The comment at the head of a recipe file: command, cost, result."""
    lines = takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
    return " ".join(line.lstrip("# ") for line in lines)
