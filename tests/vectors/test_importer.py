"""`segue import`: rows come through as they are, in every format; what is wrong is named by its row."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_text import write_jsonl

from command_line import Refused, Segue
from segue.text import open_source
from segue.vectors import Store
from segue.vectors.embed import Encoding, embed
from segue.vectors.encoders import declared_space
from segue.vectors.importer import import_vectors
from segue.vectors.tables import Keys

N, D = 20, 8
DOCUMENT_N = np.repeat([5, 3, 9], [7, 7, 6])
POSITION_N = np.concatenate([np.arange(7), np.arange(7) * 2, np.arange(1, 7)])


def unit(dtype: Any = np.float32, n: int = N, d: int = D) -> np.ndarray:
    vectors_ND = np.random.default_rng(1).normal(size=(n, d))
    return (vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True)).astype(dtype)


def npz(path: Path, vectors_ND: np.ndarray | None = None, **columns: np.ndarray) -> Path:
    columns = {"document_ids": DOCUMENT_N, "positions": POSITION_N, **columns}
    np.savez(path, vectors=unit() if vectors_ND is None else vectors_ND, **columns)  # type: ignore[arg-type]
    return path


def parquet(path: Path, vectors: pa.Array, **columns: Any) -> Path:
    pq.write_table(pa.table({"document": DOCUMENT_N, "position": POSITION_N, "vector": vectors, **columns}), path)
    return path


def fixed(vectors_ND: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors_ND.ravel()), vectors_ND.shape[1])


def npy(path: Path, vectors_ND: np.ndarray) -> Path:
    np.save(path, vectors_ND)
    return path


def holds(store: Store, vectors_ND: np.ndarray) -> None:
    assert np.array_equal(store.vectors_ND, vectors_ND) and store.vectors_ND.dtype == vectors_ND.dtype
    assert store.document_ids == ["5", "3", "9"]
    assert store.first_row_G.tolist() == [0, 7, 14] and store.length_G.tolist() == [7, 7, 6]
    assert store.document_N.tolist() == [0] * 7 + [1] * 7 + [2] * 6
    assert store.position_N.tolist() == POSITION_N.tolist()


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_every_format_brings_the_same_rows(tmp_path: Path, dtype: Any) -> None:
    vectors_ND = unit(dtype)
    titles = [f"title {i}" for i in DOCUMENT_N]
    texts = [f"text {i}" if i else None for i in range(N)]
    rows = list(zip(DOCUMENT_N.tolist(), POSITION_N.tolist(), strict=True))
    (tmp_path / "ids.csv").write_text("document,position\n" + "".join(f"{d},{p}\n" for d, p in rows))
    (tmp_path / "ids.jsonl").write_text("".join(json.dumps({"document": d, "position": p}) + "\n" for d, p in rows))
    npy(tmp_path / "ids.npy", np.array(rows))
    npy(tmp_path / "named.npy", np.array(rows, dtype=[("document", int), ("position", int)]))
    pq.write_table(pa.table({"document": DOCUMENT_N, "position": POSITION_N}), tmp_path / "ids.parquet")
    npy(tmp_path / "v.npy", vectors_ND)
    lists = pa.array(vectors_ND.tolist(), pa.list_(pa.float32())) if dtype == np.float32 else fixed(vectors_ND)

    holds(import_vectors(npz(tmp_path / "a.npz", vectors_ND), tmp_path / "npz"), vectors_ND)
    for name, column in (("fixed", fixed(vectors_ND)), ("list", lists)):
        file = parquet(tmp_path / f"{name}.parquet", column, text=texts, title=titles)
        store = import_vectors(file, tmp_path / name)
        holds(store, vectors_ND)
        assert store.texts(range(N)) == texts and store.titles == ["title 5", "title 3", "title 9"]
    for ids in ("ids.csv", "ids.jsonl", "ids.npy", "named.npy", "ids.parquet"):
        holds(import_vectors(tmp_path / "v.npy", tmp_path / f"npy-{ids}", ids=tmp_path / ids), vectors_ND)


def test_names_of_fields_are_found_or_given(tmp_path: Path, refused: Refused) -> None:
    np.savez(tmp_path / "wiki.npz", vectors=unit(), article_ids=DOCUMENT_N, chunk_ids=POSITION_N)
    holds(import_vectors(tmp_path / "wiki.npz", tmp_path / "a"), unit())
    np.savez(tmp_path / "odd.npz", v=unit(), d=DOCUMENT_N, p=POSITION_N)
    holds(import_vectors(tmp_path / "odd.npz", tmp_path / "b", keys=Keys("v", "d", "p")), unit())
    told = refused("import", tmp_path / "odd.npz")
    assert "no field for the vectors" in told and "v, d, p" in told and "--vectors-key" in told
    told = refused("import", tmp_path / "odd.npz", "--vectors-key", "vv")
    assert "'vv'" in told and 'Did you mean "v"?' in told


def test_gaps_stay_and_are_counted(tmp_path: Path) -> None:
    store = import_vectors(npz(tmp_path / "a.npz"), tmp_path / "s")
    assert store.manifest["counts"] == {
        "documents": 3,
        "chunks": 20,
        "gaps": 6,
        "documents_shorter_than_a_window": 0,
    }


def test_an_unstated_encoder_is_said_and_a_stated_one_is_comparable(tmp_path: Path, segue: Segue) -> None:
    wide = unit(np.float16, N, 384)
    ran = segue("import", npz(tmp_path / "a.npz", wide), "--out", tmp_path / "a")
    assert ran.status == 0 and "--encoder not stated" in ran.err and Store(tmp_path / "a").space.encoder == "unstated"
    for name in ("minilm", "sentence-transformers/all-MiniLM-L6-v2"):
        store = import_vectors(tmp_path / "a.npz", tmp_path / name, encoder=name)
        assert store.space == declared_space("minilm")
    assert import_vectors(tmp_path / "a.npz", tmp_path / "o", encoder="other/model").space.encoder == "other/model"


def test_vectors_of_another_length_are_normalised_and_it_is_said(tmp_path: Path, segue: Segue) -> None:
    scale_N1 = np.linspace(0.1, 30, N)[:, None]
    ran = segue("import", npz(tmp_path / "a.npz", unit(np.float64) * scale_N1), "--out", tmp_path / "s")
    assert ran.status == 0 and "normalised" in ran.err
    store = Store(tmp_path / "s")
    assert store.manifest["imported"] == {"dtype": "float64", "normalised": True}
    assert store.vectors_ND.dtype == np.float32
    assert np.abs(store.vectors_ND - unit(np.float64)).max() < 1e-7


def test_text_comes_from_the_source_the_vectors_were_made_of(
    tmp_path: Path, tiny_encoder: Path, refused: Refused
) -> None:
    corpus = write_jsonl(tmp_path / "corpus.jsonl")
    made = embed(open_source(str(corpus)), tmp_path / "made", encoding=Encoding(str(tiny_encoder)))
    file = tmp_path / "v.npz"
    np.savez(file, vectors=made.vectors_ND, document_ids=made.document_N, positions=made.position_N)
    store = import_vectors(file, tmp_path / "s", text=open_source(str(corpus)))
    rows = range(len(made))
    assert store.texts(rows) == made.texts(rows) and store.titles == made.titles
    assert store.document_ids == made.document_ids
    assert "d0" in refused("import", file, "--text", corpus, "--chunk", "words", "--words", 3)
    write_jsonl(corpus, documents=5)
    assert "has 5 documents" in refused("import", file, "--text", corpus)


def test_a_finished_store_is_kept(tmp_path: Path, segue: Segue, tiny_encoder: Path) -> None:
    """Asked for the same, it is complete; asked for anything else, it is refused with the difference."""
    file, out = npz(tmp_path / "a.npz"), tmp_path / "s"
    import_vectors(file, out)
    before = (out / "manifest.json").read_bytes()
    again = segue("import", file, "--out", out)
    assert again.status == 0 and "already complete" in again.err and "unstated" in again.out
    corpus = write_jsonl(tmp_path / "corpus.jsonl")
    embed(open_source(str(corpus)), tmp_path / "embedded", encoding=Encoding(str(tiny_encoder)))
    other = npz(tmp_path / "b.npz", -unit())
    for source, options, store, told in (
        (other, (), out, "source 'sha256:"),
        (file, ("--encoder", "mine"), out, "encoder None (now 'mine')"),
        (file, ("--document-key", "document_ids"), out, "document_key None (now 'document_ids')"),
        (file, ("--text", corpus), out, "text None (now {"),
        (file, (), tmp_path / "embedded", "made with `segue embed`"),
    ):
        ran = segue("import", source, "--out", store, *options)
        assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1) and told in ran.err, ran
    assert (out / "manifest.json").read_bytes() == before


def spoilt(row: int, value: float, dtype: Any = np.float32) -> np.ndarray:
    vectors_ND = unit(dtype)
    vectors_ND[row, 3] = value
    return vectors_ND


def zero(row: int) -> np.ndarray:
    vectors_ND = unit()
    vectors_ND[row] = 0
    return vectors_ND


def changed(column: np.ndarray, row: int, value: Any) -> np.ndarray:
    column = column.copy()
    column[row] = value
    return column


def ragged(path: Path) -> Path:
    rows: list[list[float]] = unit().tolist()
    rows[11] = rows[11][:5]
    return parquet(path, pa.array(rows, pa.list_(pa.float32())))


def nulls(path: Path, whole: bool) -> Path:
    rows: list[Any] = unit().tolist()
    rows[11] = None if whole else [None, *rows[11][1:]]
    return parquet(path, pa.array(rows, pa.list_(pa.float32())))


def null_id(path: Path) -> Path:
    ids = [None if id_ == 9 else str(id_) for id_ in DOCUMENT_N]
    pq.write_table(pa.table({"document": ids, "position": POSITION_N, "vector": fixed(unit())}), path)
    return path


def text_file(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


Case = tuple[str, Callable[[Path], Path], tuple[str, ...]]
BAD: list[Case] = [
    ("NaN", lambda p: npz(p / "a.npz", spoilt(12, np.nan)), ("row 12", "NaN", "finite")),
    ("NaN in float16", lambda p: npz(p / "a.npz", spoilt(12, np.nan, np.float16)), ("row 12", "NaN")),
    ("infinity", lambda p: npz(p / "a.npz", spoilt(0, -np.inf)), ("row 0", "infinity")),
    ("beyond float32", lambda p: npz(p / "a.npz", spoilt(3, 1e300, np.float64)), ("row 3", "infinity")),
    ("zero vector", lambda p: npz(p / "a.npz", zero(4)), ("row 4", "zero")),
    ("no rows", lambda p: npz(p / "a.npz", unit(n=0)), ("(0, 8)", "at least one row")),
    ("flat", lambda p: npz(p / "a.npz", unit().ravel()), ("(160,)", "(rows, width)")),
    ("whole numbers", lambda p: npz(p / "a.npz", (unit() * 100).astype(np.int8)), ("int8", "float16")),
    ("too few ids", lambda p: npz(p / "a.npz", document_ids=DOCUMENT_N[:-1]), ("(19,)", "(20,)", "document_ids")),
    ("too few positions", lambda p: npz(p / "a.npz", positions=POSITION_N[1:]), ("(19,)", "positions")),
    (
        "NaN for an id",
        lambda p: npz(p / "a.npz", document_ids=changed(DOCUMENT_N.astype(float), 7, np.nan)),
        ("'document_ids' is NaN at row 7", "id is wanted"),
    ),
    (
        "an empty id",
        lambda p: npz(p / "a.npz", document_ids=changed(DOCUMENT_N.astype(str), 19, "")),
        ("empty at row 19",),
    ),
    ("blanks for an id", lambda p: npz(p / "a.npz", document_ids=np.repeat(["a", " "], 10)), ("is empty at row 10",)),
    ("null for an id", lambda p: null_id(p / "a.parquet"), ("'document' is null at row 14",)),
    (
        "a document that comes back",
        lambda p: npz(p / "a.npz", document_ids=changed(DOCUMENT_N, 19, 5)),
        ("out of order", "row 19", "'5'", "row is 0"),
    ),
    (
        "positions that fall",
        lambda p: npz(p / "a.npz", positions=changed(POSITION_N, 5, 3)),
        ("out of order", "row 5", "3", "4"),
    ),
    ("a position twice", lambda p: npz(p / "a.npz", positions=changed(POSITION_N, 15, 1)), ("row 15", "must rise")),
    ("a negative position", lambda p: npz(p / "a.npz", positions=changed(POSITION_N, 0, -1)), ("-1 at row 0",)),
    ("half a position", lambda p: npz(p / "a.npz", positions=POSITION_N + 0.5), ("0.5 at row 0", "whole number")),
    ("a huge position", lambda p: npz(p / "a.npz", positions=changed(POSITION_N, 6, 2**40)), ("at row 6",)),
    ("pickled ids", lambda p: npz(p / "a.npz", document_ids=DOCUMENT_N.astype(object)), ("pickled", "refused")),
    ("pickled vectors", lambda p: npz(p / "a.npz", unit().astype(object)), ("pickled", "refused")),
    ("an empty file", lambda p: text_file(p / "a.npz", ""), ("is empty",)),
    ("no archive", lambda p: text_file(p / "a.npz", "not an archive"), ("a.npz", "Save it again")),
    ("half an archive", lambda p: _half(npz(p / "a.npz")), ("cannot be read",)),
    ("an array named npz", lambda p: npy(p / "a.npy", unit()).rename(p / "a.npz"), ("single array",)),
    ("no ids", lambda p: npy(p / "a.npy", unit()), ("--ids FILE",)),
    ("another ending", lambda p: text_file(p / "a.bin", "x"), (".bin", ".npz")),
    ("a missing file", lambda p: p / "a.npz", ("no such file",)),
    ("a folder", lambda p: p, ("is a folder",)),
    ("widths differ", lambda p: ragged(p / "a.parquet"), ("row 11", "5 wide", "8")),
    ("a vector is null", lambda p: nulls(p / "a.parquet", True), ("null at row 11",)),
    ("an entry is null", lambda p: nulls(p / "a.parquet", False), ("row 11", "NaN")),
    ("no lists", lambda p: parquet(p / "a.parquet", pa.array(range(N))), ("int64", "lists of floats")),
    ("no parquet", lambda p: text_file(p / "a.parquet", "x" * 99), ("is not parquet",)),
]


def _half(path: Path) -> Path:
    data = bytearray(path.read_bytes())
    data[200:300] = bytes(100)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(("make", "told"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_vectors_are_one_line(
    tmp_path: Path, refused: Refused, make: Callable[[Path], Path], told: tuple[str, ...]
) -> None:
    line = refused("import", make(tmp_path))
    for part in told:
        assert part in line, line


def test_bad_ids_are_one_line(tmp_path: Path, refused: Refused) -> None:
    file = npy(tmp_path / "v.npy", unit())
    for name, text, told in (
        ("a.csv", "doc,position\n1,2\n", "no field for the document"),
        ("b.csv", "document,position\n1,x\n" + "1,3\n" * 19, "'x' at row 0"),
        ("c.csv", "document,position\n1\n", "row 0 lacks"),
        ("d.jsonl", '{"document": 1, "position": 2}\n{', "cannot be read"),
        ("e.jsonl", "[]\n", "row 0 lacks"),
        ("f.txt", "1 2", ".csv"),
        ("g.csv", "", "is empty"),
        ("h.csv", "document,position\n", "no field"),
    ):
        line = refused("import", file, "--ids", text_file(tmp_path / name, text))
        assert told in line, line
    assert "(20, 3)" in refused("import", file, "--ids", npy(tmp_path / "i.npy", np.zeros((N, 3), int)))
    assert "no --ids" in refused("import", npz(tmp_path / "a.npz"), "--ids", tmp_path / "i.npy")


def test_the_named_encoder_must_have_the_width(tmp_path: Path, refused: Refused) -> None:
    line = refused("import", npz(tmp_path / "a.npz"), "--encoder", "minilm")
    assert "8 wide" in line and "384" in line
