"""The section on peers' metrics and ordering: right numbers, and nothing where nothing was measured."""

from io import StringIO
from typing import Any

from rich.console import Console

from segue.cli.secondary import secondary_table
from segue.report import write_report
from segue.report.peers import section
from segue.report.run import read_run
from tiny_run import MakeRun, five_cat, history, measured


def with_peers(result: dict[str, Any]) -> dict[str, Any]:
    """The tiny result with what is measured on a sample, a little less for each control."""
    result["data"].setdefault("warnings", [])
    for part in ("VAL", "OOD"):
        everyone = [result["splits"][part], *(its[part] for its in result["controls"].values())]
        for k, metrics in enumerate(everyone):
            less = 0.01 * k
            metrics["l2"] = measured(0.931 + less)
            metrics["l2_raw"] = measured(0.822) if k == 0 else None
            metrics["contrastive"] = {
                "paper": measured(0.961 - less, 0.5, 1000),
                "code": measured(0.991 - less, 0.5, 1000),
                "batch": 587.5,
            }
            metrics["ordering"] = {
                "kendall_tau": measured(0.213 - less, 0.0, 897),
                "perfect_match": measured(0.051, 1 / 120, 897),
                "binary": measured(0.621 - less, 0.5, 4065),
            }
            steps = [measured(0.5 - 0.02 * j, n=897) for j in range(5)]
            metrics["rollout"]["snapped"] = {
                "mean": measured(0.46, n=897),
                "mrr": measured(0.239 - less, n=897),
                "steps": steps,
                "mrr_steps": steps,
            }
            metrics["rollout"]["reencoded"] = None
    return result


def test_panels_and_tables_of_what_was_measured(make_run: MakeRun) -> None:
    run = read_run(make_run(with_peers(five_cat()), history()))
    made = section(run)
    headings = [panel.heading for panel in made["panels"]]
    assert headings == [
        *(f"{part}, {what}" for what in ("contrastive, paper", "binary order", "Kendall τ") for part in ("VAL", "OOD")),
        "VAL, what is fed back",
        "OOD, what is fed back",
    ]
    assert "chance 0.500" in made["panels"][0].chart and made["panels"][0].note == "1,000 windows"
    peers = made["peers"][0]
    assert "batches of 588 chunks" in peers.caption and list(peers.columns)[:2] == ["ℓ2", "ℓ2, raw"]
    assert [cell.text for cell in peers.lines[0].cells][1:2] == ["0.822"] and peers.lines[1].cells[1].text == "–"
    assert [line.cells[-1].text for line in peers.foot] == ["0.500", "1,000"]
    columns = list(made["rollouts"][0].columns)
    assert columns == ["cos, raw", "cos, snapped", "MRR, steps 2 on, raw", "MRR, steps 2 on, snapped"]
    page = write_report(run.folder).read_text()
    assert "Peers’ metrics and ordering" in page and "0.961" in page


def test_an_older_result_shows_that_nothing_was_computed(make_run: MakeRun) -> None:
    run = read_run(make_run(five_cat(), history()))
    made = section(run)
    assert made["panels"] == made["ordering"] == made["rollouts"] == []
    assert write_report(run.folder).exists()


def test_the_terminal_table_fits_80_columns() -> None:
    result = with_peers(five_cat())
    result["predictor"]["name"] = "a predictor with [a long] name"
    console = Console(width=80, record=True, file=StringIO())
    console.print(secondary_table(result))
    said = console.export_text()
    assert "…" not in said.replace("a predictor wi…", "")
    assert all(len(line.rstrip()) <= 80 for line in said.splitlines())
    model = next(line for line in said.splitlines() if "0.961" in line)
    assert "0.961" in model and "0.991" in model and "0.621" in model and "0.213" in model and "0.239" in model
    assert "1,000" in said and "0.008" in said and "batches of 588 chunks" in said
