"""Every kind of source gives the same documents; what cannot be read is named by its line."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest

from segue.errors import InputError
from segue.text import BUILTIN, Fields, open_source

RECORDS = [
    {"id": "a", "title": "A", "paragraphs": ["First paragraph.", "  Second\nparagraph. "]},
    {"id": 7, "text": "One.\n\nTwo."},
    {"id": "empty", "paragraphs": []},
]
WANTED = [
    ("a", "A", ["First paragraph.", "Second paragraph."]),
    ("7", None, ["One.", "Two."]),
    ("empty", None, []),
]


def lines(*records: object) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def read(path: Path | str, fields: Fields | None = None) -> list[tuple[str, str | None, list[str]]]:
    return [(d.id, d.title, [p.text for p in d.paragraphs]) for d in open_source(str(path), fields).documents()]


def refusal(path: Path | str, fields: Fields | None = None) -> str:
    with pytest.raises(InputError) as caught:
        read(path, fields)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_plain_gzip_and_zstandard_hold_the_same(tmp_path: Path) -> None:
    data = lines(*RECORDS)
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + data.replace(b"\n", b"\n\n", 1))  # a BOM, a blank line
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(data))
    (tmp_path / "a.jsonl.zst").write_bytes(pa.compress(data, "zstd", asbytes=True))
    for name in ("a.jsonl", "a.jsonl.gz", "a.jsonl.zst"):
        assert read(tmp_path / name) == WANTED


def test_a_source_is_a_stream(tmp_path: Path) -> None:
    """The broken line is never reached by who takes the first document only; a source is read as often as asked."""
    (tmp_path / "a.jsonl").write_bytes(lines(RECORDS[0]) + b"{broken\n")
    source = open_source(str(tmp_path / "a.jsonl"))
    assert next(source.documents()).id == next(source.documents()).id == "a"


def test_field_names_are_configurable_and_missing_ones_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines({"url": "u", "name": "N", "content": ["x y"]}))
    assert read(path, Fields("url", "name", "content")) == [("u", "N", ["x y"])]
    assert "--text-field" in refusal(path) and "url, name, content" in refusal(path)
    assert "'uri'" in refusal(path, Fields(id="uri", text="content"))


def test_without_an_id_the_line_number_serves(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines({"text": "x"}, {"text": "y"}))
    assert [id_ for id_, _, _ in read(tmp_path / "a.jsonl")] == ["1", "2"]


def test_paragraphs_may_carry_their_section(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines({"paragraphs": [{"text": "x", "section": "S"}, "y"]}))
    (document,) = open_source(str(tmp_path / "a.jsonl")).documents()
    assert [(p.text, p.section) for p in document.paragraphs] == [("x", "S"), ("y", None)]


def test_half_a_surrogate_pair_does_not_reach_the_store(tmp_path: Path) -> None:
    """JSON may hold `\\ud800` alone; it is no text, and Arrow refuses it hours later."""
    (tmp_path / "a.jsonl").write_bytes(b'{"id": "\\ud800", "title": "t\\udfff", "text": "x \\ud800 y"}\n')
    ((id_, title, (text,)),) = read(tmp_path / "a.jsonl")
    for value in (id_, title, text):
        assert value is not None
        value.encode()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"{broken", "is not JSON"),
        (b"[1, 2]", "is a list"),
        (b'{"text": 3}', "is a number"),
        (b'{"paragraphs": ["x", null]}', "item 1 is null"),
        (b'{"text": "\xff"}', "is not UTF-8"),
    ],
)
def test_a_line_that_cannot_be_read_is_named_by_its_number(tmp_path: Path, line: bytes, told: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(RECORDS[0], RECORDS[1]) + line + b"\n")
    message = refusal(tmp_path / "a.jsonl")
    assert "a.jsonl, line 3" in message and told in message


def test_a_damaged_archive_is_said_to_be_one(tmp_path: Path) -> None:
    data = lines(*({"id": str(i), "text": f"text {i} {i * 7919 % 104729}"} for i in range(3000)))
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(data)[:-2000])
    (tmp_path / "not.jsonl.gz").write_bytes(b"plain text")
    (tmp_path / "cut.jsonl.zst").write_bytes(pa.compress(data, "zstd", asbytes=True)[:-2000])
    (tmp_path / "not.jsonl.zst").write_bytes(b"plain text")
    for name in ("cut.jsonl.gz", "not.jsonl.gz", "cut.jsonl.zst", "not.jsonl.zst"):
        assert "cannot be decompressed" in refusal(tmp_path / name)


def test_a_folder_is_read_in_the_order_of_its_paths(tmp_path: Path) -> None:
    for name, text in {"b.txt": "B.", "a/z.md": "# H\n\nZ.", "a.txt": "A.", "c.pdf": "no", ".h/x.txt": "no"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert read(tmp_path) == [("a.txt", "a", ["A."]), ("a/z.md", "z", ["Z."]), ("b.txt", "b", ["B."])]
    before = open_source(str(tmp_path)).hash()
    (tmp_path / "b.txt").rename(tmp_path / "d.txt")
    assert open_source(str(tmp_path)).hash() != before


def test_one_file_is_one_document(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("Text.")
    assert read(tmp_path / "a.md") == [("a.md", "a", ["Text."])]


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    for name in ("empty.jsonl", "a.pdf"):
        (tmp_path / name).touch()
    (tmp_path / "blank.txt").write_text(" \n")
    (tmp_path / "blank.jsonl").write_text("\n\n")
    (tmp_path / "latin.txt").write_bytes(b"\xe9")
    (tmp_path / "folder").mkdir()
    assert "no such file" in refusal(tmp_path / "missing.jsonl")
    assert "is empty" in refusal(tmp_path / "empty.jsonl")
    assert "is empty" in refusal(tmp_path / "blank.jsonl")
    assert "is empty" in refusal(tmp_path / "blank.txt")
    assert "not UTF-8" in refusal(tmp_path / "latin.txt")
    assert ".pdf" in refusal(tmp_path / "a.pdf") and ".jsonl" in refusal(tmp_path / "a.pdf")
    assert ".txt or .md" in refusal(tmp_path / "folder")
    assert BUILTIN in refusal("builtin:nothing")


def test_the_reference_is_prose_that_repeats_nothing() -> None:
    documents = list(open_source(BUILTIN).documents())
    paragraphs = [p.text for d in documents for p in d.paragraphs]
    assert len({d.id for d in documents}) == len(documents) > 60
    assert len(set(paragraphs)) == len(paragraphs) > 900
    for mark in ("::=", ">>>", "====", "****", "+--", "\n"):
        assert not [text for text in paragraphs if mark in text], mark
    assert open_source(BUILTIN).hash() == open_source(BUILTIN).hash()


def test_the_reference_leaves_out_topics_contained_in_others() -> None:
    """`if` and `try` are topics and stand in `compound` word by word: learnt and tested on, they would leak."""
    ids = {document.id for document in open_source(BUILTIN).documents()}
    assert "compound" in ids and "assert" in ids
    assert not ids & {"if", "else", "while", "try", "with", "in", "customization"}
