"""Requests meant to break a service: `python benchmarks/serving_fuzz.py --run RUN --store STORE`.

Half of them are made by schemathesis from the service's own OpenAPI document, some by the schema and some against it;
half are bodies that work, spoiled (serving_spoiled.py).

A finding is: a 500, a status that the document does not have for that operation (so 502 and 503 only where documented),
a connection broken off, JSON that is none (NaN), a body that is not the documented one. With one the exit status is 1.
"""

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx2
import jsonschema_rs
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode

from serving_spoiled import NUMBERS, TEXTS, spoiled

REQUESTS = 10_000
METHODS = ("get", "post", "put", "patch", "delete")


class Operation(NamedTuple):
    """One method of one path, and what the document says of it."""

    method: str
    path: str
    about: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.method.upper()} {self.path}"


@dataclass
class Tally:
    """What was answered, and what was found: (operation, what is wrong) → a request that shows it."""

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    findings: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def requests(self) -> int:
        return self.answers.total()

    def __iadd__(self, other: "Tally") -> "Tally":
        self.answers += other.answers
        self.findings |= other.findings
        return self


@dataclass
class Known:
    """What a service must be asked so that it goes to work: bodies of its own width, ids of its own documents."""

    bodies: dict[str, list[Any]] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, client: httpx2.Client) -> "Known":
        answer = client.get("/info")
        info = answer.json() if answer.status_code == 200 else {}
        if "models" in info:
            model = next(model for model in info["models"] if model["name"] == info["default"])
            context = _directions(model["context"] or 3, model["dim"])
            return cls({"/infer": [{"context_vectors": context}, {"context_vectors": [context, context]}]})
        if "store" in info:
            vectors = _directions(2, info["store"]["space"]["dim"])
            ids = [one["id"] for one in client.get("/documents?limit=3").json()["documents"]]
            within = {"document": ids[0], "after_row": 0} if ids else {}
            masked = {"exclude_rows": [0, 1], "exclude_vectors": vectors[:1]}
            return cls({"/decode": [{"vectors": vectors, "k": 3, **more} for more in ({}, masked, within)]}, ids)
        return cls()


def _directions(n: int, dim: int) -> list[list[float]]:
    """n unit vectors: each leans on another axis."""
    return [[0.8 if i == k else 0.6 / (dim - 1) ** 0.5 for i in range(dim)] for k in range(n)]


class Judge:
    """Holds each answer against the document."""

    def __init__(self, document: dict[str, Any], tally: Tally):
        self._document, self._tally = document, tally
        self._validators: dict[tuple[str, str], Any] = {}

    def judge(self, operation: Operation, sent: str, answer: httpx2.Response) -> None:
        self._tally.answers[operation.name, answer.status_code] += 1
        for wrong in self._wrong(operation, answer):
            self._tally.findings.setdefault((operation.name, wrong), sent[:400])

    def broken(self, operation: Operation, sent: str, error: Exception) -> None:
        self._tally.answers[operation.name, 0] += 1
        self._tally.findings.setdefault((operation.name, f"no answer: {type(error).__name__}"), sent[:400])

    def _wrong(self, operation: Operation, answer: httpx2.Response) -> Iterator[str]:
        status = str(answer.status_code)
        documented = operation.about["responses"]
        if status == "500":
            yield "500"
        elif status not in documented:
            yield f"{status} is not documented"
        content = documented.get(status, {}).get("content", {})
        kind = answer.headers.get("content-type", "").split(";")[0]
        if content and kind not in content:
            yield f"{status} comes as {kind or 'nothing'}"
        if kind != "application/json":
            return
        try:
            value = json.loads(answer.content, parse_constant=_no_constant)
        except ValueError as error:
            yield f"{status} is no JSON: {str(error)[:60]}"
            return
        if kind in content and "schema" in content[kind]:
            invalid = next(self._validator(operation, status, kind).iter_errors(value), None)
            if invalid is not None:
                place = "/".join("*" if isinstance(part, int) else str(part) for part in invalid.instance_path)
                yield f"{status} is not the documented body at /{place}: {str(invalid.message)[:100]}"
        if answer.status_code >= 400 and "\n" in str((value.get("error") or {}).get("message", "\n")):
            yield f"{status} has no message of one line"

    def _validator(self, operation: Operation, status: str, kind: str) -> Any:
        key = (operation.name, status)
        if key not in self._validators:
            parts = ("paths", operation.path, operation.method, "responses", status, "content", kind, "schema")
            pointer = "/".join(part.replace("~", "~0").replace("/", "~1") for part in parts)
            schema = {**self._document, "$ref": f"#/{quote(pointer, safe='/~')}"}
            self._validators[key] = jsonschema_rs.Draft202012Validator(schema)
        return self._validators[key]


def _no_constant(constant: str) -> None:
    raise ValueError(f"{constant} in it")


def operations_of(document: dict[str, Any]) -> list[Operation]:
    return [
        Operation(method, path, about)
        for path, methods in document["paths"].items()
        for method, about in methods.items()
        if method in METHODS
    ]


def fuzz(url: str, requests: int, start: int = 0, told: Callable[[str], None] = lambda line: None) -> Tally:
    """So many `requests` to a running service, most to operations with a body, few to those that take nothing.

    The same `start` makes the same requests.
    """
    tally = Tally()
    with httpx2.Client(base_url=url, timeout=120, trust_env=False) as client:
        document = client.get("/openapi.json").json()
        judge, operations = Judge(document, tally), operations_of(document)
        shares = [6 if "requestBody" in one.about else 3 if one.about.get("parameters") else 0 for one in operations]
        known = Known.of(client)
        few = min(20, max(1, requests // 50))
        rest = requests - few * shares.count(0)
        for operation, share in zip(operations, shares, strict=True):
            n, before = (rest * share // sum(shares) if share else few), tally.requests
            _by_schemathesis(url, client, document, operation, judge, n // 2, start)
            _by_spoiling(client, document, operation, judge, known, n - (tally.requests - before), start)
            told(f"  {operation.name}: {tally.requests - before} requests")
    return tally


def _send(client: httpx2.Client, operation: Operation, judge: Judge, path: str, content: bytes | None) -> None:
    headers = {"Content-Type": "application/json"} if content is not None else {}
    sent = f"{operation.method.upper()} {path} {content!r}"
    try:
        answer = client.request(operation.method.upper(), path, content=content, headers=headers)
    except httpx2.InvalidURL:
        return  # the client's own refusal: nothing was sent
    except httpx2.TransportError as error:
        judge.broken(operation, sent, error)
    else:
        judge.judge(operation, sent, answer)


def _by_schemathesis(
    url: str,
    client: httpx2.Client,
    document: dict[str, Any],
    operation: Operation,
    judge: Judge,
    n: int,
    start: int,
) -> None:
    made = schemathesis.openapi.from_dict(document)[operation.path][operation.method.upper()]
    modes = [GenerationMode.POSITIVE]
    if made.body or made.query or made.path_parameters:
        modes.append(GenerationMode.NEGATIVE)
    for mode in modes:

        @seed(start)
        @settings(
            max_examples=max(1, n // len(modes)),
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=made.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            kwargs = case.as_transport_kwargs(base_url=url)
            raw = kwargs.get("data")
            body = json.dumps(kwargs["json"]).encode() if kwargs.get("json") is not None else raw
            if isinstance(body, str):
                body = body.encode("utf-8", "surrogatepass")
            query = "&".join(f"{quote(str(k))}={quote(str(v))}" for k, v in (kwargs.get("params") or {}).items())
            target = kwargs["url"].removeprefix(url) + (f"?{query}" if query else "")
            _send(client, operation, judge, target, body if isinstance(body, bytes) else None)

        try:
            ask()
        except Exception as error:
            if "Unsatisfiable" not in type(error).__name__:  # a schema that cannot be violated, or has one value only
                raise


def _by_spoiling(
    client: httpx2.Client,
    document: dict[str, Any],
    operation: Operation,
    judge: Judge,
    known: Known,
    n: int,
    start: int,
) -> None:
    draw = random.Random(f"{start} {operation.name}")
    examples = [*_examples(document, operation.about), *known.bodies.get(operation.path, [])]
    for _ in range(n):
        path = operation.path
        for parameter in operation.about.get("parameters", []):
            odd = draw.choice([*TEXTS, *NUMBERS, *known.ids * 5])
            value = quote(str(odd).encode("utf-8", "surrogatepass"), safe="")[:8000]
            if parameter["in"] == "path":
                path = path.replace("{" + parameter["name"] + "}", value or "-")
            elif draw.random() < 0.7:
                path += ("&" if "?" in path else "?") + f"{parameter['name']}={value}"
        content = spoiled(draw, draw.choice(examples)) if examples else None
        _send(client, operation, judge, path, content)


def _examples(document: dict[str, Any], about: dict[str, Any]) -> list[Any]:
    """The bodies that the document shows for an operation."""
    content = about.get("requestBody", {}).get("content", {}).get("application/json", {})
    schema = content.get("schema", {})
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
    several = [one["value"] for one in content.get("examples", {}).values()] + schema.get("examples", [])
    single = [holder["example"] for holder in (content, schema) if "example" in holder]
    return single + several or ([{}] if content else [])


def report(tally: Tally, seconds: float) -> str:
    """The answers by status, and every finding with a request that shows it."""
    by_status = Counter[int]()
    for (_, status), n in tally.answers.items():
        by_status[status] += n
    lines = [
        f"{tally.requests:,} requests in {seconds:.0f} s: "
        + ", ".join(f"{n:,} × {s}" for s, n in sorted(by_status.items()))
    ]
    lines += [f"FOUND {name}: {wrong}\n      {sent}" for (name, wrong), sent in tally.findings.items()]
    return "\n".join([*lines, "no finding" if not tally.findings else f"{len(tally.findings)} findings"])


def main() -> None:
    from serving_processes import services

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", help="a run, for the predictor")
    parser.add_argument("--store", help="a store with texts, for the decoder")
    parser.add_argument("--services", default="encoder,decoder,predictor", help="which to start")
    parser.add_argument("--url", action="append", default=[], help="a service that runs already; again for more")
    parser.add_argument("--requests", type=int, default=REQUESTS, help="in all")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    names = [] if asked.url else asked.services.split(",")
    whole, began = Tally(), time.perf_counter()
    with services(names, asked.run, asked.store) as started:
        urls = asked.url or [service.url for service in started.values()]
        for url in urls:
            print(url, file=sys.stderr)
            whole += fuzz(url, asked.requests // len(urls), asked.seed, lambda line: print(line, file=sys.stderr))
    print(report(whole, time.perf_counter() - began))
    sys.exit(1 if whole.findings else 0)


if __name__ == "__main__":
    main()
