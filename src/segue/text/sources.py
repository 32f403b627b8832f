"""Where documents come from: JSON lines, folders, single files, and text that ships with Python.

`open_source` picks by one table, `SOURCES`. A source is read as a stream, document after document, as often as
asked; opening one reads nothing but what tells whether it is there.
"""

import gzip
import io
import json
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, cast

from segue.artifacts import hash_file, hash_json
from segue.errors import InputError
from segue.text.documents import Document, Paragraph, markdown_paragraphs, one_line, plain_paragraphs
from segue.text.reference import reference_documents

BUILTIN = "builtin:python-reference"


@dataclass(frozen=True)
class Fields:
    """Names of a JSON record's fields; None: `id` and `title` when there, `paragraphs` or else `text`."""

    id: str | None = None
    title: str | None = None
    text: str | None = None


class Source(ABC):
    """Documents from one place. `name` is what the user typed."""

    default_chunk: ClassVar[str] = "paragraph"

    def __init__(self, name: str, fields: Fields):
        self.name = name
        self.fields = fields

    @property
    def settings(self) -> dict[str, Any]:
        """What besides the bytes decides on the documents; part of an artifact's lineage."""
        return {}

    @abstractmethod
    def hash(self) -> str:
        """sha256 over everything the documents are made of."""

    @abstractmethod
    def documents(self) -> Iterator[Document]:
        """The documents in order. Raises InputError, naming file and line, where one cannot be read."""


class JsonLines(Source):
    """One JSON object a line; plain, gzip or Zstandard by the file's name."""

    def __init__(self, name: str, fields: Fields):
        super().__init__(name, fields)
        self.path = Path(name)

    @property
    def settings(self) -> dict[str, Any]:
        return {"fields": asdict(self.fields)}

    def hash(self) -> str:
        return hash_file(self.path)

    def documents(self) -> Iterator[Document]:
        number, fields_found = 0, ""
        with_text = 0
        with _open_lines(self.path) as lines:
            for number, line in enumerate(_readable(lines, self.path), 1):
                if not line.strip():
                    continue
                record = _record(line, f"{self.path}, line {number}")
                fields_found = fields_found or ", ".join(map(str, record)) or "none"
                document = self._document(record, number)
                with_text += bool(document.paragraphs)
                yield document
        if not fields_found:
            raise InputError(f"{self.path}: is empty, at least one JSON record is wanted. Check the file.")
        if not with_text:
            wanted = self.fields.text or "paragraphs or text"
            raise InputError(
                f"{self.path}: no record has text in a field {wanted} (the first one's fields: {fields_found}). "
                f"Name the field with --text-field."
            )

    def _document(self, record: dict[str, Any], number: int) -> Document:
        place = f"{self.path}, line {number}"
        for name, option in ((self.fields.id, "--id-field"), (self.fields.title, "--title-field")):
            if name is not None and name not in record:
                found = ", ".join(record)
                raise InputError(f"{place}: has no field {name!r} (found: {found}). Give {option} another name.")
        id_ = record.get(self.fields.id or "id")
        title = record.get(self.fields.title or "title")
        text_field = self.fields.text or ("paragraphs" if record.get("paragraphs") is not None else "text")
        paragraphs = _paragraphs(record.get(text_field), f"{place}, field {text_field!r}")
        id_ = str(number) if id_ is None else one_line(str(id_))
        return Document(id_, paragraphs, None if title is None else one_line(str(title)), f"line {number}")


def _open_lines(path: Path) -> BinaryIO:
    if path.suffix.lower() == ".gz":
        return cast(BinaryIO, gzip.open(path))
    if path.suffix.lower() == ".zst":
        import pyarrow as pa

        return cast(BinaryIO, io.BufferedReader(pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")))
    return path.open("rb")


def _readable(lines: BinaryIO, path: Path) -> Iterator[bytes]:
    """The lines of a file that may turn out to be damaged half-way."""
    number = 0
    try:
        for line in lines:
            number += 1
            yield line
    except (EOFError, zlib.error, OSError) as error:
        raise InputError(
            f"{path}: cannot be decompressed after line {number} ({error}). Fetch or make the file again."
        ) from None


def _kind(value: Any) -> str:
    """A JSON value's kind in words."""
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


def _record(line: bytes, place: str) -> dict[str, Any]:
    try:
        record = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputError(f"{place}: is not UTF-8 ({error.reason} at byte {error.start}). Convert the file.") from None
    except ValueError as error:
        raise InputError(f"{place}: is not JSON ({error}). Every line must hold one JSON object.") from None
    if not isinstance(record, dict):
        raise InputError(f"{place}: is {_kind(record)}, a JSON object is wanted. Check the file.")
    return record


def _paragraphs(value: Any, place: str) -> tuple[Paragraph, ...]:
    """A field's text: a string, or a list of strings or of objects with `text` and perhaps `section`."""
    if value is None:
        return ()
    if isinstance(value, str):
        return plain_paragraphs(value)
    if not isinstance(value, list):
        raise InputError(f"{place}: is {_kind(value)}, a string or a list of strings is wanted. Check the record.")
    paragraphs = []
    for i, item in enumerate(value):
        text, section = (item.get("text"), item.get("section")) if isinstance(item, dict) else (item, None)
        if not isinstance(text, str):
            raise InputError(f"{place}: item {i} is {_kind(item)}, a string is wanted. Check the record.")
        if line := one_line(text):
            paragraphs.append(Paragraph(line, None if section is None else one_line(str(section))))
    return tuple(paragraphs)


_FILES: dict[str, Callable[[str], tuple[Paragraph, ...]]] = {".txt": plain_paragraphs, ".md": markdown_paragraphs}


def _read_file(path: Path, id_: str) -> Document:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 ({error.reason} at byte {error.start}). Convert the file.") from None
    except PermissionError:
        raise InputError(f"{path}: is not readable by you. Change its permissions.") from None
    return Document(id_, _FILES[path.suffix.lower()](text), path.stem, str(path))


class Folder(Source):
    """All `.txt` and `.md` files below a folder, in the order of their paths; hidden ones are left out."""

    def __init__(self, name: str, fields: Fields):
        super().__init__(name, fields)
        self.path = Path(name)

    def _files(self) -> list[tuple[str, Path]]:
        found = []
        for path in self.path.rglob("*"):
            parts = path.relative_to(self.path).parts
            if path.suffix.lower() in _FILES and path.is_file() and not any(part.startswith(".") for part in parts):
                found.append(("/".join(parts), path))
        if not found:
            raise InputError(f"{self.path}: holds no .txt or .md file, at least one is wanted. Check the folder.")
        return sorted(found)

    def hash(self) -> str:
        return hash_json([(name, hash_file(path)) for name, path in self._files()])

    def documents(self) -> Iterator[Document]:
        for name, path in self._files():
            yield _read_file(path, name)


class OneFile(Source):
    """One `.txt` or `.md` file: one document."""

    def __init__(self, name: str, fields: Fields):
        super().__init__(name, fields)
        self.path = Path(name)

    def hash(self) -> str:
        return hash_file(self.path)

    def documents(self) -> Iterator[Document]:
        document = _read_file(self.path, self.path.name)
        if not document.paragraphs:
            raise InputError(f"{self.path}: is empty, text is wanted. Check the file.")
        yield document


class PythonReference(Source):
    """The language reference inside CPython. Its text changes from one Python to the next, and so does the hash."""

    default_chunk = "sentence"

    def hash(self) -> str:
        return hash_json([[d.id, d.title, [p.text for p in d.paragraphs]] for d in self.documents()])

    def documents(self) -> Iterator[Document]:
        return reference_documents()


SOURCES: dict[str, type[Source]] = {
    BUILTIN: PythonReference,
    "folder": Folder,
    ".jsonl": JsonLines,
    ".ndjson": JsonLines,
    ".gz": JsonLines,
    ".zst": JsonLines,
    ".txt": OneFile,
    ".md": OneFile,
}


def open_source(name: str, fields: Fields | None = None) -> Source:
    """The source a user named: a built-in text, a folder, or a file by its ending.

    Raises InputError when it does not exist or is of no known kind.
    """
    fields = fields or Fields()
    if name.startswith("builtin:"):
        if name not in SOURCES:
            raise InputError(f"{name}: no such built-in text. Known: {BUILTIN}.")
        return SOURCES[name](name, fields)
    path = Path(name)
    try:
        there = path.exists()
    except PermissionError:
        raise InputError(f"{name}: is not readable by you. Change its permissions.") from None
    if not there:
        raise InputError(f"{name}: no such file or folder. Check the path, or use {BUILTIN}.")
    kind = "folder" if path.is_dir() else path.suffix.lower()
    if kind not in SOURCES:
        known = ", ".join(key for key in SOURCES if key.startswith("."))
        raise InputError(
            f"{name}: ends in {kind or 'nothing'}, a folder or one of {known} is wanted. Rename or convert."
        )
    if path.is_file():
        try:
            path.open("rb").close()
        except PermissionError:
            raise InputError(f"{name}: is not readable by you. Change its permissions.") from None
        if path.stat().st_size == 0:
            raise InputError(f"{name}: is empty, documents are wanted. Check the file.")
    return SOURCES[kind](name, fields)
