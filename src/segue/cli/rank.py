"""`segue rank`: candidates in the order in which a model expects them next."""

import asyncio
import json as json_format
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from segue.cli.console import show
from segue.cli.options import Device, Json, Threads, pick_device
from segue.cli.predict import Encoder, Precision, Run, StoreFolder, open_local, plain, read_text, short
from segue.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from segue.serving.ranking import Ranking
    from segue.serving.served import ServedModel

LONGEST = 20_000  # characters of a candidate
BATCH = 32


@dataclass(frozen=True)
class Chunks:
    """Unit vectors (N, D), and of each its text, and its place in a store where it has one."""

    vectors_ND: "np.ndarray"
    texts: Sequence[str | None]
    places: Sequence[dict[str, Any]] = ()


Encode = Callable[[Sequence[str]], "np.ndarray"]


def rank(
    run: Run,
    text: Annotated[str | None, typer.Option(metavar="FILE|-|TEXT", help="What was read so far.")] = None,
    document: Annotated[str | None, typer.Option(metavar="ID", help="Or a document of the store.")] = None,
    upto: Annotated[int | None, typer.Option(help="Position of the last chunk read. Default: the middle.")] = None,
    candidates: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|STORE",
            help="Texts with a blank line between them, a .json list of texts, or a store: all its chunks. "
            "Default, with --document: the chunks that follow.",
        ),
    ] = None,
    centre: Annotated[float, typer.Option(help="Share of the candidates' mean that is taken off: 0 … 1.")] = 0.5,
    k: Annotated[int, typer.Option("-k", "--k", help="Candidates shown, the best ones; 0: all.")] = 10,
    store: StoreFolder = None,
    encoder: Encoder = None,
    precision: Precision = "fp32",
    device: Device = "auto",
    threads: Threads = None,
    json: Json = None,
) -> None:
    """Order candidates by how likely each comes next, beside their order by the last chunk and by the context's mean.

    Of a stored document the chunks that follow are ordered, and the rank of the true next one is told.
    """
    from segue.serving.ranking import ranking, require_candidates
    from segue.serving.served import Question, answer

    if (text is None) == (document is None):
        raise InputError("--text FILE, - or TEXT, or --document ID: exactly one of the two is wanted.")
    if candidates is None and document is None:
        raise InputError("--candidates: with --text nothing is known of what may follow. Give texts or a store.")
    if upto is not None and document is None:
        raise InputError("--upto: is for --document. Leave it out.")
    if k < 0:
        raise InputError(f"--k: found {k}, a number from 0 is wanted.")
    listed = None if candidates is None or Path(candidates).is_dir() else candidate_texts(candidates)
    if listed is not None:
        require_candidates(len(listed))
    where = pick_device(device, threads)
    if document is not None:
        served, context, follow = _of_document(run, document, upto, store, precision, where)
    else:
        served, context, follow = _of_text(run, read_text(text or ""), encoder, precision, where)
    if listed is not None:
        follow = Chunks(_encoded(listed, served, encoder, where), listed)
    elif candidates is not None:
        follow = _of_store(Path(candidates), served)
    prediction_D = answer([Question(served, context.vectors_ND)])[0].prediction_D
    ranked = ranking(prediction_D, context.vectors_ND, follow.vectors_ND, centre)
    value = told(served, context, follow, ranked, centre, k, knows_next=candidates is None)
    show(shown(value), value, json)


def candidate_texts(name: str) -> list[str]:
    """The texts of a file, a blank line between them, or of a .json list. Raises InputError, naming the first bad."""
    from segue.text.documents import plain_paragraphs

    if name.endswith(".json") and not Path(name).is_file():
        raise InputError(f"--candidates {name}: no such file. Check the path.")
    written = read_text(name)
    if name.endswith(".json"):
        try:
            found = json_format.loads(written)
        except ValueError as error:
            raise InputError(f"--candidates {name}: is no JSON file ({error}). Give a list of texts.") from None
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise InputError(f'--candidates {name}: holds something else than a list of texts. Give ["…", "…"].')
    else:
        found = [paragraph.text for paragraph in plain_paragraphs(written)]
    for number, one in enumerate(found, start=1):
        if not one.strip():
            raise InputError(f"--candidates {name}: text {number} of {len(found)} is empty. Leave it out.")
        if len(one) > LONGEST:
            raise InputError(f"--candidates {name}: text {number} has {len(one):,} characters, {LONGEST:,} may be.")
    return found


def _encoded(texts: Sequence[str], served: "ServedModel", encoder: str | None, device: str) -> "np.ndarray":
    from segue.vectors import require_same_space
    from segue.vectors.encoders import load_encoder

    loaded = load_encoder(encoder or served.model.space.encoder, device)
    require_same_space(served.model.space, loaded.space, f"the model {served.run}", "the encoder")
    return loaded.encode(texts, BATCH)


def _of_text(
    run: Path, text: str, encoder: str | None, precision: str, device: str
) -> tuple["ServedModel", Chunks, Chunks]:
    """The last chunks of a text, as many as the model reads, encoded; nothing is known to follow."""
    import numpy as np

    from segue.serving.chat import chunks_of_text
    from segue.serving.served import load_served

    served = load_served(run.resolve().name, run, device=device, precision=precision)
    texts = chunks_of_text([text], served, "--text").texts
    return served, Chunks(_encoded(texts, served, encoder, device), texts), Chunks(np.empty((0, served.model.dim)), ())


def _of_document(
    run: Path, document: str, upto: int | None, store: Path | None, precision: str, device: str
) -> tuple["ServedModel", Chunks, Chunks]:
    """A stored document up to a position, and the chunks that follow it."""
    from segue.serving.chat import context_of_stored
    from segue.serving.prediction import Clock

    served, helpers = open_local(run, store, None, precision, device)

    async def read() -> tuple[Chunks, Chunks]:
        passages = await helpers.document(document)
        end = passages[(len(passages) - 1) // 2].position if upto is None else upto
        context = await context_of_stored(document, end, served, helpers, Clock())
        later = list(context.future)
        vectors_ND = await helpers.vectors_of(later, served.model.space)
        places = [{"document": one.document, "position": one.position, "row": one.row} for one in later]
        return Chunks(context.vectors_LD, context.texts), Chunks(vectors_ND, [one.text for one in later], places)

    return served, *asyncio.run(read())


def _of_store(path: Path, served: "ServedModel") -> Chunks:
    """All chunks of a store. Raises InputError for one of another width or encoder."""
    import numpy as np

    from segue.serving.passages import Passages
    from segue.vectors import Store, require_same_space
    from segue.windows.rows import Rows

    store = Store(path)
    require_same_space(served.model.space, store.space, f"the model {served.run}", str(path))
    every = Passages(store).at(np.arange(len(store)))
    places = [{"document": one.document, "position": one.position, "row": one.row} for one in every]
    return Chunks(Rows(store)(np.arange(len(store))).numpy(), [one.text for one in every], places)


def told(
    served: "ServedModel",
    context: Chunks,
    follow: Chunks,
    ranked: "Ranking",
    centre: float,
    k: int,
    *,
    knows_next: bool,
) -> dict[str, Any]:
    """The order as JSON; with `knows_next` the first candidate is the true next chunk, and its ranks are told."""
    ranks = ranked.ranks()
    best = ranked.order[: k or None]
    rows = [
        {
            "candidate": int(n),
            **{name: float(its[n]) for name, its in (("score", ranked.score_N), ("cosine", ranked.cosine_N))},
            "ranks": {name: float(rank_N[n]) for name, rank_N in ranks.items()},
            "text": follow.texts[n],
            **(follow.places[n] if follow.places else {}),
        }
        for n in best
    ]
    return {
        "model": served.name,
        "context": list(context.texts),
        "candidates": len(ranked.score_N),
        "centre": centre,
        "ranked": rows,
        "truth": {name: float(rank_N[0]) for name, rank_N in ranks.items()} if knows_next else None,
    }


def shown(value: dict[str, Any]) -> RenderableType:
    """What was read and the order, for people. Texts are shown as they are, markup and all."""
    table = Table("rank", "score", "by last", "by mean", "candidate", title_justify="left")
    for number, row in enumerate(value["ranked"], start=1):
        named = row["text"] if row["text"] is not None else f"{row['document']}, chunk {row['position']}"
        ranks = row["ranks"]
        table.add_row(
            str(number), f"{row['score']:.3f}", f"{ranks['last']:g}", f"{ranks['mean']:g}", Text(short(named))
        )
    read = [Text(f"  {short(text)}", style="dim") for text in value["context"][-5:]]
    parts: list[RenderableType] = [*read, table]
    if truth := value["truth"]:
        told = f"the true next chunk: rank {truth['model']:g} of {value['candidates']}"
        parts.append(Text(plain(f"{told}; {truth['last']:g} by the last chunk, {truth['mean']:g} by the mean")))
    return Group(*parts)
