"""Text to a store: chunks encoded shard by shard, so that a kill costs one shard and changes nothing.

    STORE/shards/plan.json     what was asked and what was settled (precision, space); written before the first shard
    STORE/shards/00000.arrow   see shards.py
    STORE/manifest.json        at the end; then the shards are removed

A shard is a fixed number of chunks of the whole source, and batches form inside a shard, so that the same shards
come out however often the work was interrupted.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from segue.artifacts import explained, is_finished, lock, make_folder, read_json, write_json
from segue.errors import InputError, nearest
from segue.progress import Progress, silent
from segue.text import Chunk, Chunking, Counts, Source, read_chunks, survey
from segue.vectors.encoders import PRECISIONS, Encoder, canonical, load_encoder, settle_precision
from segue.vectors.shards import SHARDS, Shards
from segue.vectors.space import Space
from segue.vectors.store import CHUNKS, DOCUMENTS, VECTORS, Store, write_store

PLAN = "plan.json"
DTYPES = ("float16", "float32")
_BATCHES = 8  # batches encoded between two reports of progress
_REMEDY = "Repeat that command to go on, choose another --out, or delete the folder to begin anew."
log = logging.getLogger("segue")


@dataclass(frozen=True)
class Encoding:
    """How chunks become vectors.

    batch       chunks in one pass through the encoder
    precision   auto, fp32 or bf16: what is computed in
    dtype       float16 or float32: what is stored
    shard       chunks in a shard: what a kill can cost
    max_tokens  tokens read of a chunk; None: the encoder's own
    device      of torch; the only field that does not bind a resumed run
    """

    encoder: str = "minilm"
    batch: int = 32
    precision: str = "auto"
    dtype: str = "float16"
    shard: int = 4096
    max_tokens: int | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        for option, found, known in (("--precision", self.precision, PRECISIONS), ("--dtype", self.dtype, DTYPES)):
            if found not in known:
                raise InputError(f"{option}: found {found!r}. {nearest(found, known)}")
        for option, number in (("--batch", self.batch), ("--shard", self.shard), ("--max-tokens", self.max_tokens)):
            if number is not None and number < 1:
                raise InputError(f"{option}: found {number}, a number from 1 is wanted.")

    @property
    def settings(self) -> dict[str, Any]:
        """What a resumed run must repeat."""
        names = ("precision", "dtype", "batch", "shard", "max_tokens")
        return {"encoder": canonical(self.encoder), **{name: getattr(self, name) for name in names}}


@dataclass(frozen=True)
class _Job:
    """What to encode, how, and where to."""

    source: Source
    chunking: Chunking
    encoding: Encoding
    limit: int | None
    out: Path

    @property
    def text_settings(self) -> dict[str, Any]:
        return {"limit": self.limit, **self.source.settings, **self.chunking.settings}

    def asked(self) -> dict[str, Any]:
        """Everything that decides on the store's content: a resumed run must ask the same."""
        return {"source": self.source.hash(), **self.text_settings, **self.encoding.settings}


def embed(
    source: Source,
    out: str | Path,
    chunking: Chunking | None = None,
    encoding: Encoding | None = None,
    limit: int | None = None,
    progress: Progress = silent,
) -> Store:
    """Encode the first `limit` documents of a source into a store at `out`; goes on where a killed run stopped.

    A finished store made from the same is returned as it is. Raises InputError when the source or the encoder cannot
    be read, the encoder gives what is not finite, `out` holds something else or work begun otherwise, or the disk is
    full (finished shards stay).
    """
    if limit is not None and limit < 1:
        raise InputError(f"--limit: found {limit}, a number from 1 is wanted.")
    job = _Job(source, chunking or Chunking(source.default_chunk), encoding or Encoding(), limit, Path(out))
    asked = job.asked()
    if is_finished(out):
        return finished_store(out, "segue embed", asked)
    refuse_foreign(job.out)
    make_folder(job.out)
    with lock(job.out):
        plan = _plan(job, asked)
        seen = survey(source, job.chunking, limit, progress=progress)
        # A sixteenth of a small source is enough, so that comparing never takes longer than encoding.
        encoder, settled = _settle(job, asked, plan, _spread(seen.sample, min(256, max(32, seen.counts.chunks // 16))))
        seen.counts.warn(source.name)  # after everything that may refuse: an error stands alone
        shards = Shards(job.out)
        documents, number = _encode(job, encoder, shards, seen.counts, progress)
        chunks, vectors_ND = shards.merged(number)
        store = write_store(
            out,
            vectors_ND=vectors_ND,
            chunks=chunks,
            documents=documents,
            space=encoder.space,
            made_by="segue embed",
            source={"name": source.name, "hash": asked["source"], "settings": job.text_settings},
            counts=seen.counts.to_json(),
            encoding={name: value for name, value in settled.items() if name != "space"},
            asked=asked,
        )
        shards.remove()
    return store


def _spread(texts: Sequence[str], n: int) -> Sequence[str]:
    return texts[:: max(1, len(texts) // n)][:n]


def _differences(found: dict[str, Any], asked: dict[str, Any]) -> str:
    names = sorted(name for name in found.keys() | asked.keys() if found.get(name) != asked.get(name))
    return ", ".join(f"{name} {found.get(name)!r} (now {asked.get(name)!r})" for name in names)


def finished_store(out: str | Path, made_by: str, asked: dict[str, Any]) -> Store:
    """The store that is there already. Raises InputError when it was made otherwise, is damaged, or is no store."""
    store = Store(out)
    found, by = store.manifest.get("asked"), store.manifest["made_by"]
    how = _differences(found, asked) if isinstance(found, dict) and by == made_by else f"`{by}`"
    if how:
        raise InputError(f"{out}: is a finished store made with {how}. Choose another --out, or delete it first.")
    Shards(store.path).remove()  # left by a kill between the manifest and the tidying
    log.info(f"{out}: is already complete, nothing to do")
    return store


def refuse_foreign(out: Path) -> None:
    """Refuse to write a store among other files: InputError unless `out` is absent, empty or an unfinished store."""
    if not out.is_dir():
        return
    with explained(out):
        names = sorted(path.name for path in out.iterdir())
    foreign = [name for name in names if name not in (SHARDS, VECTORS, CHUNKS, DOCUMENTS) and name[0] != "."]
    if foreign:
        raise InputError(
            f"{out}: holds other files ({foreign[0]}), an empty or new folder is wanted. Choose another --out."
        )


def _plan(job: _Job, asked: dict[str, Any]) -> dict[str, Any] | None:
    """The plan of a run that was interrupted. Raises InputError when it asked for something else."""
    file = job.out / SHARDS / PLAN
    if not file.exists():
        return None
    try:
        plan: dict[str, Any] = read_json(file)
        settled = plan["settled"]
        Space.from_json(settled["space"])
        whole = isinstance(plan["asked"], dict) and {"precision", "fidelity", "max_tokens"} <= settled.keys()
    except (InputError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise InputError(
            f"{file}: is damaged, what was asked and what was settled are wanted there. Delete {job.out} and run the "
            f"same command to begin anew."
        )
    if differences := _differences(plan["asked"], asked):
        raise InputError(f"{job.out}: was begun with {differences}. {_REMEDY}")
    return plan


def _settle(
    job: _Job, asked: dict[str, Any], plan: dict[str, Any] | None, sample: Sequence[str]
) -> tuple[Encoder, dict[str, Any]]:
    """The encoder, and what was settled about it: found in the plan, or measured now and written there."""
    if plan is not None:
        return _resumed(job, plan["settled"]), plan["settled"]
    encoding = job.encoding
    encoder, fidelity = settle_precision(
        encoding.encoder, encoding.precision, encoding.device, sample, encoding.batch, encoding.max_tokens
    )
    settled = {
        "space": encoder.space.to_json(),
        "precision": encoder.precision,
        "fidelity": fidelity.to_json() if fidelity else None,
        "max_tokens": encoder.max_tokens,
    }
    make_folder(job.out / SHARDS)
    write_json(job.out / SHARDS / PLAN, {"asked": asked, "settled": settled})
    return encoder, settled


def _resumed(job: _Job, settled: dict[str, Any]) -> Encoder:
    """The encoder as the plan settled it. Raises InputError when this machine has another revision of it."""
    encoder = load_encoder(job.encoding.encoder, job.encoding.device, job.encoding.max_tokens)
    space = Space.from_json(settled["space"])
    if encoder.space.revision != space.revision:
        raise InputError(
            f"{job.out}: was begun with revision {space.revision} of {space.encoder}, this machine has "
            f"{encoder.space.revision}. {_REMEDY}"
        )
    if settled["precision"] == "bfloat16":
        encoder.use_bfloat16()
    encoder.space = space
    log.info(f"{job.out}: going on where it stopped")
    return encoder


def _encode(job: _Job, encoder: Encoder, shards: Shards, expected: Counts, progress: Progress) -> tuple[pa.Table, int]:
    """Write the shards that are not there yet. → the documents' table and the number of shards."""
    counts, rows = Counts(), list[tuple[str, str | None, int, int]]()

    def stream() -> Iterator[Chunk]:
        first_row = 0
        for document in read_chunks(job.source, job.chunking, counts, job.limit):
            rows.append((document.id, document.title, first_row, len(document.chunks)))
            first_row += len(document.chunks)
            yield from document.chunks

    chunks, done, number = stream(), 0, 0
    while shard := list(islice(chunks, job.encoding.shard)):
        if not shards.has(number, len(shard)):
            told = partial(_told, progress, done, expected.chunks)
            vectors_ND = _vectors(encoder, shard, [row[0] for row in rows], job.encoding.batch, told)
            shards.write(number, shard, vectors_ND.astype(job.encoding.dtype))
        done, number = done + len(shard), number + 1
        progress("embed", done, expected.chunks, "chunks")
    if counts != expected:
        raise InputError(f"{job.source.name}: changed while it was read. Run the same command again.")
    names = ("id", "title", "first_row", "length")
    return pa.table(dict(zip(names, zip(*rows, strict=True), strict=True))), number


def _told(progress: Progress, before: int, total: int, done: int) -> None:
    progress("embed", before + done, total, "chunks")


def _vectors(
    encoder: Encoder, shard: Sequence[Chunk], ids: Sequence[str], batch: int, told: Callable[[int], None]
) -> np.ndarray:
    """(N, D) float32 in the order of the chunks, encoded longest first so that a batch holds little padding."""
    order = sorted(range(len(shard)), key=lambda i: (-len(shard[i].text), i))
    vectors_ND = np.empty((len(shard), encoder.space.dim), dtype=np.float32)
    for start in range(0, len(order), batch * _BATCHES):
        rows = order[start : start + batch * _BATCHES]
        chunks = [shard[i] for i in rows]
        vectors_ND[rows] = encoder.encode([chunk.text for chunk in chunks], batch)
        _refuse_without_direction(vectors_ND[rows], chunks, ids, encoder)
        told(start + len(rows))
    return vectors_ND


def _refuse_without_direction(
    vectors_ND: np.ndarray, chunks: Sequence[Chunk], ids: Sequence[str], encoder: Encoder
) -> None:
    finite_N = np.isfinite(vectors_ND).all(axis=1)
    bad_N = ~finite_N | ~vectors_ND.any(axis=1)
    if bad_N.any():
        row = int(bad_N.argmax())
        chunk, found = chunks[row], "the zero vector" if finite_N[row] else "NaN or infinity"
        raise InputError(
            f"{encoder.space.encoder}: gives {found} for chunk {chunk.position} of document {ids[chunk.document]!r} "
            f"({chunk.text[:40]!r}), a finite vector is wanted. Try --precision fp32, or another encoder."
        )
