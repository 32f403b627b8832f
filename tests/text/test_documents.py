"""Plain text and Markdown become paragraphs."""

from segue.text.documents import Paragraph, markdown_paragraphs, plain_paragraphs


def texts(paragraphs: tuple[Paragraph, ...]) -> list[str]:
    return [paragraph.text for paragraph in paragraphs]


def test_blank_lines_separate_paragraphs_and_wrapped_lines_are_joined() -> None:
    assert texts(plain_paragraphs("One\nwraps.\r\n\r\n  Two.  \n \t\n\n\nThree.\n")) == ["One wraps.", "Two.", "Three."]


def test_without_blank_lines_long_lines_are_paragraphs_and_short_ones_are_wrapped_text() -> None:
    long = "word " * 60
    assert len(plain_paragraphs(f"{long}\n{long}\nshort")) == 3
    assert len(plain_paragraphs("a line\nan editor\nwrapped")) == 1


def test_nothing_gives_nothing() -> None:
    assert plain_paragraphs(" \n\n\t") == ()
    assert markdown_paragraphs("# Only a heading\n") == ()


def test_markdown_keeps_prose_under_its_headings() -> None:
    text = """---
title: front matter
---
Before any heading.

# First #

A [link](http://x.org) and **bold** `code`.

```python
# not a heading
```

Second
------

- item one
- item two

Last.
"""
    assert markdown_paragraphs(text) == (
        Paragraph("Before any heading.", None),
        Paragraph("A link and bold code.", "First"),
        Paragraph("item one item two", "Second"),
        Paragraph("Last.", "Second"),
    )


def test_an_unclosed_fence_swallows_the_rest_and_not_what_is_before() -> None:
    assert texts(markdown_paragraphs("Kept.\n\n```\ncode\n\nmore code")) == ["Kept."]
