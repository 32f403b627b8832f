"""`segue chat`: a conversation on the terminal or through a pipe, in this process."""

import asyncio
import json as jsonlib
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from segue.artifacts import write_json
from segue.cli.console import err, out
from segue.cli.options import Device, Json, Threads, pick_device
from segue.cli.predict import (
    DrawSeed,
    Encoder,
    Feed,
    K,
    Precision,
    Run,
    Steering,
    StoreFolder,
    Temperature,
    open_local,
    shown,
    wish_of,
)
from segue.errors import InputError, nearest

if TYPE_CHECKING:
    from segue.serving.chat import Message
    from segue.serving.local import LocalHelpers
    from segue.serving.prediction import Wish
    from segue.serving.served import ServedModel

HELP = """\
Write; each line is a message. Your own text is what is read, so the first reply needs enough of it.
/continue [N]   go on from the reply, N passages (1)      /steer B         take B times the last chunk off (0 … below 1)
/k N            look at N passages                        /temperature T   draw among them (0: the nearest)
/seed N         of that draw                              /reset           forget what was said
/help           this                                      /quit            or end of input"""


class Quit(Exception):  # noqa: N818  (the end of a conversation, no error)
    """Raised by /quit."""


def chat(
    run: Run,
    store: StoreFolder = None,
    k: K = 5,
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
    """Talk to a model: it answers with the passage it predicts next, found in the store, and says how sure that is.

    Through a pipe each line of standard input is a message. `--json -` prints a JSON object a reply and line.
    """
    wish = wish_of(k, 1, steering, temperature, seed, feed)
    served, helpers = open_local(run, store, encoder, precision, pick_device(device, threads))
    _ = helpers.encoder  # before the first message
    talk = Conversation(served, helpers, wish, drawn=seed is None)
    asks = sys.stdin.isatty()
    if asks:
        err.print(HELP, highlight=False, markup=False)
    replies, refusal = [], None
    with suppress(Quit):
        while line := _line(asks):
            try:
                value = talk.hear(line.strip())
            except InputError as error:
                refusal = error
                err.print(Text(str(error), style="yellow"), soft_wrap=True)
                continue
            if value is not None:
                replies.append(value)
                _show(value, json)
    if json and json != "-":
        write_json(Path(json), replies)
    if not replies and refusal is not None and not asks:
        raise refusal


def _line(asks: bool) -> str:
    """The next line; empty at the end of input."""
    if asks:
        err.print("> ", end="")
    return sys.stdin.readline()


def _show(value: dict[str, Any], json: str | None) -> None:
    if json == "-":
        sys.stdout.write(jsonlib.dumps(value, allow_nan=False) + "\n")
        sys.stdout.flush()
    else:
        out.print(shown(value, context=False))


@dataclass
class Conversation:
    """What was said so far, and how the next reply is to be made.

    drawn   each reply draws a seed of its own, until /seed names one
    """

    served: "ServedModel"
    helpers: "LocalHelpers"
    wish: "Wish"
    drawn: bool = True
    messages: "list[Message]" = field(default_factory=list)
    replied: bool = False

    def hear(self, line: str) -> dict[str, Any] | None:
        """A message or a command. → the reply, where it makes one. Raises InputError for a bad command or too little
        text, Quit for /quit."""
        from segue.serving.chat import Message

        if not line:
            return None
        if line.startswith("/"):
            return self._command(*line[1:].split(maxsplit=1))
        self.messages.append(Message("user", line))
        return self._reply(1, continued=False)

    def _reply(self, steps: int, continued: bool) -> dict[str, Any]:
        from segue.serving.chat import Message, context_of_text, said
        from segue.serving.prediction import Clock, roll_out
        from segue.serving.telling import chat_json

        wish = replace(self.wish, steps=steps, seed=None if self.drawn else self.wish.seed).seeded()
        wish.require()
        clock = Clock()

        async def told() -> dict[str, Any]:
            read = await context_of_text(said(self.messages, continued), self.served, self.helpers, clock, "text")
            return chat_json(
                self.served, read, wish, await roll_out(self.served, read, wish, self.helpers, clock), clock
            )

        value = asyncio.run(told())
        self.replied = True
        texts = [step["predicted"]["text"] for step in value["steps"] if step["predicted"]]
        self.messages += [Message("assistant", text) for text in texts if text]
        return value

    def _command(self, name: str = "", argument: str | None = None) -> dict[str, Any] | None:
        if name == "quit":
            raise Quit
        if name == "continue":
            if not self.replied:
                raise InputError("/continue: there is no reply yet. Write something first.")
            if not any(message.role == "assistant" for message in self.messages):
                raise InputError("/continue: the store holds no text, so there is nothing to read on from.")
            return self._reply(_number(name, argument or "1", int), continued=True)
        settings: dict[str, tuple[str, Callable[[str], Any]]] = {
            "steer": ("steering", float),
            "k": ("k", int),
            "temperature": ("temperature", float),
            "seed": ("seed", int),
        }
        if name in settings:
            setting, kind = settings[name]
            changed = replace(self.wish, **{setting: _number(name, argument, kind)})
            changed.require()
            self.wish, self.drawn = changed, self.drawn and name != "seed"
        elif name == "reset":
            self.messages.clear()
            self.replied = False
        elif name == "help":
            err.print(HELP, highlight=False, markup=False)
        else:
            known = ["continue", "steer", "k", "temperature", "seed", "reset", "help", "quit"]
            raise InputError(f"/{name}: no such command. {nearest(name, known)}")
        return None


def _number(name: str, argument: str | None, kind: Callable[[str], Any]) -> Any:
    try:
        return kind(argument or "")
    except ValueError:
        raise InputError(f"/{name}: found {argument or 'nothing'}, a number is wanted.") from None
