"""Models in memory: loaded through the one loader of training and testing, asked many questions at a time.

Legend: B questions, L chunks of a context, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml

from segue.alignment.steer import doubts, recipe_of
from segue.artifacts import read_json
from segue.errors import InputError
from segue.geometry import cosine, normalise
from segue.models import LatentModel, load_model
from segue.models.faces import mean_face
from segue.models.precision import chosen, compute_in
from segue.models.saved import located
from segue.models.steered import Steered
from segue.serving.registry import FIVECAT, Status, model_hash

BLOCK = 256  # contexts of one forward
LONGEST = 1024  # chunks of a context, for a model that reads any number
UNIT = 0.01  # how far a vector's length may lie from 1: float16's rounding is a tenth of that


class ContextError(InputError):
    """A question that a model cannot be asked.

    code    a short name for programs: `wrong_width`, `context_too_short`
    field   which part of the question
    """

    def __init__(self, message: str, code: str, field: str | None = None):
        super().__init__(message)
        self.code, self.field = code, field


@dataclass(frozen=True, eq=False)
class ServedModel:
    """One loaded model, under the name that clients use.

    run      the run or model folder it was loaded from
    hash     of its folder's manifest, when it was loaded
    gates    profile → gate → passed, of the run's 5CAT; None without one
    doubts   why steering it may leave the frontier
    """

    name: str
    run: Path
    hash: str
    model: LatentModel
    status: Status = "served"
    gates: dict[str, dict[str, bool | None]] | None = None
    doubts: tuple[str, ...] = ()
    device: str = "cpu"

    @property
    def faces(self) -> tuple[str, ...]:
        """Of a model of two: `ranking`, which is the prediction, and `mean`. () where it has one."""
        return ("ranking", "mean") if self.model.two_faced else ()

    def with_status(self, status: Status) -> "ServedModel":
        """The same loaded model, in another role."""
        return replace(self, status=status)

    def trouble(self) -> str | None:
        """What befell its folder since it was loaded; it is served from memory all the same."""
        try:
            found = model_hash(self.run)
        except InputError:
            return f"{self.name}: its folder is gone ({self.run}); it is served from memory until the next start."
        if found != self.hash:
            return f"{self.name}: {self.run} was changed since it was loaded; what was loaded is served. Start again."
        return None

    def info(self) -> dict[str, Any]:
        """What `GET /info` says of it."""
        model = self.model
        return {
            "name": self.name,
            "family": model.family,
            "dim": model.dim,
            "context": model.context,
            "horizon": model.horizon,
            "facets": list(model.facets),
            "faces": list(self.faces),
            "reach": model.reach,
            "space": model.space.to_json(),
            "parameters": model.parameter_count,
            "precision": chosen(model.precision, torch.device(self.device)),
            "status": self.status,
            "run": str(self.run),
            "gates": self.gates,
        }

    def warnings(self, steering: float) -> list[str]:
        """What its user must know before believing a steered prediction; [] for β = 0."""
        if not steering:
            return []
        said = [f"{doubt}; steering it may leave the frontier." for doubt in self.doubts]
        if isinstance(self.model, Steered):
            said.append(f"it is steered already (β {self.model.beta:.3f}); {steering:g} comes on top.")
        return said

    def require(self, context_LD: np.ndarray, field: str = "context_vectors") -> None:
        """Raises ContextError for a context that cannot be read: width, number of chunks, vectors that are not unit."""
        chunks, width = context_LD.shape
        if width != self.model.dim:
            raise ContextError(
                f"{field}: vectors are {width} wide, {self.name} wants {self.model.dim} ({self.model.space.encoder}). "
                f"Encode the text with that encoder.",
                "wrong_width",
                field,
            )
        self.require_chunks(chunks, field)
        if not np.isfinite(context_LD).all():
            told = f"{field}: found NaN, infinity or a number beyond float32, unit vectors are wanted."
            raise ContextError(told, "not_finite", field)
        length_L = np.linalg.norm(context_LD.astype(np.float64), axis=1)
        if (abs(length_L - 1) > UNIT).any():
            worst = int(abs(length_L - 1).argmax())
            raise ContextError(
                f"{field}: vector {worst} has length {length_L[worst]:.4g}, unit vectors are wanted. Divide each by "
                f"its length.",
                "not_unit",
                field,
            )

    @property
    def wanted(self) -> str:
        """How many chunks a context must have, in words."""
        reach = self.model.reach
        return "1 chunk or more" if reach is None else f"{reach} chunk{'' if reach == 1 else 's'}"

    def require_chunks(self, chunks: int, field: str) -> None:
        """Raises ContextError for too few chunks, or too many. Nothing is padded, nothing dropped in silence."""
        reach = self.model.reach
        wanted = f"{reach}" if reach is not None else f"1 to {LONGEST:,}"
        if chunks < (reach or 1):
            raise ContextError(
                f"{field}: found {chunks} chunks, {self.name} wants {wanted}.", "context_too_short", field
            )
        if chunks > (reach or LONGEST):
            raise ContextError(
                f"{field}: found {chunks:,} chunks, {self.name} wants {wanted}. Send the last ones.",
                "context_too_long",
                field,
            )


def load_served(
    name: str, run: str | Path, status: Status = "served", *, device: str = "cpu", precision: str = "fp32"
) -> ServedModel:
    """Load a run's best epoch, or a model folder. Raises InputError.

    precision   fp32 as it was judged in, unless asked otherwise: of the study's p1 a question alone takes 7 ms in fp32
                and 10 in bf16 on a core that has it, 256 at once 127 and 67; the two agree to a cosine of .9998
    """
    run = located(run).resolve()
    found = model_hash(run) if run.is_dir() else ""
    model = load_model(run, device)
    compute_in(model, precision)
    model.predict(torch.zeros(1, model.context, model.dim, device=device))  # the first forward is slow: not a client's
    try:
        recipe = recipe_of(run)
    except (yaml.YAMLError, UnicodeDecodeError):
        recipe = None  # told among the doubts, as any recipe that is not known
    return ServedModel(name, run, found, model, status, _gates(run), tuple(doubts(recipe)), device)


def _gates(run: Path) -> dict[str, dict[str, bool | None]] | None:
    """Which gates of which profiles the run's 5CAT passes; None where it has none that can be read."""
    try:
        profiles = read_json(run / FIVECAT)["profiles"]
        return {
            profile: {gate: its["passed"] for gate, its in verdict["gates"].items()}
            for profile, verdict in profiles.items()
        }
    except (InputError, KeyError, TypeError, AttributeError):
        return None


@dataclass(frozen=True)
class Question:
    """One context to continue.

    context_LD   float32 unit vectors, oldest chunk first
    steering     β of p = normalise(r − β·x_t), 0 for the model's own prediction
    both         of a model of two faces the mean too: a second forward
    """

    served: ServedModel
    context_LD: np.ndarray
    steering: float = field(default=0.0)
    both: bool = False


class Answer(NamedTuple):
    """The unit prediction, (D,) float32, and its cosine to the last chunk that was read.

    mean_D  what the mean face says, never steered; None where it was not asked for or the model has one face
    """

    prediction_D: np.ndarray
    cosine_last: float
    mean_D: np.ndarray | None = None


def answer(questions: Sequence[Question]) -> list[Answer]:
    """Predictions for any mixture of models, lengths and steerings: one forward for all that are of one shape.

    A forward's last bit may depend on how many contexts share it: alone, a question is answered bit for bit as
    `model.predict` does in float32.
    """
    groups: dict[tuple[int, int, bool], list[int]] = {}
    for i, question in enumerate(questions):
        groups.setdefault((id(question.served), len(question.context_LD), question.both), []).append(i)
    found: dict[int, Answer] = {}
    for members in groups.values():
        for start in range(0, len(members), BLOCK):
            some = members[start : start + BLOCK]
            found.update(zip(some, _forward([questions[i] for i in some]), strict=True))
    return [found[i] for i in range(len(questions))]


def _forward(questions: list[Question]) -> list[Answer]:
    """Answers of one model to contexts of one length."""
    served = questions[0].served
    context_BLD = torch.from_numpy(np.stack([question.context_LD for question in questions])).to(served.device)
    beta_B1 = torch.tensor([[question.steering] for question in questions], device=served.device)
    last_BD = context_BLD[:, -1]
    prediction_BD, raw_BD = served.model.predict_with_raw(context_BLD)
    if beta_B1.any():  # r − 0·x_t is r to the bit
        prediction_BD = normalise(raw_BD - beta_B1 * last_BD)
    cosine_B = cosine(prediction_BD.double(), last_BD.double()).tolist()
    mean = mean_face(served.model) if questions[0].both else None
    mean_BD = mean.predict(context_BLD).cpu().numpy() if mean else [None] * len(questions)
    return [Answer(*made) for made in zip(prediction_BD.cpu().numpy(), cosine_B, mean_BD, strict=True)]
