"""Predictors made elsewhere: a file of predictions scores exactly as what made it, a server and an object likewise."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from segue.alignment import Claims, judge_predictor
from segue.alignment.judged import judged_windows
from segue.alignment.worlds import rotation_world
from segue.errors import InputError
from segue.models.controls import copy_last
from segue.windows import split_by_fractions

DIM = 16


@pytest.fixture
def store(make_store):
    """Documents of 9 to 20 chunks, some with a gap: rows are not positions."""
    documents = [document[: 9 + i % 12] for i, document in enumerate(rotation_world(60, 20, DIM, noise=1.0, seed=4))]
    positions = [np.arange(len(document)) + (3 if i % 5 == 0 else 0) * (np.arange(len(document)) > 6)
                 for i, document in enumerate(documents)]  # fmt: skip
    return make_store(documents, positions=positions)


def listed(segue, store, path: Path, *options) -> list[dict]:
    ran = segue("windows", "--data", store.path, "--out", path, *options)
    assert ran.status == 0, ran.err
    return [json.loads(line) for line in path.read_text().splitlines()]


def scored(segue, predictor, store, *options) -> dict:
    ran = segue("5cat", predictor, "--data", store.path, "--json", "-", *options)
    assert ran.status in (0, 1), ran.err
    return json.loads(ran.out)


def assert_same(mine, its) -> None:
    """Equal but for the last bit of a float32 cosine: what is made elsewhere is made unit in float64."""
    if isinstance(its, dict):
        assert mine.keys() == its.keys()
        for key in its:
            assert_same(mine[key], its[key])
    elif isinstance(its, list):
        assert len(mine) == len(its)
        for one, other in zip(mine, its, strict=True):
            assert_same(one, other)
    else:
        assert mine == pytest.approx(its, abs=2e-7) if isinstance(its, float) else mine == its


def verdicts(value: dict) -> dict:
    return {name: {gate: its["passed"] for gate, its in profile["gates"].items()}
            for name, profile in value["profiles"].items()}  # fmt: skip


def test_windows_are_listed_as_rows_of_the_store(segue, store, tmp_path):
    """Written for who has only vectors.npy and this list: rows, positions and documents must agree."""
    rows = listed(segue, store, tmp_path / "list.jsonl", "--context", 4, "--horizon", 2)
    assert [row["part"] for row in rows] == sorted((row["part"] for row in rows), reverse=True), "VAL before OOD"
    for part in ("VAL", "OOD"):
        assert [row["window"] for row in rows if row["part"] == part] == list(
            range(sum(r["part"] == part for r in rows))
        )
    for row in rows:
        at = row["context_rows"]
        assert len(at) == 4 and np.array_equal(np.diff([*at, row["target_row"]]), [1, 1, 1, 2])
        assert store.document_ids[store.document_N[row["target_row"]]] == row["document"]
        assert store.position_N[at[-1]] == row["position"] == row["target_position"] - 2
    assert segue("windows", "--data", store.path, "--out", tmp_path / "list.parquet", "--context", 4, "--horizon", 2)
    assert pq.read_table(tmp_path / "list.parquet").to_pylist() == rows
    only = listed(segue, store, tmp_path / "ood.jsonl", "--part", "OOD", "--context", 4, "--horizon", 2)
    assert only == [row for row in rows if row["part"] == "OOD"]


@pytest.mark.parametrize("control", ["oracle", "copy_last"])
@pytest.mark.parametrize("sampled", [(), ("--samples", 40, "--seed", 3)])
def test_a_file_scores_exactly_as_the_control_it_came_from(segue, store, tmp_path, control, sampled):
    rows = listed(segue, store, tmp_path / "list.jsonl", *sampled)
    meant = [row["target_row"] if control == "oracle" else row["context_rows"][-1] for row in rows]
    # Of any length and type: 5CAT asks for directions.
    np.save(tmp_path / "mine.npy", store.vectors_ND[meant].astype(np.float64) * 3)
    asked = ("--facets", "mean,rank", *sampled)
    mine = scored(segue, tmp_path / "mine.npy", store, "--reads", 5, *asked)
    its = scored(segue, control, store, *sampled)
    for part in ("VAL", "OOD"):
        for key, value in its["splits"][part].items():
            if key in ("cos", "margin", "peak", "margin_last", "win_last", "direction", "retrieval", "offsets", "bins"):
                assert_same(mine["splits"][part][key], value)
        assert mine["splits"][part].get("ablations") is None and mine["splits"][part].get("rollout") is None
    for profile in ("skill", "original"):
        gates = mine["profiles"][profile]["gates"]
        for gate in "ABE":
            assert gates[gate]["passed"] == its["profiles"][profile]["gates"][gate]["passed"], (profile, gate)
        for gate in "CD":
            assert gates[gate]["passed"] is None and "could not be computed" in gates[gate]["why"]
    assert mine["controls"] == its["controls"]
    assert mine["predictor"]["source"]["hash"].startswith("sha256:")
    assert not any("order of" in warning for warning in mine["data"]["warnings"])

    whole = scored(segue, tmp_path / "mine.npy", store, *asked)
    pools = {name: whole["splits"]["VAL"]["retrieval"][name] for name in ("future", "unseen", "document")}
    for name in ("future", "document"):
        assert_same(pools[name], its["splits"]["VAL"]["retrieval"][name])
    assert pools["unseen"]["candidates"] < its["splits"]["VAL"]["retrieval"]["unseen"]["candidates"]
    assert "direction" not in whole["splits"]["VAL"], "it may have read the chunk before the window"


def test_a_file_for_val_alone_and_one_in_another_order(segue, store, tmp_path):
    rows = listed(segue, store, tmp_path / "list.jsonl", "--part", "VAL")
    truth = store.vectors_ND[[row["target_row"] for row in rows]]
    np.save(tmp_path / "val.npy", truth)
    value = scored(segue, tmp_path / "val.npy", store)
    assert value["splits"]["OOD"] is None and value["splits"]["VAL"]["cos"]["value"] == pytest.approx(1, abs=1e-6)
    assert any("no rows for OOD" in warning for warning in value["data"]["warnings"])
    np.save(tmp_path / "val.npy", np.random.default_rng(0).permutation(truth))
    warnings = scored(segue, tmp_path / "val.npy", store)["data"]["warnings"]
    assert any("Are the rows in the order of `segue windows`?" in warning for warning in warnings)


def test_windows_with_few_candidates_are_counted(segue, store, tmp_path):
    rows = listed(segue, store, tmp_path / "list.jsonl")
    value = scored(segue, "copy_last", store)
    last = {id_: first + length - 1 for id_, first, length in zip(
        store.document_ids, store.first_row_G, store.length_G, strict=True)}  # fmt: skip
    for part in ("VAL", "OOD"):
        left = np.array([last[row["document"]] - row["context_rows"][-1] for row in rows if row["part"] == part])
        counts = {str(k): int((left <= k).sum()) for k in (5, 10)}
        assert value["data"]["few_candidates"][part] == counts
        told = next(one for one in value["data"]["warnings"] if one.startswith(f"{part}: of "))
        assert f"{counts['5']} have 5 or fewer (R@5)" in told and f"{counts['10']} have 10 or fewer (R@10)" in told


def refused(ran, *told: str) -> None:
    assert (ran.status, ran.out) == (2, ""), ran
    lines = [line for line in ran.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and ran.err.endswith(f"{lines[0]}\n"), ran.err
    for piece in told:
        assert re.search(piece, lines[0]), (piece, lines[0])


def test_what_a_file_is_refused_for(segue, store, tmp_path):
    path = tmp_path / "mine.npy"
    rows = len(listed(segue, store, tmp_path / "list.jsonl"))
    good = np.random.default_rng(0).standard_normal((rows, DIM)).astype(np.float32)

    def test(array=None, *options, **kept):
        if array is not None:
            np.save(path, array, **kept)
        return segue("5cat", path, "--data", store.path, *options)

    refused(test(), r"mine\.npy: no such file")
    refused(test(good[1:]), f"has {rows - 1} rows, {rows} are wanted", "VAL's .* OOD's", "segue windows")
    refused(test(good[:, 1:]), f"are {DIM - 1} wide", f"{DIM} wide")
    for bad, told in ((np.nan, "NaN or infinity"), (np.inf, "NaN or infinity"), (0.0, "all zeros")):
        spoiled = good.copy()
        spoiled[7] = bad
        refused(test(spoiled), told, "row 7")
    refused(test(good.astype(object), allow_pickle=True), "pickled")
    refused(test(good[0]), f"holds {DIM} of type float32")
    refused(test((good * 10).astype(np.int32)), "type int32; an .npy file of floating-point numbers")
    path.write_bytes(b"")
    refused(test(), "not a whole array")
    path.write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr'")
    refused(test(), "not a whole array")
    with path.open("wb") as file:
        np.savez(file, good)
    refused(test(), "archive")
    refused(test(good, "--reads", "all"), "--reads: found 'all', `document` or a number")
    refused(test(good, "--reads", 0), "--reads: found 0")
    refused(test(good, "--facets", "mena"), "--facets: found 'mena'")
    refused(test(good, "--context", 1), "--context: found 1")
    refused(test(good, "--timeout", 3), "--timeout")
    refused(segue("5cat", path), "--data: .* names no store")
    refused(
        segue("5cat", "oracle", "--data", store.path, "--facets", "mean"), "--facets: found 'mean', but only a file"
    )
    refused(segue("windows", "--data", store.path, "--out", tmp_path / "l.csv"), r"ends in \.jsonl or \.parquet")
    refused(
        segue("windows", "--data", store.path, "--out", tmp_path / "l.jsonl", "--part", "ood"), "--part: found 'ood'"
    )


@contextmanager
def serving(answer: Callable[[dict], object], status: int = 200) -> Iterator[str]:
    """A server that answers POST /infer with JSON, or with bytes as they are."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            assert self.path == "/infer"
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            said = answer(asked)
            body = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def same_figures(mine: dict, its: dict) -> None:
    for part in ("VAL", "OOD"):
        for key in ("cos", "margin", "retrieval", "ablations", "rollout", "direction"):
            assert_same(mine["splits"][part][key], its["splits"][part][key])


def test_a_server_scores_exactly_as_what_it_serves(segue, store):
    """Over real HTTP, C and D included: it is asked anything a model is asked."""
    sizes = []

    def answer(asked):
        context = np.array(asked["context_vectors"], dtype=np.float32)
        sizes.append(context.shape)
        return {"predicted_vectors": (2 * context[:, -1]).tolist()}

    its = scored(segue, "copy_last", store)
    with serving(answer) as url:
        mine = scored(segue, f"{url}/", store, "--facets", "mean,rank")
    same_figures(mine, its)
    assert_same(verdicts(mine), verdicts(its))
    assert {size[1:] for size in sizes} == {(5, DIM)} and max(size[0] for size in sizes) == 64


def test_a_server_may_be_sent_the_whole_document(segue, store):
    lengths = set()

    def answer(asked):
        context = np.array(asked["context_vectors"])
        lengths.add(context.shape[1])
        return {"predicted_vectors": context[:, -1].tolist()}

    with serving(answer) as url:
        value = scored(segue, url, store, "--reads", "document", "--samples", 20)
    assert max(lengths) > 8 and value["splits"]["VAL"]["cos"]["value"] > 0


ANSWERS = {
    "width": (
        lambda asked: {"predicted_vectors": [[1.0] * 3 for _ in asked["context_vectors"]]},
        f"gave .* × 3, .* × {DIM}",
    ),
    "number": (lambda asked: {"predicted_vectors": [[1.0] * DIM]}, f"gave 1 × {DIM}"),
    "ragged": (lambda asked: {"predicted_vectors": [[1.0], [1.0, 2.0]]}, "gave no array of numbers"),
    "words": (lambda asked: {"predicted_vectors": "soon"}, "gave no array of numbers"),
    "nan": (lambda asked: {"predicted_vectors": [[float("nan")] * DIM for _ in asked["context_vectors"]]}, "NaN"),
    "field": (lambda asked: {"vectors": []}, 'answered .*"predicted_vectors"'),
    "html": (lambda asked: b"<html>\nhello</html>", "answered '<html> hello</html>', JSON is wanted"),
    "bytes": (lambda asked: b"\xff\xfe\x00", "JSON is wanted"),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_what_a_server_is_refused_for(segue, store, name):
    answer, told = ANSWERS[name]
    with serving(answer) as url:
        refused(segue("5cat", url, "--data", store.path, "--samples", 9), r"http://127\.0\.0\.1:\d+/infer: ", told)


def test_a_server_that_fails_is_slow_or_is_not_there(segue, store):
    with serving(lambda asked: b"out of\nmemory", status=503) as url:
        refused(segue("5cat", url, "--data", store.path), r"status 503 \('out of memory'\), 200 is wanted")
    with serving(lambda asked: time.sleep(0.6) or {}) as url:
        refused(segue("5cat", url, "--data", store.path, "--timeout", 0.2), r"within 0\.2 s")
    refused(segue("5cat", url, "--data", store.path), "cannot be reached")
    for url, told in (("http://", "names no host"), ("http://a:b", "not a URL")):
        refused(segue("5cat", url, "--data", store.path), told)
    refused(segue("5cat", "http://localhost:1", "--data", store.path, "--reads", 3), "at least the context of 5 chunks")


class InNumPy:
    """Somebody's model, written without torch."""

    def predict(self, context):
        return 5 * np.asarray(context)[:, -1]


def test_any_python_object_in_three_lines(segue, store, tmp_path):
    its = scored(segue, "copy_last", store)
    both = Claims(facets=("mean", "rank"))
    for model in (InNumPy(), lambda context: context[:, -1].tolist(), copy_last(DIM).predict):
        mine = judge_predictor(model, store.path, claims=both)
        same_figures(mine, its)
        assert_same(verdicts(mine), verdicts(its))
    assert judge_predictor(InNumPy(), store)["predictor"]["name"] == "InNumPy"


def test_an_object_may_change_what_it_is_handed(store):
    """The next ablation is made from the same context: it was made from what the object had left of it."""

    def honest(context_BCD):
        return (context_BCD - 0.9 * context_BCD.mean(1, keepdim=True))[:, 1:].mean(1)

    def rude(context_BCD):
        context_BCD -= 0.9 * context_BCD.mean(1, keepdim=True)
        return context_BCD[:, 1:].mean(1)

    first, second = (judge_predictor(one, store, samples=100)["splits"] for one in (honest, rude))
    assert first == second


def test_an_object_that_reads_less_than_its_context(store):
    with pytest.raises(InputError, match="claims to read 3 chunks of a context of 5"):
        judge_predictor(lambda x: x.mean(1), store, claims=Claims(reads=3))


@pytest.mark.parametrize(("model", "told"), [
    (lambda context: context, rf"gave \d+ × 5 × {DIM}, \d+ × {DIM} is wanted"),
    (lambda context: context[:, -1] * torch.nan, "NaN or infinity"),
    (lambda context: 0 * context[:, -1], "all zeros"),
    (lambda context: None, "gave no array of numbers"),
    (3, "int: has no `predict`"),
])  # fmt: skip
def test_what_a_python_object_is_refused_for(store, model, told):
    with pytest.raises(InputError, match=told) as error:
        judge_predictor(model, store)
    assert "\n" not in str(error.value)


def test_the_order_is_the_one_that_is_judged(segue, store, tmp_path):
    """`segue windows` and `segue 5cat` draw the same sample: one function makes both."""
    rows = listed(segue, store, tmp_path / "list.jsonl", "--samples", 30, "--seed", 9)
    on = judged_windows(store, split_by_fractions(store), samples=30, seed=9)
    assert [row["target_row"] for row in rows] == [
        row for part in on.parts.values() for row in part.windows.target_rows().tolist()
    ]


def test_the_examples_of_the_documentation_run(segue, store, tmp_path, monkeypatch):
    """Every Python example of docs/any-predictor.md, as a reader would paste it; the last one serves for ever."""
    page = (Path(__file__).parents[2] / "docs" / "any-predictor.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 5
    monkeypatch.chdir(tmp_path)
    Path("STORE").symlink_to(store.path)
    listed(segue, store, Path("windows.jsonl"))
    names = {"my_model": lambda context: np.asarray(context)[:, -1], "my_lcm": lambda so_far: so_far[-1]}
    its = scored(segue, "copy_last", store)
    for number, example in enumerate(examples[:-1]):
        exec(compile(example, f"example {number}", "exec"), dict(names))
        if number < 2:
            mine = scored(segue, "mine.npy", store, "--reads", 5)
            assert_same(mine["splits"]["OOD"]["cos"], its["splits"]["OOD"]["cos"])
    exec(examples[-1].replace("8000), Infer).serve_forever()", "0), Infer).server_close()"), dict(names))

    profile = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1]
    Path("ours.yaml").write_text(profile)
    value = scored(segue, "oracle", store, "--profile", "ours.yaml")
    assert value["profile"] == "ours" and value["gates"]["A"]["passed"] is True
