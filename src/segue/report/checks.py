"""The page of `segue check`: what was found in the data, and the curves it is read off."""

from pathlib import Path
from typing import Any

from segue.artifacts import make_folder, write_text
from segue.report.bars import Bar, bar_chart
from segue.report.figures import Panel
from segue.report.numerals import number, told
from segue.report.page import environment
from segue.report.run import Result, result
from segue.report.tables import Cell, Line, Table, cell

ABOUT = {
    "coherence": "Mean cosine of neighbouring chunks in a context: is this running text?",
    "temporal signal": "How much nearer the last chunk of the context lies to the target than the first: does it "
    "matter where one stands?",
    "monotone": "The nearer a chunk stands to the target, the more alike: slots where it is the other way round.",
    "adjacent near-duplicates": "Neighbours of cosine .90 and more: with repeated boilerplate copying looks like "
    "knowing.",
    "repeat padding": "Windows whose context is one chunk repeated: an artefact of padding.",
    "split hygiene": "Documents, or near copies of them, in more than one part: testing on what was trained on.",
}


KINDS = {"temporal signal": "signed", "adjacent near-duplicates": "small"}


def write_check_page(value: dict[str, Any], out: str | Path) -> Path:
    """Write the page of a check's JSON value, whole or not at all; returns its path.

    Raises InputError when it cannot be written.
    """
    page = environment().get_template("check.html.j2").render(contents(value))
    path = Path(out)
    make_folder(path.parent)
    write_text(path, page)
    return path


def contents(value: dict[str, Any]) -> dict[str, Any]:
    """What the template shows."""
    failed = [name for name, one in value["checks"].items() if not one["passed"]]
    sampled = value["documents"] < value["documents_with_windows"]
    count = f"{value['windows']:,} windows of {value['documents']:,} documents"
    return {
        "store": Path(value["store"]).name,
        "headline": "All checks pass." if not failed else f"Look at {_listed(failed)} first.",
        "tone": "good" if not failed else "bad",
        "count": count + (f", a sample of {value['documents_with_windows']:,}" if sampled else ""),
        "checks": [{"name": name, "about": ABOUT.get(name, ""), **_shown(name, one)} for name, one in _checks(value)],
        "panels": [_adjacent(value), _slots(value), _lags(value)],
        "tables": [_numbers(value)],
        "hygiene": value.get("hygiene"),
        "facts": [
            ("store", value["store"]),
            ("hash", value["store_hash"]),
            ("space", value["space"]),
            ("split", value["split"] or "none: split hygiene was not checked"),
            ("context, horizon", f"{value['context']}, {value['horizon']}"),
        ],
    }


def _checks(value: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return list(value["checks"].items())


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _shown(name: str, one: dict[str, Any]) -> dict[str, Any]:
    found = result(one, "found")
    kind = KINDS.get(name, "plain" if isinstance(found.value, float) else "count")
    word = "fails" if not one["passed"] else "good" if one["good"] else "passes"
    return {"found": told(found, kind), "wanted": one["wanted"], "word": word, "passed": one["passed"]}


def _adjacent(value: dict[str, Any]) -> Panel:
    edges, counts = value["adjacent"]["edges"], value["adjacent"]["counts"]
    total = sum(counts) or 1
    filled = [i for i, count in enumerate(counts) if count]
    first, last = (min(filled), len(counts)) if filled else (0, len(counts))
    bars = [
        Bar(edges[i], edges[i + 1], 100 * counts[i] / total, title=f"cos {edges[i]} to {edges[i + 1]}: {counts[i]:,}")
        for i in range(first, last)
    ]
    marks = [k / 5 for k in range(-1, 6) if edges[first] <= k / 5 <= 1]
    chart = bar_chart(
        bars,
        x_ticks=[(at, number(at).rstrip("0").rstrip(".")) for at in marks],
        x_label="cosine of neighbouring chunks",
        y_label="% of neighbours",
        description="Histogram of the cosines of neighbouring chunks.",
        shade=("near-duplicates", 0.9, 1.0),
    )
    return Panel("Neighbours", f"{total:,} pairs", chart)


def _curve(results: list[Result], first: int, label: str, what: str) -> Any:
    bars = [
        Bar(k - 0.5, k + 0.5, one.value or 0.0, one.low, one.high, f"{what} {number(k, 'offset')}: {told(one)}")
        for k, one in enumerate(results, start=first)
    ]
    return bar_chart(
        bars,
        x_ticks=[(k, number(k, "offset") if first < 0 else str(k)) for k in range(first, first + len(results))],
        x_label=label,
        y_label="mean cosine",
        description=f"Mean cosine by {what}; the numbers are in the table below.",
    )


def _slots(value: dict[str, Any]) -> Panel:
    slots = _results(value["slots"])
    chart = _curve(slots, 1 - len(slots), "slot, by its offset", "offset")
    return Panel("Each slot of the context to the target", "should rise to the right", chart)


def _lags(value: dict[str, Any]) -> Panel:
    chart = _curve(_results(list(value["lags"].values())), 1, "lag k, in chunks", "lag")
    return Panel("Lag curve", "how fast likeness decays along a document", chart)


def _results(found: list[dict[str, Any]]) -> list[Result]:
    return [result({"at": one}, "at") for one in found]


def _numbers(value: dict[str, Any]) -> Table:
    slots, lags = _results(value["slots"]), _results(list(value["lags"].values()))
    named = [(f"slot {number(k, 'offset')}", one) for k, one in enumerate(slots, 1 - len(slots))]
    named += [(f"lag {k}", one) for k, one in enumerate(lags, 1)]
    lines = [Line(name, "", "attainable", _cells(one)) for name, one in named]
    caption = "Slots: cosine to the target. Lags: cosine of chunks k apart."
    return Table(caption, ["mean cosine", "n"], lines, first="curve")


def _cells(one: Result) -> list[Cell]:
    return [cell(one), Cell(number(one.n, "count"))]
