"""Where a run comes from: data, encoder, split, recipe, seed, version, time."""

from typing import Any

from segue.report.numerals import NONE, number
from segue.report.run import Run, lookup

# Told in words above the rest, so not repeated in the list of what else the manifest says.
TOLD = {"kind", "format", "made_by", "made_at", "segue"}


def _flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    """A manifest's nested fields as lines: (`data.store`, `…`). Long lists are counted."""
    if isinstance(value, dict):
        return [line for key, inner in value.items() for line in _flat(inner, f"{name}.{key}" if name else str(key))]
    if isinstance(value, list) and (len(value) > 8 or any(isinstance(item, dict | list) for item in value)):
        return [(name, f"{len(value):,} entries")]
    if isinstance(value, list):
        return [(name, ", ".join(str(item) for item in value) or NONE)]
    if isinstance(value, bool):
        return [(name, "yes" if value else "no")]
    if isinstance(value, float):
        return [(name, f"{value:.6g}")]
    return [(name, NONE if value is None else str(value))]


def _time(run: Run) -> str:
    seconds = [entry["seconds"] for entry in run.history if isinstance(entry.get("seconds"), int | float)]
    rates = [e["windows_per_second"] for e in run.history if isinstance(e.get("windows_per_second"), int | float)]
    if not seconds:
        return NONE
    total = sum(seconds)
    spent = f"{total / 60:.1f} minutes" if total >= 120 else f"{total:.1f} seconds"
    rate = f", {sum(rates) / len(rates):,.0f} windows/s" if rates else ""
    return f"{spent} for {len(seconds)} epochs{rate}"


def _words(value: Any) -> str:
    """A field that may be text or a small object, in one line."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {text}" for key, text in _flat(value)) or NONE
    return NONE if value is None else str(value)


def lineage(run: Run) -> list[tuple[str, str]]:
    """The lines that everybody wants: (what, value)."""
    data, predictor = run.data, run.predictor
    lines = [
        ("store", data.get("store")),
        ("store hash", data.get("store_hash")),
        ("space", lookup(data, "space.id") or data.get("space")),
        ("split", lookup(data, "split.how") or data.get("split")),
        ("split hash", lookup(data, "split.hash")),
        ("VAL", _measured(run, "VAL")),
        ("OOD", _measured(run, "OOD")),
        ("samples", lookup(data, "samples")),
        ("seed of the tests", data.get("seed")),
        ("predictor", f"{predictor.get('name') or NONE}, width {predictor.get('dim') or NONE}"),
        ("parameters", number(predictor.get("parameters"), "count")),
        ("training time", _time(run)),
        ("harness certified on this data", _certified(run)),
        ("made", f"{run.manifest.get('made_at') or NONE} by {run.manifest.get('made_by') or NONE}"),
        ("segue", run.manifest.get("segue")),
    ]
    return [(name, _words(value)) for name, value in lines]


def _certified(run: Run) -> str:
    """How many of the facts known beforehand hold of the controls' figures on this very data."""
    facts = [fact for its in (run.five_cat.get("certification") or {}).values() for fact in its]
    if not facts:
        return NONE
    held = sum(bool(fact.get("holds")) for fact in facts)
    return f"{'yes' if held == len(facts) else 'no'}, {held} of {len(facts)} facts hold"


def _measured(run: Run, split: str) -> str:
    windows, documents = run.windows(split), run.documents(split)
    return NONE if windows is None else f"{windows:,} windows of {number(documents, 'count')} documents"


def rest(run: Run) -> list[tuple[str, str]]:
    """What else the manifest says."""
    return _flat({key: value for key, value in run.manifest.items() if key not in TOLD})
