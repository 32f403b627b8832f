"""Fields to a recipe: each section validated, the first trouble told in one line."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, RootModel, ValidationError

from segue.errors import InputError, nearest
from segue.models.families import family_named
from segue.objectives import TERMS
from segue.recipe.schema import CHANGEABLE, ModelChoice, Recipe
from segue.training.curation import CURATIONS, Curation
from segue.training.tripwires import Tripwire

Section = TypeVar("Section", bound=BaseModel)
# Steps of an error's location that stand for no key: the shapes of a schedule, the kinds of a weight.
SCHEDULE_TAGS = ("number", "map", "ramp", "knots", "[key]", "by epoch", "controlled")


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


def set_field(fields: dict[str, Any], path: str, value: Any) -> None:
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
