"""What training reads: windows of two parts of a split, and the one way to their vectors."""

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from segue.artifacts import hash_json
from segue.errors import InputError
from segue.training.curation import Curated
from segue.vectors import Store
from segue.windows import Split, Windows, windows_of
from segue.windows.rows import Rows

if TYPE_CHECKING:
    from segue.recipe import Recipe

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Data:
    """Train and VAL windows of a store, its rows on the device, and the split they are of."""

    train: Windows
    val: Windows
    rows: Rows
    split: Split

    @property
    def trained_on(self) -> dict[str, str]:
        """Hashes of the store, of the split, and of its train ids in sorted order: so a model folder alone can tell."""
        return {
            "store": self.train.store.hash,
            "split": self.split.hash,
            "documents": hash_json(sorted(self.split.train)),
        }

    @cached_property
    def _curated(self) -> Curated:
        return Curated(self.train, self.rows, self.split)

    def windows(self, recipe: "Recipe", epoch: int) -> Windows:
        """The train windows that an epoch learns from. Raises InputError when the recipe's curation leaves none."""
        return self._curated.windows(recipe.curation, epoch)

    def progress(self, recipe: "Recipe", epoch: int) -> tuple[int, int]:
        """How many windows the epochs before an epoch learn from, and how many all do."""
        counts = [self._curated.count(recipe.curation, e) for e in range(1, recipe.epochs + 1)]
        return sum(counts[: epoch - 1]), sum(counts)


def open_data(recipe: "Recipe", store: Store, split: Split, device: torch.device | str = "cpu") -> Data:
    """The windows that a recipe trains and validates on. Nothing is copied but what an accelerator holds.

    Warns how many documents are too short. Raises InputError when the store lacks a document of the split, a part
    has no window, or the recipe's curation leaves an epoch none.
    """
    parts: dict[str, Windows] = {}
    for part in ("train", "VAL"):
        documents = split.documents(store, part)
        windows = windows_of(store, documents, recipe.context, recipe.horizon)
        wanted = recipe.context + recipe.horizon
        short = len(documents) - len(windows.documents)
        if not len(windows):
            raise InputError(
                f"{store.path}: none of the {len(documents)} {part} documents has {wanted} chunks in a row, as a "
                f"window of context {recipe.context} and horizon {recipe.horizon} needs. Use longer documents, "
                f"smaller chunks, or --set context=2."
            )
        if short:
            log.warning(
                "%s: %d of %d documents are shorter than a window (%d chunks)", part, short, len(documents), wanted
            )
        parts[part] = windows
    data = Data(parts["train"], parts["VAL"], Rows(store, device), split)
    data.progress(recipe, 1)
    for tripwire in recipe.tripwires:
        if any(path.startswith("curation") for path in tripwire.do.set_):
            try:
                data.progress(recipe.changed(tripwire.do.set_), 1)
            except InputError as error:
                raise InputError(f"tripwire {tripwire.name!r}: {error}") from None
    return data
