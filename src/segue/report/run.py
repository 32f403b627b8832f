"""A finished run as the report reads it: its JSON, and one way to look a number up in it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from segue.artifacts import MANIFEST, read_json, read_manifest
from segue.errors import InputError

FIVE_CAT = "5cat.json"
MODEL = "model"  # stands beside the controls' names wherever predictors are listed
SPLITS = ("VAL", "OOD")


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
    """What a run folder holds for the report: `manifest.json`, `5cat.json`, `history.jsonl`, `recipe.yaml`."""

    folder: Path
    manifest: dict[str, Any]
    five_cat: dict[str, Any]
    history: list[dict[str, Any]]
    recipe: str

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
    """One object an epoch; of an epoch that was run again after a rollback, the last."""
    if not path.is_file():
        return []
    epochs: dict[int, dict[str, Any]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            epochs[int(entry["epoch"])] = entry
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path}: line {number} is not a JSON object with an epoch ({error}). "
                f"Mend or remove that line; the rest of the report does not need it."
            ) from None
    return [epochs[epoch] for epoch in sorted(epochs)]


def read_run(folder: str | Path) -> Run:
    """Read a finished run. Raises InputError when it is missing, unfinished, or was never tested."""
    folder = Path(folder)
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
    five_cat = read_json(folder / FIVE_CAT)
    if not isinstance(five_cat, dict) or not isinstance(five_cat.get("splits"), dict):
        raise InputError(
            f"{folder / FIVE_CAT}: holds no `splits`, so it is not the result of a 5CAT. "
            f"Run `segue 5cat {folder}` again."
        )
    recipe = folder / "recipe.yaml"
    return Run(
        folder=folder,
        manifest=manifest,
        five_cat=five_cat,
        history=_history(folder / "history.jsonl"),
        recipe=recipe.read_text(encoding="utf-8", errors="replace") if recipe.is_file() else "",
    )
