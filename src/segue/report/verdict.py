"""The verdict in plain words: does it beat what anybody could have, and does it look ahead or lean on what it read?"""

import re
from typing import Any, NamedTuple

from markupsafe import Markup

from segue.report.figures import measured_on
from segue.report.names import COS, GATES, MRR, Metric
from segue.report.numerals import number, with_interval
from segue.report.run import MODEL, Result, Run, lookup

RESOLUTION = 1e-6  # as the gates: a difference below is rounding
FEW_DOCUMENTS = 30  # a bootstrap over fewer gives intervals that are themselves uncertain
PROFILES = {"skill": "skill, the verdict", "original": "original, beside it"}


class Judged(NamedTuple):
    """A gate: `passed` None is not judged; `why` has a line for each part that the gate speaks of."""

    passed: bool | None
    why: list[str]

    @property
    def word(self) -> str:
        return {True: "passed", False: "failed", None: "not judged"}[self.passed]

    @property
    def mark(self) -> str:
        return {True: "✓", False: "✗", None: "–"}[self.passed]


class Profile(NamedTuple):
    name: str
    label: str
    passed: bool | None
    tally: str
    gates: dict[str, Judged]


class Verdict(NamedTuple):
    headline: str
    tone: str  # good, bad or open: the colour of the rule beside it
    sentences: list[Markup]
    warnings: list[str]
    profiles: list[Profile]


def _gate(found: Any) -> Judged:
    passed = lookup(found, "passed")
    why = str(lookup(found, "why") or "")
    if why.lower().startswith("not judged: "):  # the mark beside it says so
        why = why[12:13].upper() + why[13:]
    return Judged(passed if isinstance(passed, bool) else None, re.split(r"(?<=\.) (?=(?:VAL|OOD): )", why))


def profiles(run: Run) -> list[Profile]:
    """Both profiles, each with its gates; whether one passed is said only where a gate was judged."""
    listed = []
    for name, label in PROFILES.items():
        found = lookup(run.five_cat, f"profiles.{name}")
        if found is None and run.five_cat.get("profile") == name:
            found = run.five_cat
        if not isinstance(found, dict):
            continue
        gates = {letter: _gate(lookup(found, f"gates.{letter}")) for letter in GATES}
        judged = [gate.passed for gate in gates.values() if gate.passed is not None]
        passed = found.get("passed") if judged else None
        tally = f"{sum(judged)} of {len(judged)} judged gates" if judged else "no gate judged"
        listed.append(Profile(name, label, passed, tally, gates))
    return listed


def _against(lift: Result) -> str:
    """above, below or level, by whether the interval is clear of zero; unknown without one."""
    if lift.low is None or lift.high is None:
        return "unknown"
    return "above" if lift.low > RESOLUTION else "below" if lift.high < -RESOLUTION else "level"


def _facets(run: Run) -> list[str]:
    return [facet for facet in run.predictor.get("facets") or [] if facet in ("mean", "rank")] or ["mean"]


CLAIMS: dict[str, tuple[str, Metric, str]] = {
    "mean": ("cos", COS, "lies closer to what follows"),
    "rank": ("mrr_future", MRR, "names the next chunk better"),
}


def _headline(run: Run) -> tuple[str, str]:
    """The one line: on what it claims, against the best that anybody could have."""
    skill = next((profile for profile in profiles(run) if profile.name == "skill"), None)
    sides = {
        facet: [_against(run.lift(split, CLAIMS[facet][0])) for split in run.splits] or ["unknown"]
        for facet in _facets(run)
    }
    all_sides = [side for found in sides.values() for side in found]
    if all(side == "above" for side in all_sides):
        how = " and ".join(CLAIMS[facet][2] for facet in sides)
        if skill and skill.passed:
            where = "" if "OOD" in run.splits else " on VAL; no other documents were measured"
            return f"It has skill: it {how} than any simple control{where}.", "good"
        return f"It {how} than any simple control, but does not pass all tests of skill.", "open"
    if "above" in all_sides:
        return "It beats the simple controls in part, not in all that it claims.", "open"
    if "unknown" in all_sides:
        return "Not compared with the controls, so not judged.", "open"
    if all(side == "below" for side in all_sides):
        return "A simple control does better.", "bad"
    return "It is not better than a simple control.", "bad"


def _opening(run: Run) -> Markup:
    context, horizon = run.predictor.get("context"), run.horizon
    reads = f"reads {context} chunks" if isinstance(context, int) else "reads the document so far"
    predicts = "the vector of the next one" if horizon == 1 else f"the vector of the chunk at offset +{horizon}"
    claim = " and ".join(
        {"mean": "to lie close to it (facet mean)", "rank": "to name it among others (facet rank)"}[facet]
        for facet in _facets(run)
    )
    return Markup("<b>{}</b> {} and predicts {}. It claims {}.").format(
        run.predictor.get("name") or run.folder.name, reads, predicts, claim
    )


SAID = {
    "above": "clearly above",
    "below": "clearly below",
    "level": "no difference that the data can show",
    "unknown": "not judged",
}


def _comparison(run: Run, lift_name: str, metric: Metric, lead: str) -> Markup | None:
    """Model, best control and paired difference: the first split in full, the others by their difference."""
    parts: list[Markup] = []
    for split in run.splits:
        mine, lift = run.result(MODEL, split, metric.path), run.lift(split, lift_name)
        best = run.best_control(split, lift_name, metric.path)
        if mine.value is None or best is None:
            continue
        theirs = _nb(with_interval(run.result(best, split, metric.path)))
        if not parts:
            parts.append(Markup("{} <b>{}</b>{}").format(lead.format(split=split), with_interval(mine), _chance(mine)))
            parts.append(Markup("<em>{}</em>, the best attainable control, has {}.").format(best, theirs))
            parts.append(Markup("The paired difference is <b>{}</b>{}: {}.").format(*_difference(lift)))
        else:
            text = Markup("On {}, against <em>{}</em>, it is <b>{}</b>{}: {}.")
            parts.append(text.format(split, best, *_difference(lift)))
    return Markup(" ").join([parts[0] + ";", *parts[1:]]) if parts else None


def _nb(text: str) -> Markup:
    """Not broken over lines."""
    return Markup('<span class="nb">{}</span>').format(text)


def _chance(one: Result) -> str:
    return f" (chance {number(one.chance)})" if one.chance is not None else ""


def _difference(lift: Result) -> tuple[str, str, str]:
    n = f" (n\N{NO-BREAK SPACE}{number(lift.n, 'count')})" if lift.n is not None else ""
    return with_interval(lift, "signed"), n, SAID[_against(lift)]


def _ahead_or_copy(run: Run) -> Markup | None:
    """Which offset the prediction lies closest to, and what that does and does not mean."""
    split = run.splits[0] if run.splits else "VAL"
    peak, margin = run.result(MODEL, split, "peak"), run.result(MODEL, split, "margin_last")
    if peak.value is None or margin.value is None:
        return None
    copied = run.result(MODEL, split, "offsets.0").value or 0.0
    best = run.best_control(split, "cos", COS.path)
    theirs = run.result(best, split, "margin_last") if best else Result()
    if round(peak.value) == run.horizon:
        lead = "It looks ahead: of all chunks near the window, its prediction lies closest to its target."
    elif round(peak.value) == 0:
        much = "It copies" if copied > 0.9 else "It leans on what it read"
        lead = f"{much}: its prediction lies closest to the last chunk of its context, not to its target."
    else:
        lead = f"Its prediction lies closest to offset {number(peak.value, 'offset')}, not to its target."
    beside = Markup("")
    if theirs.value is not None:
        beside = Markup(" (<em>{}</em> {})").format(best, _nb(with_interval(theirs, "signed")))
    return Markup("{} <b>margin_last {}</b> on {}{}. That alone is a diagnostic, not the verdict.").format(
        lead, with_interval(margin, "signed"), split, beside
    )


def _few(run: Run) -> list[str]:
    counts = {split: run.documents(split) for split in run.splits}
    few = [f"{n} documents in {split}" for split, n in counts.items() if n is not None and n < FEW_DOCUMENTS]
    if not few:
        return []
    return [f"Only {' and '.join(few)}: the intervals are wide, and small differences cannot be seen."]


def _warnings(run: Run) -> list[str]:
    given = [str(warning) for warning in run.data.get("warnings") or []]
    if any("document" in warning.lower() for warning in given):
        return given
    return _few(run) + given


def verdict(run: Run) -> Verdict:
    """What the page opens with."""
    headline, tone = _headline(run)
    facets = _facets(run)
    sentences: list[Markup | None] = [_opening(run), _ahead_or_copy(run)]
    if "mean" in facets:
        sentences.append(_comparison(run, "cos", COS, "On {split} its mean cosine to the target is"))
    lead = "Asked on {split} which of the chunks still to come is the next (pool future), it has an MRR of"
    sentences.append(_comparison(run, "mrr_future", MRR, lead))
    if len(run.splits) == 1:
        sentences.append(Markup("Measured on {} only ({}).").format(run.splits[0], measured_on(run, run.splits[0])))
    return Verdict(headline, tone, [one for one in sentences if one], _warnings(run), profiles(run))
