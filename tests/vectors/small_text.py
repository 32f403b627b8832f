"""Small texts, a tiny encoder, and what it means that two stores are the same."""

import json
from pathlib import Path

import numpy as np

from segue.text import open_source
from segue.vectors import Store
from segue.vectors.embed import Encoding, embed
from segue.vectors.shards import SHARDS

SENTENCES = (
    "The harbour lay quiet under the morning fog.",
    "A red boat left before anybody was awake.",
    "Nobody on the pier knew where it went.",
    "Two gulls followed it as far as the lighthouse.",
    "The keeper wrote the hour into his book.",
    "By noon the fog had gone and so had the boat.",
    "Years later the book was found in an attic.",
)

WORDS = sorted({word for text in (*SENTENCES, "So it goes. Part of") for word in text.split()})


def write_jsonl(path: Path, documents: int = 6, chunks: int = 7) -> Path:
    """Documents of different length, every chunk another text."""
    with path.open("w") as file:
        for i in range(documents):
            texts = [
                f"{SENTENCES[(i + k) % 7]} {'So it goes. ' * ((3 * i + k) % 4)}Part {i} of {k}." for k in range(chunks)
            ]
            file.write(json.dumps({"id": f"d{i}", "title": f"T{i}", "paragraphs": texts[: chunks - i % 2]}) + "\n")
    return path


def save_encoder(folder: Path, weights: np.ndarray, words: list[str]) -> Path:
    """A sentence-transformers model whose vector is the mean of its words' rows: loads in milliseconds."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    module = StaticEmbedding(tokenizer, embedding_weights=weights.astype(np.float32))
    SentenceTransformer(modules=[module], device="cpu").save(str(folder))
    return folder


class Interrupted(BaseException):
    """Stands for the machine going away: nothing in the code may catch it."""


def begin(corpus: Path, out: Path, encoding: Encoding) -> None:
    """Encode, and die before the merge: every shard is there, the manifest is not."""

    def die_at_the_end(what: str, done: int, total: int, unit: str = "") -> None:
        if done == total and len(list((out / SHARDS).glob("*.arrow"))) * encoding.shard >= total:
            raise Interrupted

    try:
        embed(open_source(str(corpus)), out, encoding=encoding, progress=die_at_the_end)
    except Interrupted:
        return
    raise AssertionError("the interruption got lost")


def same_store(a: Path, b: Path) -> None:
    """Bitwise the same files, and the same manifest but for its date."""
    for name in ("vectors.npy", "chunks.parquet", "documents.parquet"):
        assert (a / name).read_bytes() == (b / name).read_bytes(), name
    ours, theirs = (dict(Store(path).manifest) for path in (a, b))
    ours.pop("made_at"), theirs.pop("made_at")
    assert ours == theirs
    assert sorted(p.name for p in a.iterdir()) == sorted(p.name for p in b.iterdir())
