"""A damaged store is one line that names the file and the way out, whatever the damage and whoever opens it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from command_line import Segue
from known_stores import build_store
from segue.alignment.worlds import ar1_world
from segue.artifacts import hash_file
from segue.cli import check
from segue.errors import InputError
from segue.vectors import Store

VECTORS, CHUNKS, DOCUMENTS = FILES = ("vectors.npy", "chunks.parquet", "documents.parquet")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return build_store(tmp_path / "store", ar1_world(8, 12, 16, seed=1)).path


def cut(path: Path, keep: float) -> None:
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])


def manifest(store: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    value = json.loads((store / "manifest.json").read_text())
    value = change(value) or value
    (store / "manifest.json").write_text(json.dumps(value))


def garbage(path: Path, start: int, stop: int) -> None:
    data = bytearray(path.read_bytes())
    data[start:stop] = np.random.default_rng(0).integers(0, 256, stop - start, dtype=np.uint8).tobytes()
    path.write_bytes(data)


def vectors(store: Path, vectors_ND: np.ndarray) -> None:
    np.save(store / VECTORS, vectors_ND)


def archive(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, a=np.eye(3))


AT_OPENING = {
    **{f"no {name}": (lambda s, name=name: (s / name).unlink(), (name, "is missing")) for name in FILES},
    **{
        f"{keep:.0%} of {name}": (lambda s, name=name, keep=keep: cut(s / name, keep), (name, ""))
        for name in FILES
        for keep in (0, 0.01, 0.5, 0.95)
    },
    "a folder": (lambda s: ((s / VECTORS).unlink(), (s / VECTORS).mkdir()), (VECTORS, "cannot be read")),
    "a header of zeros": (lambda s: garbage(s / VECTORS, 8, 60), (VECTORS, "cannot be read")),
    "longer": (lambda s: (s / VECTORS).write_bytes((s / VECTORS).read_bytes() + b"xx"), (VECTORS, "bytes long")),
    "a pickle": (lambda s: vectors(s, np.array([None])), (VECTORS, "cannot be read")),
    "an archive": (lambda s: archive(s / VECTORS), (VECTORS, "cannot be read")),
    "another width": (lambda s: vectors(s, np.ones((96, 8), np.float32)), ("96 × 8 float32", "96 × 16 float32")),
    "other rows": (lambda s: vectors(s, np.ones((95, 16), np.float32)), ("95 × 16 float32", "96 × 16 float32")),
    "another type": (lambda s: vectors(s, np.ones((96, 16))), ("96 × 16 float64", "96 × 16 float32")),
    "fewer chunks": (
        lambda s: pq.write_table(pq.read_table(s / CHUNKS).slice(1), s / CHUNKS),
        (CHUNKS, "has 95 rows", "says 96"),
    ),
    "no ids": (
        lambda s: pq.write_table(pq.read_table(s / DOCUMENTS).drop_columns(["id"]), s / DOCUMENTS),
        (DOCUMENTS, "'id'", "title"),
    ),
    "a bare manifest": (lambda s: manifest(s, lambda m: {"kind": "store"}), ("manifest.json", "'space'")),
    "no count": (lambda s: manifest(s, lambda m: m["counts"].pop("chunks") and None), ("manifest.json", "'chunks'")),
    "no hashes": (lambda s: manifest(s, lambda m: m.update(hashes={})), ("manifest.json", "'vectors.npy'")),
    "a space of the future": (lambda s: manifest(s, lambda m: m["space"].update(curvature=1)), ("curvature",)),
    "a width in words": (lambda s: manifest(s, lambda m: m["space"].update(dim="16")), ("'dim'", "a number")),
    "a format in words": (lambda s: manifest(s, lambda m: m.update(format="1")), ("manifest.json", "format")),
}


@pytest.mark.parametrize(("damage", "told"), AT_OPENING.values(), ids=AT_OPENING)
def test_what_opening_notices(store: Path, damage: Callable[[Path], Any], told: tuple[str, ...]) -> None:
    damage(store)
    with pytest.raises(InputError) as caught:
        Store(store)
    line = str(caught.value)
    assert "\n" not in line and str(store) in line
    for part in told:
        assert part in line, line


def test_every_command_says_it_in_one_line_with_the_way_out(store: Path, segue: Segue, tmp_path: Path) -> None:
    cut(store / VECTORS, 0.5)
    for command in (
        ("store", "describe", store),
        ("check", store),
        ("split", store, "--out", tmp_path / "split.json"),
        ("5cat", "oracle", "--data", store),
        ("train", "p1", "--data", store, "--out", tmp_path / "run"),
    ):
        ran = segue(*command)
        assert (ran.status, ran.out) == (2, "") and ran.err.count("\n") == 1, ran
        assert VECTORS in ran.err and f"delete {store} and make it again with `tests`" in ran.err


def spoil(store: Path, row: int, value: float) -> None:
    mapped = np.lib.format.open_memmap(store / VECTORS, mode="r+")
    mapped[row, 3] = value
    mapped.flush()


@pytest.mark.parametrize(("value", "told"), [(np.nan, "NaN"), (-np.inf, "infinity")])
def test_a_vector_that_is_not_finite_is_named(store: Path, segue: Segue, value: float, told: str) -> None:
    """Row 40 of documents of 12 chunks: the fourth. `check` told a cosine of nan and went on."""
    spoil(store, 40, value)
    assert segue("store", "describe", store).status == 0, "opening reads headers only"
    for command in (("store", "describe", store, "--verify"), ("check", store)):
        ran = segue(*command)
        assert ran.status == 2 and ran.err.count("\n") == 1
        assert VECTORS in ran.err and f"{told} at row 40 (document 'doc-3')" in ran.err


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_named(store: Path, segue: Segue, name: str) -> None:
    if name == VECTORS:
        spoil(store, 5, 0.25)
    else:
        pq.write_table(pq.read_table(store / name), store / name, compression="none")
    wanted = json.loads((store / "manifest.json").read_text())["hashes"][name]
    for command in (("store", "describe", store, "--verify"), ("check", store)):
        ran = segue(*command)
        assert (ran.status, ran.out) == (2, "")
        error = ran.err.splitlines()[-1]
        assert name in error and hash_file(store / name)[:19] in error and wanted[:19] in error


def test_a_whole_store_is_said_to_be(store: Path, segue: Segue) -> None:
    ran = segue("store", "describe", store, "--verify")
    assert ran.status == 0 and "every vector is finite" in ran.out
    assert json.loads(segue("store", "describe", store, "--verify", "--json", "-").out)["verified"] is True
    assert json.loads(segue("check", store, "--json", "-").out)["verified"] is True


def test_of_a_large_store_the_rows_that_are_checked_are_looked_at(
    store: Path, segue: Segue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is large is set to a hundred bytes: the hash is not compared, NaN is found all the same, and it is said."""
    monkeypatch.setattr(check, "VERIFIED_UP_TO", 100)
    spoil(store, 5, 0.25)
    ran = segue("check", store, "--json", "-")
    assert "hashes are not compared" in ran.err and json.loads(ran.out)["verified"] is False
    spoil(store, 40, np.nan)
    ran = segue("check", store)
    assert ran.status == 2 and "NaN at row 40 (document 'doc-3')" in ran.err.splitlines()[-1]
