"""The embedding space a vector lives in: what every store, model and index carries and every reader checks."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from segue.artifacts import hash_json
from segue.errors import InputError


@dataclass(frozen=True)
class Space:
    """What makes two vectors comparable.

    encoder        the name a user would type again (`minilm`, `gtr-t5-base`, a Hugging Face name, a path)
    dim            width D
    revision       the encoder's version: a hub commit or a package version
    pooling        how tokens became one vector
    dense          whether a dense layer follows the pooling (GTR has one space with and one without)
    normalisation  `unit`: every stored vector has length 1
    prompt         text put before every chunk, if any
    precision      `float32` when the vectors agree with float32 to a cosine of .999, else the type computed in; the
                   type really used stands in the store's manifest. So a bfloat16 machine and one without share a space
    transform      centring or whitening applied afterwards, if any
    """

    encoder: str
    dim: int
    revision: str | None = None
    pooling: str | None = None
    dense: bool | None = None
    normalisation: str = "unit"
    prompt: str | None = None
    precision: str = "float32"
    transform: str | None = None

    @property
    def stated(self) -> bool:
        """False for imported vectors whose encoder the user did not name."""
        return self.encoder != UNSTATED

    @property
    def id(self) -> str:
        """A short name of the space; equal ids mean comparable vectors."""
        return f"{self.encoder.rsplit('/', 1)[-1]}-{self.dim}-{hash_json(asdict(self)).removeprefix('sha256:')[:12]}"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "id": self.id}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Space":
        return cls(**{name: field for name, field in value.items() if name != "id"})


UNSTATED = "unstated"
_MAY_BE_UNKNOWN = ("revision", "pooling", "dense")


def require_same_space(ours: Space, theirs: Space, us: str, them: str) -> None:
    """Refuse vectors of another space. `us` and `them` name the two things in the message.

    What is not stated is taken on trust, the width is not: an unstated encoder, and of a stated one the revision,
    pooling and dense layer where either side does not know them (imported vectors). Raises InputError.
    """
    if ours.dim != theirs.dim:
        raise InputError(
            f"{them}: vectors are {theirs.dim} wide ({theirs.encoder}), {us} wants {ours.dim} ({ours.encoder}). "
            f"Embed the text again with `segue embed --encoder {ours.encoder}`."
        )
    unknown = [name for name in _MAY_BE_UNKNOWN if None in (getattr(ours, name), getattr(theirs, name))]
    known = replace(theirs, **{name: getattr(ours, name) for name in unknown})
    if ours.stated and theirs.stated and ours != known:
        raise InputError(
            f"{them}: vectors are of the space {theirs.id}, {us} wants {ours.id}. "
            f"Embed the text again with `segue embed --encoder {ours.encoder}`."
        )
