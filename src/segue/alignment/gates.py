"""Judge figures by a profile: conditions are data (`profiles.py`), this file knows how to ask each kind."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from segue.alignment.figures import Figures, Path
from segue.alignment.profiles import GATES, PARTS, Profile
from segue.models.controls import ATTAINABLE
from segue.statistics import Result, result_of

COS = ("cos",)
# Differences below this are rounding: float32 sums in another order move a cosine by about 1e-7, all one way.
RESOLUTION = 1e-6


@dataclass(frozen=True)
class Gate:
    """The outcome of one gate: passed, failed, or not judged (None), and why in one sentence."""

    passed: bool | None
    why: str


@dataclass(frozen=True)
class Evidence:
    """All that a gate may look at.

    judged     part (`VAL`, `OOD`) → the predictor's figures
    controls   control → part → its figures on the same windows, same resamples
    facets     what the predictor claims to be
    horizon    h, the offset it was made for
    """

    judged: Mapping[str, Figures]
    controls: Mapping[str, Mapping[str, Figures]]
    facets: tuple[str, ...]
    horizon: int

    def best_control(self, path: Path, part: str) -> str:
        """The attainable control with the largest value of a metric on a part."""
        measured = [name for name in ATTAINABLE if name in self.controls and path in self.controls[name][part]]
        return max(measured, key=lambda name: self.controls[name][part].draws[path][0])

    def lift(self, path: Path, part: str, over: str) -> tuple[str, Result]:
        """Paired lift over a control, or over the best attainable one: (control, difference)."""
        name = self.best_control(path, part) if over == "attainable" else over
        return name, self.judged[part].lift(path, self.controls[name][part])

    def cos_gap(self, path: Path = COS) -> Result:
        """|cos VAL − cos OOD|, or of the cosine of one coherence bin; the parts are resampled independently."""
        if not {"VAL", "OOD"} <= set(self.judged) or not all(path in self.judged[part] for part in ("VAL", "OOD")):
            return Result(None)
        val, ood = (self.judged[part].draws[path] for part in ("VAL", "OOD"))
        shared = min(len(val), len(ood))  # a part of one document has no resamples
        return result_of(np.abs(val[:shared] - ood[:shared]))


def judge(profile: Profile, evidence: Evidence) -> dict[str, Gate]:
    """Every gate of a profile. A gate passes when all its judged conditions pass on every part there is."""
    nothing = Gate(None, "Not judged: the profile asks nothing here.")
    return {name: _gate(profile["gates"][name], evidence) if name in profile["gates"] else nothing for name in GATES}


def all_passed(gates: Mapping[str, Gate]) -> bool:
    """Whether every judged gate passes, and at least one was judged."""
    judged = [gate.passed for gate in gates.values() if gate.passed is not None]
    return bool(judged) and all(judged)


def _gate(conditions: list[dict[str, Any]], evidence: Evidence) -> Gate:
    outcomes = []
    for condition in conditions:
        if condition.get("facet", evidence.facets[0]) not in evidence.facets:
            continue
        if condition.get("horizon", evidence.horizon) != evidence.horizon:
            outcomes.append(Gate(None, f"Reported, not judged, for horizon {evidence.horizon}."))
            continue
        outcomes += _condition(condition, evidence)
    judged = [outcome for outcome in outcomes if outcome.passed is not None]
    failed = [outcome for outcome in judged if not outcome.passed]
    why = " ".join(outcome.why for outcome in failed or judged or outcomes)
    return Gate(
        not failed if judged else None, why or "Not judged: the predictor claims no facet this gate asks about."
    )


def _condition(condition: dict[str, Any], evidence: Evidence) -> list[Gate]:
    """One condition on every part it concerns."""
    metric = condition["metric"]
    path = tuple(metric.split("."))
    if metric == "generalisation.cos":
        return [_at_most("OOD", "|cos VAL − cos OOD|", evidence.cos_gap(), condition["at_most"]["OOD"])]
    if "keeps" in condition:
        return [_keeps(condition, path, evidence)]
    if "changes_at_most" in condition:
        return [_changes(condition, path, evidence)]
    outcomes = []
    for part, figures in evidence.judged.items():
        found = figures.result(path)
        name = spoken(metric)
        if part not in condition.get("at_least", condition.get("at_most", PARTS)):
            continue
        if found.value is None:
            outcomes.append(_missing(condition, f"{part}: {name}"))
        elif "at_least" in condition:
            outcomes.append(_at_least(part, name, found, condition["at_least"][part]))
        elif "at_most" in condition:
            outcomes.append(_at_most(part, name, found, condition["at_most"][part]))
        elif "equals" in condition:
            outcomes.append(_peaks_at(part, found, evidence.horizon))
        elif "below_zero" in condition:
            outcomes.append(_falls(part, name, found))
        else:
            outcomes.append(_above(part, name, path, condition["above"], evidence))
    return outcomes


def _missing(condition: dict[str, Any], name: str) -> Gate:
    """What was not computed is not judged, but where the profile says that it fails (`legacy`)."""
    fails = condition.get("missing") == "fails"
    return Gate(False if fails else None, f"{name} could not be computed from this input.")


def spoken(metric: str) -> str:
    """A metric's path as a reader says it."""
    words = {
        "retrieval.future.mrr": "MRR (pool future)",
        "retrieval.future.r1": "R@1 (pool future)",
        "retrieval.future.r5": "R@5 (pool future)",
        "ablations.shuffle": "change of cos when the context is shuffled",
        "ablations_mrr.shuffle": "change of MRR when the context is shuffled",
        "rollout.mean": "cos over the rollout",
        "rollout.mrr": "MRR over rollout steps 2 to 5",
        "generalisation.cos": "|cos VAL − cos OOD|",
        "legacy.A.k=1": "cos to the chunk after the target",
        "legacy.A.margin(+1)": "margin(+1), offsets counted from the target",
        "legacy.B.R@1": "R@1 (whole document)",
        "legacy.B.R@5": "R@5 (whole document)",
        "legacy.B.MRR": "MRR (whole document)",
        "legacy.C.shuffled": "change of cos when the context is shuffled",
        "legacy.D.avg_cos@H=5": "cos over the rollout, each step one chunk late",
        "legacy.E.low_mean": "cos for coherence below .45",
        "legacy.E.normal_mean": "cos for coherence .45 to .55",
    }
    return words.get(metric, metric)


def _number(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _offset(value: float) -> str:
    return f"{value:+.0f}".replace("-", "−") if value else "0"


def _interval(found: Result) -> str:
    if found.low is None or found.high is None:
        return "no interval: one document"
    return f"[{_signed(found.low)}, {_signed(found.high)}]"


def _at_least(part: str, name: str, found: Result, wanted: float) -> Gate:
    assert found.value is not None
    passed = found.value >= wanted
    return Gate(passed, f"{part}: {name} {_number(found.value)}, wanted at least {_number(wanted)}.")


def _at_most(part: str, name: str, found: Result, wanted: float) -> Gate:
    if found.value is None:
        return Gate(None, "Not judged: there is no OOD part.")
    passed = found.value <= wanted
    return Gate(passed, f"{part}: {name} {_number(found.value)}, wanted at most {_number(wanted)}.")


def _peaks_at(part: str, found: Result, horizon: int) -> Gate:
    assert found.value is not None
    return Gate(
        found.value == horizon,
        f"{part}: closest on average to offset {_offset(found.value)}, wanted {_offset(horizon)}.",
    )


def _falls(part: str, name: str, found: Result) -> Gate:
    assert found.value is not None
    if abs(found.value) < RESOLUTION:
        return Gate(False, f"{part}: {name} is 0: the predictor ignores order by construction.")
    passed = found.high is not None and found.high < -RESOLUTION
    return Gate(passed, f"{part}: {name} {_signed(found.value)} {_interval(found)}, wanted clear below 0.")


def _above(part: str, name: str, path: Path, over: str, evidence: Evidence) -> Gate:
    control, lift = evidence.lift(path, part, over)
    value = evidence.judged[part].result(path).value
    base = evidence.controls[control][part].result(path).value
    assert lift.value is not None and value is not None and base is not None
    passed = lift.low is not None and lift.low > RESOLUTION
    return Gate(
        passed,
        f"{part}: {name} {_number(value)} against {control}'s {_number(base)}, "
        f"lift {_signed(lift.value)} {_interval(lift)}{'' if passed else ', wanted clear above 0'}.",
    )


def _changes(condition: dict[str, Any], path: Path, evidence: Evidence) -> Gate:
    """A metric is on OOD what it is on VAL."""
    if not set(PARTS) <= set(evidence.judged):
        return Gate(None, "Not judged: there is no OOD part.")
    name, found = spoken(condition["metric"]), {part: evidence.judged[part].result(path).value for part in PARTS}
    lacking = next((part for part, value in found.items() if value is None), None)
    if found["VAL"] is None or found["OOD"] is None:
        return _missing(condition, f"{lacking}: {name}")
    gap = abs(found["VAL"] - found["OOD"])
    wanted = condition["changes_at_most"]
    return Gate(gap <= wanted, f"{name}: VAL and OOD {_number(gap)} apart, wanted at most {_number(wanted)}.")


def _keeps(condition: dict[str, Any], path: Path, evidence: Evidence) -> Gate:
    """The lift seen on VAL is still there on OOD (SPEC §3 E)."""
    if not {"VAL", "OOD"} <= set(evidence.judged):
        return Gate(None, "Not judged: there is no OOD part.")
    if not all(path in evidence.judged[part] for part in ("VAL", "OOD")):
        return Gate(None, f"{spoken(condition['metric'])} could not be computed from this input.")
    (_, on_val), (control, on_ood) = (evidence.lift(path, part, condition["above"]) for part in ("VAL", "OOD"))
    assert on_val.value is not None and on_ood.value is not None
    clear = on_ood.low is not None and on_ood.low > RESOLUTION
    passed = clear and on_ood.value >= condition["keeps"] * on_val.value
    return Gate(
        passed,
        f"Lift of {spoken(condition['metric'])} on OOD {_signed(on_ood.value)} {_interval(on_ood)} over {control}, "
        f"on VAL {_signed(on_val.value)}; wanted clear above 0 and at least {condition['keeps']:g} of VAL's.",
    )
