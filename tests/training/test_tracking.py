"""--mlflow against a server that speaks the five calls of MLflow's REST API it uses, on this machine."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from runs import SMALL, history, segue, world

from segue.recipe import resolve

SETS = [word for text in (*SMALL, "epochs=2", "model=amn") for word in ("--set", text)]


class Server(ThreadingHTTPServer):
    """Keeps what it is told. `broken`: answers 500 to batches of metrics."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.experiments, self.runs, self.calls, self.broken = {}, {}, [], False
        self.uri = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def answer(self, status, value):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(value).encode())

    def do_GET(self):
        name = self.path.partition("experiment_name=")[2]
        found = self.server.experiments.get(name)
        error = {"error_code": "RESOURCE_DOES_NOT_EXIST"}
        self.answer(*((404, error) if found is None else (200, {"experiment": {"experiment_id": found}})))

    def do_POST(self):
        what = self.path.removeprefix("/api/2.0/mlflow/")
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.calls.append(what)
        if what == "experiments/create":
            self.server.experiments[body["name"]] = "7"
            return self.answer(200, {"experiment_id": "7"})
        if what == "runs/create":
            assert body["experiment_id"] == "7"
            made = {"name": body["run_name"], "params": {}, "metrics": [], "status": "RUNNING"}
            self.server.runs[f"run{len(self.server.runs)}"] = made
            return self.answer(200, {"run": {"info": {"run_id": f"run{len(self.server.runs) - 1}"}}})
        run = self.server.runs[body["run_id"]]
        if what == "runs/update":
            run["status"] = body["status"]
        elif self.server.broken and "metrics" in body:
            return self.answer(500, {})
        else:
            assert what == "runs/log-batch" and len(body.get("params", [])) <= 100
            run["params"] |= {param["key"]: param["value"] for param in body.get("params", [])}
            run["metrics"] += body.get("metrics", [])
        return self.answer(200, {})


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def train(monkeypatch, make_store, tmp_path):
    store = make_store(world())

    def run(*arguments, out="run"):
        where = ("--data", store.path, "--out", tmp_path / out, "--device", "cpu", "--threads", 1, "--samples", 0)
        return segue(monkeypatch, "train", "p1", *SETS, *where, *arguments)

    return run


def test_a_server_is_told_the_recipe_once_and_each_epoch(server, train, tmp_path):
    assert train("--mlflow", server.uri) == 0
    assert train("--mlflow", server.uri + "/", out="other") == 0
    assert server.calls.count("experiments/create") == 1
    run, other = server.runs.values()
    assert (run["name"], run["status"], other["name"]) == ("run", "FINISHED", "other")
    recipe = resolve("p1", SETS[1::2])
    assert run["params"]["lr"] == "0.0005" and run["params"]["objective.mse.weight"] == "1.0"
    assert run["params"]["model.family"] == "amn"
    assert {key.split(".")[0] for key in run["params"]} == set(recipe.to_json())
    told = {(one["key"], one["step"]): one["value"] for one in run["metrics"]}
    for entry in history(tmp_path / "run"):
        assert told["val.cos", entry["epoch"]] == entry["val"]["cos"]
        assert told["train.loss", entry["epoch"]] == entry["train"]["loss"]
    assert ("val.rollout", 1) not in told  # not computed is not told


def test_a_server_that_does_not_answer_is_refused_before_training(server, train, tmp_path, capsys):
    server.shutdown()
    server.server_close()
    for uri, said in [
        (server.uri, "does not answer"),
        ("localhost:5000", "an address such as http://localhost:5000"),
        ("file:///tmp/mlruns", "an address such as"),
    ]:
        assert train("--mlflow", uri) == 2
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1 and said in errors[0]
        assert not (tmp_path / "run").exists()


def test_training_outlives_the_server(server, train, tmp_path, capsys):
    server.broken = True
    assert train("--mlflow", server.uri) == 0
    warnings = [line for line in capsys.readouterr().err.splitlines() if "is told no more of this run" in line]
    assert len(warnings) == 1 and len(history(tmp_path / "run")) == 2


def test_a_resumed_run_goes_on_in_the_same(server, train, tmp_path):
    assert train("--mlflow", server.uri) == 0
    (tmp_path / "run" / "manifest.json").unlink()
    for path in (tmp_path / "run" / "epochs" / "002").iterdir():
        path.unlink()
    assert train("--mlflow", server.uri, "--resume") == 0
    (run,) = server.runs.values()
    assert run["status"] == "FINISHED"
    assert [one["step"] for one in run["metrics"] if one["key"] == "val.cos"] == [1, 2, 2]
