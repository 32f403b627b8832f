"""What a predictor serves now: the models of some runs, or of a registry that may change under it."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segue.errors import InputError, nearest
from segue.serving.registry import NAME, REGISTRY, read_registry
from segue.serving.served import ServedModel, load_served

log = logging.getLogger(__name__)

Load = Callable[..., ServedModel]
Signature = tuple[int, int, int] | None


class UnknownModelError(InputError):
    """No model of that name. The message has the nearest one."""


class DeprecatedModelError(InputError):
    """A model that is refused. The message, and `use`, name its successor."""

    def __init__(self, message: str, use: str):
        super().__init__(message)
        self.use = use


@dataclass(frozen=True)
class Shelf:
    """The models at one moment; a change makes another.

    default      who answers where no model is named; None: none is in production
    deprecated   name → its successor's name
    """

    models: Mapping[str, ServedModel]
    default: str | None
    deprecated: Mapping[str, str] = field(default_factory=dict)

    def find(self, name: str | None) -> ServedModel:
        """The model of a name, or the default. Raises UnknownModelError, DeprecatedModelError."""
        if name is not None and name in self.deprecated:
            use = self.deprecated[name]
            raise DeprecatedModelError(f"model: {name} is deprecated. Use {use}.", use)
        name = name or self.default
        if name is None:
            raise UnknownModelError(f"model: none is in production, so name one. {nearest('', self.models)}")
        if name not in self.models:
            raise UnknownModelError(f"model: there is none of this name. {nearest(name[:64], self.models)}")
        return self.models[name]


def named_runs(given: Sequence[str]) -> dict[str, Path]:
    """`--run RUN` and `--run NAME=RUN` as a map: a run without a name has its folder's. Raises InputError."""
    runs: dict[str, Path] = {}
    for one in given:
        name, equals, run = one.partition("=")
        if not equals or not NAME.fullmatch(name):
            name, run = Path(one).resolve().name, one
        if not NAME.fullmatch(name):
            raise InputError(f"--run {one}: its folder's name is no name for a model. Give it one: --run NAME={one}.")
        if name in runs:
            raise InputError(
                f"--run: two runs are called {name} ({runs[name]}, {run}). Give one a name: --run NAME=RUN."
            )
        runs[name] = Path(run)
    if not runs:
        raise InputError("--run: found none, one run or more, or --registry DIR, is wanted.")
    return runs


def shelf_of_runs(runs: Mapping[str, Path], load: Load = load_served) -> Shelf:
    """The models of some runs; the first is the default. Raises InputError when one cannot be loaded."""
    return Shelf({name: load(name, run) for name, run in runs.items()}, next(iter(runs)))


def shelf_of_registry(folder: Path, load: Load = load_served, before: Shelf | None = None) -> Shelf:
    """The models of a registry; what `before` holds already is not loaded again.

    Raises InputError for a damaged registry, one without a model to serve, and a run that is not what was registered.
    """
    registry = read_registry(folder)
    kept = {} if before is None else before.models
    models, deprecated = {}, {}
    for name, entry in registry.models.items():
        if entry.use is not None:
            deprecated[name] = entry.use
            continue
        known = kept.get(name)
        if known is not None and (str(known.run), known.hash) == (entry.run, entry.model):
            models[name] = known.with_status(entry.status)
            continue
        models[name] = load(name, entry.run, entry.status)
        if models[name].hash != entry.model:
            raise InputError(
                f"{entry.run}: was changed since it was registered as {name}. Register it again under another name."
            )
    if not models:
        raise InputError(f"{folder / REGISTRY}: has no model to serve. Add one: segue registry add NAME RUN.")
    return Shelf(models, registry.with_status("production"), deprecated)


class Served:
    """The shelf of a running service, and the registry it follows.

    `shelf` is replaced whole, when everything new is loaded; a request keeps the one it began with. A registry that
    cannot be read changes nothing, and `trouble` says so.
    """

    def __init__(self, load_shelf: Callable[[Shelf | None], Shelf], follows: Path | None = None):
        self._load, self._follows = load_shelf, follows
        self._signature = self._look()
        self._problem: str | None = None
        self._lock = threading.Lock()
        self.shelf = load_shelf(None)

    @classmethod
    def runs(cls, runs: Mapping[str, Path], load: Load = load_served) -> "Served":
        """Serve some runs, as long as the process lives."""
        return cls(lambda _: shelf_of_runs(runs, load))

    @classmethod
    def registry(cls, folder: Path, load: Load = load_served) -> "Served":
        """Serve a registry, as it changes."""
        return cls(lambda before: shelf_of_registry(folder, load, before), folder / REGISTRY)

    @property
    def stale(self) -> bool:
        """Whether the registry's file is another one than was read last. A cheap look at the file."""
        return self._follows is not None and self._look() != self._signature

    def refresh(self) -> None:
        """Read a changed registry, load what is new, and only then serve it. Whatever cannot be read is told once."""
        with self._lock:
            if not self.stale:
                return
            signature = self._look()  # before it is read: a change meanwhile is seen the next time
            try:
                self.shelf, self._problem = self._load(self.shelf), None
            except (InputError, OSError) as error:
                self._problem = f"{error} What was served before is served on."
                log.warning("%s", self._problem)
            self._signature = signature

    def trouble(self) -> list[str]:
        """Why it is not well, one line each."""
        folders = [model.trouble() for model in self.shelf.models.values()]
        return [line for line in (self._problem, *folders) if line]

    def _look(self) -> Signature:
        if self._follows is None:
            return None
        try:
            found = self._follows.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size
