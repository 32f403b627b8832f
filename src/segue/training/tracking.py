"""An MLflow server that is told of a run: parameters once, metrics each epoch. By its REST API, so nothing to install.

    RUN/mlflow.json   which server, and which run there: a resumed run goes on in the same

TensorBoard's events are written without being asked for (`training/log.py`).
"""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

from segue.artifacts import read_json, write_json
from segue.errors import InputError

if TYPE_CHECKING:
    from segue.recipe import Recipe

log = logging.getLogger(__name__)

WHERE, EXPERIMENT = "mlflow.json", "segue"
TIMEOUT = 10  # seconds
PARAMS, LENGTH = 100, 500  # MLflow takes so many parameters at once, and values so long


class MLflow:
    """A run on an MLflow server. Raises InputError for one that does not answer; training outlives it."""

    def __init__(self, uri: str):
        parts = urlsplit(uri)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise InputError(f"--mlflow: found {uri!r}, an address such as http://localhost:5000 is wanted.")
        self.uri = uri.rstrip("/")
        self._run_id: str | None = None
        with self._refused():
            self._experiment_id = self._experiment()

    @contextmanager
    def _refused(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"--mlflow: {self.uri} does not answer as MLflow does ({error}). Leave it out.") from None

    def begin(self, run: Path, recipe: "Recipe") -> None:
        """Make a run there, or go on with the one that the run folder names. Raises InputError."""
        with self._refused():
            known = read_json(run / WHERE) if (run / WHERE).exists() else {}
            if known.get("uri") == self.uri:
                self._run_id = str(known["run_id"])
                self._call("runs/update", {"run_id": self._run_id, "status": "RUNNING"})
                return
            made = {"experiment_id": self._experiment_id, "run_name": run.resolve().name, "start_time": _now()}
            self._run_id = str(self._call("runs/create", made)["run"]["info"]["run_id"])
            params = [{"key": key, "value": value[:LENGTH]} for key, value in _flat(recipe.to_json())]
            for start in range(0, len(params), PARAMS):
                self._call("runs/log-batch", {"run_id": self._run_id, "params": params[start : start + PARAMS]})
        write_json(run / WHERE, {"uri": self.uri, "run_id": self._run_id})

    def epoch(self, entry: dict[str, Any]) -> None:
        """Tell a line of the history: `val.*`, `train.*` and the rest, at the step of its epoch; null is left out."""
        told = {key: its for key, its in entry.items() if key not in ("epoch", "events")}
        metrics = [
            {"key": key, "value": float(value), "timestamp": _now(), "step": entry["epoch"]}
            for key, value in _leaves(told)
            if isinstance(value, int | float)
        ]
        self._tell("runs/log-batch", {"metrics": metrics})

    def end(self, status: str) -> None:
        """`FINISHED`, `FAILED` or `KILLED`."""
        self._tell("runs/update", {"status": status, "end_time": _now()})

    def _tell(self, what: str, body: dict[str, Any]) -> None:
        """Training does not end because a server did: one warning, and no more is told."""
        if self._run_id is None:
            return
        try:
            self._call(what, {"run_id": self._run_id, **body})
        except (OSError, ValueError) as error:
            log.warning("--mlflow: %s is told no more of this run (%s)", self.uri, error)
            self._run_id = None

    def _experiment(self) -> str:
        try:
            found = self._call(f"experiments/get-by-name?experiment_name={quote(EXPERIMENT)}")
            return str(found["experiment"]["experiment_id"])
        except HTTPError as error:
            if error.code != 404:
                raise
            return str(self._call("experiments/create", {"name": EXPERIMENT})["experiment_id"])

    def _call(self, what: str, body: dict[str, Any] | None = None) -> Any:
        """POST a body, GET without one. Raises OSError (an HTTPError among them) or ValueError."""
        data = None if body is None else json.dumps(body, allow_nan=False).encode()
        headers = {"Content-Type": "application/json"}
        request = Request(f"{self.uri}/api/2.0/mlflow/{what}", data=data, headers=headers)
        try:
            with urlopen(request, timeout=TIMEOUT) as answer:
                return json.loads(answer.read() or b"{}")
        except HTTPError:
            raise
        except URLError as error:
            raise OSError(str(error.reason)) from None


def _now() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1000)


def _leaves(value: Any, key: str = "") -> list[tuple[str, Any]]:
    """Dotted keys and values of nested maps."""
    if isinstance(value, dict) and value:
        return [leaf for name, its in value.items() for leaf in _leaves(its, f"{key}.{name}" if key else str(name))]
    return [(key, value)]


def _flat(recipe: dict[str, Any]) -> list[tuple[str, str]]:
    return [(key, value if isinstance(value, str) else json.dumps(value)) for key, value in _leaves(recipe)]
