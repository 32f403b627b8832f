"""The frontier of many runs at once, from what each has measured: its 5CAT, and its own frontier where it drew one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup
from starlette.datastructures import QueryParams

from segue.artifacts import read_json
from segue.report import frontier as report
from segue.report.names import CONTROLS
from segue.report.numerals import number, with_interval
from segue.report.plane import Place, plane
from segue.report.run import SPLITS, lookup
from segue.report.same_data import Entry, grouped, read_entries
from segue.serving.studio.listing import FRONTIER

METRICS = {"cos": "cos", "margin_last": "margin_last", "mrr_future": "retrieval.future.mrr", "direction": "direction"}
FAR = ("random", "corpus_mean", "oracle", "late_oracle", "shuffled_target")  # they would shrink the rest to a spot
FEW = 4  # runs that can be told apart by colour
SIZE = (720.0, 520.0)


@dataclass(frozen=True)
class Shown:
    """Which plane: metric up, margin_last across. `whole`: with the controls far from all runs."""

    group: int
    metric: str
    split: str
    whole: bool


def shown(query: QueryParams, groups: int) -> Shown:
    """From an address; what it does not say, or says wrongly, is the largest group, cos, VAL."""
    group = query.get("group", "0")
    metric, split = query.get("metric", ""), query.get("split", "")
    return Shown(
        group=int(group) if group.isascii() and group.isdigit() and int(group[:4]) < groups else 0,
        metric=metric if metric in report.AXES else "cos",
        split=split if split in SPLITS else "VAL",
        whole=query.get("whole") == "1",
    )


@dataclass(frozen=True)
class Gathered:
    """Runs judged on the same windows, in the form that `segue frontier` has."""

    title: str
    found: dict[str, Any]
    without_curve: list[str]


def gather(folders: dict[str, Path]) -> list[Gathered]:
    """Tested runs, by what they were judged on; the largest group first."""
    entries = read_entries(list(folders.values()), list(folders))
    groups = grouped([entry for entry in entries if entry.tested])
    return sorted((_gathered(group) for group in groups), key=lambda one: -len(_runs(one.found)))


def _runs(found: dict[str, Any]) -> list[str]:
    return [name for name, entry in found["predictors"].items() if entry["kind"] == "run"]


def _gathered(group: Sequence[Entry]) -> Gathered:
    first = group[0].run
    predictors: dict[str, Any] = {}
    controls: dict[str, Any] = {}
    for entry in group:
        own = _own_frontier(entry)
        predictors[entry.label] = _drawn(own) or _place(entry)
        for name, its in entry.run.controls.items():
            curved = lookup(own, f"predictors.{name}")
            if curved and not curved["not_drawn"]:
                controls[name] = curved
            controls.setdefault(name, _control(entry, its))
    predictors |= {_free(name, predictors): its for name, its in controls.items()}
    data = {**first.data, "windows": {part: first.windows(part) for part in first.splits}}
    title = (
        f"horizon {first.horizon}, {len(group)} run{'' if len(group) == 1 else 's'} on {Path(str(data['store'])).name}"
    )
    without = [name for name in _runs({"predictors": predictors}) if predictors[name]["not_drawn"]]
    return Gathered(title, {"data": data, "predictors": predictors}, without)


def _control(entry: Entry, its: dict[str, Any]) -> dict[str, Any]:
    splits = {part: {"point": _point(its[part]), "curve": None} for part in entry.run.splits if part in its}
    attainable = bool(its.get("attainable"))
    return {"kind": "control", "attainable": attainable, "beta": 0.0, "not_drawn": None, "splits": splits}


def _free(name: str, taken: dict[str, Any]) -> str:
    return f"{name} (control)" if name in taken else name


def _own_frontier(entry: Entry) -> dict[str, Any]:
    """What `segue train` or `segue frontier RUN` kept, if it was measured on what the 5CAT was."""
    path = entry.run.folder / FRONTIER
    found = read_json(path) if path.is_file() else {}
    same = ("store_hash", "split", "samples", "seed")
    if not isinstance(found, dict) or any(lookup(found, f"data.{key}") != entry.run.data.get(key) for key in same):
        return {}
    return found


def _drawn(found: dict[str, Any]) -> dict[str, Any] | None:
    runs = [its for its in (found.get("predictors") or {}).values() if its.get("kind") == "run"]
    return runs[0] if len(runs) == 1 else None


def _place(entry: Entry) -> dict[str, Any]:
    """A run that has no curve: where its 5CAT puts it."""
    splits = {part: {"point": _point(entry.run.five_cat["splits"][part]), "curve": None} for part in entry.run.splits}
    why = "no curve: `segue frontier RUN` draws it"
    return {"kind": "run", "attainable": True, "beta": 0.0, "not_drawn": why, "splits": splits}


def _point(metrics: dict[str, Any]) -> dict[str, Any]:
    return {name: lookup(metrics, path) for name, path in METRICS.items()}


@dataclass(frozen=True)
class Listed:
    """A predictor in the list beside the plane."""

    name: str
    kind: str
    style: str
    about: str
    value: str
    margin: str


def picture(group: Gathered, choice: Shown) -> tuple[Markup | None, list[Listed]]:
    """The plane, and the list of what stands on it, best first. None where nothing was measured on that split."""
    found = group.found
    placed = report.places(found, choice.split, choice.metric)
    kinds = {name: entry["kind"] for name, entry in found["predictors"].items()}
    if not choice.whole:
        placed = [place for place in placed if kinds[place.name] == "run" or place.name not in FAR]
    if not placed:
        return None, []
    if len(_runs(found)) > FEW:
        placed = [replace(place, look=("model", "circle")) if kinds[place.name] == "run" else place for place in placed]
    listed = [_listed(place, kinds[place.name]) for place in sorted(placed, key=lambda one: -(one.y.value or 0.0))]
    return plane(placed, report.AXES[choice.metric], choice.split, SIZE), listed


def _listed(place: Place, kind: str) -> Listed:
    about = CONTROLS.get(place.name, "") if kind == "control" else ""
    return Listed(place.name, kind, place.look[0], about, with_interval(place.y), number(place.x, "signed"))
