"""Say in words what a result means: what each gate asks, who passes it on this very data, where a verdict misleads.

Everything said is read from the value of `5cat.json`, so the report can say it too; a sentence whose figures are not
there, or say something else on this data, is not said.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from segue.alignment.gates import spoken
from segue.alignment.profiles import GATES, LEGACY, PARTS

CHEATS = ("copy_last", "context_mean", "rank_weights", "ridge")
SHOWN = ("oracle", "late_oracle", *CHEATS)
TITLES = {
    "A": "A, offset sweep: which chunk is the prediction closest to?",
    "B": "B, retrieval: can it name the chunk that comes?",
    "C": "C, ablations: does the order of the context matter to it?",
    "D": "D, rollout: what becomes of its predictions when they are fed back?",
    "E": "E, generalisation: does it hold on other documents?",
}
Json = Mapping[str, Any]


@dataclass(frozen=True)
class Section:
    """One part of an explanation: paragraphs, and where figures are compared a table (header row and rows of text)."""

    title: str
    paragraphs: list[str]
    header: list[str]
    rows: list[list[str]]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def explain(result: Json) -> list[Section]:
    """The explanation of a 5CAT result, in the order it is read."""
    gates = [_gate(result, gate) for gate in GATES]
    misleads = [section for section in (_original(result), _legacy(result)) if section.paragraphs]
    return [_opening(result), *gates, *misleads]


def _opening(result: Json) -> Section:
    profile, name = result["profile"], result["predictor"]["name"]
    judged = {gate: outcome["passed"] for gate, outcome in result["gates"].items() if outcome["passed"] is not None}
    failed = [gate for gate, passed in judged.items() if not passed]
    about = result["profiles"][profile]["about"]
    verdict = "no gate could be judged" if not judged else f"passes {len(judged) - len(failed)} of {len(judged)} gates"
    said = [
        f"Profile {profile}: {about}. By it {name} {verdict}{f', and fails {_listed(failed)}' if failed else ''}.",
        "Read every gate beside predictors whose answer is known. oracle answers the very chunk that is asked for, "
        "late_oracle the one after it; no model can be either. The cheats are what anybody could have without learning "
        "to look ahead: copy_last repeats the last chunk, context_mean averages the context, rank_weights weighs its "
        "chunks by age, ridge is a linear regression. A gate says something where oracle passes and the cheats fail.",
    ]
    return Section("What this says", said, [], [])


def _gate(result: Json, gate: str) -> Section:
    """One gate of the profile that counts."""
    outcome = result["gates"][gate]
    asks = [ask for ask in outcome["asks"] if ask.get("facet", _facets(result)[0]) in _facets(result)]
    if not asks:
        return Section(TITLES[gate], [outcome["why"]], [], [])
    paragraphs = [f"It asks: {'; '.join(map(_asked, asks))}."]
    paragraphs.append(outcome["why"] if outcome["passed"] is None else _separates(result, gate))
    metrics = list(dict.fromkeys(ask["metric"] for ask in asks))
    parts = [part for part in PARTS if result["splits"].get(part)]
    paths = [(metric, part) for metric in metrics for part in _parts_of(metric, parts)]
    header = ["", *(_header(metric, part) for metric, part in paths), "gate"]
    word = {True: "passed", False: "failed", None: "not judged"}
    name = result["predictor"]["name"]
    rows = [[name, *(_figure(result, None, *path) for path in paths), word[outcome["passed"]]]]
    for control in SHOWN:
        if control != name:
            passes = _passes(result, control, result["profile"], gate)
            rows.append([control, *(_figure(result, control, *path) for path in paths), word[passes]])
    return Section(TITLES[gate], paragraphs, header, rows)


def _asked(ask: Json) -> str:
    """A condition in words."""
    name = spoken(ask["metric"])
    if "at_least" in ask or "at_most" in ask:
        word, limits = ("at least", ask["at_least"]) if "at_least" in ask else ("at most", ask["at_most"])
        values = list(dict.fromkeys(_short(value) for value in limits.values()))
        if len(values) == 1 and (len(limits) == len(PARTS) or ask["metric"].startswith("generalisation")):
            said = f"{name} {word} {values[0]}"
        else:
            said = f"{name} {word} " + ", ".join(f"{_short(value)} on {part}" for part, value in limits.items())
    elif "equals" in ask:
        said = "the prediction closest, on average, to the very chunk it predicts and to no other from the context on"
    elif "keeps" in ask:
        said = (
            f"on OOD a lift of {name} over {_control(ask['above'])} that is clear of zero and at least "
            f"{_short(ask['keeps'])} of the lift on VAL"
        )
    elif "above" in ask:
        said = f"{name} above {_control(ask['above'])}, on the same windows, the 95 % interval clear of zero"
    elif "below_zero" in ask:
        said = f"{name}: a fall, its 95 % interval wholly below zero"
    else:
        said = f"{name} no more than {_short(ask['changes_at_most'])} apart on VAL and OOD"
    return said + (f" (judged for h = {ask['horizon']})" if "horizon" in ask else "")


def _control(over: str) -> str:
    return "the best attainable control's" if over == "attainable" else f"{over}'s"


def _separates(result: Json, gate: str) -> str:
    """Whether a gate, on this data, tells those who know from those who do not."""
    profile = result["profile"]
    oracle = _passes(result, "oracle", profile, gate)
    cheats = [name for name in CHEATS if _passes(result, name, profile, gate)]
    attainable = [
        name for name, its in result["controls"].items() if its["attainable"] and _passes(result, name, profile, gate)
    ]
    if oracle is None:
        return "On this data the gate is not judged even for the oracle."
    if not oracle:
        also = f", and {_listed(attainable)} {_verb(attainable, 'pass')}" if attainable else ""
        return f"On this data the oracle itself fails it{also}: failing it is no sign of a bad model."
    if not attainable:
        return "On this data the oracle passes it and no attainable control does."
    others = [name for name in attainable if name not in cheats]
    listed = _listed([*cheats, *others])
    return f"On this data the oracle passes it, but so {_verb(attainable, 'do')} {listed}: alone it proves no skill."


def _original(result: Json) -> Section:
    """Where the thresholds of the original experiments mislead on this data."""
    parts = [part for part in PARTS if result["splits"].get(part)]
    attainable = [name for name, its in result["controls"].items() if its["attainable"]]
    said = []
    passers = {gate: [name for name in attainable if _passes(result, name, "original", gate)] for gate in GATES}
    out_of_reach = [gate for gate in GATES if not passers[gate] and _passes(result, "oracle", "original", gate)]
    if out_of_reach:
        said.append(
            f"No attainable control passes {_listed(out_of_reach)} here. {_distance(result, attainable, parts)}"
        )
    if "random" in passers["E"]:
        own = _figure(result, "random", "cos", parts[0])
        said.append(
            f"E is passed by {_listed(passers['E'])}: it asks only that VAL and OOD be alike, and random, with a cos "
            f"of {own}, is alike on both."
        )
    said += _rollout_prize(result, passers["D"], attainable, parts[0])
    order = [name for name in passers["C"] if name in ("copy_last", "rank_weights", "best_weights")]
    if order:
        falls = ", ".join(f"{name} {_figure(result, name, 'ablations.shuffle', parts[0])}" for name in order)
        said.append(
            f"C is passed by {_listed(order)} ({falls}): who leans on the last chunk suffers when it is moved, which "
            f"is not to have read the order."
        )
    return Section("Where the profile original misleads", said, [], [])


def _distance(result: Json, attainable: list[str], parts: list[str]) -> str:
    """How far the best attainable controls are from the thresholds of A and B."""
    said = []
    for gate, metric in (("A", "margin"), ("B", "retrieval.future.r1")):
        asks = result["profiles"].get("original", {}).get("gates", {}).get(gate, {}).get("asks", [])
        wanted = next((ask["at_least"][parts[0]] for ask in asks if ask["metric"] == metric), None)
        found = [(value, name) for name in attainable if (value := _value(result, name, metric, parts[0])) is not None]
        if wanted is not None and found and max(found)[0] < wanted:
            best, name = max(found)
            said.append(f"the best {spoken(metric)} on {parts[0]} is {name}'s {_say(best)}, {_short(wanted)} is wanted")
    if not said:
        return ""
    return (
        f"Of theirs, {'; '.join(said)}. A model may be better than every control and still fail: `skill` asks "
        f"whether it is."
    )


def _rollout_prize(result: Json, passers: list[str], attainable: list[str], part: str) -> list[str]:
    """Whether a control fails D that names what comes as well as one that passes."""
    mrr = {name: _value(result, name, "rollout.mrr", part) for name in attainable}
    known = {name: value for name, value in mrr.items() if value is not None}
    pairs = [(known[other], other, name) for name in passers for other in known.keys() - passers if name in known]
    better = [pair for pair in pairs if pair[0] >= known[pair[2]]]
    if not better:
        return []
    _, loser, winner = max(better)
    told = {
        name: f"{name} (cos {_figure(result, name, 'rollout.mean', part)}, MRR {_say(known[name])} on {part})"
        for name in (winner, loser)
    }
    return [
        f"D counts mean cosine over the rollout: {told[winner]} passes it, {told[loser]} fails it, though over steps 2 "
        f"to 5 it names the chunks no worse. Staying near the middle of what was read is rewarded, not saying what "
        f"comes."
    ]


def _legacy(result: Json) -> Section:
    """Where the original harness's arithmetic misleads on this data; nothing where it was not measured."""
    part = PARTS[0]

    def both(metric: str) -> list[float | None]:
        return [_value(result, name, metric, part) for name in ("oracle", "late_oracle")]

    own, late = both("legacy.A.margin(+1)")
    if own is None or late is None:
        return Section("", [], [], [])
    said = [
        "It counted offsets from the target, so its gate A asks for the prediction to be closest to the chunk after "
        f"the one that was to be predicted. On {part} the exact target (oracle) has margin(+1) {_say(own)} there and "
        f"{_passed(result, 'oracle', 'A')}; the chunk after it (late_oracle) has {_say(late)} and "
        f"{_passed(result, 'late_oracle', 'A')}."
    ]
    right = both("margin")
    said.append(f"On right offsets the margins of the two are {_say(right[0])} and {_say(right[1])}.")
    r1 = both("legacy.B.R@1")
    passes = [_passes(result, name, LEGACY, gate) for name in ("oracle", "late_oracle") for gate in ("A", "B")]
    if passes == [False, True, True, False]:
        said.append(
            f"Its gate B looks for the target itself (R@1 oracle {_say(r1[0])}, late_oracle {_say(r1[1])}), so neither "
            f"passes both A and B: on this data nobody who knows the answer can have its whole verdict."
        )
    if r1[0] is not None and r1[0] < 1:
        said.append(
            f"Nor is R@1 of the exact target 1 there, but {_say(r1[0])}: its cosine was computed twice, and where "
            f"rounding made the second the smaller, the target stood behind itself."
        )
    rolled = both("legacy.D.avg_cos@H=5")
    if None not in rolled:
        said.append(
            f"Its rollout too is compared one chunk late: an exact continuation has {_say(rolled[0])}, the one that "
            f"is a chunk ahead {_say(rolled[1])}."
        )
    said.append("Use it to compare with numbers that harness printed, and for nothing else.")
    return Section("Where the profile legacy misleads", said, [], [])


def _passed(result: Json, control: str, gate: str) -> str:
    word = {True: "passes", False: "fails", None: "is not judged"}
    return word[_passes(result, control, LEGACY, gate)]


def _facets(result: Json) -> list[str]:
    return list(result["predictor"]["facets"])


def _passes(result: Json, control: str, profile: str, gate: str) -> bool | None:
    passes: bool | None = result["controls"][control].get("gates", {}).get(profile, {}).get(gate)
    return passes


def _parts_of(metric: str, parts: Iterable[str]) -> list[str]:
    return ["both"] if metric == "generalisation.cos" else list(parts)


def _value(result: Json, control: str | None, metric: str, part: str) -> float | None:
    """A figure of the judged predictor (None) or a control."""
    its = result["splits"] if control is None else result["controls"][control]
    if metric == "generalisation.cos":
        of = [_value(result, control, "cos", one) for one in PARTS if its.get(one)]
        return None if len(of) < 2 or of[0] is None or of[1] is None else abs(of[0] - of[1])
    node: Any = its.get(part)
    for key in metric.split("."):
        if isinstance(node, list):
            node = node[int(key) - 1] if key.isdigit() and int(key) <= len(node) else None
        else:
            node = node.get(key) if isinstance(node, dict) else None
    value: float | None = node.get("value") if isinstance(node, dict) else None
    return value


def _figure(result: Json, control: str | None, metric: str, part: str) -> str:
    value = _value(result, control, metric, part)
    if value is None:
        return "–"
    if metric == "peak":
        return f"{value:+.0f}".replace("-", "−") if value else "0"
    return _say(value)


SHORT = {
    "retrieval.future.mrr": "MRR",
    "retrieval.future.r1": "R@1",
    "retrieval.future.r5": "R@5",
    "ablations.shuffle": "shuffled",
    "ablations_mrr.shuffle": "MRR shuffled",
    "rollout.mean": "rollout",
    "rollout.mrr": "rollout MRR",
    "generalisation.cos": "|VAL − OOD|",
}


def _header(metric: str, part: str) -> str:
    name = SHORT.get(metric) or metric.removeprefix("legacy.").split(".", 1)[-1]
    return name if part == "both" else f"{name} {part}"


def _say(value: float | None) -> str:
    return "–" if value is None else f"{round(value, 3) + 0.0:.3f}".replace("-", "−")


def _short(value: float) -> str:
    return f"{value:g}".replace("-", "−")


def _verb(who: list[str], verb: str) -> str:
    return {"do": "does", "pass": "passes"}[verb] if len(who) == 1 else verb


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
