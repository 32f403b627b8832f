"""Splits: which documents train, which validate (VAL), which stand for another distribution (OOD).

A split is a JSON file of document ids, frozen by hash: a store with other documents is refused, not re-split.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segue.artifacts import hash_json, read_json, write_json
from segue.errors import InputError

if TYPE_CHECKING:
    from segue.vectors import Store

PARTS = ("train", "VAL", "OOD")


@dataclass(frozen=True)
class Split:
    """Document ids of each part, in store order. `how` says how they were chosen, for the lineage."""

    train: tuple[str, ...]
    VAL: tuple[str, ...]
    OOD: tuple[str, ...]
    how: str

    @property
    def hash(self) -> str:
        return hash_json({part: list(getattr(self, part)) for part in PARTS})

    def documents(self, store: "Store", part: str) -> np.ndarray:
        """Indices in the store of one part's documents. Raises InputError when the store lacks one."""
        index = {id_: i for i, id_ in enumerate(store.document_ids)}
        missing = [id_ for id_ in getattr(self, part) if id_ not in index]
        if missing:
            raise InputError(
                f"{store.path}: lacks {len(missing)} of the split's {part} documents (first: {missing[0]!r}). "
                f"Use the store the split was made from, or make a split for this one with `segue split`."
            )
        return np.asarray([index[id_] for id_ in getattr(self, part)], dtype=np.int64)


def _check(split: Split, name: str) -> Split:
    seen: dict[str, str] = {}
    for part in PARTS:
        ids = getattr(split, part)
        if not ids and part != "OOD":
            raise InputError(
                f"{name}: the split's {part} part has no documents, at least one is wanted. "
                f"Give it more of the store, or a larger store."
            )
        for id_ in ids:
            if id_ in seen:
                raise InputError(
                    f"{name}: document {id_!r} is in {seen[id_]} and in {part}, one part is wanted. "
                    f"Make the parts disjoint."
                )
            seen[id_] = part
    return split


def split_by_fractions(store: "Store", fractions: Sequence[float] = (0.8, 0.1, 0.1), seed: int | None = None) -> Split:
    """Cut the documents by fractions: in store order, or shuffled by a seed. The last part takes the rest.

    Raises InputError when fractions do not sum to 1 or a part would be empty.
    """
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise InputError(f"--fractions: found {fractions}, three numbers ≥ 0 that sum to 1 are wanted, as .8,.1,.1.")
    ids = np.asarray(store.document_ids, dtype=object)
    if seed is not None:
        ids = np.random.default_rng(seed).permutation(ids)
    cuts = np.round(np.cumsum(fractions)[:2] * len(ids)).astype(int)
    train, val, ood = (tuple(part) for part in np.split(ids, cuts))
    how = f"fractions {','.join(f'{f:g}' for f in fractions)}, " + ("store order" if seed is None else f"seed {seed}")
    return _check(Split(train, val, ood, how), str(store.path))


def parse_ranges(text: str, name: str) -> list[tuple[int, int]]:
    """`0-699,900-2099` → [(0, 699), (900, 2099)], both ends included. Raises InputError."""
    ranges = []
    for piece in text.split(","):
        found = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", piece)
        low, high = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if low > high:
            raise InputError(f"{name}: found {text!r}, ranges of document numbers are wanted, as 0-699,900-2099.")
        ranges.append((low, high))
    return ranges


def split_by_ranges(store: "Store", *, train: str, val: str, ood: str = "") -> Split:
    """Cut the documents by their numbers in store order, from 0, both ends included.

    Raises InputError when a range is malformed, reaches past the store, or two parts overlap.
    """
    parts = []
    for name, text in (("--train", train), ("--val", val), ("--ood", ood)):
        ids: list[str] = []
        for low, high in parse_ranges(text, name) if text else []:
            if high >= store.n_documents:
                raise InputError(
                    f"{name}: found document {high}, {store.path} has documents 0-{store.n_documents - 1}."
                )
            ids += store.document_ids[low : high + 1]
        parts.append(tuple(ids))
    how = f"ranges train {train}, VAL {val}" + (f", OOD {ood}" if ood else "")
    return _check(Split(parts[0], parts[1], parts[2], how), str(store.path))


def split_json(split: Split, store: "Store") -> dict[str, Any]:
    """What a split file holds."""
    body = {part: list(getattr(split, part)) for part in PARTS}
    return {"kind": "split", "how": split.how, "store": store.hash, "hash": split.hash, **body}


def save_split(split: Split, path: str | Path, store: "Store") -> None:
    """Write a split file, whole or not at all."""
    write_json(path, split_json(split, store))


def load_split(path: str | Path) -> Split:
    """Read a split file. Raises InputError when it is not one, or was edited after it was frozen."""
    value = read_json(path)
    if not isinstance(value, dict) or value.get("kind") != "split" or any(part not in value for part in PARTS):
        raise InputError(f"{path}: is not a split file. Make one with `segue split STORE --out {path}`.")
    for part in PARTS:
        ids = value[part]
        if not isinstance(ids, list) or not all(isinstance(id_, str) for id_ in ids):
            raise InputError(
                f"{path}: its {part} part is no list of document ids (strings). Make it again with `segue split`."
            )
    if not isinstance(value.get("how"), str):
        raise InputError(
            f"{path}: does not say how it was made (`how`: found {value.get('how')!r}, a string is wanted). "
            f"Make it again with `segue split`."
        )
    split = Split(tuple(value["train"]), tuple(value["VAL"]), tuple(value["OOD"]), value["how"])
    if split.hash != value.get("hash"):
        raise InputError(
            f"{path}: its documents do not match its hash, so it was changed after it was frozen. "
            f"Make it again with `segue split`."
        )
    return _check(split, str(path))
