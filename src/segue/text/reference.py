"""Python's own language reference as text that needs no network: `pydoc_data.topics`, which ships inside CPython.

Every chapter of a topic is a document; what another topic repeats is left out, so that no sentence is both learnt
and tested on. The topics are plain text made by Sphinx: headings underlined with `*`, `=` or `-`, code and
definitions indented, tables drawn with `|`. Only prose is kept.
"""

import re
from collections.abc import Iterator

from segue.text.documents import Document, Paragraph, one_line

_BLANK = re.compile(r"\n[^\S\n]*\n")
_UNDERLINED = re.compile(r"^(\S[^\n]*)\n([*=\-~^])\2{2,}$")
_FOOTNOTE = re.compile(r" ?\[\d+\]")
_EMPHASIS = re.compile(r"(?<![\w*])\*{1,2}([^*\s](?:[^*]*[^*\s])?)\*{1,2}(?![\w*])")
_LEAD = re.compile(r"^(?:\* |\d+\. |\[\d+\] |-- )+")
_HYPHEN = re.compile(r"(?<=[a-z])-\n\s*(?=[a-z])")
_WORD = re.compile(r"[A-Za-z][a-z’'-]*[.,;:!?)”\"’]*$")
_CODE = re.compile(r"::=|>>>|^[+|]|^\(Pdb\)|^[=\-]{4,}|^\.\.\. |  # ", re.MULTILINE)


def _prose(block: str) -> str | None:
    """A block as one line of prose; None for code, grammar, tables, signatures and rules."""
    if _CODE.search(block):
        return None
    text = _LEAD.sub("", one_line(_HYPHEN.sub("-", block)))
    text = _EMPHASIS.sub(r"\1", _FOOTNOTE.sub("", text))
    words = text.split()
    if len(words) < 4 or not text.rstrip('"”)’ ').endswith((".", ":", ";", "!", "?", ",")):
        return None
    wordlike = sum(bool(_WORD.match(word.lstrip('"“(‘'))) for word in words)
    return text if wordlike >= 0.6 * len(words) else None


def _chapters(topic: str) -> Iterator[tuple[str, list[Paragraph]]]:
    """(title, paragraphs) of a topic's chapters; headings below the first two levels become sections."""
    title, section, paragraphs = "", None, list[Paragraph]()
    for block in _BLANK.split(topic.strip()):
        heading = _UNDERLINED.match(block.strip("\n"))
        if heading and heading[2] in "*=":
            if paragraphs:
                yield title, paragraphs
            title, section, paragraphs = one_line(heading[1]), None, []
        elif heading:
            section = one_line(heading[1])
        elif (text := _prose(block)) is not None:
            paragraphs.append(Paragraph(text, section))
    if paragraphs:
        yield title, paragraphs


def reference_documents() -> Iterator[Document]:
    """The reference's chapters, longest topics considered first, given in the order of the topics' names.

    A chapter most of whose paragraphs stand in a longer topic is left out, and so is every single paragraph that
    came before.
    """
    from pydoc_data.topics import topics

    seen: set[str] = set()
    kept: dict[tuple[str, int], Document] = {}
    for name in sorted(topics, key=lambda name: (-len(topics[name]), name)):
        for number, (title, paragraphs) in enumerate(_chapters(topics[name])):
            first = {paragraph.text: paragraph for paragraph in paragraphs}
            new = [paragraph for text, paragraph in first.items() if text not in seen]
            seen.update(first)
            if 2 * len(new) > len(first):
                id_ = f"{name}-{number}" if number else name
                kept[name, number] = Document(id_, tuple(new), title or name, f"topic {name}")
    for key in sorted(kept):
        yield kept[key]
