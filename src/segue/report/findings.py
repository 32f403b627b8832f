"""What the figures of a test support, in sentences; what they leave open; what to do next.

A sentence is only made where its interval supports it, and carries the figures it rests on.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from segue.report.names import LIFTS, MRR, ROLLOUT_MRR
from segue.report.numerals import number, with_interval
from segue.report.run import MODEL, Result, Run, lookup, result
from segue.report.tables import difference
from segue.report.verdict import FEW_DOCUMENTS, RESOLUTION

SETTLED = 0.005  # of VAL cos: settled epochs of p1-long differ by .003 (first 900 Wikipedia documents)
COPY = 0.9  # cosine to the last chunk from which its reproduction is spoken of
POOLED = (("r1", "R@1"), ("r5", "R@5"), ("mrr", "MRR"))


class Finding(NamedTuple):
    """`kind` names the rule, `good` what it means for the model: True, False, None for neither."""

    kind: str
    part: str
    good: bool | None
    text: str


def _sign(one: Result, zero: float = 0.0) -> int | None:
    """+1 above, −1 below, 0 where the interval holds `zero`; None without an interval."""
    if one.low is None or one.high is None:
        return None
    return 1 if one.low > zero + RESOLUTION else -1 if one.high < zero - RESOLUTION else 0


def _copying(run: Run, part: str) -> Iterator[Finding]:
    """Does it look ahead, or lean on what it read?"""
    margin, peak = run.result(MODEL, part, "margin_last"), run.result(MODEL, part, "peak")
    side, copied = _sign(margin), run.result(MODEL, part, "offsets.0")
    sure = peak.value is not None and peak.low == peak.high == peak.value  # the same offset in every resample
    told = f"margin_last {with_interval(margin, 'signed')}"
    if side == -1:
        verb = "copies" if copied.low is not None and copied.low > COPY else "leans on"
        near = ", which of all offsets lies nearest to its predictions" if sure and peak.value == 0 else ""
        text = f"It {verb} the last chunk it read{near}: its predictions lie closer to it than to the target ({told})."
        yield Finding("copies", part, False, text)
    elif side == 1:
        near = ", which of all offsets lies nearest to them" if sure and peak.value == run.horizon else ""
        text = f"Its predictions lie closer to the target{near} than to the last chunk it read ({told})."
        yield Finding("looks ahead", part, True, text)


def _against_controls(run: Run, part: str) -> Iterator[Finding]:
    """Above or below the best attainable control, paired."""
    for name, metric in LIFTS.items():
        lift = run.lift(part, name)
        side, best = _sign(lift), run.best_control(part, name, metric.path)
        if not side or best is None:
            continue
        label = f"{metric.label}, pool future," if metric in (MRR, ROLLOUT_MRR) else metric.label
        mine, theirs = run.result(MODEL, part, metric.path), run.result(best, part, metric.path)
        text = (
            f"Its {label} is {'above' if side > 0 else 'below'} {best}'s by "
            f"{with_interval(distance(lift))} ({number(mine.value)} against {number(theirs.value)})."
        )
        yield Finding(f"against {name}", part, side > 0, text)


def distance(lift: Result) -> Result:
    """A difference clear of zero without its sign."""
    if lift.value is None or lift.low is None or lift.high is None or lift.value >= 0:
        return lift
    return Result(-lift.value, -lift.high, -lift.low)


def _order(run: Run, part: str) -> Iterator[Finding]:
    """Does it use the order of its context?"""
    shuffled = run.result(MODEL, part, "ablations.shuffle")
    side, told = _sign(shuffled), with_interval(shuffled, "signed")
    if side == 0:
        text = f"It ignores the order of its context, as far as these data show: shuffled, cos changes by {told}."
        yield Finding("order", part, False, text)
    elif side == -1:
        yield Finding("order", part, True, f"It uses the order of its context: shuffled, cos changes by {told}.")
    elif side == 1:
        yield Finding("order", part, False, f"It does better when its context is shuffled: cos changes by {told}.")


def _chance(run: Run, part: str) -> Iterator[Finding]:
    """Ranks that a draw by lot would reach: R@5 among six candidates says nothing by itself."""
    for pool in ("future", "unseen", "document"):
        low = []
        for name, label in POOLED:
            one = run.result(MODEL, part, f"retrieval.{pool}.{name}")
            side = _sign(one, one.chance) if one.chance is not None else 1
            if side is not None and side < 1:
                low.append(f"{label} {with_interval(one)}, chance {number(one.chance)}")
        if low:
            text = f"Asked for the target in the pool {pool}, it is not above chance: {'; '.join(low)}."
            yield Finding("chance", part, False, text)


def _repetition(run: Run, part: str) -> Iterator[Finding]:
    one = run.result(MODEL, part, "par")
    if _sign(one, 1.0) == 1:
        text = f"It repeats its context more than the text itself does: paraphrasing ratio {with_interval(one)}."
        yield Finding("repeats", part, False, text)


PER_PART: tuple[Callable[[Run, str], Iterator[Finding]], ...] = (
    _copying,
    _against_controls,
    _order,
    _chance,
    _repetition,
)


def _generalisation(run: Run) -> Iterator[Finding]:
    """VAL against OOD; the two are independent, so the interval follows from both."""
    if len(run.splits) < 2:
        return
    for path, label in (("cos", "cos"), (MRR.path, "MRR, pool future,")):
        gap = difference(run.result(MODEL, "VAL", path), run.result(MODEL, "OOD", path))
        side = _sign(gap)
        if side:
            than = "lower" if side > 0 else "higher"
            text = f"Its {label} is {than} on OOD than on VAL by {with_interval(distance(gap))}."
            yield Finding("gap", "VAL and OOD", side < 0, text)


def _alike(run: Run) -> list[Any]:
    """The epochs at the end that were trained alike: since no weight has changed, none under a curation."""
    if run.resolved.get("curation"):
        return []
    lines = list(run.epochs.values())
    weights = [{n: lookup(its, "weight") for n, its in (lookup(e, "train.terms") or {}).items()} for e in lines]
    return lines[max((i + 1 for i, its in enumerate(weights) if its != weights[-1]), default=0) :]


def _training(run: Run) -> Iterator[Finding]:
    """Over-fitting, among epochs that were trained alike: a guard that sets in also costs cos on VAL.

    One figure an epoch has no interval: what is told is beyond what epochs of a settled run differ by.
    """
    lines = _alike(run)
    known = [(i, value) for i, e in enumerate(lines) if (value := result(e, "val.cos").value) is not None]
    if len(known) < 2:
        return
    (best, high), (last, now) = max(known, key=lambda one: one[1]), known[-1]
    seen = [result(lines[i], "train.cos").value for i in (best, last)]
    if high - now > SETTLED and None not in seen and seen[1] > seen[0]:  # type: ignore[operator]
        text = (
            f"It over-fitted after epoch {lines[best]['epoch']}: VAL cos fell from {number(high)} to {number(now)} "
            f"while cos on the train windows rose from {number(seen[0])} to {number(seen[1])}."
        )
        yield Finding("over-fit", "training", False, text)


def findings(run: Run) -> list[Finding]:
    """All that the figures support, VAL first."""
    found = [one for part in run.splits for rule in PER_PART for one in rule(run, part)]
    return [*found, *_generalisation(run), *_training(run)]


def open_questions(run: Run) -> list[str]:
    """Comparisons whose interval holds zero: no difference that these data can show."""
    said = []
    for part in run.splits:
        margin = run.result(MODEL, part, "margin_last")
        if _sign(margin) == 0:
            said.append(
                f"{part}: target or last chunk, which lies closer: margin_last {with_interval(margin, 'signed')}."
            )
        for name, metric in LIFTS.items():
            lift, best = run.lift(part, name), run.best_control(part, name, metric.path)
            if _sign(lift) == 0 and best is not None:
                said.append(f"{part}: {metric.label} against {best}: {with_interval(lift, 'signed')}.")
    return said


def planned_steps(run: Run) -> list[str]:
    """What the recipe's authors wanted to do next."""
    return [str(step) for step in run.resolved.get("next_steps") or []]


def next_steps(run: Run) -> list[str]:
    """What the figures ask for, as Markdown."""
    said = []
    kinds = {(one.kind, one.good) for one in findings(run)}
    terms = list(run.resolved.get("objective") or {})
    if ("copies", False) in kinds and terms == ["mse"]:
        said.append(
            "Before a loss against copying: `segue steer RUN --margin 0` moves a model of plain MSE to any margin_last "
            "after training, and `segue frontier RUN` shows what that costs."
        )
    if ("order", False) in kinds:
        said.append("Try a family that reads order (transformer, gru, lstm, causal): this one does not use it here.")
    if ("over-fit", False) in kinds:
        said.append("More documents, or fewer epochs (`early_stop`, or `--set epochs=N`).")
    best, last = lookup(run.manifest, "best.epoch"), int(run.history[-1]["epoch"]) if run.history else None
    if best is not None and best == last and len(run.history) > 1:
        metric = lookup(run.manifest, "best.metric")
        said.append(f"Its best epoch by {metric} is the last, {last}: train longer (`--set epochs=N`).")
    if run.five_cat and "OOD" not in run.splits:
        said.append("Test it on other documents: `segue 5cat RUN --data STORE --ood OTHER`.")
    few = [part for part in run.splits if (count := run.documents(part)) is not None and count < FEW_DOCUMENTS]
    if few:
        said.append(f"Test it on more documents: {' and '.join(few)} had fewer than {FEW_DOCUMENTS}.")
    return said
