"""From what people write to chunks: whose text is read, how it is cut, and that nothing is padded."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from small_runs import small_model

from segue.serving.chat import Message, chunks_of_text, context_of_chunks, cut_text, said
from segue.serving.prediction import Clock, Context
from segue.serving.served import ContextError, ServedModel
from segue.vectors import Space

FIVE = "\n\n".join(f"Paragraph number {i} says this. And then it says that." for i in range(5))


def served(family: str = "transformer") -> ServedModel:
    model = small_model("m", family=family)
    return ServedModel("m", Path("nowhere"), "", model)


def test_only_the_users_own_text_is_read_unless_it_goes_on():
    talk = [Message("user", "Mine."), Message("assistant", "Theirs."), Message("user", "Mine again.")]
    assert said(talk) == ["Mine.", "Mine again."]
    assert said(talk, continued=True) == ["Mine.", "Theirs.", "Mine again."]


def test_paragraphs_first_then_sentences():
    made = cut_text([FIVE], 5)
    assert (made.how, len(made.texts)) == ("paragraph", 5)
    made = cut_text([FIVE], 6)
    assert (made.how, len(made.texts)) == ("sentence", 10)
    assert made.counts == {"paragraph": 5, "sentence": 10}
    assert made.texts[:2] == ("Paragraph number 0 says this.", "And then it says that.")


def test_a_message_ends_a_paragraph():
    """Joined by a blank line, a message with line breaks would be cut in another way than alone."""
    long = "One line of well over two hundred characters, " + "as it is pasted from elsewhere, " * 6 + "ends."
    assert cut_text([f"{long}\n{long}", "A short message here."], 1).texts == (long, long, "A short message here.")


def test_markup_stays_text():
    text = '# Not a heading\n\n<script>alert("chunk")</script> and **stars**\n\n[a link](http://example.org) in it'
    assert cut_text([text], 3).texts == (
        "# Not a heading",
        '<script>alert("chunk")</script> and **stars**',
        "[a link](http://example.org) in it",
    )


def test_a_context_does_not_cross_what_was_dropped():
    """Near-empty pieces are passed over, but a run of them is a gap: chunks before it are not read with those after."""
    dropped = "\n\n".join(["ab 12 cd"] * 12)
    made = cut_text([f"{FIVE}\n\n{dropped}\n\nAfter the list comes this.\n\nAnd this comes last."], 2)
    assert made.texts == ("After the list comes this.", "And this comes last.")
    passed_over = cut_text([f"{FIVE}\n\nIV.\n\nAfter a numeral comes this."], 6)
    assert len(passed_over.texts) == 6


def test_too_little_is_said_with_both_counts():
    with pytest.raises(ContextError, match=r"found 1 paragraph, 2 sentences, m wants 5 chunks in a row") as error:
        chunks_of_text(["This is a sentence. This is another."], served())
    assert error.value.code == "context_too_short" and "nothing is padded" in str(error.value)
    with pytest.raises(ContextError, match="found 0 paragraphs, 0 sentences"):
        chunks_of_text([" \n\n \u200b ! 12"], served())
    with pytest.raises(ContextError, match="found 0 paragraphs"):
        chunks_of_text([], served("causal"))


def test_the_last_chunks_are_read_by_a_fixed_model_and_all_by_one_that_reads_all():
    ten = "\n\n".join(f"This is paragraph {i} of the text." for i in range(10))
    assert chunks_of_text([ten], served()).texts == tuple(f"This is paragraph {i} of the text." for i in range(5, 10))
    assert len(chunks_of_text([ten], served("causal")).texts) == 10
    assert chunks_of_text(["One sentence is enough here."], served("causal")).how == "sentence"


def test_a_paragraph_that_no_encoder_takes():
    wall = "word " * 6000
    with pytest.raises(ContextError, match=r"a paragraph has 29,999 characters, 20,000 may be") as error:
        chunks_of_text(["\n\n".join([wall, *FIVE.split("\n\n")[:4]])], served())
    assert error.value.code == "chunk_too_long"
    endless = '("' * 60_000
    with pytest.raises(ContextError, match="found 0 paragraphs, m wants 5"):
        chunks_of_text([endless], served())


class Ones:
    """Helpers that encode without an encoder: only how many texts there are matters here."""

    async def encode(self, texts: Sequence[str], space: Space) -> np.ndarray:
        return np.eye(space.dim, dtype=np.float32)[: len(texts)]


def test_chunks_as_a_client_cut_them():
    def read(texts: Sequence[str], family: str = "transformer") -> Context:
        return asyncio.run(context_of_chunks(texts, served(family), Ones(), Clock()))  # type: ignore[arg-type]

    texts = [f"chunk {i}" for i in range(8)]
    assert list(read(texts).texts) == texts[3:]
    assert list(read(texts, "causal").texts) == texts
    with pytest.raises(ContextError, match="texts: found 4 chunks, m wants 5"):
        read(texts[:4])
