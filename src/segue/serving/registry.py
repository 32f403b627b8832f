"""The registry: which runs are served, by name, and which of them is in production.

    DIR/registry.json   models by name (run, status, what replaces a deprecated one), and the history of every change

At most one model is `production` and one `candidate`; any number are `served` or `deprecated`. A change is one atomic
write under the folder's lock, so a reader sees the registry before it or after it, never between.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from segue.alignment.profiles import shipped_profiles
from segue.artifacts import FORMAT, MANIFEST, hash_file, lock, make_folder, read_json, write_json
from segue.errors import InputError, nearest
from segue.models import LatentModel, load_model
from segue.models.saved import SHIPPED, located, model_folder, weights_hash

REGISTRY, FIVECAT = "registry.json", "5cat.json"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

Status = Literal["production", "candidate", "served", "deprecated"]


class Entry(BaseModel):
    """One model.

    run    the run or model folder, absolute
    model  hash of the model folder's manifest when it was added: what was judged is what is served
    use    the name that replaces a deprecated one
    """

    model_config = ConfigDict(extra="forbid")

    run: str
    model: str
    status: Status = "served"
    added: str
    use: str | None = None


class Event(BaseModel):
    """One change. `told` holds what is the change's own: of a promotion the profile, its failed gates, forced, why."""

    model_config = ConfigDict(extra="forbid")

    at: str
    did: str
    name: str
    told: dict[str, Any] = Field(default_factory=dict)


class Registry(BaseModel):
    """All that `registry.json` holds."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["registry"] = "registry"
    format: int = FORMAT
    models: dict[str, Entry] = Field(default_factory=dict)
    history: list[Event] = Field(default_factory=list)

    def named(self, name: str) -> Entry:
        """The entry of a name. Raises InputError, with the nearest name, for an unknown one."""
        if name not in self.models:
            known = nearest(name, self.models) if self.models else "It is empty: segue registry add NAME RUN."
            raise InputError(f"registry: no model {name!r}. {known}")
        return self.models[name]

    def with_status(self, status: Status) -> str | None:
        """The name of the one model that is production, or candidate; None where there is none."""
        return next((name for name, entry in self.models.items() if entry.status == status), None)

    def record(self, did: str, name: str, **told: Any) -> None:
        """One more line of history."""
        self.history.append(Event(at=_now(), did=did, name=name, told=told))


def read_registry(folder: str | Path) -> Registry:
    """The registry in a folder. Raises InputError when there is none, or it is damaged or contradicts itself."""
    path = Path(folder) / REGISTRY
    if not path.exists():
        raise InputError(f"{path}: no such file. Make it with `segue registry add NAME RUN --registry {folder}`.")
    value = read_json(path)
    if isinstance(value, dict) and isinstance(value.get("format"), int) and value["format"] > FORMAT:
        raise InputError(f"{path}: is in format {value['format']}, this segue reads up to {FORMAT}. Upgrade segue.")
    try:
        registry = Registry.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise InputError(f"{path}: is not a registry ({where}: {first['msg']}). Restore it from a copy.") from None
    _require_consistent(registry, path)
    return registry


def _require_consistent(registry: Registry, path: Path) -> None:
    statuses = [entry.status for entry in registry.models.values()]
    for status in ("production", "candidate"):
        if statuses.count(status) > 1:
            found = statuses.count(status)
            raise InputError(f"{path}: marks {found} models {status}, at most one is wanted. Restore it from a copy.")
    for name, entry in registry.models.items():
        successor = registry.models.get(entry.use or "")
        if (entry.status == "deprecated") != (entry.use is not None):
            raise InputError(f"{path}: {name} is {entry.status} and `use` is {entry.use!r}. Restore it from a copy.")
        if entry.use is not None and (successor is None or successor.status == "deprecated"):
            raise InputError(f"{path}: {name} points to {entry.use!r}, which is not served. Restore it from a copy.")


def add(folder: str | Path, name: str, run: str | Path) -> Registry:
    """Register a run under a name, as `served`; the folder is made where there is none.

    Raises InputError for a name that is taken or is none, and a run that cannot be loaded.
    """
    if not NAME.fullmatch(name):
        raise InputError(f"NAME: found {name!r}, up to 64 letters, digits, dots, dashes and underscores are wanted.")
    load_model(run)
    make_folder(folder)
    with _changing(folder, anew=True) as registry:
        if name in registry.models:
            raise InputError(f"NAME: {name} is registered ({registry.models[name].run}). Choose another name.")
        entry = Entry(run=str(located(run).resolve()), model=model_hash(run), added=_now())
        registry.models[name] = entry
        registry.record("add", name, run=entry.run)
    return registry


def candidate(folder: str | Path, name: str) -> Registry:
    """Mark a model as the next candidate; the one before is served as any other. Raises InputError."""
    with _changing(folder) as registry:
        _require_free(registry, name, "a candidate")
        _take_over(registry, name, "candidate")
        registry.record("candidate", name)
    return registry


def promote(
    folder: str | Path, name: str, profile: str = "skill", *, force: bool = False, why: str | None = None
) -> Registry:
    """Put a model into production; the one before is served as any other.

    Its run's 5CAT must pass the profile's gates, and be of this very model. `force` promotes all the same; then `why`
    is wanted, and both are kept in the history. Raises InputError, naming the gates that fail.
    """
    if force and not (why or "").strip():
        raise InputError("--force: wants --why TEXT, which the registry's history keeps.")
    if profile not in shipped_profiles():
        raise InputError(f"--profile: found {profile!r}. {nearest(profile, shipped_profiles())}")
    with _changing(folder) as registry:
        entry = _require_free(registry, name, "production")
        against = objections(entry, profile)
        if against and not force:
            raise InputError(
                f"{name}: is not promoted. {' '.join(against)} Promote another, or give --force --why TEXT: both are "
                f"recorded."
            )
        before = registry.with_status("production")
        _take_over(registry, name, "production")
        told = {"profile": profile, "against": against, "forced": bool(against), "why": why, "before": before}
        registry.record("promote", name, **told)
    return registry


def deprecate(folder: str | Path, name: str, use: str) -> Registry:
    """Refuse a model from now on, with a pointer to another; who pointed to it points there too. Raises InputError."""
    with _changing(folder) as registry:
        entry = registry.named(name)
        if entry.status == "production":
            raise InputError(f"{name}: is in production. Promote another first (`segue registry promote {use}`).")
        if use == name or registry.named(use).status == "deprecated":
            what = "itself" if use == name else f"{use}, which is deprecated"
            raise InputError(f"--use: {name} would point to {what}. Name a model that is served.")
        for other, its in registry.models.items():
            if other == name or its.use == name:
                its.status, its.use = "deprecated", use
        registry.record("deprecate", name, use=use)
    return registry


def remove(folder: str | Path, name: str) -> Registry:
    """Forget a name; the run stays. Raises InputError for the one in production, and one that another points to."""
    with _changing(folder) as registry:
        if registry.named(name).status == "production":
            raise InputError(f"{name}: is in production. Promote another first.")
        if pointing := [other for other, entry in registry.models.items() if entry.use == name]:
            raise InputError(f"{name}: {pointing[0]} points to it. Remove {pointing[0]} first.")
        registry.record("remove", name, run=registry.models.pop(name).run)
    return registry


def objections(entry: Entry, profile: str) -> list[str]:
    """What speaks against putting a model into production, in sentences; [] when its 5CAT passes the profile."""
    run = Path(entry.run)
    if (found := model_hash(run)) != entry.model:
        return [f"{run} was changed since it was registered ({found[:19]}… for {entry.model[:19]}…)."]
    if run.parent == SHIPPED.resolve():
        return [f"{run.name} comes with segue and has no {FIVECAT}: it was judged on no data of yours."]
    if not (run / FIVECAT).is_file():
        return [f"{run} has no {FIVECAT} (`segue 5cat {run}` makes it)."]
    result = read_json(run / FIVECAT)
    verdict = (result.get("profiles") or {}).get(profile) if isinstance(result, dict) else None
    if not isinstance(verdict, dict):
        return [f"{run / FIVECAT} has no verdict for the profile {profile} (`segue 5cat {run} --profile {profile}`)."]
    said = []
    if not verdict.get("passed"):
        failed = [gate for gate, its in verdict.get("gates", {}).items() if its.get("passed") is False]
        said.append(f"It fails profile {profile}, gates {', '.join(failed) or 'none judged'} (`segue 5cat {run}`).")
    if result.get("certified") is False:
        said.append("Its 5CAT is not certified: a control's figure is not what it must be.")
    return said + _of_another(result, load_model(run))


def _of_another(result: dict[str, Any], model: LatentModel) -> list[str]:
    """A 5CAT that lies in a run but was made of another model."""
    judged = result.get("predictor") or {}
    ours = {"name": model.name, "dim": model.dim, "context": model.context, "parameters": model.parameter_count}
    if "weights" in judged:  # what an older segue wrote does not say
        ours["weights"] = weights_hash(model)
    other = [f"{key} {judged.get(key)!r} for {value!r}" for key, value in ours.items() if judged.get(key) != value]
    return [f"Its {FIVECAT} is another model's ({other[0]})."] if other else []


def model_hash(run: str | Path) -> str:
    """Hash of the manifest of the model that a run or a folder means: of its weights, that is. Raises InputError."""
    path = model_folder(run) / MANIFEST
    try:
        return hash_file(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Was the run moved or deleted?") from None


@contextmanager
def _changing(folder: str | Path, anew: bool = False) -> Iterator[Registry]:
    """The registry, to be changed; written when the block ends well. `anew`: an empty one where there is none."""
    if not (Path(folder) / REGISTRY).exists() and not anew:
        read_registry(folder)  # says that there is none
    with lock(folder):
        empty = anew and not (Path(folder) / REGISTRY).exists()
        registry = Registry() if empty else read_registry(folder)
        yield registry
        write_json(Path(folder) / REGISTRY, registry.model_dump())


def _require_free(registry: Registry, name: str, what: str) -> Entry:
    """The entry of a name that may become `what`. Raises InputError for one that is so, or is deprecated."""
    entry = registry.named(name)
    if entry.status == "deprecated":
        raise InputError(f"{name}: is deprecated for {entry.use}, so it cannot be {what}. Name one that is served.")
    if entry.status == "production":
        raise InputError(f"{name}: is in production already.")
    return entry


def _take_over(registry: Registry, name: str, status: Status) -> None:
    """Give a model a status that only one may have."""
    before = registry.with_status(status)
    if before is not None:
        registry.models[before].status = "served"
    registry.models[name].status = status


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
