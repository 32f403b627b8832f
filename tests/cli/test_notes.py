"""`segue notes` on a real small run: every figure it tells stands in the run's own files."""

import json
import re
from pathlib import Path

import pytest
import yaml

from command_line import Segue
from segue.alignment.worlds import rotation_world

SMALL = ("--set", "model={family: amn, attention: 16, hidden: 32, bottleneck: 16}", "--set", "epochs=3")


@pytest.fixture
def run(segue: Segue, make_store, tmp_path: Path) -> Path:
    store = make_store(rotation_world(60, 14, 16, noise=1.2, seed=1))
    trained = segue("train", "p1", "--data", store.path, "--out", tmp_path / "run", *SMALL)
    assert trained.status == 0, trained.err
    return tmp_path / "run"


def section(text: str, title: str) -> str:
    return text.split(f"## {title}\n")[1].split("\n## ")[0]


def written(value: float | None, signed: bool = False) -> str:
    text = "–" if value is None else f"{value:+.3f}" if signed and round(value, 3) else f"{value:.3f}"
    return text.replace("-0.000", "0.000").replace("-", "−")


def test_notes_hold_the_runs_own_figures(segue: Segue, run: Path) -> None:
    ran = segue("notes", run, "--json", "-")
    assert ran.status == 0, ran.err
    value = json.loads(ran.out)
    assert value["files"] == [str(run / "notes.md"), str(run / "model-card.md")]
    text = (run / "notes.md").read_text()
    found = json.loads((run / "5cat.json").read_text())
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]

    table = [row.split(" | ") for row in section(text, "Epochs").splitlines() if re.match(r"\| \d", row)]
    heads = (
        next(row for row in section(text, "Epochs").splitlines() if row.startswith("| epoch")).strip("| ").split(" | ")
    )
    assert len(table) == len(lines) == 3
    for row, line in zip(table, lines, strict=True):
        cells = dict(zip(heads, [cell.strip("| ") for cell in row], strict=True))
        for head, key, signed in (
            ("cos", "cos", False),
            ("margin_last", "margin_last", True),
            ("MRR", "mrr_future", False),
        ):
            assert cells[head] == written(line["val"][key], signed)
    best = json.loads((run / "manifest.json").read_text())["best"]["epoch"]
    assert [row[0] for row in table if "best" in row[0]] == [f"| {best} best"]

    baseline = section(text, "Against the baseline")
    for part in ("VAL", "OOD"):
        lift = found["lifts"][part]["cos"]
        told = f"{written(lift['value'], True)} [{written(lift['low'], True)}, {written(lift['high'], True)}]"
        assert told in baseline and lift["against"] in baseline
    for one in value["findings"]:
        for figure in re.findall(r"−?\+?\d\.\d{3}", one["text"]):
            plain = float(figure.replace("−", "-"))
            assert any(abs(abs(plain) - abs(known)) < 5.1e-4 for known in numbers(found) | numbers(lines)), one


def numbers(tree: object) -> set[float]:
    """All numbers in a result, and the differences of VAL and OOD that its findings tell."""
    if isinstance(tree, dict):
        return set().union(*(numbers(value) for value in tree.values())) if tree else set()
    if isinstance(tree, list):
        return set().union(*(numbers(value) for value in tree)) if tree else set()
    return {float(tree)} if isinstance(tree, int | float) and not isinstance(tree, bool) else set()


def test_the_card_is_one_a_hub_reads(segue: Segue, run: Path, tmp_path: Path) -> None:
    """Front matter is YAML with the library and the figures; the licence is the user's; no path of this machine."""
    assert segue("notes", run, "--out", tmp_path / "new").status == 0
    assert not (run / "notes.md").exists()
    card = (tmp_path / "new" / "model-card.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["library_name"] == "segue" and "license" not in front and "# license:" in card
    found = json.loads((run / "5cat.json").read_text())
    metrics = {one["type"]: one["value"] for one in front["model-index"][0]["results"][0]["metrics"]}
    assert metrics["cos"] == pytest.approx(found["splits"]["OOD"]["cos"]["value"], abs=1e-4)
    assert str(tmp_path) not in card
    for title in ("Intended use", "Training", "Results", "Limits"):
        assert section(card, title).strip()


def test_a_run_without_its_test(segue: Segue, run: Path) -> None:
    """Notes without a verdict, no card; a run that never trained an epoch is refused."""
    for name in ("manifest.json", "5cat.json", "report.html", "frontier.json"):
        (run / name).unlink()
    ran = segue("notes", run)
    assert ran.status == 0 and not (run / "model-card.md").exists()
    text = (run / "notes.md").read_text()
    assert "interrupted after epoch 3 of 3" in text and "Not tested" in text and "## Findings" not in text
    (run / "history.jsonl").unlink()
    for arguments, told in (((run,), "has not trained an epoch"), ((run.parent / "none",), "no such run")):
        ran = segue("notes", *arguments)
        assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1) and told in ran.err


def test_a_run_that_went_back_and_was_stopped(segue: Segue, make_store, tmp_path: Path) -> None:
    """Real tripwires: the notes, the table, the page and the watcher tell the same of them."""
    recipe = tmp_path / "wired.yaml"
    recipe.write_text(
        """extends: p1
model: {family: amn, attention: 16, hidden: 32, bottleneck: 16}
epochs: 6
next_steps: ["Look at *why*."]
tripwires:
  - {name: back, when: {epochs: 3, metric: cos, below: 0.99}, do: {roll_back_to: 1, set: {lr: 0.0001}}}
  - {name: "gate: A", when: {epochs: 4, metric: margin_last, below: 0.99}, do: {stop: margin too small}}
  - {name: quiet, when: {epochs: 2, metric: cos, above: 0.99}, do: {stop: never}}
"""
    )
    store, run = make_store(rotation_world(60, 14, 16, noise=1.2, seed=1)), tmp_path / "run"
    assert segue("train", recipe, "--data", store.path, "--out", run).status == 0
    said = "stopped by tripwire “gate: A” after epoch 4 of 6"
    (group,) = json.loads(segue("compare", run, "--json", "-").out)["groups"]
    assert group["tables"]["VAL"][0]["status"] == said
    watched = segue("watch", run)
    assert watched.status == 0 and said in watched.out
    assert re.findall(r"^epoch (\S+)", watched.out, re.M) == ["1", "2", "3", "2′", "3′", "4"]
    assert segue("notes", run).status == 0
    text = (run / "notes.md").read_text()
    assert said in text and r"Look at \*why\*." in section(text, "Next steps")
    happened = section(text, "Tripwires and events")
    assert "after epoch 3: tripwire back" in happened and "after epoch 4: tripwire gate: A" in happened
    assert "did not trip: quiet" in happened
    page = (run / "report.html").read_text()
    assert page.count("epoch 2′, VAL cos") == 1 and page.count("epoch 2, VAL cos") == 1
    assert "<b>a</b> epoch 3</dt><dd>tripwire back" in page
