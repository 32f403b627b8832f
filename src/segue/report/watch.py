"""What there is to see of a run in training, read from its files; nothing is written."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from segue.report.curves import events, labels
from segue.report.numerals import number
from segue.report.run import HISTORY, Run, lookup, read_begun, result
from segue.report.standing import Standing, approach, diverged, fired, last_step, standing

BARS = "▁▂▃▄▅▆▇█"
RECENT = 3  # epochs whose time stands for those to come
COLUMNS = (
    ("train loss", "train.loss", "small"),
    ("VAL loss", "val.loss", "small"),
    ("cos", "val.cos", "plain"),
    ("margin_last", "val.margin_last", "signed"),
    ("peak", "val.peak", "offset"),
    ("direction", "val.direction", "plain"),
    ("MRR", "val.mrr_future", "plain"),
    ("lr", "lr", "small"),
    ("s", "seconds", "count"),
)
CURVES = (("VAL loss", "val.loss", "small"), ("cos", "val.cos", "plain"), ("margin_last", "val.margin_last", "signed"))
TERM = (("value", "small"), ("weight", "small"), ("gradient_ratio", "small"), ("rho", "small"))


class Curve(NamedTuple):
    label: str
    bars: str
    first: str
    last: str


class View(NamedTuple):
    """A run at one moment, as it is told and as its files have it.

    lines     of the history: the epoch's label, then a cell for each of COLUMNS
    terms     name → cells of TERM, of the newest line of steps.jsonl, else of the history
    seconds   until the last epoch is trained, if nothing goes back; None where it cannot be said
    """

    name: str
    approach: str
    standing: Standing
    lines: list[list[str]]
    best: str
    curves: list[Curve]
    terms: dict[str, list[str]]
    step: str
    skipped: list[str]
    speed: float | None
    seconds: float | None
    events: list[str]
    tripped: list[str]
    tripwires: int
    why: str
    history: list[dict[str, Any]]
    newest: dict[str, Any] | None

    def to_json(self) -> dict[str, Any]:
        """The run's own lines, as numbers."""
        return {
            "name": self.name,
            "approach": self.approach,
            "standing": {**self.standing._asdict(), "said": self.standing.said},
            "history": self.history,
            "step": self.newest,
            "windows_per_second": self.speed,
            "seconds_left": self.seconds,
            "tripped": self.tripped,
            "tripwires": self.tripwires,
            "why": self.why,
        }


def view(folder: str | Path, now: float) -> View:
    """A run as it is. `now`: seconds since 1970. Raises InputError for what is no run."""
    run = read_begun(folder)
    at = standing(run)
    newest = last_step(run.folder)
    present = newest if newest and newest.get("line") == len(run.history) + 1 and not at.is_over else None
    names = labels(run)
    return View(
        name=run.folder.resolve().name,
        approach=approach(run),
        standing=at,
        lines=[
            [name, *(number(result(entry, path).value, kind) for _, path, kind in COLUMNS)]
            for name, entry in zip(names, run.history, strict=True)
        ],
        best=_best(run, names),
        curves=[_curve(run, *curve) for curve in CURVES] if run.history else [],
        terms=_terms(run, present),
        step=_step(run, present),
        skipped=[str(name) for name in (present or {}).get("skipped") or []],
        speed=result(run.history[-1], "windows_per_second").value if run.history else None,
        seconds=_left(run, at, now),
        events=[f"epoch {one.epoch}: {said}" for one in events(run) for said in one.said],
        tripped=[one.name for one in fired(run)],
        tripwires=len(run.resolved.get("tripwires") or []),
        why=diverged(run),
        history=run.history,
        newest=newest,
    )


def _best(run: Run, names: Sequence[str]) -> str:
    """The label of the epoch that `best` points to."""
    link = run.folder / "best"
    epoch = link.readlink().name if link.is_symlink() else ""
    same = [
        name for name, entry in zip(names, run.history, strict=True) if epoch.isdigit() and entry["epoch"] == int(epoch)
    ]
    return same[-1] if same else ""


def sparkline(values: Sequence[float | None]) -> str:
    """One character a value, from the lowest to the highest; a gap where there is none."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, span = min(known), max(known) - min(known)
    steps = len(BARS) - 1
    return "".join(" " if v is None else BARS[round((v - low) / span * steps) if span else steps // 2] for v in values)


def _curve(run: Run, label: str, path: str, kind: str) -> Curve:
    values = [result(entry, path).value for entry in run.history]
    return Curve(label, sparkline(values), number(values[0], kind), number(values[-1], kind))


def _terms(run: Run, present: dict[str, Any] | None) -> dict[str, list[str]]:
    found = lookup(present, "terms") or (lookup(run.history[-1], "train.terms") if run.history else None) or {}
    return {str(name): [number(result(its, key).value, kind) for key, kind in TERM] for name, its in found.items()}


def _step(run: Run, present: dict[str, Any] | None) -> str:
    """`step 401 of 1,031`; the epoch before says how many there are."""
    if present is None:
        return ""
    whole = lookup(run.history[-1], "steps") if run.history else None
    return f"step {number(present.get('step'), 'count')}" + (f" of {number(whole, 'count')}" if whole else "")


def _left(run: Run, at: Standing, now: float) -> float | None:
    took = [value for entry in run.history[-RECENT:] if (value := result(entry, "seconds").value) is not None]
    if at.state != "training" or not took:
        return None
    since = now - (run.folder / HISTORY).stat().st_mtime
    mean = sum(took) / len(took)
    return max(0.0, (at.epochs - at.epoch + 1) * mean - min(max(0.0, since), mean))


def duration(seconds: float) -> str:
    """`about 12 min`"""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 5400:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"
