"""The data checks of the store, made once in a thread of their own and kept: `segue check`, with its progress.

The checks compute with torch, which is imported in that thread and not before: the studio starts without it.
"""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segue.errors import InputError
from segue.serving.refusals import Refusal
from segue.vectors.store import VECTORS, Store

MOST = 2000  # documents; beyond, means over documents change in the third decimal
WAITING, KEPT = 4, 32
BOUNDS = {"context": (2, 64), "horizon": (1, 16)}


@dataclass(frozen=True)
class Asked:
    context: int = 5
    horizon: int = 1


@dataclass
class Job:
    """One check: how far it is; then `value`, as `segue check --json` has it, or why there is none."""

    what: str = "loading"
    done: int = 0
    total: int = 0
    value: dict[str, Any] | None = None
    why: str = ""

    @property
    def over(self) -> bool:
        return self.value is not None or bool(self.why)

    def __call__(self, what: str, done: int, total: int, unit: str = "") -> None:
        """A `Progress`."""
        self.what, self.done, self.total = what, done, total


class Checks:
    """`of(asked)` begins a check, one at a time, or gives the one that was begun before; 503 where many wait."""

    def __init__(self, store: Store):
        self._store = store
        self._jobs: dict[Asked, Job] = {}
        self._begin, self._work = threading.Lock(), threading.Lock()

    def of(self, asked: Asked) -> Job:
        with self._begin:
            job = self._jobs.get(asked)
            if job is None:
                if sum(not other.over for other in self._jobs.values()) >= WAITING:
                    raise Refusal(503, f"{WAITING} checks are being made or wait. Ask again later.", retry_after=10)
                while len(self._jobs) >= KEPT:
                    del self._jobs[next(iter(self._jobs))]
                job = self._jobs[asked] = Job()
                threading.Thread(target=self._run, args=(asked, job), name="corpus check", daemon=True).start()
            return job

    def _run(self, asked: Asked, job: Job) -> None:
        with self._work:
            try:
                job.value = _checked(self._store, asked, job)
            except InputError as error:
                job.why = str(error)
            except Exception as error:
                job.why = f"a bug ended the check: {type(error).__name__}"
                raise


def _checked(store: Store, asked: Asked, job: Job) -> dict[str, Any]:
    """Raises InputError where no document has a window, or the rows hold NaN."""
    from segue.windows.checks import check_windows, sampled_windows

    windows, of = sampled_windows(store, np.arange(store.n_documents), asked.context, asked.horizon, MOST)
    if not len(windows):
        raise InputError(
            f"no document has {asked.context + asked.horizon} chunks in a row, so there is no window to check. "
            f"Chunk more finely, or use longer documents."
        )
    store.require_finite(np.flatnonzero(np.isin(store.document_N, windows.documents)), job)
    return {
        "store": str(store.path),
        "store_hash": store.hash,
        "space": store.space.id,
        "split": None,
        "context": asked.context,
        "horizon": asked.horizon,
        **check_windows(windows, "cpu", job, of=of).to_json(),
    }


def asked_of(query: dict[str, str]) -> Asked:
    """From an address; what is no number within bounds is left as it is by default."""
    found = {}
    for name, (low, high) in BOUNDS.items():
        text = query.get(name, "")
        if text.isascii() and text.isdigit() and len(text) < 4 and low <= int(text) <= high:
            found[name] = int(text)
    return Asked(**found)


def facts(store: Store) -> list[tuple[str, str]]:
    """What there is to say of a store without reading it."""
    size = (store.path / VECTORS).stat().st_size
    source = store.manifest["source"]
    return [
        ("folder", str(store.path)),
        ("documents", f"{store.n_documents:,}"),
        ("chunks", f"{len(store):,}, {len(store) / max(1, store.n_documents):.1f} a document"),
        ("vectors", f"{store.dim} wide, {store.manifest['dtype']}, {size / 1e6:,.0f} MB"),
        ("space", store.space.id),
        ("source", Path(str(source.get("name") or "–")).name),
        ("made", f"{str(store.manifest['made_at'])[:10]} by {store.manifest['made_by']}"),
        ("hash", store.hash),
    ]
