"""Which runs were judged on the same windows, so may stand in one table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segue.artifacts import read_json
from segue.errors import InputError
from segue.report.run import Run, lookup, read_begun
from segue.report.standing import Standing, standing


@dataclass(frozen=True)
class Entry:
    """A run to compare, read."""

    label: str
    run: Run
    standing: Standing
    judged_on: dict[str, Any]

    @property
    def tested(self) -> bool:
        return bool(self.run.five_cat)


def labels_of(runs: Sequence[str | Path]) -> list[str]:
    """The runs' folder names; whole paths where two are the same. Raises InputError for a run named twice."""
    paths = [Path(run) for run in runs]
    if len({path.resolve() for path in paths}) < len(paths):
        raise InputError(f"RUN…: found {' '.join(map(str, runs))}, each run once is wanted.")
    names = [path.resolve().name for path in paths]
    return names if len(set(names)) == len(names) else [str(run) for run in runs]


def read_entries(runs: Sequence[str | Path], labels: Sequence[str] | None = None) -> list[Entry]:
    """Runs in any state, called `labels` or as `labels_of`. Raises InputError for no run, and for one named twice."""
    entries = []
    for label, path in zip(labels or labels_of(runs), runs, strict=True):
        run = read_begun(path)
        entries.append(Entry(label, run, standing(run), _judged_on(run)))
    return entries


def _judged_on(run: Run) -> dict[str, Any]:
    """What decides which windows a run's figures are means of. What an untested run cannot say is absent."""
    recipe = run.resolved
    asked = {"horizon": recipe.get("horizon"), "context": recipe.get("context")}
    if run.five_cat:
        split = run.data.get("split")
        return {
            "store": run.data.get("store_hash"),
            "split": split.get("hash") if isinstance(split, dict) else split,
            "horizon": run.predictor.get("horizon") or asked["horizon"],
            "context": run.predictor.get("context") or asked["context"],
            "ood_store": run.data.get("ood_store_hash"),
            "samples": run.data.get("samples"),
            "seed": run.data.get("seed"),
        }
    path = run.folder / "split.json"
    split = read_json(path) if path.is_file() else {}
    return {"store": lookup(split, "store"), "split": lookup(split, "hash"), **asked}


def judged_on(group: Sequence[Entry]) -> dict[str, Any]:
    """What the runs of a group have in common: of a tested one where there is one, for it says more."""
    return next((entry for entry in group if entry.tested), group[0]).judged_on


def _agree(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    return all(ours[key] == theirs[key] for key in ours if key in theirs)


def differing(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """`horizon 2 against 1, split sha256:12ab34cd against sha256:99ff00aa`"""
    keys = [key for key in ours if key in theirs and ours[key] != theirs[key]]
    return ", ".join(f"{key} {_short(theirs[key])} against {_short(ours[key])}" for key in keys)


def _short(value: Any) -> str:
    if value is None:
        return "none"
    text = str(value)
    return text[:15] if text.startswith("sha256:") else text


def grouped(entries: Sequence[Entry]) -> list[list[Entry]]:
    """The tested first make the groups; the untested join the first that they do not contradict."""
    groups: list[list[Entry]] = []
    for entry in sorted(entries, key=lambda one: not one.tested):
        home = next((group for group in groups if _agree(entry.judged_on, group[0].judged_on)), None)
        if home is None:
            groups.append([entry])
        else:
            home.append(entry)
    order = {entry.label: i for i, entry in enumerate(entries)}
    for group in groups:
        group.sort(key=lambda entry: order[entry.label])
    return sorted(groups, key=lambda group: order[group[0].label])
