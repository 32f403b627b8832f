"""Curation: which train windows an epoch learns from (SPEC §5).

In a recipe `curation: {near_duplicates: {cosine: 0.9}, forward_distinct: {1: 0.3, 5: 0.7, 15: 1}}`: in the order
written, each chooses among the windows that the one before left.

Legend: W all train windows, K those left.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from segue.errors import InputError
from segue.objectives.schedule import Schedule
from segue.windows import Split, Windows
from segue.windows.curation import coherences, step_cosines, top
from segue.windows.hygiene import check_split
from segue.windows.rows import Rows


class Source:
    """All train windows and what scores are computed from."""

    def __init__(self, windows: Windows, rows: Rows, split: Split):
        self.windows, self.rows, self.split = windows, rows, split

    @cached_property
    def step_cosine_W(self) -> np.ndarray:
        return step_cosines(self.windows, self.rows)

    @cached_property
    def coherence_W(self) -> np.ndarray:
        return coherences(self.windows, self.rows)

    @cached_property
    def in_other_parts_W(self) -> np.ndarray:
        """Whether the window's document has a near-duplicate in VAL or OOD."""
        store = self.windows.store
        pairs = check_split(store, self.split, device=str(self.rows.device)).pairs
        ids = {pair.documents[pair.parts.index("train")] for pair in pairs if "train" in pair.parts}
        return np.isin(self.windows.document_W, [g for g, id_ in enumerate(store.document_ids) if id_ in ids])


class Curation(BaseModel):
    """A choice of windows. Its fields are what a recipe can set."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def fields(cls, written: Any) -> Any:
        """The map of fields that a recipe's value stands for."""
        return written

    def written(self) -> Any:
        """The value as a recipe has it."""
        return self.model_dump(by_alias=True)

    def share_at(self, epoch: int) -> float:
        """Of the windows it could keep, the share that it keeps at an epoch; with the fields, what decides."""
        return 1.0

    def kept(self, source: Source, left_K: np.ndarray, epoch: int) -> np.ndarray:
        """Which of the windows left, by their positions in row order, an epoch learns from: (K,) int64 → (K,) bool"""
        raise NotImplementedError


class ForwardDistinct(Curation):
    """The windows whose target is least like their last chunk: copying pays least there.

    score     1 − cos(y, x_t); the `share` of windows with the largest is kept
    in a recipe  the share itself, a number or by epoch: `forward_distinct: {1: 0.3, 5: 0.7, 15: 1}`
    source    SPEC §5; the stages of P5
    """

    share: Schedule

    @field_validator("share")
    @classmethod
    def _a_share(cls, share: Schedule) -> Schedule:
        if wrong := [value for value in (share.lowest, share.highest, share.at(1)) if not 0 < value <= 1]:
            raise ValueError(f"a share of {wrong[0]:g}; above 0 and at most 1 is wanted, from epoch 1 on")
        return share

    @classmethod
    def fields(cls, written: Any) -> Any:
        return {"share": written}

    def written(self) -> Any:
        return self.share.model_dump(by_alias=True)

    def share_at(self, epoch: int) -> float:
        return self.share.at(epoch)

    def kept(self, source: Source, left_K: np.ndarray, epoch: int) -> np.ndarray:
        return top(1 - source.step_cosine_W[left_K], self.share.at(epoch))


class Coherent(Curation):
    """The windows whose context hangs together neither too little nor too much.

    low, high   of the mean cosine of adjacent context chunks, both included
    source      SPEC §5
    """

    low: float = -1.0
    high: float = 1.0

    @model_validator(mode="after")
    def _a_range(self) -> "Coherent":
        if self.high <= self.low:
            raise ValueError(f"low {self.low:g} to high {self.high:g} is no range; low must be below high")
        return self

    def kept(self, source: Source, left_K: np.ndarray, epoch: int) -> np.ndarray:
        coherence_K = source.coherence_W[left_K]
        return (coherence_K >= self.low) & (coherence_K <= self.high)


class NoNearDuplicates(Curation):
    """Without the windows whose target repeats their last chunk, and without documents that are also tested on.

    cosine      a window is dropped when cos(y, x_t) is at least this
    documents   drop also train documents with a near-duplicate in VAL or OOD of the split (`segue.windows.hygiene`)
    source      SPEC §5
    """

    cosine: float = Field(0.9, gt=-1, le=1)
    documents: bool = False

    def kept(self, source: Source, left_K: np.ndarray, epoch: int) -> np.ndarray:
        kept_K = source.step_cosine_W[left_K] < self.cosine
        return kept_K & ~source.in_other_parts_W[left_K] if self.documents else kept_K


# A new curation is a class and a line here.
CURATIONS: dict[str, type[Curation]] = {
    "forward_distinct": ForwardDistinct,
    "coherent": Coherent,
    "near_duplicates": NoNearDuplicates,
}

Curations = Mapping[str, Curation]


class Curated:
    """The train windows of each epoch. Scores are computed once; of the windows chosen, the newest are kept."""

    def __init__(self, windows: Windows, rows: Rows, split: Split):
        self._source = Source(windows, rows, split)
        self._newest: tuple[Any, Windows] | None = None
        self._counts: dict[Any, int] = {}

    def windows(self, curations: Curations | None, epoch: int) -> Windows:
        """The windows that an epoch learns from, in row order. Raises InputError when none is left."""
        key = self._key(curations, epoch)
        if self._newest is None or self._newest[0] != key:
            self._newest = key, self._chosen(curations or {}, epoch)
            self._counts[key] = len(self._newest[1])
        return self._newest[1]

    def count(self, curations: Curations | None, epoch: int) -> int:
        """How many windows an epoch learns from."""
        key = self._key(curations, epoch)
        if key not in self._counts:
            self._counts[key] = len(self._chosen(curations or {}, epoch))
        return self._counts[key]

    @staticmethod
    def _key(curations: Curations | None, epoch: int) -> Any:
        """What decides the choice: epochs with the same have the same windows."""
        return tuple((name, its.model_dump_json(), its.share_at(epoch)) for name, its in (curations or {}).items())

    def _chosen(self, curations: Curations, epoch: int) -> Windows:
        every = self._source.windows
        left_K = np.arange(len(every))
        for name, curation in curations.items():
            kept_K = curation.kept(self._source, left_K, epoch)
            if not kept_K.any():
                raise InputError(
                    f"curation.{name}: none of the {len(left_K)} train windows is left at epoch {epoch} by "
                    f"{curation.written()}. Widen it; `segue check` shows what the store has."
                )
            left_K = left_K[kept_K]
        return every if len(left_K) == len(every) else every.take(left_K)
