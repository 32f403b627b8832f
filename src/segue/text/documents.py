"""A document: an id, a title and its paragraphs in order; and how plain text and Markdown become one."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Paragraph:
    """A piece of running text, line breaks and repeated blanks already made one blank."""

    text: str
    section: str | None = None


@dataclass(frozen=True)
class Document:
    """One document, in reading order.

    id      unique in its source; what a split names
    place   where it was read, for messages: a line number, a file
    """

    id: str
    paragraphs: tuple[Paragraph, ...]
    title: str | None = None
    place: str = ""


# Text wrapped by an editor stays under this; a longer line without a blank line anywhere is a paragraph to itself.
_WRAPPED = 200

_BLANK = re.compile(r"\n[^\S\n]*\n")
_FENCE = re.compile(r"^(```|~~~).*?^\1[^\n]*$|^(```|~~~).*\Z", re.MULTILINE | re.DOTALL)
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(.*?)[ \t]*#*[ \t]*$|^(\S[^\n]*)\n(?:={3,}|-{3,})[ \t]*$", re.MULTILINE)
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_LEAD = re.compile(r"^[ \t]*(?:[-*+]|\d+[.)]|>)[ \t]+", re.MULTILINE)


def one_line(text: str) -> str:
    """Text with every run of white space made one blank, and half a surrogate pair (JSON may hold one) made `?`."""
    return " ".join(text.split()).encode("utf-8", "replace").decode()


def plain_paragraphs(text: str, section: str | None = None) -> tuple[Paragraph, ...]:
    """Plain text cut at blank lines. Without any, lines are paragraphs when one is longer than an editor wraps."""
    text = text.strip().replace("\r\n", "\n")
    pieces = _BLANK.split(text)
    if len(pieces) == 1 and max(map(len, text.split("\n"))) > _WRAPPED:
        pieces = text.split("\n")
    return tuple(Paragraph(line, section) for line in map(one_line, pieces) if line)


def markdown_paragraphs(text: str) -> tuple[Paragraph, ...]:
    """Markdown as prose: headings become sections; code, front matter, list marks and link targets are left out."""
    text = _FENCE.sub("", _FRONT_MATTER.sub("", text.replace("\r\n", "\n")))
    paragraphs: list[Paragraph] = []
    section, start = None, 0
    for heading in [*_HEADING.finditer(text), None]:
        body = text[start : heading.start() if heading else len(text)]
        body = _LEAD.sub("", _LINK.sub(r"\1", body)).replace("**", "").replace("`", "")
        paragraphs += plain_paragraphs(body, section)
        if heading:
            section, start = (heading[1] or heading[2] or "").strip() or None, heading.end()
    return tuple(paragraphs)
