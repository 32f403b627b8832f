"""`segue predict`: the next passages of a text, in this process."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from segue.cli.console import show
from segue.cli.options import Device, Json, Threads, pick_device
from segue.errors import InputError

if TYPE_CHECKING:
    from segue.serving.local import LocalHelpers
    from segue.serving.prediction import Clock, Context, Wish
    from segue.serving.served import ServedModel

Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run, a model folder, or a name that ships: onward.")]
StoreFolder = Annotated[
    Path | None, typer.Option("--store", metavar="STORE", help="Where passages are found. Default: the run's own.")
]
K = Annotated[int, typer.Option("-k", "--k", help="Passages looked at for each step.")]
Steps = Annotated[int, typer.Option(help="How far to roll out.")]
Steering = Annotated[float, typer.Option(help="β of the last chunk taken off: 0 … below 1.")]
Temperature = Annotated[float, typer.Option(help="0: the nearest passage; above: drawn by exp(cosine / T).")]
DrawSeed = Annotated[int | None, typer.Option("--seed", help="Seed of that draw.")]
Feed = Annotated[str, typer.Option(help="What the next step reads: vector or passage.")]
Encoder = Annotated[str | None, typer.Option(help="Encoder of the texts. Default: the model's.")]
Precision = Annotated[str, typer.Option(help="auto, fp32 or bf16: what the model computes in.")]


def predict(
    run: Run,
    text: Annotated[str | None, typer.Option(metavar="FILE|-|TEXT", help="What was read so far.")] = None,
    document: Annotated[str | None, typer.Option(metavar="ID", help="Or a document of the store.")] = None,
    upto: Annotated[int | None, typer.Option(help="Position of the last chunk read. Default: last but one.")] = None,
    store: StoreFolder = None,
    k: K = 5,
    steps: Steps = 1,
    steering: Steering = 0.0,
    temperature: Temperature = 0.0,
    seed: DrawSeed = None,
    feed: Feed = "vector",
    encoder: Encoder = None,
    precision: Precision = "fp32",
    device: Device = "auto",
    threads: Threads = None,
    json: Json = None,
) -> None:
    """Predict what comes next: the passages nearest to the predicted vector, and how much of it is a copy.

    A model that reads C chunks needs a text of C paragraphs, or of C sentences.
    """
    from segue.serving.chat import chunks_of_text, context_of_stored, context_of_text
    from segue.serving.prediction import Clock

    if (text is None) == (document is None):
        raise InputError("--text FILE, - or TEXT, or --document ID: exactly one of the two is wanted.")
    if upto is not None and document is None:
        raise InputError("--upto: is for --document. Leave it out.")
    wish = wish_of(k, steps, steering, temperature, seed, feed)
    given = None if text is None else read_text(text)
    served, helpers = open_local(run, store, encoder, precision, pick_device(device, threads))
    if given is not None:
        chunks_of_text([given], served, "--text")  # too short is told before the encoder is loaded
        _ = helpers.encoder  # before the clock runs
    clock = Clock()

    async def context() -> "Context":
        if given is not None:
            return await context_of_text([given], served, helpers, clock, "--text")
        assert document is not None
        passages = await helpers.document(document)
        end = passages[max(0, len(passages) - 2)].position if upto is None else upto
        return await context_of_stored(document, end, served, helpers, clock)

    async def told() -> dict[str, Any]:
        return await predicted(served, await context(), wish, helpers, clock)

    value = asyncio.run(told())
    show(shown(value), value, json)


async def predicted(
    served: "ServedModel", context: "Context", wish: "Wish", helpers: "LocalHelpers", clock: "Clock"
) -> dict[str, Any]:
    """Roll out, as JSON."""
    from segue.serving.prediction import roll_out
    from segue.serving.telling import prediction_json

    return prediction_json(served, context, wish, await roll_out(served, context, wish, helpers, clock), clock)


def read_text(text: str) -> str:
    """`-` is standard input, a file's name its content, anything else the text itself. Raises InputError."""
    if text == "-":
        return sys.stdin.read()
    try:
        if not Path(text).is_file():
            return text
        return Path(text).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{text}: is not UTF-8. Convert the file.") from None
    except PermissionError:
        raise InputError(f"{text}: is not readable by you. Change its permissions.") from None
    except (OSError, ValueError):  # too long for a file's name, or a NUL in it: a text
        return text


def wish_of(k: int, steps: int, steering: float, temperature: float, seed: int | None, feed: str) -> "Wish":
    """The options as a wish. Raises InputError, naming the option, for one out of bounds."""
    from segue.serving.prediction import Wish

    wish = Wish(k, steps, steering, temperature, seed, feed)  # type: ignore[arg-type]
    wish.require("--")
    return wish.seeded()


def open_local(
    run: Path, store: Path | None, encoder: str | None, precision: str, device: str
) -> tuple["ServedModel", "LocalHelpers"]:
    """The model and what it needs, in this process. Raises InputError."""
    from segue.serving.local import LocalHelpers
    from segue.serving.served import load_served
    from segue.vectors import Store, require_same_space
    from segue.vectors.encoders import load_encoder
    from segue.vectors.space import UNSTATED

    served = load_served(run.resolve().name, run, device=device, precision=precision)
    space = served.model.space
    opened = Store(store or store_of(run))
    require_same_space(space, opened.space, f"the model {run}", str(opened.path))
    name = encoder or space.encoder
    if name == UNSTATED:
        name = opened.space.encoder
    return served, LocalHelpers(opened, lambda: load_encoder(name, device))


def store_of(run: Path) -> Path:
    """The store that a run was trained on. Raises InputError when it does not say, or the store is gone."""
    from segue.artifacts import MANIFEST, read_json

    data = read_json(run / MANIFEST).get("data") if (run / MANIFEST).is_file() else None
    named = data.get("store") if isinstance(data, dict) else None
    if not isinstance(named, str) or not Path(named).is_dir():
        found = f"its own ({named}) is gone" if named else f"{run} does not name its own"
        raise InputError(f"--store: {found}. Give the store that passages are to be found in.")
    return Path(named)


def shown(value: dict[str, Any], context: bool = True) -> RenderableType:
    """What was read and what comes next, for people. Texts are shown as they are, markup and all."""
    parts: list[RenderableType] = []
    if context:
        parts += [Text(f"  {short(chunk['text'])}", style="dim") for chunk in value["context"][-5:]]
    if value["chunked"] in ("paragraph", "sentence"):
        parts.append(Text(f"  (read: the last {len(value['context'])} {value['chunked']}s)", style="dim italic"))
    for step in value["steps"]:
        parts.append(step_shown(step))
    parts += [Text(f"warning: {warning}", style="yellow") for warning in value["warnings"]]
    times = ", ".join(f"{name} {spent:.0f} ms" for name, spent in value["milliseconds"].items())
    parts.append(Text(times, style="dim"))
    return Group(*parts)


def step_shown(step: dict[str, Any]) -> RenderableType:
    """One predicted passage, where it was found, the alternatives, the copy warning, the truth."""
    found = step["predicted"]
    if found is None:
        return Text("→ no passage is left to be found", style="red")
    parts: list[RenderableType] = [Text(f"→ {text_or_place(found)}", style="bold"), Text(f"  {plain(place(found))}")]
    parts += [Text(f"    or {plain(place(one))}: {short(one['text'])}", style="dim") for one in step["alternatives"]]
    if step["copy"]["warning"]:
        parts.append(Text(f"  copy: {step['copy']['warning']}", style="yellow"))
    if truth := step["truth"]:
        told = f"rank {truth['rank']:g} of the {truth['of']} chunks that followed, cosine {truth['cosine']:.3f}"
        parts.append(Text(f"  truth: {short(truth['passage']['text'])} ({told})", style="green"))
    return Group(*parts)


def place(passage: dict[str, Any]) -> str:
    """`.612 Harbours of the North, chunk 4`"""
    return f"{passage['cosine']:.3f} {passage['title'] or passage['document']}, chunk {passage['position']}"


def text_or_place(passage: dict[str, Any]) -> str:
    """The text, or that the store has none."""
    return plain(passage["text"]) if passage["text"] is not None else "(the store holds no text)"


def short(text: str | None, most: int = 100) -> str:
    """A text's beginning."""
    if text is None:
        return "(no text)"
    return plain(text if len(text) <= most else f"{text[: most - 1]}…")


def plain(text: str) -> str:
    """Without what would move a terminal's cursor or colour it: a store's text is anybody's."""
    return "".join(letter if letter.isprintable() else "·" for letter in text)
