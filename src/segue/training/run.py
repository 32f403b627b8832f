"""Run folders: begun, gone on with, finished.

RUN/recipe.yaml     the resolved recipe       RUN/split.json     which documents, by id
RUN/history.jsonl   an object an epoch        RUN/epochs/003/    each epoch's model; RUN/best → the best
RUN/events/         TensorBoard               RUN/manifest.json  kind "run"; written last
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import yaml

from segue.artifacts import (
    MANIFEST,
    hash_json,
    is_finished,
    make_folder,
    read_json,
    read_manifest,
    write_manifest,
    write_text,
)
from segue.errors import InputError
from segue.models.precision import chosen
from segue.training import checkpoint
from segue.training.log import MEND, read_history
from segue.training.state import State
from segue.vectors import Store, require_same_space
from segue.windows import Split, save_split

if TYPE_CHECKING:
    from segue.recipe import Recipe

RECIPE, SPLIT = "recipe.yaml", "split.json"


def _differences(ours: Any, theirs: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Dotted keys at which two nested maps differ, with both values; of lists of named things by their names."""
    ours, theirs = _by_name(ours), _by_name(theirs)
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in [*ours, *(other for other in theirs if other not in ours)]:
            yield from _differences(ours.get(name), theirs.get(name), f"{key}.{name}" if key else str(name))
    elif ours != theirs:
        yield key, ours, theirs


def _by_name(value: Any) -> Any:
    """A list of named things (tripwires) as a map; else what it is."""
    if isinstance(value, list) and all(isinstance(one, dict) and "name" in one for one in value):
        return {one["name"]: one for one in value}
    return value


def _begun_recipe(folder: Path) -> dict[str, Any]:
    """The recipe that a run began with, as a map. Raises InputError when it is damaged."""
    path = folder / RECIPE
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        said = " ".join(str(error).split())
        raise InputError(f"{path}: is not valid YAML ({said}). {MEND}") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: found {type(found).__name__}, the recipe of the run is wanted. {MEND}")
    return found


def _begun_split(folder: Path) -> dict[str, Any]:
    """The split file that a run began with. Raises InputError when it is damaged."""
    found = read_json(folder / SPLIT)
    if not isinstance(found, dict) or not all(isinstance(found.get(key), str) for key in ("store", "hash")):
        raise InputError(f"{folder / SPLIT}: is not a split file with the hashes of its store and itself. {MEND}")
    return found


def _require_same(folder: Path, recipe: "Recipe", store: Store, split: Split) -> None:
    """Refuse to go on with another recipe, store or split than the run began with."""
    begun = _begun_recipe(folder)
    with suppress(InputError):  # what is no recipe is compared as it stands
        begun = yaml.safe_load(yaml.safe_dump(recipe.completed(begun)))
    for key, then, now in _differences(begun, yaml.safe_load(recipe.to_yaml())):
        raise InputError(
            f"{folder}: began with {key} = {then!r}, found {now!r}. "
            f"Resume with the recipe it began with ({folder / RECIPE}), or choose another --out."
        )
    frozen = _begun_split(folder)
    if epoch := checkpoint.newest(folder):
        require_same_space(checkpoint.space_of(folder, epoch), store.space, f"the run {folder}", str(store.path))
    for what, then, now in (("store", frozen["store"], store.hash), ("split", frozen["hash"], split.hash)):
        if then != now:
            raise InputError(
                f"{folder}: began with a {what} of hash {then}, found {now}. "
                f"Resume with the {what} it began with, or choose another --out."
            )


def open_run(folder: str | Path, recipe: "Recipe", store: Store, split: Split, *, resume: bool = False) -> Path:
    """Begin a run folder, or go on with one.

    Raises InputError when the folder holds something and `resume` is not given, when what it holds is no run, when the
    run began with another recipe, store or split, or when it cannot be written.
    """
    folder = Path(folder)
    held = [path.name for path in folder.iterdir() if path.name != ".lock"] if folder.is_dir() else []
    if held and not resume:
        what = "a finished run" if is_finished(folder) else "an unfinished run" if RECIPE in held else "other files"
        remedy = (
            "Choose another --out." if what == "other files" else "Go on with it by --resume, or choose another --out."
        )
        raise InputError(f"{folder}: already holds {what}. {remedy}")
    if held and RECIPE in held and SPLIT in held:
        _require_same(folder, recipe, store, split)
        return folder
    if set(held) - {RECIPE, SPLIT}:
        raise InputError(f"{folder}: holds no run to resume (no {RECIPE}). Choose another --out.")
    make_folder(folder)
    save_split(split, folder / SPLIT, store)
    write_text(folder / RECIPE, recipe.to_yaml())
    return folder


def reopen_run(folder: str | Path) -> bool:
    """Make a finished run that a tripwire stopped an unfinished one, to go on by force; whether it was one.

    What was made of its end goes: the manifest, the test, the report, notes.
    """
    folder = Path(folder)
    if not is_finished(folder) or not (read_run(folder).get("stopped") or {}).get("tripwire"):
        return False
    for name in (MANIFEST, "5cat.json", "frontier.json", "report.html", "notes.md", "model-card.md"):
        (folder / name).unlink(missing_ok=True)
    return True


def where_it_lies(store: Store) -> dict[str, str]:
    """A store's place for a manifest: absolute, so that the run can be read from any folder, and as it was typed."""
    return {"store": str(store.path.resolve()), "as_typed": str(store.path)}


def read_run(folder: str | Path) -> dict[str, Any]:
    """A finished run's manifest. Raises InputError when it is none, or lacks what every run's has."""
    manifest = read_manifest(folder, "run")
    for section, key, kind in (
        ("data", "store", str),
        ("data", "hash", str),
        ("split", "hash", str),
        ("best", "epoch", int),
        ("best", "metric", str),
    ):
        its = manifest.get(section)
        if not isinstance(its, dict) or not isinstance(its.get(key), kind):
            raise InputError(
                f"{Path(folder) / MANIFEST}: does not say {section}.{key}, so it is not whole. "
                f"Copy the run again from where it came, or train again with another --out."
            )
    return manifest


def finish_run(folder: Path, state: State, store: Store, split: Split, **fields: Any) -> dict[str, Any]:
    """Write the run's manifest, which makes it finished. `fields` are added (the OOD store, threads, …)."""
    recipe, model = state.recipe, state.model
    history = read_history(folder)
    device = next(model.parameters()).device
    return write_manifest(
        folder,
        "run",
        "segue train",
        recipe={"name": recipe.name, "hash": hash_json(recipe.to_json())},
        model={"family": model.family, "parameters": model.parameter_count, **model.options.model_dump()},
        data={**where_it_lies(store), "hash": store.hash, "space": store.space.to_json()},
        split={"how": split.how, "hash": split.hash},
        context=recipe.context,
        horizon=recipe.horizon,
        facets=list(recipe.facets),
        seed=recipe.seed,
        epochs=state.epoch,
        attempts=state.attempt,
        tripped=[one.model_dump() for one in state.watch.tripped],
        stopped={"tripwire": state.stopped.tripwire, "verdict": state.stopped.verdict} if state.stopped else None,
        best={"epoch": state.best_epoch, "metric": recipe.best.metric, "value": state.best_value},
        seconds=round(sum(entry["seconds"] for entry in history), 1),
        computed={"device": device.type, "precision": chosen(recipe.precision, device), "torch": torch.__version__},
        **fields,
    )
