"""The three levels of success that the original experiments set themselves and never met (SPEC §9)."""

from typing import NamedTuple

from segue.report.numerals import NONE, number, with_interval
from segue.report.run import MODEL, Result, Run, result
from segue.report.tables import Cell, Line, Table
from segue.report.verdict import profiles

PART = "VAL"
# cos, margin, gates of profile `original` passed; then what a level asks besides.
LEVELS = {
    "minimum": (0.52, 0.05, 3),
    "target": (0.54, 0.10, 4),
    "stretch": (0.56, 0.15, 5),
}
GAP, ROLLOUT = 0.03, 0.55  # of the target, of the stretch


class Asked(NamedTuple):
    """One thing a level asks. `outcome`: met, not met, not measured; `clear`: its interval lies on one side."""

    what: str
    wanted: str
    found: str
    outcome: str
    clear: bool


class Level(NamedTuple):
    """`reached` None: something it asks was not measured, and all else is met."""

    name: str
    reached: bool | None
    asked: list[Asked]

    @property
    def word(self) -> str:
        return {True: "reached", False: "not reached", None: "open"}[self.reached]


def gates_passed(run: Run, profile: str) -> tuple[int, int] | None:
    """How many gates of a profile passed, and how many were judged; None where the run has none of it."""
    found = next((one for one in profiles(run) if one.name == profile), None)
    if found is None:
        return None
    judged = [gate.passed for gate in found.gates.values() if gate.passed is not None]
    return sum(judged), len(judged)


def gates_text(counted: tuple[int, int] | None) -> str:
    """`3/5`: passed of those judged."""
    return NONE if counted is None else f"{counted[0]}/{counted[1]}"


def levels(run: Run) -> list[Level]:
    """Each level against the 5CAT of a tested run; none where it was not tested on VAL."""
    if PART not in run.splits:
        return []
    cos, margin = run.result(MODEL, PART, "cos"), run.result(MODEL, PART, "margin")
    listed = []
    for name, (least_cos, least_margin, gates) in LEVELS.items():
        asked = [_at_least("cos", cos, least_cos), _at_least("margin", margin, least_margin, "signed")]
        asked.append(_gates(run, gates))
        if name == "target":
            asked.append(_within(result(run.five_cat, "generalisation.cos"), GAP))
        if name == "stretch":
            asked.append(_at_least("rollout", run.result(MODEL, PART, "rollout.mean"), ROLLOUT))
        outcomes = {one.outcome for one in asked}
        reached = False if "not met" in outcomes else None if "not measured" in outcomes else True
        listed.append(Level(name, reached, asked))
    return listed


def _outcome(value: float | None, met: bool) -> str:
    return "not measured" if value is None else "met" if met else "not met"


def _at_least(what: str, found: Result, bound: float, kind: str = "plain") -> Asked:
    met = found.value is not None and found.value >= bound
    clear = found.low is not None and found.high is not None and not found.low < bound <= found.high
    return Asked(what, f"≥ {number(bound, kind)}", with_interval(found, kind), _outcome(found.value, met), clear)


def _within(found: Result, bound: float) -> Asked:
    met = found.value is not None and found.value <= bound
    clear = found.low is not None and found.high is not None and not found.low <= bound < found.high
    what = "|cos VAL − cos OOD|"
    return Asked(what, f"≤ {number(bound)}", with_interval(found), _outcome(found.value, met), clear)


def _gates(run: Run, wanted: int) -> Asked:
    passed = gates_passed(run, "original")
    found = NONE if passed is None else f"{passed[0]} of {passed[1]} judged"
    met = passed is not None and passed[0] >= wanted
    # Gates that were not judged could still decide it.
    open_ = passed is None or (not met and passed[0] + 5 - passed[1] >= wanted)
    outcome = "not measured" if open_ else "met" if met else "not met"
    return Asked("gates of profile original", f"{wanted} of 5", found, outcome, not open_)


def said(one: Asked) -> str:
    """`met`, `not met, its interval holds the bound`, `not measured`."""
    unclear = one.outcome != "not measured" and not one.clear and one.found.endswith("]")
    return one.outcome + (", its interval holds the bound" if unclear else "")


def table(run: Run) -> Table | None:
    """A line a level; in the last column what one level asks besides."""
    lines = []
    for level in levels(run):
        cells = [Cell(one.found, f"{one.wanted}: {said(one)}") for one in level.asked[:3]]
        cells += [Cell(f"{one.what} {one.found}", f"{one.wanted}: {said(one)}") for one in level.asked[3:]] or [
            Cell("")
        ]
        lines.append(Line(level.name, level.word, "attainable", cells))
    caption = f"On {PART}. The levels that the original experiments set themselves; none of theirs reached one."
    return (
        Table(caption, ["cos", "margin", "gates of profile original", "besides"], lines, first="level")
        if lines
        else None
    )
