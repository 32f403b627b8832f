"""What predictors are judged on: train windows for the controls, VAL and OOD, and what a result must name of them.

Legend: W windows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from segue.alignment.fivecat import SAMPLES, part_of, warnings_of
from segue.alignment.judged import judged_windows
from segue.alignment.measure import Part
from segue.vectors import Store
from segue.windows import Split, Windows, windows_of


@dataclass(frozen=True)
class HeldOut:
    """Train windows, and VAL and (where there is one) OOD to judge on.

    every   all windows of each part, for the controls that know the answers
    data    which store, split and windows: what a result must name
    """

    train: Windows
    every: Mapping[str, Windows]
    parts: Mapping[str, Part]
    data: dict[str, Any]

    def only(self, names: Mapping[str, object]) -> "HeldOut":
        """The same with some parts left out, as when predictions were given for VAL alone."""
        parts = {name: part for name, part in self.parts.items() if name in names}
        return HeldOut(self.train, self.every, parts, {**self.data, **_counted(parts)})


def held_out(
    store: Store,
    split: Split,
    context: int,
    horizon: int,
    *,
    ood: Store | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
) -> HeldOut:
    """The parts of a store for predictors of one context and horizon.

    ood   a store all of whose documents stand for OOD; without it the split's OOD part, if it has one
    Raises InputError for samples below 1, vectors of another space, or a part without windows.
    """
    on = judged_windows(store, split, ood=ood, context=context, horizon=horizon, samples=samples, seed=seed)
    train = windows_of(store, split.documents(store, "train"), context, horizon)
    part_of("train", train, split.documents(store, "train"))
    data = {
        "store": str(store.path),
        "store_hash": store.hash,
        "ood_store": str(ood.path) if ood else None,
        "ood_store_hash": ood.hash if ood else None,
        "space": store.space.to_json(),
        "split": {"how": split.how, "hash": split.hash},
        "train": {"windows": len(train), "documents": len(train.documents)},
        "samples": samples,
        "seed": seed,
        **_counted(on.parts),
    }
    return HeldOut(train, on.every, on.parts, data)


def _counted(parts: Mapping[str, Part]) -> dict[str, Any]:
    return {
        "windows": {name: len(part.windows) for name, part in parts.items()},
        "documents": {name: len(part.windows.documents) for name, part in parts.items()},
        "warnings": warnings_of(parts),
    }
