"""The objective: weighted terms, summed."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from segue.models import LatentModel
from segue.objectives.codes import NextCode
from segue.objectives.contrastive import InfoNCE
from segue.objectives.controllers import Rho, RhoState
from segue.objectives.directional import Directional, DirectionalRatio, DirectionalSmooth
from segue.objectives.energy import Energy
from segue.objectives.forward import Pass
from segue.objectives.guards import Orthogonality, PositiveFloor, ResidualSize, UnitNorm
from segue.objectives.neighbours import AntiCopy, Future
from segue.objectives.ordering import NextVsPrevious
from segue.objectives.regression import CosineDistance, MeanSquaredError
from segue.objectives.rollout import Rollout
from segue.objectives.schedule import Schedule
from segue.objectives.term import Term
from segue.windows.batches import Batch
from segue.windows.rows import Rows

# A new term is a class and a line here.
TERMS: dict[str, type[Term]] = {
    "mse": MeanSquaredError,
    "cosine": CosineDistance,
    "directional": Directional,
    "directional_smooth": DirectionalSmooth,
    "directional_ratio": DirectionalRatio,
    "anti_copy": AntiCopy,
    "future": Future,
    "rollout": Rollout,
    "positive_floor": PositiveFloor,
    "unit_norm": UnitNorm,
    "orthogonality": Orthogonality,
    "residual_size": ResidualSize,
    "info_nce": InfoNCE,
    "next_vs_prev": NextVsPrevious,
    "energy": Energy,
    "next_code": NextCode,
}


@dataclass(frozen=True)
class Step:
    """What an objective made of a batch.

    values   term → its value, a scalar before weighting; terms of weight 0 are not computed
    weights  term → the weight it had in this step; 0 for one that was skipped
    total    the loss: Σ weight · value
    """

    made: Pass
    values: dict[str, Tensor]
    weights: dict[str, float]
    total: Tensor
    skipped: tuple[str, ...] = ()


@dataclass
class Objective:
    """`objective(model, batch, epoch)` → a `Step`.

    terms         the recipe's
    rows          the way to chunks beyond a window
    context_drop  the probability, by epoch, with which x_t is hidden from a model in training
    heads         terms' own trained parts; their parameters are trained with the model's
    """

    terms: dict[str, Term]
    rows: Rows
    context_drop: Schedule = field(default_factory=lambda: Schedule(0.0))

    def __post_init__(self) -> None:
        made = {name: term.head(self.rows.dim) for name, term in self.terms.items()}
        self.heads = nn.ModuleDict({name: head for name, head in made.items() if head is not None})
        self.heads.to(self.rows.device)
        self._controlled: dict[str, RhoState] = {}
        self.change(self.terms, self.context_drop)

    def change(self, terms: Mapping[str, Term], context_drop: Schedule) -> None:
        """Go on with other fields of the same terms; controllers keep what they have learnt."""
        self.terms, self.context_drop = dict(terms), context_drop
        for name, term in self.terms.items():
            if isinstance(term.weight, Rho):
                self._controlled.setdefault(name, RhoState(term.weight.least))

    def controls(self) -> dict[str, Any]:
        """What controllers have learnt, for a checkpoint: JSON."""
        return {name: asdict(state) for name, state in self._controlled.items()}

    def restore(self, controls: Mapping[str, Mapping[str, Any]]) -> None:
        """Take up `controls` of a checkpoint."""
        self._controlled = {name: RhoState(**its) for name, its in controls.items()}
        self.change(self.terms, self.context_drop)

    def __call__(self, model: LatentModel, batch: Batch, epoch: int) -> Step:
        """Run the model on a batch in the mode it is in; controllers learn and chunks are dropped only in training."""
        drop = self.context_drop.at(epoch) if model.training else 0.0
        return self.of(Pass.of(model, batch, epoch, self.rows, self.heads, drop))

    def of(self, made: Pass) -> Step:
        """The terms of a forward pass."""
        values: dict[str, Tensor] = {}
        weights: dict[str, float] = {}
        skipped: list[str] = []
        total = made.raw_BD.new_zeros(())
        for name, term in self.terms.items():
            if not term.weight.at(made.epoch):
                continue
            values[name] = term.value(made if term.face is None else made.mean_face)
            weights[name] = self._weight(name, term, made, values[name])
            if term.skip is not None and term.skip.holds(made):
                weights[name] = 0.0
                skipped.append(name)
            if weights[name]:
                total = total + weights[name] * values[name]
        return Step(made, values, weights, total, tuple(skipped))

    def _weight(self, name: str, term: Term, made: Pass, value: Tensor) -> float:
        if not isinstance(term.weight, Rho):
            return term.weight.at(made.epoch)
        state, rho = self._controlled[name], term.weight
        now, mse = value.item(), made.squared_error_B.mean().item()
        if made.model.training:
            state.follow(rho, rho.rho.at(made.epoch), now, mse)
        return state.capped(None if rho.cap is None else rho.cap.at(made.epoch), now, mse)


def gradient_ratios(step: Step) -> dict[str, float | None]:
    """Term → norm of its weighted gradient over that of mse (weight 1), both on the model's parameters.

    Leaves the graph whole and no gradient behind. None where mse has no gradient at all, or a pull is not finite.
    """
    parameters = [one for one in step.made.model.parameters() if one.requires_grad]

    def norm(value: Tensor) -> float:
        if not value.requires_grad:
            return 0.0
        found = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
        return float(torch.stack([one.float().norm() for one in found if one is not None]).norm())

    mse = norm(step.made.squared_error_B.mean())
    pulls = {name: step.weights[name] * norm(value) for name, value in step.values.items()}
    return {name: pull / mse if mse and isfinite(pull / mse) else None for name, pull in pulls.items()}
