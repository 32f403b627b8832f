"""Where a run stands: in training, interrupted, stopped and by what, finished, tested. Read, never written."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from segue.artifacts import is_held, read_json
from segue.report.run import HISTORY, RECIPE, Run, lookup

STEPS, DIVERGED = "steps.jsonl", "diverged.json"
TRIPWIRE = "tripwire "
TAIL = 1 << 16  # bytes, many lines


class Standing(NamedTuple):
    """How far a run is.

    state    begun, training, testing, interrupted, diverged, stopped, untested, finished
    epoch    the one in training; else the last trained; 0 before the first
    epochs   what the recipe asks for
    by       what stopped it: an event of its last epoch
    """

    state: str
    epoch: int
    epochs: int
    by: str = ""

    @property
    def said(self) -> str:
        """`training, epoch 3 of 20`"""
        of = f"epoch {self.epoch} of {self.epochs}"
        return {
            "begun": "begun, no epoch trained",
            "training": f"training, {of}",
            "testing": "trained, in its last test",
            "interrupted": f"interrupted after {of}",
            "diverged": f"diverged after {of}" if self.epoch else "diverged in its first epoch",
            "stopped": f"stopped{f' by {self.by}' if self.by else ''} after {of}",
            "untested": "finished, not tested",
            "finished": "finished",
        }[self.state]

    @property
    def is_over(self) -> bool:
        """Nothing more will be written without a further command."""
        return self.state in ("diverged", "stopped", "untested", "finished")


class Fired(NamedTuple):
    """A tripwire that tripped: after which line of the history, what it found and did, in the words of the run."""

    at: int
    name: str
    found: str
    did: str


def fired(run: Run) -> list[Fired]:
    """The tripwires that tripped, in their order, from the events of the history."""
    names = [str(one.get("name")) for one in run.resolved.get("tripwires") or [] if isinstance(one, dict)]
    found = []
    for at, entry in enumerate(run.history, start=1):
        for event in entry.get("events") or []:
            text = str(event)
            if text.startswith(TRIPWIRE):
                rest = text.removeprefix(TRIPWIRE)
                known = [name for name in names if rest.startswith(f"{name}: ")]
                name = max(known, key=len) if known else rest.partition(": ")[0]
                why, _, did = rest.removeprefix(f"{name}: ").partition(": ")
                found.append(Fired(at, name, why, did))
    return found


def standing(run: Run) -> Standing:
    """From the files of a run and whether a process holds its lock."""
    last = int(run.history[-1]["epoch"]) if run.history else 0
    epochs = int(run.resolved.get("epochs") or last)
    if run.manifest:
        by = _stopper(run)
        if by or last < epochs:
            return Standing("stopped", last, epochs, by)
        return Standing("finished" if run.five_cat else "untested", last, epochs)
    if is_held(run.folder):
        newest = last_step(run.folder)
        begun = int(newest["epoch"]) if newest and newest.get("line", 0) > len(run.history) else last + 1
        state = "testing" if last >= epochs or _stopper(run) else "training"
        return Standing(state, min(begun, epochs), epochs)
    if diverged(run):
        return Standing("diverged", last, epochs)
    return Standing("interrupted" if last else "begun", last, epochs)


def diverged(run: Run) -> str:
    """Why a loss that was not finite ended training; empty where none did, or training went on since."""
    path = run.folder / DIVERGED
    told = read_json(path) if path.is_file() else {}
    return str(told["why"]) if lookup(told, "lines") == len(run.history) and "why" in told else ""


def _stopper(run: Run) -> str:
    """What ended training before its time: a tripwire, an early stop, nothing. By the manifest, else by the events."""
    told = run.manifest.get("stopped")
    if isinstance(told, dict):
        return f"tripwire “{told['tripwire']}”" if told.get("tripwire") else "early stop"
    for one in fired(run):
        if one.at == len(run.history) and "stops: " in one.did:
            return f"tripwire “{one.name}”"
    last = run.history[-1].get("events") or [] if run.history else []
    return "early stop" if any(str(event).startswith("early stop") for event in last) else ""


def last_step(folder: Path) -> dict[str, Any] | None:
    """The newest whole line of `steps.jsonl`; None where there is none. A line being written is left out."""
    path = folder / STEPS
    if not path.is_file():
        return None
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - TAIL))
        lines = file.read().splitlines()
    for line in reversed(lines):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict) and isinstance(found.get("epoch"), int):
            return found
    return None


def made_at(run: Run) -> str:
    """The day a run was finished; of one that is not, the day of its last epoch, or of its beginning."""
    told = run.manifest.get("made_at")
    if isinstance(told, str):
        return told[:10]
    path = run.folder / (HISTORY if (run.folder / HISTORY).is_file() else RECIPE)
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).date().isoformat()


def parameters(run: Run) -> int | None:
    """How many numbers the model has; None before the first epoch of an unfinished run."""
    known = run.predictor.get("parameters") or lookup(run.manifest, "model.parameters")
    if known is None:
        folders = sorted(path.parent for path in run.folder.glob("epochs/*/manifest.json"))
        known = read_json(folders[-1] / "manifest.json").get("parameters") if folders else None
    return int(known) if isinstance(known, int) else None


def approach(run: Run) -> str:
    """What is trained and by what: `transformer · mse + directional · h 2`."""
    recipe = run.resolved
    model = recipe.get("model") or {}
    family = str(model.get("family") if isinstance(model, dict) else model)
    if isinstance(model, dict) and model.get("residual") is not None:
        family = f"residual {family}"
    if isinstance(model, dict) and model.get("positional") is not None:
        family += f", positional {model['positional']:g}"
    terms = [name for name, its in (recipe.get("objective") or {}).items() if _weighs(lookup(its, "weight"))]
    parts = [family, " + ".join(terms)]
    parts += [f"h {recipe['horizon']}"] if recipe.get("horizon", 1) != 1 else []
    parts += ["context drop"] if _weighs(recipe.get("context_drop") or 0) else []
    parts += ["curation"] if recipe.get("curation") else []
    return " · ".join(part for part in parts if part)


def _weighs(weight: Any) -> bool:
    """Whether a weight is ever above 0: a number, a map by epoch; ramps and controllers always are."""
    if isinstance(weight, dict):
        by_epoch = all(isinstance(key, int) for key in weight)
        return any(_weighs(value) for value in weight.values()) if by_epoch else True
    return bool(weight)
