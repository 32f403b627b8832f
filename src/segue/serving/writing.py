"""vec2text for the decoder service: a queue before the inverter, and the encoder service to say how near its text came.

Legend: Q vectors, D width.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np

from segue.errors import InputError
from segue.geometry import cosine
from segue.serving.batching import Batcher
from segue.serving.inversion import Ask, Inversion
from segue.serving.metrics import Metrics
from segue.serving.refusals import Refusal
from segue.serving.upstream import Upstream
from segue.vectors import Space, require_same_space

BATCH = 16  # vectors inverted together


@dataclass(frozen=True)
class Written:
    """Texts, the cosines of their own vectors to those asked for (None for an empty text), and seconds."""

    texts: list[str]
    cosines: list[float | None]
    waited: float
    worked: float
    encoded: float


class TextWriter:
    """Vectors to new text, within a deadline."""

    def __init__(self, inversion: Inversion, encoder: Upstream, space: Space, deadline: float, most_waiting: int):
        self.inversion, self._encoder, self._space, self._deadline = inversion, encoder, space, deadline
        self._most_waiting = most_waiting
        self._queue: Batcher[Ask, str] | None = None

    @asynccontextmanager
    async def running(self, metrics: Metrics) -> AsyncIterator[None]:
        """For the app's life; the process ends with it."""
        queue: Batcher[Ask, str] = Batcher(
            self.inversion.answers,
            max_batch=BATCH,
            max_queue=self._most_waiting,
            metrics=metrics.queue("invert"),
            name="invert",
        )
        try:
            async with self._encoder, queue:
                self._queue = queue
                yield
        finally:
            self.inversion.stop()

    async def trouble(self) -> list[str]:
        """Why it is not well, for /health."""
        return self.inversion.trouble() + await self._encoder.trouble()

    async def write(self, unit_QD: np.ndarray, steps: int, beam: int) -> Written:
        """A text for each unit vector. Raises Refusal 502, 503, 504."""
        assert self._queue is not None, "used outside `async with`"
        expires = time.monotonic() + self._deadline
        done = await self._queue.submit([Ask(unit_D, steps, beam, expires) for unit_D in unit_QD])
        begun = time.perf_counter()
        cosines = await self._cosines(unit_QD, done.results)
        return Written(done.results, cosines, done.waited, done.worked, time.perf_counter() - begun)

    async def _cosines(self, unit_QD: np.ndarray, texts: list[str]) -> list[float | None]:
        given = [i for i, text in enumerate(texts) if text.strip()]
        found: list[float | None] = [None] * len(texts)
        if given:
            answer = await self._encoder.post("/encode", {"texts": [texts[i] for i in given]})
            encoded_GD = self._checked(answer, len(given))
            for i, value in zip(given, cosine(encoded_GD, unit_QD[given]), strict=True):
                found[i] = float(value)
        return found

    def _checked(self, answer: dict[str, object], count: int) -> np.ndarray:
        """The encoder's vectors, if they are of the store's space."""
        try:
            space = Space.from_json(answer["space"])  # type: ignore[arg-type]
            require_same_space(self._space, space, "the store", "the encoder service")
            encoded_GD = np.array(answer["embeddings"], dtype=np.float64)
            if encoded_GD.shape != (count, self._space.dim):
                raise InputError("the encoder service: answered with another number of vectors.")
        except (KeyError, TypeError, ValueError) as error:
            remedy = f"Start it with: segue serve encoder --encoder {self._space.encoder}"
            said = str(error) if isinstance(error, InputError) else "the encoder's answer is none of ours."
            raise Refusal(502, f"{said} {remedy}", code="encoder_space") from None
        return encoded_GD
