"""Chunks keep the document's order and words; what is dropped is counted, and leaves a gap only when it was content."""

import json
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.errors import InputError
from segue.text import Chunked, Chunking, Counts, Document, Paragraph, Source, open_source, read_chunks, survey
from segue.text.chunks import CHUNKERS
from segue.text.sources import Fields


class InMemory(Source):
    def __init__(self, *documents: list[str]):
        super().__init__("memory", Fields())
        self._documents = documents

    def hash(self) -> str:
        return "none"

    def documents(self):  # type: ignore[no-untyped-def]
        for i, texts in enumerate(self._documents):
            yield Document(f"d{i}", tuple(Paragraph(text, f"s{k}") for k, text in enumerate(texts)))


def cut(source: Source, **settings: object) -> tuple[list[Chunked], Counts]:
    counts = Counts()
    return list(read_chunks(source, Chunking(**settings), counts)), counts  # type: ignore[arg-type]


LONG = "A paragraph with quite enough letters."


def test_paragraphs_are_the_default_and_near_empty_ones_are_counted() -> None:
    documents, counts = cut(InMemory([LONG, "* * *", "IV.", LONG], ["", "-"], [LONG] * 6))
    assert [[c.position for c in d.chunks] for d in documents] == [[0, 1], [0, 1, 2, 3, 4, 5]]
    assert [c.section for c in documents[0].chunks] == ["s0", "s3"]
    assert [d.id for d in documents] == ["d0", "d2"] and documents[1].chunks[0].document == 1
    assert counts == Counts(
        documents=2, chunks=8, dropped=4, documents_without_text=1, documents_shorter_than_a_window=1
    )


def test_a_gap_stands_where_real_content_was_dropped() -> None:
    """40 letters or digits between two kept chunks are content, however they were dropped; 39 are not."""
    for dropped, position in (
        (["x" * 39], 1),
        (["x" * 40], 2),
        (["x" * 20, "…", "y" * 20], 2),
        (["x" * 20, "y" * 19], 1),
    ):
        ((document,), _) = cut(InMemory(["k" * 99, *dropped, "k" * 99]), min_chars=50)
        assert [c.position for c in document.chunks] == [0, position]


def test_what_is_dropped_before_the_first_chunk_leaves_no_gap() -> None:
    ((document,), _) = cut(InMemory(["x" * 45, "k" * 99]), min_chars=50)
    assert document.chunks[0].position == 0


def test_sentences_are_cut_where_a_reader_would() -> None:
    text = "Dr. Smith paid 3.50 dollars, e.g. for tea. He left at noon. Why? Nobody ever knew that."
    ((document,), counts) = cut(InMemory([text, "Another paragraph stands here."]), name="sentence")
    assert [c.text for c in document.chunks] == [
        "Dr. Smith paid 3.50 dollars, e.g. for tea.",
        "He left at noon.",
        "Nobody ever knew that.",
        "Another paragraph stands here.",
    ]
    assert counts.dropped == 1


@given(st.lists(st.lists(st.text("abcdefgh", min_size=1, max_size=9), max_size=12), max_size=6), st.integers(1, 7))
def test_words_cover_the_document_once_and_do_not_overlap(paragraphs: list[list[str]], n: int) -> None:
    source = InMemory([" ".join(words) for words in paragraphs])
    documents, _ = cut(source, name="words", words=n, min_chars=1)
    chunks = [c.text.split(" ") for d in documents for c in d.chunks]
    assert [word for chunk in chunks for word in chunk] == [word for words in paragraphs for word in words]
    assert all(len(chunk) == n for chunk in chunks[:-1])


@given(st.lists(st.text(max_size=60), max_size=8))
def test_every_paragraph_is_kept_or_counted(texts: list[str]) -> None:
    documents, counts = cut(InMemory(texts))
    assert counts.chunks + counts.dropped == len(texts)
    assert counts.chunks == sum(len(d.chunks) for d in documents)


def test_the_limit_counts_documents_of_the_source() -> None:
    counts = Counts()
    source = InMemory([LONG], [], [LONG], [LONG])
    assert len(list(read_chunks(source, Chunking(), counts, limit=3))) == 2
    assert counts.documents_without_text == 1


def test_an_id_twice_is_refused_with_both_places(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps({"id": id_, "text": LONG}) for id_ in "abca"))
    with pytest.raises(InputError, match=r"'a' stands at line 1 and at line 4"):
        cut(open_source(str(path)))


def test_a_survey_draws_evenly_and_always_the_same() -> None:
    source = InMemory(
        *[[f"chunk number {i:05d} of many" for i in range(start, start + 10)] for start in range(0, 5000, 10)]
    )
    drawn = survey(source, Chunking(), sample=256).sample
    numbers = [int(text.split()[2]) for text in drawn]
    assert len(set(numbers)) == 256 and drawn == survey(source, Chunking(), sample=256).sample
    assert abs(sum(numbers) / 256 - 2500) < 4 * 1443 / 16  # four standard errors of a uniform draw's mean


def test_no_chunk_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="2 documents without text, 1 near-empty"):
        survey(InMemory([], ["-"]), Chunking())


def test_counts_become_warnings(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("segue"), "propagate", True)
    Counts(documents=9, documents_without_text=2, documents_shorter_than_a_window=3).warn("here")
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "2 documents without text" in caplog.text and "3 of 9 documents are shorter than a window" in caplog.text
    caplog.clear()
    Counts(documents=9).warn("here")
    assert not caplog.records


def test_bad_settings_are_refused() -> None:
    for settings in ({"name": "sentences"}, {"words": 0}, {"min_chars": 0}):
        with pytest.raises(InputError):
            Chunking(**settings)  # type: ignore[arg-type]
    for language in ("xx", "EN", "english", ""):
        with pytest.raises(InputError, match=f"--language: found '{language}'"):
            Chunking("sentence", language=language)
    assert Chunking("sentence", language="ceb").settings["language"] == "ceb"
    Chunking("paragraph", language="xx")  # not used, so not asked about
    for name in CHUNKERS:
        assert Chunking(name).settings["chunk"] == name
