"""Text written from vectors, by vec2text in a process of its own. Knows no HTTP but the refusals of one.

The process (`inverter/worker.py`) is killed when it passes a deadline and started again when it ends; a request that it
was working on is refused then, the next one waits for it to be ready, within its own deadline. Nothing waits longer.

Legend: Q vectors, D width.
"""

import logging
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segue.errors import InputError, nearest
from segue.serving.inverter.process import GoneError, LateError, StartingError, WorkerProcess
from segue.serving.refusals import Refusal
from segue.vectors import Space

# Checkpoints that vec2text runs, by the encoder whose vectors they invert. GTR as sentence-transformers runs it, with
# its dense layer; jxm's checkpoints are for GTR without and invert nothing of ours.
KNOWN = {"gtr-t5-base": ("ielabgroup/vec2text_gtr-base-st_inversion", "ielabgroup/vec2text_gtr-base-st_corrector")}
EMBEDDERS = {"gtr_base_st": "gtr-t5-base"}  # vec2text's name of an encoder, and ours
WIDTH = 768  # vec2text 0.0.13 builds correctors of no other
WORKER = Path(__file__).parent / "inverter" / "worker.py"
WANTED = (
    f"vec2text inverts vectors of gtr-t5-base, {WIDTH} wide, with its dense layer (checkpoints "
    f"{KNOWN['gtr-t5-base'][0]} and …_corrector): embed with `segue embed --encoder gtr-t5-base`, serve with "
    f"--inverter gtr-t5-base"
)
log = logging.getLogger("segue")


@dataclass(frozen=True)
class Ask:
    """One vector to write a text for. `expires` by time.monotonic()."""

    unit_D: np.ndarray
    steps: int
    beam: int
    expires: float


@dataclass(frozen=True)
class About:
    """What the loaded inverter is."""

    name: str
    encoder: str
    dim: int
    tokens: int


class Inversion:
    """An inverter that fits a store's space. `answers` is called by one thread.

    name          a folder with `inversion/` and `corrector/`, or one of KNOWN
    space         of the vectors that will come
    python        the Python that has vec2text; this one's by default
    start_within  seconds that loading may take

    Raises InputError when the inverter cannot be loaded or inverts another space.
    """

    def __init__(
        self, name: str, space: Space, python: str | None = None, threads: int | None = None, start_within: float = 600
    ):
        if space.dim != WIDTH:
            raise InputError(
                f"--inverter {name}: the store's vectors are {space.dim} wide ({space.encoder}). {WANTED}."
            )
        threaded = ["--threads", str(threads)] if threads else []
        command = [python or sys.executable, str(WORKER), *checkpoints(name), *threaded]
        self._process = WorkerProcess(command, start_within)
        try:
            told = self._process.start()
            found = EMBEDDERS.get(told["embedder"], told["embedder"])
            self.about = About(name, found, told["dim"], told["tokens"])
            if space.stated and not _is_same(found, space):
                raise InputError(
                    f"--inverter {name}: inverts {found}, the store's vectors are of {space.encoder}. {WANTED}."
                )
        except GoneError as gone:
            raise InputError(f"--inverter {name}: {gone}. {_remedy(str(gone))}") from None
        except BaseException:
            self._process.stop()
            raise

    def stop(self) -> None:
        """End the process."""
        self._process.stop()

    def trouble(self) -> list[str]:
        """Why it is not well, for /health."""
        return self._process.trouble()

    def answers(self, asked: Sequence[Ask]) -> list[str | Exception]:
        """What a queue calls: a text for each, or why there is none. Those of like settings go together."""
        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        for i, one in enumerate(asked):
            groups[one.steps, one.beam].append(i)
        done: dict[int, str | Exception] = {}
        for (steps, beam), group in groups.items():
            done |= zip(group, self._together([asked[i] for i in group], steps, beam), strict=True)
        return [done[i] for i in range(len(asked))]

    def _together(self, asked: list[Ask], steps: int, beam: int) -> Sequence[str | Exception]:
        seconds = max(one.expires for one in asked) - time.monotonic()
        if seconds <= 0:  # waited too long: nobody listens any more
            return [Refusal(504, "no turn at the inverter within --deadline seconds.")] * len(asked)
        try:
            return self._process.texts([one.unit_D.tolist() for one in asked], steps, beam, seconds)
        except LateError:
            problem = Refusal(
                504,
                "the inverter did not finish within --deadline seconds and was started again. Ask for fewer vectors, "
                "steps or a smaller beam.",
                code="inverter_late",
            )
        except GoneError as gone:
            log.warning("the inverter: %s", gone)
            problem = Refusal(
                503, "the inverter ended and is started again; ask again.", code="inverter_restarting", retry_after=10
            )
        except StartingError:
            problem = Refusal(503, "the inverter is starting; ask again.", code="inverter_starting", retry_after=10)
        except RuntimeError as error:
            problem = Refusal(502, f"vec2text: {error}", code="inverter_failed")
        return [problem] * len(asked)


def checkpoints(name: str) -> tuple[str, str]:
    """The two checkpoints of an inverter. Raises InputError for what is neither a folder of them nor known."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        parts = folder / "inversion", folder / "corrector"
        if lacking := [part.name for part in parts if not part.is_dir()]:
            raise InputError(
                f"--inverter {name}: holds no folder {lacking[0]!r}; inversion/ and corrector/ are wanted."
            )
        return str(parts[0].resolve()), str(parts[1].resolve())
    if name in KNOWN:
        return KNOWN[name]
    raise InputError(f"--inverter {name}: is no folder and no known inverter. {nearest(name, KNOWN)}")


def why_no_inverter(space: Space) -> str:
    """Why vec2text is not offered for a store where none was given, and what it would take."""
    if space.encoder == "gtr-t5-base" and space.dense is not False:
        return "vec2text is not running here. Start the decoder with --inverter gtr-t5-base."
    return f"no inverter for this store's encoder, {space.encoder} ({space.dim} wide). {WANTED}."


def _is_same(encoder: str, space: Space) -> bool:
    """Whether an inverter of `encoder` reads vectors of `space`."""
    if encoder in KNOWN:
        return space.encoder == encoder and space.dense is not False
    return space.encoder == encoder or Path(space.encoder).expanduser().resolve() == Path(encoder).resolve()


def _remedy(reason: str) -> str:
    if "cannot import" in reason:
        return "Install it with: pip install 'segue[invert]', or name a Python that has it with --inverter-python."
    return "Its own lines stand above." if "ended" in reason else "Check the folder, or fetch the checkpoints again."
