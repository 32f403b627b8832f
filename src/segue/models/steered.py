"""A model moved along its frontier: p = normalise(r − β·x_t) (SPEC §4).

MODEL/base/          the model it was made from, copied: weights, model.yaml, manifest
MODEL/model.yaml     kind "steered", name, beta
MODEL/manifest.json  kind "model"; hashes of model.yaml, of the base's manifest, and of what came with it
"""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from segue.artifacts import (
    MANIFEST,
    hash_file,
    make_folder,
    read_manifest,
    write_atomic,
    write_json,
    write_manifest,
    write_text,
)
from segue.errors import InputError
from segue.geometry import normalise
from segue.models.network import LatentModel, Parts

BASE, DESCRIPTION = "base", "model.yaml"


class Steered(LatentModel):
    """A base model whose raw output has β times the last chunk taken off, before normalising.

    base  any model whose raw output r estimates E[target | context]
    beta  in [0, 1); 0 is the base itself
    """

    family = "steered"

    def __init__(self, base: LatentModel, beta: float, name: str = ""):
        super().__init__(
            base.space,
            context=base.context,
            horizon=base.horizon,
            facets=base.facets,
            name=name or f"{base.name} steered",
        )
        if not 0 <= beta < 1:
            raise InputError(f"{self.name}: found beta {beta}, a number from 0 to below 1 is wanted. Steer it again.")
        self.base, self.beta, self.reach = base, float(beta), base.reach

    def parts(self, context_BCD: Tensor) -> Parts:
        base = self.base.parts(context_BCD)
        return base._replace(raw_BD=base.raw_BD - self.beta * context_BCD[:, -1])

    def predict_with_raw(self, context_BCD: Tensor) -> tuple[Tensor, Tensor]:
        # The base's own way, which may be more than its forward.
        raw_BD = self.base.predict_with_raw(context_BCD)[1] - self.beta * context_BCD[:, -1]
        return normalise(raw_BD), raw_BD


def require_room(folder: Path, notes: Iterable[str]) -> None:
    """Raises InputError when a folder holds anything but an unfinished steering; `notes` are its files' names."""
    held = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if held - {BASE, DESCRIPTION, *notes}:
        what = "a finished artifact" if MANIFEST in held else "other files"
        raise InputError(f"{folder}: already holds {what}. Choose another --out.")


def save_steered(
    model: Steered, base_folder: Path, folder: Path, made_by: str, notes: dict[str, Any], **fields: Any
) -> Path:
    """Write a steered model's folder, its manifest last: the base copied file by file, β, and `notes` as JSON files.

    base_folder   the folder the base was loaded from
    notes         file name → value, written beside and hashed
    Raises InputError when the folder holds anything but an unfinished steering, or cannot be written.
    """
    require_room(folder, notes)
    base = make_folder(make_folder(folder) / BASE)
    for name in [*read_manifest(base_folder, "model")["hashes"], MANIFEST]:
        with (base_folder / name).open("rb") as source, write_atomic(base / name) as target:
            shutil.copyfileobj(source, target)
    description = {"kind": "steered", "name": model.name, "beta": model.beta}
    write_text(folder / DESCRIPTION, yaml.safe_dump(description, sort_keys=False, allow_unicode=True))
    for name, value in notes.items():
        write_json(folder / name, value)
    names = [DESCRIPTION, f"{BASE}/{MANIFEST}", *notes]
    hashes = {name: hash_file(folder / name) for name in names}
    write_manifest(folder, "model", made_by, parameters=model.parameter_count, hashes=hashes, **fields)
    return folder
