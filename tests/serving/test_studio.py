"""The studio without a browser: what it lists and answers, what it refuses, and its numbers against slow formulas."""

import csv
import io
import json
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from studio_world import CODE_NAMES, SCRIPT, held, make_run, train_on

from segue.errors import InputError
from segue.report.compare import compare
from segue.serving.limits import Settings
from segue.serving.server import running
from segue.serving.studio.comparison import to_csv
from segue.serving.studio.document_map import likeness, map_of, places
from segue.serving.studio.listing import Runs
from segue.serving.studio_app import Sources, studio_app


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs in several states, none of them real."""
    folder = tmp_path_factory.mktemp("studio") / "runs"
    make_run(folder / "tiny", tested=True)
    make_run(folder / "group" / "inner", epochs=2)
    make_run(folder / "<script>alert(1)<" / "script>", epochs=2)
    (make_run(folder / "damaged") / "history.jsonl").write_text("not JSON\nnot JSON\n")
    (folder / "no run").mkdir()
    (folder.parent / "secret").mkdir()
    make_run(folder.parent / "secret" / "outside", tested=True)
    return folder


@pytest.fixture(scope="module")
def studio(runs: Path):
    """A studio without a store whose services do not answer."""
    nowhere = "http://127.0.0.1:9"
    with running(studio_app(Sources(runs, None, nowhere, nowhere), Settings()), Settings()) as url:
        yield url


def get(url: str) -> tuple[int, str, dict[str, str]]:
    try:
        with urllib.request.urlopen(url) as answer:
            return answer.status, answer.read().decode(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), dict(error.headers)


def post(url: str, body: bytes, kind: str = "application/json") -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(url, body, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_runs_are_found_one_and_two_levels_down(runs: Path):
    assert sorted(Runs(runs).folders()) == ["<script>alert(1)</script>", "damaged", "group/inner", "tiny"]
    assert list(Runs(runs / "tiny").folders()) == ["tiny"]
    with pytest.raises(InputError, match="no such folder"):
        Runs(runs / "absent")


def test_a_card_is_made_anew_when_the_run_changed_and_only_then(tmp_path: Path):
    folder = make_run(tmp_path / "going", epochs=1, manifest=False)
    runs = Runs(tmp_path)
    first = runs.card("going", folder)
    assert runs.card("going", folder) is first and first.state == "interrupted"
    with held(folder):
        assert runs.card("going", folder).more.startswith("epoch 2 of 4")
        train_on(folder, 2)
        grown = runs.card("going", folder)
    assert grown.curve == (0.51, 0.52) and first.curve == (0.51,)
    assert grown.row is not None and grown.row.figures["cos"].result.value == 0.52


@pytest.mark.parametrize(
    "path",
    [
        "/runs/../secret/outside",
        "/runs/..%2Fsecret%2Foutside",
        "/runs/%2e%2e/secret/outside",
        "/runs/group",
        "/runs/no%20run",
        "/runs//etc/passwd",
        "/curves/..%2Fsecret%2Foutside",
        "/live/runs/..%2Fsecret%2Foutside",
        "/static/..%2Fstudio_app.py",
        "/report/report.html.j2",
        "/vendor/absent.js",
    ],
)
def test_only_what_was_listed_is_opened(studio: str, path: str):
    status, text, _ = get(studio + path)
    assert status == 404 and "secret" not in text and "root:" not in text


@pytest.mark.parametrize("path", ["/", "/compare", "/frontier", "/corpus", "/map", "/chat", "/runs/tiny?view=report"])
def test_every_page_has_the_strict_policy_and_nothing_inline(studio: str, path: str):
    status, text, headers = get(studio + path)
    assert status == 200
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert "<style" not in text and " style=" not in text and " onclick" not in text
    assert text.count("<script") == text.count('<script defer src="/') + text.count('<script type="module" src="/')
    assert SCRIPT not in text


def test_a_folder_without_a_run_says_what_to_do(tmp_path: Path):
    with running(studio_app(Sources(tmp_path), Settings()), Settings()) as url:
        for path, said in (("/", "segue train p1"), ("/compare", "No run yet"), ("/frontier", "segue 5cat RUN")):
            status, text, _ = get(url + path)
            assert status == 200 and said in text
        assert get(f"{url}/corpus.json")[0] == 404


def test_names_and_damage_are_told_as_text(studio: str):
    _, text, _ = get(f"{studio}/")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text and "history.jsonl: line 1 is not a JSON object" in text
    status, text, _ = get(f"{studio}/runs/{urllib.parse.quote(CODE_NAMES[0])}")
    assert status == 200 and '<h1 class="name">&lt;script&gt;' in text
    status, text, _ = get(f"{studio}/runs/damaged")
    assert status == 200 and "line 1 is not a JSON object" in text


def test_a_part_that_is_as_it_was_is_not_sent_again(studio: str):
    for page, part in (("/", "/live/runs"), ("/runs/group/inner", "/live/runs/group/inner")):
        _, text, _ = get(studio + page)
        if "?seen=" not in text:  # a finished run asks for nothing
            continue
        mark = text.partition("?seen=")[2].partition('"')[0]
        assert get(f"{studio}{part}?seen={mark}")[0] == 204
        status, again, _ = get(f"{studio}{part}?seen=other")
        assert status == 200 and f"?seen={mark}" in again


def test_exports_are_the_comparison(studio: str, runs: Path):
    names = [card.name for card in Runs(runs).cards() if card.name in ("tiny", "group/inner")]  # the newest first
    query = urllib.parse.urlencode([("run", name) for name in names] + [("part", "all"), ("pool", "future")])
    expected = compare([runs / name for name in names], sort="mrr", labels=names)
    _, text, headers = get(f"{studio}/compare.json?{query}")
    assert json.loads(text) == expected.to_json() and "attachment" in headers["content-disposition"]
    _, text, _ = get(f"{studio}/compare.csv?{query}")
    rows = list(csv.DictReader(io.StringIO(text)))
    tiny = next(row for row in rows if row["name"] == "tiny" and row["part"].startswith("VAL"))
    assert (tiny["cos"], tiny["cos low"], tiny["cos mark"]) == ("0.549", "0.542", "▼")
    assert len(rows) == sum(len(its) for group in expected.groups for its in group.tables.values())
    assert "| run |" in get(f"{studio}/compare.md?{query}")[1]
    assert get(f"{studio}/compare.exe?{query}")[0] == 404


def test_a_spreadsheet_is_given_no_formula(tmp_path: Path):
    found = compare([make_run(tmp_path / "=1+1", tested=True)], parts=("VAL",))
    assert "'=1+1" in to_csv(found) and "\n=1+1" not in to_csv(found).replace(",", "\n")


def test_what_the_services_do_not_answer_says_how_to_start_them(studio: str):
    body = json.dumps({"messages": [{"role": "user", "content": "a"}]}).encode()
    status, answer = post(f"{studio}/api/chat", body)
    assert status == 502 and "segue serve predictor --run RUN" in answer["error"]["message"]
    status, text, _ = get(f"{studio}/api/documents")
    assert status == 502 and "segue serve decoder --store STORE" in text
    status, text, _ = get(f"{studio}/api/map?document=any")
    assert status == 404 and "--store STORE" in text


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{}", "text/plain", 415),  # a form of another page needs no leave to send this type
        (b"{}", "application/x-www-form-urlencoded", 415),
        (b'{"steering": NaN}', "application/json", 422),
        (b'{"steering": 1e999}', "application/json", 422),
        (b"[1]", "application/json", 422),
        (b"\xff", "application/json", 422),
        (b"[" * 100_000, "application/json", 422),
    ],
)
def test_bodies_that_go_no_further(studio: str, body: bytes, kind: str, status: int):
    assert post(f"{studio}/api/predict", body, kind)[0] == status


def test_the_studio_starts_without_torch(runs: Path):
    code = (
        "import sys; from pathlib import Path; from segue.serving.studio_app import Sources, studio_app; "
        "from segue.serving.limits import Settings; from segue.serving.studio.listing import Runs; "
        f"studio_app(Sources(Path({str(runs)!r})), Settings()); Runs({str(runs)!r}).cards(); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def slow_cosine(a: np.ndarray, b: np.ndarray) -> float:
    return sum(float(x) * float(y) for x, y in zip(a, b, strict=True))


def test_a_map_is_what_plain_loops_find():
    """Two gaps: no place lies across one; ranks by counting what lies nearer, ties shared."""
    rng = np.random.default_rng(0)
    position_n = np.array([0, 1, 2, 3, 4, 5, 9, 10, 11, 12, 20])
    context, horizon = 2, 2
    vectors_nD = rng.normal(size=(11, 8)).astype(np.float32)
    vectors_nD[4] = vectors_nD[5]  # level
    vectors_nD /= np.linalg.norm(vectors_nD, axis=1, keepdims=True)
    at = places(position_n, context, horizon)
    assert at == [1, 2, 3, 7]
    prediction_TD = rng.normal(size=(len(at), 8)).astype(np.float32)
    prediction_TD /= np.linalg.norm(prediction_TD, axis=1, keepdims=True)
    found = map_of(vectors_nD, at, horizon, prediction_TD)
    reciprocal = []
    for step, t, prediction_D in zip(found["steps"], at, prediction_TD, strict=True):
        cosines = [slow_cosine(prediction_D, other_D) for other_D in vectors_nD]
        target, later = t + horizon, range(t + 1, 11)
        nearer = sum(cosines[j] > cosines[target] + 1e-6 for j in later)
        level = sum(abs(cosines[j] - cosines[target]) <= 1e-6 for j in later)
        rank = nearer + (level + 1) / 2
        reciprocal.append(1 / rank)
        assert (step["at"], step["target"], step["rank"], step["of"]) == (t, target, rank, 10 - t)
        assert step["cosines"] == [round(100 * cosine) for cosine in cosines]
        assert step["cosine"] == pytest.approx(cosines[target], abs=1e-4)
        assert step["copy"] == pytest.approx(cosines[t], abs=1e-4)
        assert [j for j, _ in step["best"]] == sorted(later, key=lambda j: -cosines[j])[:5]
        last = [slow_cosine(vectors_nD[t], other_D) for other_D in vectors_nD]
        assert step["last_cosine"] == pytest.approx(last[target], abs=1e-4)
        ahead = sum(last[j] > last[target] + 1e-6 for j in later)
        assert step["last_rank"] == ahead + (sum(abs(last[j] - last[target]) <= 1e-6 for j in later) + 1) / 2
    assert found["summary"]["mrr"] == pytest.approx(np.mean(reciprocal))
    chance = [np.mean([1 / rank for rank in range(1, 11 - t)]) for t in at]
    assert found["summary"]["chance_mrr"] == pytest.approx(np.mean(chance))
    assert likeness(vectors_nD)[3][7] == round(100 * slow_cosine(vectors_nD[3], vectors_nD[7]))
