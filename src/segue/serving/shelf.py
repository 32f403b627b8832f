"""What a predictor serves now: the models of some runs, or of a registry that may change under it."""

import logging
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from segue.errors import InputError, nearest
from segue.serving.registry import NAME, REGISTRY, Entry, Registry, read_registry
from segue.serving.served import ServedModel, load_served

log = logging.getLogger(__name__)

Load = Callable[..., ServedModel]
Signature = tuple[int, int, int] | None


class UnknownModelError(InputError):
    """No model of that name. The message has the nearest one."""


class LoadingModelError(InputError):
    """A model of the registry that is being loaded."""


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
    loading      names whose model, as the registry has it now, is not here yet
    """

    models: Mapping[str, ServedModel]
    default: str | None
    deprecated: Mapping[str, str] = field(default_factory=dict)
    loading: frozenset[str] = frozenset()

    def find(self, name: str | None) -> ServedModel:
        """The model of a name, or the default. Raises UnknownModelError, LoadingModelError, DeprecatedModelError."""
        if name is not None and name in self.deprecated:
            use = self.deprecated[name]
            raise DeprecatedModelError(f"model: {name} is deprecated. Use {use}.", use)
        name = name or self.default
        if name is None:
            raise UnknownModelError(f"model: none is in production, so name one. {nearest('', self.models)}")
        if name in self.loading and name not in self.models:
            raise LoadingModelError(f"model: {name} is being loaded. Ask again in a few seconds.")
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


def shelf_of_registry(folder: Path, load: Load = load_served) -> Shelf:
    """The models of a registry, all loaded.

    Raises InputError for a damaged registry, one without a model to serve, and a run that is not what was registered.
    """
    registry = _read(folder)
    models = {name: _loaded(name, entry, load) for name, entry in registry.models.items() if entry.use is None}
    return _arranged(registry, models, None, ())


def _read(folder: Path) -> Registry:
    registry = read_registry(folder)
    if all(entry.use is not None for entry in registry.models.values()):
        raise InputError(f"{folder / REGISTRY}: has no model to serve. Add one: segue registry add NAME RUN.")
    return registry


def _loaded(name: str, entry: Entry, load: Load) -> ServedModel:
    model = load(name, entry.run, entry.status)
    if model.hash != entry.model:
        raise InputError(
            f"{entry.run}: was changed since it was registered as {name}. Register it again under another name."
        )
    return replace(model, run=Path(entry.run))  # as the registry writes it, by which it is known again: not resolved


def _arranged(
    registry: Registry, models: Mapping[str, ServedModel], default: str | None, failed: Collection[str]
) -> Shelf:
    """What of a registry is loaded, in its present roles.

    A name whose model is not here yet, or cannot be loaded (`failed`), is answered by the model it had before. Until
    the one in production is here, the former default answers.
    """
    deprecated = {name: entry.use for name, entry in registry.models.items() if entry.use is not None}
    current = {name: entry for name, entry in registry.models.items() if entry.use is None}
    here = {name: models[name].with_status(entry.status) for name, entry in current.items() if name in models}
    ready = {n for n, its in here.items() if (its.run, its.hash) == (Path(current[n].run), current[n].model)}
    loading = frozenset(current.keys() - ready - set(failed))
    production = registry.with_status("production")
    if production is not None and production not in here:
        production = default if default in here else production if production in loading else None
    return Shelf(here, production, deprecated, loading)


class Served:
    """The shelf of a running service, and the registry it follows.

    `shelf` is replaced whole; a request keeps the one it began with. What a changed registry says of models that are
    loaded holds at once; others are loaded in a thread beside, while what was there answers. A registry that cannot be
    read changes nothing, a run that cannot be loaded changes nothing but its own name, and `trouble` says so.
    """

    def __init__(self, shelf: Callable[[], Shelf], folder: Path | None = None, load: Load = load_served):
        self._folder, self._load_one = folder, load
        self._signature = self._look()  # before it is read: a change meanwhile is seen the next time
        self._problem: str | None = None
        self._failed: dict[str, str] = {}
        self._registry = Registry()
        self._loader: threading.Thread | None = None
        self._ended = False
        self._lock = threading.Lock()
        self.shelf = shelf()

    @classmethod
    def runs(cls, runs: Mapping[str, Path], load: Load = load_served) -> "Served":
        """Serve some runs, as long as the process lives."""
        return cls(lambda: shelf_of_runs(runs, load))

    @classmethod
    def registry(cls, folder: Path, load: Load = load_served) -> "Served":
        """Serve a registry, as it changes."""
        return cls(lambda: shelf_of_registry(folder, load), folder, load)

    @property
    def stale(self) -> bool:
        """Whether the registry's file is another one than was read last. A cheap look at the file."""
        return self._folder is not None and self._look() != self._signature

    def refresh(self) -> None:
        """Read a changed registry, and begin to load what is new. Whatever cannot be read is told once."""
        with self._lock:
            if self._folder is None or not self.stale:
                return
            signature = self._look()
            try:
                self._registry, self._problem = _read(self._folder), None
            except (InputError, OSError) as error:
                self._problem = f"{error} What was served before is served on."
                log.warning("%s", self._problem)
            else:
                self._failed = {}
                self._arrange(self.shelf.models)
            self._signature = signature

    def end(self) -> None:
        """Begin to load nothing more: a process that ends would wait for all of it."""
        self._ended = True

    def settled(self) -> None:
        """Returns when nothing is being loaded."""
        while (loader := self._loader) is not None:
            loader.join()

    def trouble(self) -> list[str]:
        """Why it is not well, one line each."""
        folders = [model.trouble() for model in self.shelf.models.values()]
        return [line for line in (self._problem, *self._failed.values(), *folders) if line]

    def _arrange(self, models: Mapping[str, ServedModel]) -> None:
        """The shelf anew; called with the lock held."""
        self.shelf = _arranged(self._registry, models, self.shelf.default, self._failed)
        if self.shelf.loading and self._loader is None and not self._ended:
            self._loader = threading.Thread(target=self._load_missing, name="loader")
            self._loader.start()

    def _load_missing(self) -> None:
        """Load one model after the other, the one in production first, and put each on the shelf when it is there."""
        while True:
            with self._lock:
                if self._ended or not self.shelf.loading:
                    self._loader = None
                    return
                name = min(self.shelf.loading, key=lambda one: self._registry.models[one].status != "production")
                entry = self._registry.models[name]
            model, why = None, ""
            try:
                model = _loaded(name, entry, self._load_one)
            except (InputError, OSError) as error:
                why = str(error)
            except Exception as error:
                log.error("loading %s", name, exc_info=error)
                why = f"{name}: could not be loaded; the log says why."
            with self._lock:
                self._put(name, entry, model, why)

    def _put(self, name: str, entry: Entry, model: ServedModel | None, why: str) -> None:
        """What came of loading an entry, unless the registry has another by now; called with the lock held."""
        now = self._registry.models.get(name)
        if now is None or (now.run, now.model) != (entry.run, entry.model):
            return
        if model is None:
            its = "What it was before is served on." if name in self.shelf.models else "It is not served."
            self._failed[name] = f"{name}: {why} {its}"
            log.warning("%s", self._failed[name])
        self._arrange(self.shelf.models if model is None else {**self.shelf.models, name: model})

    def _look(self) -> Signature:
        if self._folder is None:
            return None
        try:
            found = (self._folder / REGISTRY).stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size
