"""Speaks the inverter's protocol without vec2text, and misbehaves on demand: what a service must outlive.

    scripted_worker.py INVERSION CORRECTOR

INVERSION/script.json says how: {"embedder", "start": "ready" | "refuse" | "end" | "silent" | "slow", "texts": […]}.
A vector's first number asks for trouble: 1 ends the process, 2 sleeps for ever, 3 answers with no JSON, 4 answers with
another request's number, 5 tells an error. Otherwise the answer is a text of the script by the vector's largest entry.
`INVERSION/asked.jsonl` gets each request's size, steps and beam.
"""

import json
import os
import sys
import time
from pathlib import Path


def say(value: object) -> None:
    print(json.dumps(value), flush=True)


def main() -> None:
    folder = Path(sys.argv[1])
    script = json.loads((folder / "script.json").read_text())
    with (folder / "started").open("a") as file:
        file.write("x")
    print("a library's chatter", file=sys.stderr, flush=True)
    if script["start"] == "refuse":
        say({"error": "vec2text is not at home"})
        sys.exit(2)
    if script["start"] == "end":
        print("Segmentation fault, said the library", file=sys.stderr, flush=True)
        sys.exit(9)
    while script["start"] == "silent":
        time.sleep(60)
    while script["start"] == "slow" and not (folder / "go").exists():
        time.sleep(0.01)
    say({"ready": {"embedder": script["embedder"], "dim": 768, "tokens": 32, "vec2text": "none"}})
    for line in sys.stdin:
        answer(json.loads(line), folder, script["texts"])


def answer(request: dict, folder: Path, texts: list[str]) -> None:
    number, vectors = request["id"], request["vectors"]
    with (folder / "asked.jsonl").open("a") as file:
        file.write(json.dumps([len(vectors), request["steps"], request["beam"]]) + "\n")
    trouble = next((int(vector[0]) for vector in vectors if vector[0] in (1, 2, 3, 4, 5)), 0)
    if trouble == 1:
        os._exit(7)
    if trouble == 2:
        time.sleep(600)
    if trouble == 3:
        print("Traceback (most recent call last):", flush=True)
    elif trouble == 4:
        say({"id": number + 1, "texts": ["of another"]})
    elif trouble == 5:
        say({"id": number, "error": "ValueError: expected sequence of length 2"})
    else:
        say({"id": number, "texts": [texts[max(range(len(v)), key=v.__getitem__) % len(texts)] for v in vectors]})


main()
