"""The table of families: a new one is a file with a `LatentModel` in it, and a line here."""

from collections.abc import Sequence

from segue.errors import InputError, nearest
from segue.models.amn import AttentionMixture
from segue.models.causal import Causal
from segue.models.gru import GatedRecurrent
from segue.models.lstm import LongShortTermMemory
from segue.models.network import LatentModel, Options
from segue.models.transformer import Transformer
from segue.vectors import Space

MODELS: dict[str, type[LatentModel]] = {
    "amn": AttentionMixture,
    "transformer": Transformer,
    "lstm": LongShortTermMemory,
    "gru": GatedRecurrent,
    "causal": Causal,
}


def family_named(name: str) -> type[LatentModel]:
    """The class of a family. Raises InputError, with the nearest name, for an unknown one."""
    if name not in MODELS:
        raise InputError(f"model: unknown family {name!r}. {nearest(str(name), MODELS)}")
    return MODELS[name]


def build_model(
    family: str,
    space: Space,
    options: Options | None = None,
    *,
    context: int = 5,
    horizon: int = 1,
    facets: Sequence[str] = ("mean",),
    name: str = "",
) -> LatentModel:
    """A model with fresh weights from torch's generator: seed it first. Raises InputError for an unknown family."""
    made = family_named(family)
    return made(space, options, context=context, horizon=horizon, facets=facets, name=name)
