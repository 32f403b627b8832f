"""Both known worlds as stores, split, with their controls fitted: made once for the tests that judge on them."""

from dataclasses import dataclass

import numpy as np

from segue.alignment import Part, controls_for, part_of
from segue.alignment.worlds import ar1_world, rotation_world
from segue.models.fitting import fit_controls
from segue.windows import Windows, split_by_ranges, windows_of

DIM, DOCUMENTS, LENGTH = 16, 90, 30
WORLDS = {"rotation": (rotation_world, {"noise": 1.2}), "ar1": (ar1_world, {})}


@dataclass
class World:
    """A store of one world, its windows by part, and its controls by part."""

    store: object
    every: dict[str, Windows]
    parts: dict[str, Part]
    fitted: dict
    controls: dict[str, dict]


def make_world(make_store, name: str, horizon: int = 1) -> World:
    world, options = WORLDS[name]
    store = make_store(world(DOCUMENTS, LENGTH, DIM, seed=1, **options), name=f"{name}-{horizon}")
    split = split_by_ranges(store, train="0-59", val="60-74", ood="75-89")
    documents = {part: split.documents(store, part) for part in ("train", "VAL", "OOD")}
    windows = {part: windows_of(store, ids, 5, horizon) for part, ids in documents.items()}
    fitted = fit_controls(windows["train"], windows["VAL"])
    every = {part: windows[part] for part in ("VAL", "OOD")}
    return World(
        store,
        windows,
        {part: part_of(part, every[part], documents[part]) for part in every},
        fitted,
        {part: controls_for(fitted, every[part]) for part in every},
    )


def lag_means(windows: Windows, furthest: int) -> np.ndarray:
    """s_d: mean cosine of context and later chunks d apart, over the windows themselves, in float64; s_0 = 1."""
    x = windows.store.vectors_ND.astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    means = [1.0]
    for d in range(1, furthest + 1):
        # Over the windows, pairs (t + h − d, t + h): the lag that enters slot weights and copy_last.
        target = windows.last_W + windows.horizon
        means.append(float((x[target] * x[target - d]).sum(1).mean()))
    return np.array(means)
