"""Texts to unit vectors, as a service wants it: an encoder, ready and warm. Knows no HTTP.

Legend: n texts, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from segue.errors import InputError
from segue.text.reference import reference_documents
from segue.vectors.encoders import ENCODERS, Encoder, Fidelity, settle_precision

SAMPLE = 64  # passages that bfloat16 is compared with float32 on
# Passes side by side, a thread each, rather than threads inside a pass: on two cores 20 to 40 % more requests of 32
# clients, since no thread waits for another that the system has set aside.
MOST_WORKERS = 4


@dataclass(frozen=True)
class Encoded:
    """A unit vector (D,) in float32, and how many tokens of the text were read."""

    vector_D: np.ndarray
    tokens: int


class TextEncoder:
    """An encoder for a service. The same vectors as `segue embed` with the same encoder, precision and max_tokens.

    batch    texts in one pass at most, where the encoder cannot read them end to end
    workers  calls of `answers` that may run at once
    """

    def __init__(self, encoder: Encoder, fidelity: Fidelity | None = None, batch: int = 32, workers: int = 1):
        self._encoder, self.fidelity, self.batch, self.workers = encoder, fidelity, batch, workers
        self.space, self.precision = encoder.space, encoder.precision
        self.max_tokens, self.device = encoder.max_tokens, encoder.device

    @classmethod
    def load(
        cls,
        name: str,
        device: str,
        precision: str = "auto",
        batch: int = 32,
        max_tokens: int | None = None,
        workers: int = 1,
    ) -> "TextEncoder":
        """Load by name; bfloat16 where it is fast and faithful on passages of the built-in text.

        Raises InputError as `load_encoder`, and for an unknown precision or a batch of none.
        """
        if batch < 1:
            raise InputError(f"--batch: found {batch}, a number from 1 is wanted.")
        passages = (paragraph.text for document in reference_documents() for paragraph in document.paragraphs)
        sample = list(islice(passages, SAMPLE))
        encoder, fidelity = settle_precision(name, precision, device, sample, batch, max_tokens)
        encoder.pack(sample)
        loaded = cls(encoder, fidelity, batch, workers)
        loaded.encode(sample[:2])  # the first pass is slow: kernels are chosen, buffers made
        return loaded

    @property
    def names(self) -> list[str]:
        """What a client may call this encoder: its own name, the hub's, the space's id."""
        known = ENCODERS.get(self.space.encoder)
        hub = [known.hub, known.hub.rsplit("/", 1)[-1]] if known else []
        return list(dict.fromkeys([self.space.encoder, *hub, self.space.id]))

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors (n, D) float32, in the order of the texts."""
        return self._encoder.encode_counted(texts, self.batch)[0]

    def answers(self, texts: Sequence[str]) -> list[Encoded | Exception]:
        """A batch of many requests at once. A text the encoder gives no direction for gets an InputError of its own."""
        vectors_nD, tokens_n = self._encoder.encode_counted(texts, self.batch)
        good_n = np.isfinite(vectors_nD).all(axis=1) & vectors_nD.any(axis=1)
        return [
            Encoded(vector_D, tokens) if good else self._without_direction(vector_D)
            for vector_D, tokens, good in zip(vectors_nD, tokens_n, good_n, strict=True)
        ]

    def _without_direction(self, vector_D: np.ndarray) -> InputError:
        found = "the zero vector" if np.isfinite(vector_D).all() else "NaN or infinity"
        return InputError(
            f"{self.space.encoder}: gives {found} for one of the texts, a finite vector is wanted. Serve it with "
            f"--precision fp32, or use another encoder."
        )
