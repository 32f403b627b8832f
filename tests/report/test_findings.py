"""Findings: each sentence appears where its interval supports it, and nowhere else; and where a run stands."""

import json
from pathlib import Path
from typing import Any

import pytest

from segue.artifacts import lock
from segue.report.findings import findings, next_steps, open_questions
from segue.report.notes import model_card, notes
from segue.report.run import Run, read_begun, read_run
from segue.report.standing import approach, fired, standing
from tiny_run import MARKUP, RECIPE, MakeRun, five_cat, history

SHUFFLE, MARGIN = "ablations.shuffle", "margin_last"


def put(found: dict[str, Any], path: str, value: float, low: float, high: float, **more: Any) -> None:
    """Set a metric of the model on VAL."""
    *steps, last = path.split(".")
    at = found["splits"]["VAL"]
    for step in steps:
        at = at[step]
    at[last] = {"value": value, "low": low, "high": high, "n": 4165, "chance": None, **more}


def of(run: Run, kind: str, part: str = "VAL") -> list[str]:
    return [one.text for one in findings(run) if one.kind == kind and one.part == part]


@pytest.mark.parametrize(
    ("path", "interval", "kind", "told"),
    [
        (MARGIN, (-0.175, -0.182, -0.168), "copies", "closer to it than to the target (margin_last −0.175 [−0.182, "),
        (MARGIN, (-0.001, -0.004, 0.002), "copies", None),
        (MARGIN, (0.1, 0.09, 0.11), "copies", None),
        (MARGIN, (0.1, 0.09, 0.11), "looks ahead", "closer to the target than to the last chunk it read"),
        (MARGIN, (0.001, -0.001, 0.003), "looks ahead", None),
        (SHUFFLE, (-0.012, -0.02, -0.004), "order", "It uses the order of its context"),
        (SHUFFLE, (-0.001, -0.003, 0.001), "order", "It ignores the order of its context, as far as these data show"),
        (SHUFFLE, (0.0, 0.0, 0.0), "order", "It ignores the order"),
        (SHUFFLE, (0.01, 0.005, 0.015), "order", "It does better when its context is shuffled"),
        ("par", (1.6, 1.5, 1.7), "repeats", "paraphrasing ratio 1.600 [1.500, 1.700]"),
        ("par", (1.05, 0.98, 1.12), "repeats", None),
    ],
)
def test_a_sentence_needs_its_interval(
    make_run: MakeRun, path: str, interval: tuple[float, float, float], kind: str, told: str | None
) -> None:
    found = five_cat()
    put(found, path, *interval)
    said = of(read_run(make_run(found, history())), kind)
    assert (told is None and said == []) or (told is not None and len(said) == 1 and told in said[0]), said


def test_copying_is_only_called_so_near_the_last_chunk(make_run: MakeRun) -> None:
    """A model that leans on the last chunk is no copier until its predictions reproduce it."""
    folder = make_run(five_cat(), history())
    assert of(read_run(folder), "copies")[0].startswith("It leans on the last chunk it read, which of all offsets")
    found = five_cat()
    put(found, "offsets.0", 0.97, 0.96, 0.98)
    (folder / "5cat.json").write_text(json.dumps(found))
    assert of(read_run(folder), "copies")[0].startswith("It copies the last chunk it read")


@pytest.mark.parametrize(("lift", "said"), [(0.02, "above"), (-0.02, "below"), (0.001, None), (-0.001, None)])
def test_against_controls_by_the_paired_interval(make_run: MakeRun, lift: float, said: str | None) -> None:
    """± .002: a lift of .001 is left open, and said to be; a distance is told without its sign."""
    run = read_run(make_run(five_cat(lift), history()))
    told = of(run, "against cos")
    if said is None:
        assert told == [] and any("cos against best_weights" in one for one in open_questions(run))
    else:
        assert told == [f"Its cos is {said} best_weights's by 0.020 [0.018, 0.022] (0.549 against 0.562)."]
        assert not any("cos against best_weights" in one for one in open_questions(run))


def test_a_rank_that_a_lot_would_reach(make_run: MakeRun) -> None:
    """R@5 of .77 among six candidates is below chance, .83: it is told as what it is."""
    found = five_cat()
    pool = found["splits"]["VAL"]["retrieval"]["document"]
    pool["r5"] = {"value": 0.77, "low": 0.75, "high": 0.79, "n": 4165, "chance": 0.83}
    said = of(read_run(make_run(found, history())), "chance")
    assert said == [
        "Asked for the target in the pool document, it is not above chance: R@5 0.770 [0.750, 0.790], chance 0.830."
    ]


def test_generalisation_by_both_intervals(make_run: MakeRun) -> None:
    """.549 and .541, each ± .007: no gap; .549 and .500: one of .049 ± √2·.007."""
    found = five_cat()
    assert of(read_run(make_run(found, history())), "gap", "VAL and OOD") == []


def test_a_gap_is_told_with_its_interval(make_run: MakeRun) -> None:
    found = five_cat()
    found["splits"]["OOD"]["cos"] = {"value": 0.5, "low": 0.493, "high": 0.507, "n": 4165, "chance": 0.0}
    (said,) = of(read_run(make_run(found, history())), "gap", "VAL and OOD")
    assert said == "Its cos is lower on OOD than on VAL by 0.049 [0.039, 0.059]."


def falling(train: tuple[float, ...], val: tuple[float, ...]) -> list[dict[str, Any]]:
    entries = history(len(val))
    for entry, seen, unseen in zip(entries, train, val, strict=True):
        entry["train"]["cos"], entry["val"]["cos"] = seen, unseen
    return entries


@pytest.mark.parametrize(
    ("train", "val", "told"),
    [
        ((0.4, 0.5, 0.6), (0.50, 0.54, 0.52), True),
        ((0.4, 0.5, 0.6), (0.50, 0.52, 0.54), False),
        ((0.4, 0.5, 0.45), (0.50, 0.54, 0.52), False),  # both fell: no over-fit
        ((0.4, 0.5, 0.6), (0.50, 0.540, 0.537), False),  # as epochs of a settled run do
    ],
)
def test_over_fit(make_run: MakeRun, train: tuple[float, ...], val: tuple[float, ...], told: bool) -> None:
    said = of(read_run(make_run(five_cat(), falling(train, val))), "over-fit", "training")
    assert bool(said) is told
    if told:
        assert "after epoch 2: VAL cos fell from 0.540 to 0.520" in said[0] and "from 0.500 to 0.600" in said[0]


def test_what_a_guard_or_other_windows_cost_is_no_over_fit(make_run: MakeRun) -> None:
    """p3's notes said "over-fitted after epoch 5", where its guards began at 6; of p5's stages windows differ too."""
    entries = falling((0.50, 0.51, 0.40, 0.54), (0.46, 0.463, 0.39, 0.434))
    for entry, weight in zip(entries, (0.0, 0.0, 0.002, 0.002), strict=True):
        entry["train"]["terms"] = {"mse": {"weight": 1.0}, "directional": {"weight": weight}}
    run = make_run(five_cat(), entries)
    assert of(read_run(run), "over-fit", "training") == []
    entries[-1]["val"]["cos"] = 0.38
    (run / "history.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    (said,) = of(read_run(run), "over-fit", "training")
    assert "after epoch 3: VAL cos fell from 0.390 to 0.380" in said
    (run / "recipe.yaml").write_text(RECIPE + "curation: {forward_distinct: 0.5}\n")
    assert of(read_run(run), "over-fit", "training") == []


def test_notes_of_names_with_markup(make_run: MakeRun) -> None:
    """Predictor, store, warnings and events hold markup: in Markdown, too, it is shown, never run."""
    run = read_run(make_run(five_cat(), history()))
    for text in (notes(run), model_card(run)):
        body = text.split("\n---\n")[-1]
        assert "<script>" not in body.replace("\\<script\\>", "")


RECIPE_WITH_WIRES = (
    RECIPE
    + """
epochs: 5
model: {family: gru, residual: 0.5, positional: 0.03}
objective:
  mse: {weight: 1}
  directional: {weight: {1: 0, 6: 0.002}}
  future: {weight: {1: 0, 3: 0}}
  rollout: {weight: {rho: {1: 0.1}}}
tripwires:
  - {name: gate, when: {epochs: 3, metric: cos, below: 0.9}, do: {stop: too low}}
  - {name: "gate: two", when: {epochs: 3, metric: cos, below: 0.9}, do: {roll_back_to: 1}}
  - {name: never, when: {epochs: 3, metric: cos, below: 0}, do: {stop: never}}
next_steps: ["Try *longer* contexts."]
"""
)


def wired(make_run: MakeRun, event: str | None, manifest: bool = True) -> Path:
    entries = history()
    if event:
        entries[-1]["events"] = [event]
    folder = make_run(five_cat(), entries, manifest)
    (folder / "recipe.yaml").write_text(RECIPE_WITH_WIRES)
    return folder


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ("tripwire gate: cos 0.53, below 0.9: stops: too low", "stopped by tripwire “gate” after epoch 3 of 5"),
        ("early stop: cos was no better for 2 epochs", "stopped by early stop after epoch 3 of 5"),
        ("tripwire gate: cos 0.53, below 0.9: does not stop (too low): --force", "stopped after epoch 3 of 5"),
        (None, "stopped after epoch 3 of 5"),
    ],
)
def test_what_stopped_a_run(make_run: MakeRun, event: str | None, said: str) -> None:
    assert standing(read_begun(wired(make_run, event))).said == said


def test_a_run_on_its_way(make_run: MakeRun) -> None:
    """Told by the lock, never by the clock: a run killed is not one in training."""
    folder = wired(make_run, None, manifest=False)
    assert standing(read_begun(folder)).said == "interrupted after epoch 3 of 5"
    with lock(folder):
        assert standing(read_begun(folder)).said == "training, epoch 4 of 5"
        (folder / "steps.jsonl").write_text('{"line": 4, "epoch": 2, "step": 200, "terms": {}}\n{"line": 4, "epo')
        assert standing(read_begun(folder)).said == "training, epoch 2 of 5", "gone back by a tripwire"
    (folder / "diverged.json").write_text(json.dumps({"lines": 3, "why": "epoch 4: the loss is nan"}))
    assert standing(read_begun(folder)).said == "diverged after epoch 3 of 5"
    assert "epoch 4: the loss is nan" in notes(read_begun(folder))
    (folder / "diverged.json").write_text(json.dumps({"lines": 2, "why": "epoch 3: the loss is nan"}))
    assert standing(read_begun(folder)).said == "interrupted after epoch 3 of 5", "it went on since"


def test_tripwires_are_read_from_the_events(make_run: MakeRun) -> None:
    """Names may hold colons; those that stayed quiet are named."""
    run = read_begun(wired(make_run, "tripwire gate: two: cos 0.53, below 0.9: rolls back to epoch 1"))
    assert [(one.at, one.name, one.found, one.did) for one in fired(run)] == [
        (3, "gate: two", "cos 0.53, below 0.9", "rolls back to epoch 1")
    ]
    assert "did not trip: gate, never" in notes(run)
    assert r"- Try \*longer\* contexts." in notes(run)
    assert approach(run) == "residual gru, positional 0.03 · mse + directional + rollout"


def test_rules_for_what_to_do_next(make_run: MakeRun) -> None:
    """A copier of plain MSE is sent to steer; one without OOD to other documents; neither without cause."""
    folder = make_run(five_cat(ood=False), history())
    (folder / "recipe.yaml").write_text("epochs: 3\nobjective: {mse: {weight: 1}}\n")
    said = " ".join(next_steps(read_run(folder)))
    assert "segue steer" in said and "--ood" in said and MARKUP not in said
    (folder / "recipe.yaml").write_text("epochs: 3\nobjective: {mse: {weight: 1}, info_nce: {weight: 1}}\n")
    (folder / "5cat.json").write_text(json.dumps(five_cat()))
    assert next_steps(read_run(folder)) == []
