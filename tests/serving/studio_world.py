"""What the studio is tested on: a real run, hand-made ones in every state, names and texts that would be code."""

import fcntl
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from segue.vectors import Store, write_store
from tiny_run import RECIPE, five_cat, history

SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(1)>'
CODE_NAMES = (SCRIPT, IMAGE)  # of runs: the first is a folder `<script>alert(1)<` with a run `script>` in it
TINY = RECIPE + "epochs: 4\n"
CHUNKS = 14


def make_run(folder: Path, *, tested: bool = False, epochs: int = 3, manifest: bool = True, recipe: str = TINY) -> Path:
    """A hand-made run: `tests/tiny_run.py`'s history and 5CAT."""
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(recipe)
    (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in history(epochs)))
    if tested:
        (folder / "5cat.json").write_text(json.dumps(five_cat()))
    if manifest:
        finish(folder)
    return folder


def finish(folder: Path) -> None:
    """As training ends: the manifest, last."""
    told = {"kind": "run", "format": 1, "made_by": "tests", "segue": "0.1.0", "made_at": "2025-01-01T10:00"}
    (folder / "manifest.json").write_text(json.dumps(told))


def train_on(folder: Path, epoch: int) -> None:
    """As training appends an epoch."""
    with (folder / "history.jsonl").open("a") as file:
        file.write(json.dumps(history(epoch)[-1]) + "\n")


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """As a process holds a run while it trains it."""
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def code_store(path: Path, real: Store) -> Store:
    """The real store's vectors and texts; the first document's title, id and second chunk would be code."""
    rows = np.arange(len(real))
    texts = real.texts(rows)
    texts[1] = f"{IMAGE} {SCRIPT}"
    ids, titles = list(real.document_ids), [str(title) for title in real.titles]
    ids[0], titles[0] = f"one & only {IMAGE}", SCRIPT
    chunks = {"document": real.document_N, "position": real.position_N, "text": texts}
    documents = {"id": ids, "title": titles, "first_row": real.first_row_G, "length": real.length_G}
    return write_store(
        path,
        vectors_ND=real.vectors_ND,
        chunks=pa.table({**chunks, "section": pa.nulls(len(rows), pa.string())}),
        documents=pa.table(documents),
        space=real.space,
        made_by="tests",
        source={"name": "texts that would be code"},
    )


@dataclass(frozen=True)
class World:
    """Where the studio answers, and what it looks at. `down`: a studio whose predictor and decoder do not answer."""

    url: str
    down: str
    runs: Path
    store: Store
    model: Any


def make_runs(folder: Path, real: Path) -> Path:
    """`small` is real; `tiny` was tested; `going`, `broken off`, `damaged`; two whose names would be code."""
    shutil.copytree(real, folder / "small", symlinks=True)
    make_run(folder / "tiny", tested=True)
    make_run(folder / "going", epochs=2, manifest=False)
    make_run(folder / "broken off", epochs=1, manifest=False)
    make_run(folder / IMAGE, tested=True)
    make_run(folder / "<script>alert(1)<" / "script>", epochs=2)
    (make_run(folder / "damaged") / "history.jsonl").write_text("not JSON\nnot JSON\n")
    return folder


Ask = Callable[..., Any]
