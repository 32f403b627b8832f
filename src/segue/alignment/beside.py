"""The controls measured on a part, beside a judged predictor: now, or before on the very same windows by the same code.

What the controls score depends on data, seed and harness alone, so it is kept by hash (`segue.models.kept`). The
judged predictor is measured apart from them either way: whether their figures were kept cannot change a bit of its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from segue.alignment.compare import Measured, Path, Secondary
from segue.alignment.measure import Part, measure
from segue.alignment.rollouts import Reencoder
from segue.models.fitting import arrays_of
from segue.models.kept import Arrays, Cache, computed_by, hash_array, windows_key
from segue.models.predictor import Predictor
from segue.progress import Progress
from segue.windows import Windows

DICTS = ("rank", "candidates")


def controls_beside(
    judged: Predictor,
    part: Part,
    fitted: Mapping[str, Predictor],
    every: Windows,
    controls: Callable[[], Mapping[str, Predictor]],
    *,
    device: str,
    seed: int,
    reencoder: Reencoder | None,
    progress: Progress,
    kept: Cache | None,
) -> tuple[Measured, bool]:
    """What `measure` says of the controls, and whether it was kept from before. With a re-encoder nothing is kept.

    every      all windows of the part: what the controls that know the answers know
    controls   makes them, where they must be measured
    """

    def now() -> Measured:
        return measure(
            controls(), part, beside=judged, device=device, seed=seed, reencoder=reencoder, progress=progress
        )

    if kept is None or reencoder is not None:
        return now(), False
    key = {
        "what": "measured controls",
        "windows": windows_key(part.windows),
        "every": windows_key(every),
        "documents": hash_array(np.sort(part.documents)),
        "fitted": {name: hash_array(values) for name, values in arrays_of(fitted).items()},
        "reach": judged.reach,
        "seed": seed,
        **computed_by(device),
    }
    if found := kept.find(key):
        return measured_of(*found), True
    measured = now()
    kept.keep(key, *as_arrays(measured))
    return measured, False


def as_arrays(measured: Measured) -> tuple[Arrays, dict[str, Any]]:
    """A `Measured` as named arrays, and as JSON what is none."""
    arrays: Arrays = {}
    for field in fields(measured):
        value = getattr(measured, field.name)
        if isinstance(value, np.ndarray):
            arrays[field.name] = value
        elif field.name in DICTS:
            arrays |= {f"{field.name}/{name}": its for name, its in value.items()}
    arrays |= {"/".join(("secondary", *path)): its for path, its in measured.secondary.columns.items()}
    return arrays, {"chance": {"/".join(path): level for path, level in measured.secondary.chance.items()}}


def measured_of(arrays: Arrays, beside: Mapping[str, Any]) -> Measured:
    """What `as_arrays` was given."""
    plain: dict[str, Any] = {name: {} for name in DICTS}
    columns: dict[Path, np.ndarray] = {}
    for name, values in arrays.items():
        first, *rest = name.split("/")
        if first == "secondary":
            columns[tuple(rest)] = values
        elif rest:
            plain[first][rest[0]] = values
        else:
            plain[name] = values
    chance = {tuple(name.split("/")): float(level) for name, level in beside["chance"].items()}
    return Measured(**plain, secondary=Secondary(columns, chance))
