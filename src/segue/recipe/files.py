"""Recipe files: what one extends laid under it, `--set` over it, all of it parsed."""

from collections.abc import Iterable, Mapping
from importlib.resources import files
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeGuard

import yaml

from segue.errors import InputError, nearest
from segue.models.network import Options
from segue.recipe.parsing import parse
from segue.recipe.schema import Recipe


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
