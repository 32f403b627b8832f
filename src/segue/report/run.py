"""A run as the report reads it: its JSON, and one way to look a number up in it."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from segue.artifacts import MANIFEST, is_finished, read_json, read_manifest
from segue.errors import InputError

FIVE_CAT, HISTORY, RECIPE = "5cat.json", "history.jsonl", "recipe.yaml"
MODEL = "model"  # stands beside the controls' names wherever predictors are listed
SPLITS = ("VAL", "OOD")
# libyaml's where PyYAML was built with it: 0.3 ms against 14 a recipe, and a listing reads every run.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Result(NamedTuple):
    """A number with its 95 % interval, how many it was measured on, and what chance gives. None: not computed."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    chance: float | None = None


NOTHING = Result()


def lookup(tree: Any, path: str) -> Any:
    """`lookup(metrics, "rollout.steps.0")`: what lies at a dotted path, None where any part is absent or null."""
    for key in path.split("."):
        if isinstance(tree, dict):
            tree = tree.get(key)
        elif isinstance(tree, list) and key.isdigit() and int(key) < len(tree):
            tree = tree[int(key)]
        else:
            return None
    return tree


def result(tree: Any, path: str) -> Result:
    """The number at a dotted path; a bare number counts as a value without an interval."""
    found = lookup(tree, path)
    if isinstance(found, dict):
        return Result(*(found.get(field) for field in Result._fields))
    return Result(found) if isinstance(found, int | float) and not isinstance(found, bool) else NOTHING


@dataclass(frozen=True)
class Run:
    """What a run folder holds for the report: `manifest.json`, `5cat.json`, `history.jsonl`, `recipe.yaml`.

    manifest, five_cat  empty while a run is unfinished or untested (`read_begun`)
    history             in the order the epochs ran: one that ran again after a rollback stands twice
    """

    folder: Path
    manifest: dict[str, Any]
    five_cat: dict[str, Any]
    history: list[dict[str, Any]]
    recipe: str

    @property
    def epochs(self) -> dict[int, dict[str, Any]]:
        """Epoch → the line behind the last weights, in order: what a rollback threw away is left out."""
        kept: dict[int, dict[str, Any]] = {}
        for entry in self.history:
            at = int(entry["epoch"])
            kept = {**{epoch: line for epoch, line in kept.items() if epoch < at}, at: entry}
        return kept

    @cached_property
    def resolved(self) -> dict[str, Any]:
        """The recipe as a map; empty where it is missing or damaged."""
        try:
            found = yaml.load(self.recipe, Loader=_LOADER)
        except yaml.YAMLError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def predictor(self) -> dict[str, Any]:
        return self.five_cat.get("predictor") or {}

    @property
    def data(self) -> dict[str, Any]:
        return self.five_cat.get("data") or {}

    @property
    def horizon(self) -> int:
        return int(self.predictor.get("horizon") or 1)

    @property
    def controls(self) -> dict[str, dict[str, Any]]:
        return self.five_cat.get("controls") or {}

    @property
    def splits(self) -> list[str]:
        """The splits that were measured, VAL first."""
        return [split for split in SPLITS if lookup(self.five_cat, f"splits.{split}")]

    def metrics(self, name: str, split: str) -> dict[str, Any]:
        """All metrics of the model or of a control on a split; empty where there are none."""
        found = self.five_cat.get("splits") if name == MODEL else self.controls.get(name)
        return lookup(found, split) or {}

    def result(self, name: str, split: str, path: str) -> Result:
        return result(self.metrics(name, split), path)

    def attainable(self) -> list[str]:
        return [name for name, control in self.controls.items() if control.get("attainable")]

    def unattainable(self) -> list[str]:
        return [name for name, control in self.controls.items() if not control.get("attainable")]

    def lift(self, split: str, metric: str) -> Result:
        """The paired difference to the best attainable control."""
        return result(self.five_cat, f"lifts.{split}.{metric}")

    def best_control(self, split: str, metric: str, path: str) -> str | None:
        """The control that the lift was taken against; where there is no lift, the attainable one with the most."""
        against = lookup(self.five_cat, f"lifts.{split}.{metric}.against")
        if isinstance(against, str) and against in self.controls:
            return against
        scored = [(self.result(name, split, path).value, name) for name in self.attainable()]
        known = [(value, name) for value, name in scored if value is not None]
        return max(known)[1] if known else None

    def windows(self, split: str) -> int | None:
        return lookup(self.data, f"windows.{split}")  # type: ignore[no-any-return]

    def documents(self, split: str) -> int | None:
        return lookup(self.data, f"documents.{split}")  # type: ignore[no-any-return]


def _history(path: Path) -> list[dict[str, Any]]:
    """One object an epoch, as they ran. A last line still being written is left out."""
    if not path.is_file():
        return []
    entries: list[dict[str, Any]] = []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            int(entry["epoch"])
            entries.append(entry)
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines) and not line.endswith("\n"):
                continue
            raise InputError(
                f"{path}: line {number} is not a JSON object with an epoch ({error}). "
                f"Mend or remove that line; the rest of the report does not need it."
            ) from None
    return entries


def _recipe(folder: Path) -> str:
    path = folder / RECIPE
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _five_cat(folder: Path) -> dict[str, Any]:
    five_cat = read_json(folder / FIVE_CAT)
    if not isinstance(five_cat, dict) or not isinstance(five_cat.get("splits"), dict):
        raise InputError(
            f"{folder / FIVE_CAT}: holds no `splits`, so it is not the result of a 5CAT. "
            f"Run `segue 5cat {folder}` again."
        )
    return five_cat


def _no_run(folder: Path) -> str:
    """What to say of a run that is not there."""
    from segue.models.saved import located  # torch behind it: not for reading a run that is there

    if located(folder) == folder:
        return f"{folder}: no such run. Check the path."
    return (
        f"{folder}: is a model that comes with segue, not a run: no recipe, no history. "
        f"`segue 5cat {folder} --data STORE` judges it."
    )


def read_run(folder: str | Path) -> Run:
    """Read a finished run. Raises InputError when it is missing, unfinished, or was never tested."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(_no_run(folder))
    manifest = read_manifest(folder, "run")
    for key in ("made_by", "made_at", "segue"):
        if not isinstance(manifest.get(key), str):
            raise InputError(
                f"{folder / MANIFEST}: does not say {key}, so it is not whole. "
                f"Copy the run again from where it came, or train it again."
            )
    if not (folder / FIVE_CAT).is_file():
        raise InputError(
            f"{folder}: has no {FIVE_CAT}, so there is no verdict to report. Run `segue 5cat {folder}` first."
        )
    return Run(folder, manifest, _five_cat(folder), _history(folder / HISTORY), _recipe(folder))


def read_begun(folder: str | Path) -> Run:
    """Read a run in any state: in training, stopped, finished but untested. Nothing is written, nothing locked.

    Raises InputError when there is no run at all, or one of its files is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(_no_run(folder))
    if not (folder / RECIPE).is_file():
        raise InputError(f"{folder}: holds no {RECIPE}, so it is not a run. Check the path.")
    return Run(
        folder=folder,
        manifest=read_manifest(folder, "run") if is_finished(folder) else {},
        five_cat=_five_cat(folder) if (folder / FIVE_CAT).is_file() else {},
        history=_history(folder / HISTORY),
        recipe=_recipe(folder),
    )
