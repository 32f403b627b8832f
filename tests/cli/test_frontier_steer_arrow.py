"""`segue frontier`, `segue steer` and `segue arrow` end to end, what they write and what they refuse."""

import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from command_line import Segue
from segue.alignment.worlds import rotation_world
from segue.models import load_model

SMALL = ("--set", "model={family: amn, attention: 16, hidden: 32, bottleneck: 16}", "--set", "epochs=2")


@pytest.fixture
def run(segue: Segue, make_store, tmp_path: Path) -> Path:
    """A small run, tested, on 60 documents of a rotation world."""
    store = make_store(rotation_world(60, 14, 16, noise=1.2, seed=1))
    trained = segue("train", "p1", "--data", store.path, "--out", tmp_path / "run", *SMALL)
    assert trained.status == 0, trained.err
    return tmp_path / "run"


def one_line(ran, *told: str) -> None:
    assert (ran.status, ran.out) == (2, ""), ran
    assert ran.err.startswith("error: ") and ran.err.count("\n") == 1, ran.err
    for piece in told:
        assert re.search(piece, ran.err), (piece, ran.err)


def test_train_frontier_steer_and_all_that_reads_it(segue: Segue, run: Path, tmp_path: Path):
    """Train keeps a frontier and its report draws it; steer makes a model that 5cat and frontier read."""
    kept = json.loads((run / "frontier.json").read_text())
    curve = kept["predictors"]["p1"]["splits"]["OOD"]["curve"]
    assert len(curve) == 20 and kept["predictors"]["copy_last"]["splits"]["OOD"]["curve"] is None
    tested = json.loads((run / "5cat.json").read_text())["splits"]["OOD"]
    assert curve[0]["cos"]["value"] == pytest.approx(tested["cos"]["value"], abs=1e-6)
    assert curve[0]["mrr_future"]["value"] == pytest.approx(tested["retrieval"]["future"]["mrr"]["value"], abs=1e-6)
    page = (run / "report.html").read_text()
    assert 'id="frontier"' in page and "cos against margin_last on OOD" in page

    drawn = segue("frontier", run, "--out", tmp_path / "page.html", "--json", "-")
    assert drawn.status == 0, drawn.err
    found = json.loads(drawn.out)
    assert found == json.loads((run / "frontier.json").read_text()), "one run on its own data: kept for its report"
    assert found["predictors"]["ridge"]["splits"]["VAL"]["curve"] and found["predictors"]["run"]["kind"] == "run"
    html = (tmp_path / "page.html").read_text()
    assert html.count('<svg viewBox="0 0 440 420"') == 6 and "http" not in re.sub(r"xmlns=\S+", "", html)

    steered = segue("steer", run, "--margin", 0.1, "--out", tmp_path / "run2", "--json", tmp_path / "steer.json")
    assert steered.status == 0, steered.err
    assert "warning" not in steered.err, "an MSE model"
    told = json.loads((tmp_path / "steer.json").read_text())
    assert told == json.loads((tmp_path / "run2" / "steer.json").read_text())
    val, ood = told["splits"]["VAL"], told["splits"]["OOD"]
    assert val["after"]["margin_last"]["value"] == pytest.approx(0.1, abs=1e-4)
    assert ood["change"]["margin_last"]["low"] > 0 > ood["change"]["cos"]["high"]
    assert load_model(tmp_path / "run2").beta == told["beta"]

    store, split = json.loads((run / "manifest.json").read_text())["data"]["store"], tmp_path / "run2" / "split.json"
    again = segue("5cat", tmp_path / "run2", "--data", store, "--split", split, "--json", "-")
    assert again.status in (0, 1), again.err
    measured = json.loads(again.out)["splits"]
    for part, its in (("VAL", val), ("OOD", ood)):
        for metric in ("cos", "margin_last", "direction"):
            assert measured[part][metric]["value"] == pytest.approx(its["after"][metric]["value"], abs=1e-6)
    both = segue("frontier", tmp_path / "run2", run, "--out", tmp_path / "both.svg", "--json", tmp_path / "both.json")
    assert both.status == 0 and "run2, β " in both.out, both.err
    entries = json.loads((tmp_path / "both.json").read_text())["predictors"]
    assert entries["run2"]["splits"]["OOD"]["curve"] == entries["run"]["splits"]["OOD"]["curve"], "its base's curve"
    assert entries["run2"]["splits"]["OOD"]["point"]["cos"]["value"] == pytest.approx(ood["after"]["cos"]["value"])
    picture = ElementTree.parse(tmp_path / "both.svg").getroot()
    assert picture.tag == "{http://www.w3.org/2000/svg}svg"

    one_line(segue("steer", tmp_path / "run2", "--margin", 0.6, "--out", tmp_path / "run3"), "is steered already")
    one_line(segue("steer", run, "--margin", 0.1, "--out", tmp_path / "run2"), "already holds a finished artifact")
    one_line(segue("steer", run, "--margin", 5, "--out", tmp_path / "run3"), r"--margin: found \+5\.000, .*to \+")
    one_line(segue("steer", run, "--margin", -2, "--out", tmp_path / "run3"), "needs no steering")
    one_line(segue("frontier", run, run), "each run once")
    one_line(segue("frontier", run, "--out", tmp_path / "page.pdf"), r"--out: found 'page\.pdf'")
    one_line(segue("frontier", run, "--samples", 0), "--samples: found 0")
    assert segue("frontier", run / "best").status == 0, "a checkpoint knows the run it lies in"
    copied = shutil.copytree(run / "best", tmp_path / "elsewhere" / "deep" / "model")
    one_line(segue("frontier", copied), "--data: .* names no store of its own")
    one_line(segue("frontier", "oracle"), "no such model")
    assert not (tmp_path / "run3").exists()


def test_a_doubtful_objective_is_warned_of(segue: Segue, run: Path, tmp_path: Path):
    recipe = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(recipe.replace("objective:\n", "objective:\n  unit_norm: {weight: 0.001}\n"))
    warned = segue("steer", run, "--margin", 0.1, "--out", tmp_path / "a")
    assert warned.status == 0 and "warning: " in warned.err and "its objective has unit_norm" in warned.err
    assert json.loads((tmp_path / "a" / "steer.json").read_text())["doubts"]


def test_a_run_whose_report_has_no_frontier_says_so(segue: Segue, run: Path):
    (run / "frontier.json").unlink()
    assert segue("report", run).status == 0
    assert "not computed; <code>segue frontier RUN</code> does" in (run / "report.html").read_text()


def test_horizon_2(segue: Segue, make_store, tmp_path: Path):
    """Runs of another horizon are steered and drawn alone, never on the axes of h = 1."""
    store = make_store(rotation_world(60, 14, 16, noise=0.8, seed=1))
    for h in (1, 2):
        trained = segue(
            "train", "p1", "--data", store.path, "--out", tmp_path / f"h{h}", *SMALL, "--set", f"horizon={h}",
            "--samples", 0,
        )  # fmt: skip
        assert trained.status == 0, trained.err
    steered = segue("steer", tmp_path / "h2", "--margin", 0.1, "--out", tmp_path / "s2")
    assert steered.status == 0, steered.err
    assert load_model(tmp_path / "s2").horizon == 2
    assert segue("frontier", tmp_path / "h2", tmp_path / "s2").status == 0
    one_line(segue("frontier", tmp_path / "h1", tmp_path / "s2"), r"s2: .* offset \+2", "share no axes")


def test_arrow(segue: Segue, make_store, tmp_path: Path):
    store = make_store(rotation_world(80, 14, 16, noise=1.2, seed=1))
    ran = segue("arrow", store.path, "--json", tmp_path / "arrow.json")
    assert ran.status == 0, ran.err
    said = " ".join(ran.out.split())  # a long folder name wraps the lines elsewhere
    assert "the order has a direction" in said and "no difference of skill" in said
    found = json.loads((tmp_path / "arrow.json").read_text())
    assert found["method"] == "ridge" and found["data"]["documents"] == 16
    assert found["transfer"]["cos"]["low"] > 0.1
    trained = segue("arrow", store.path, "--recipe", "p1", *SMALL, "--json", "-")
    assert trained.status == 0, trained.err
    by_recipe = json.loads(trained.out)
    assert by_recipe["method"] == "p1" and by_recipe["data"]["windows"] == found["data"]["windows"]
    assert by_recipe["copy_last"] == found["copy_last"]
    assert any("16 documents" in warning for warning in found["data"]["warnings"])


def test_what_arrow_refuses(segue: Segue, make_store, tmp_path: Path):
    store = make_store(rotation_world(20, 8, 16))
    one_line(segue("arrow", tmp_path / "no"), "no such store")
    one_line(segue("arrow", store.path, "--context", 1), "at least 2 and 1")
    one_line(segue("arrow", store.path, "--recipe", "p99"), "unknown name 'p99'")
    one_line(segue("arrow", store.path, "--set", "epochs=2"), "--set: found 'epochs=2' without a recipe")
    one_line(segue("arrow", store.path, "--samples", 0), "--samples: found 0")
    one_line(segue("arrow", store.path, "--context", 9), "10 chunks in a row")
    one_line(segue("arrow", store.path, "--split", tmp_path / "no.json"), "no such file")
