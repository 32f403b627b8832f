"""PREDICTOR on the command line: a run, a model folder, a control's name, a file of predictions, or a URL."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from segue.errors import InputError

if TYPE_CHECKING:
    from segue.models.outside import Claims, PredictionFile
    from segue.models.predictor import Predictor
    from segue.vectors import Store

# What only its user can say of a file or a server. None: not given.
Context = Annotated[int | None, typer.Option(help="For a file or a URL: context chunks C. Default: 5.")]
Horizon = Annotated[int | None, typer.Option(help="For a file or a URL: offset of the target, 1 the next. Default: 1.")]
Facets = Annotated[str | None, typer.Option(help="For a file or a URL: judged as mean, rank, or both. Default: mean.")]
Reads = Annotated[
    str | None,
    typer.Option(
        help="For a file: how much of the document so far it was made from, `document` or a number of chunks "
        "(default: document). For a URL: how much it is sent (default: C chunks)."
    ),
]
Timeout = Annotated[float | None, typer.Option(help="For a URL: seconds to wait for an answer. Default: 60.")]


def load_predictor(name: str, device: str, precision: str | None = None) -> "Predictor | str":
    """A model from a folder, or the name itself where there is no such path: a control's. Raises InputError.

    precision   what the model is to compute in, float32 if nothing is said
    """
    from segue.models import load_model
    from segue.models.precision import compute_in
    from segue.models.saved import located

    if not located(name).exists():
        refuse_precision(name, precision)
        return name
    model = load_model(name, device)
    compute_in(model, precision or "fp32")
    return model


def refuse_precision(name: str, precision: str | None) -> None:
    """Raises InputError where there is no network whose precision could be chosen."""
    if precision is not None:
        raise InputError(f"--precision: found {precision!r}, but {name} is no run, so it has no choice. Leave it out.")


def is_outside(name: str) -> bool:
    """Whether PREDICTOR is a file of predictions or a URL."""
    return name.startswith(("http://", "https://")) or name.endswith(".npy")


def load_outside(name: str, store: "Store", claims: "Claims", timeout: float | None) -> "Predictor | PredictionFile":
    """A file of predictions or an endpoint. Raises InputError."""
    from segue.models.outside import PredictionFile
    from segue.models.remote import TIMEOUT, RemotePredictor

    if name.endswith(".npy"):
        if timeout is not None:
            raise InputError(f"--timeout: found {timeout:g}, but {name} is a file. Leave it out.")
        return PredictionFile(name, claims)
    if timeout is not None and not timeout > 0:
        raise InputError(f"--timeout: found {timeout:g}, a number of seconds above 0 is wanted.")
    return RemotePredictor(name, store.dim, claims, timeout or TIMEOUT)


def claims_of(name: str, context: int | None, horizon: int | None, facets: str | None, reads: str | None) -> "Claims":
    """What the user says of a file or a URL. Raises InputError for what nobody can claim."""
    from segue.models.outside import Claims

    is_file = name.endswith(".npy")
    length = 5 if context is None else context
    if reads is None:  # a file cannot say what it was made from, so the most is assumed; a server is sent what we send
        reads = "document" if is_file else "context"
    elif reads != "document" and not reads.isdigit():
        raise InputError(f"--reads: found {reads!r}, `document` or a number of chunks is wanted.")
    elif reads.isdigit() and not is_file and int(reads) < length:
        raise InputError(f"--reads: found {reads}, at least the context of {length} chunks is sent to a URL.")
    claimed = tuple(dict.fromkeys(facet.strip() for facet in (facets or "mean").split(",")))
    much: int | Literal["context", "document"]
    much = int(reads) if reads.isdigit() else "document" if reads == "document" else "context"
    return Claims(length, 1 if horizon is None else horizon, claimed, much)


def refuse_claims(name: str, **given: object) -> None:
    """Options that say what a run or a control says of itself. Raises InputError for the first one given."""
    for option, value in given.items():
        if value is not None:
            raise InputError(f"--{option}: found {value!r}, but only a file or a URL needs it. {name} has its own.")
