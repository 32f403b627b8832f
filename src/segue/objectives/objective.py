"""The objective: weighted terms, summed."""

from collections.abc import Mapping

from torch import Tensor

from segue.geometry import cosine
from segue.models import LatentModel
from segue.objectives.regression import MeanSquaredError
from segue.objectives.term import Pass, Term
from segue.windows.batches import Batch

# A new term is a class and a line here.
TERMS: dict[str, type[Term]] = {
    "mse": MeanSquaredError,
}


class Objective:
    """`objective(model, batch, epoch)` → named scalars: each term that has a weight, `cos`, and `total`, the loss."""

    def __init__(self, terms: Mapping[str, Term]):
        self.terms = dict(terms)

    def weights(self, epoch: int) -> dict[str, float]:
        """Each term's weight at an epoch."""
        return {name: term.weight.at(epoch) for name, term in self.terms.items()}

    def values(self, made: Pass) -> dict[str, Tensor]:
        """The named scalars of a forward pass. A term of weight 0 is not computed and not named."""
        weights = {name: weight for name, weight in self.weights(made.epoch).items() if weight}
        step = {name: self.terms[name].value(made) for name in weights}
        total = sum((weight * step[name] for name, weight in weights.items()), made.raw_BD.new_zeros(()))
        cos = cosine(made.raw_BD.detach(), made.batch.target_BD).mean()
        return {**step, "cos": cos, "total": total}

    def __call__(self, model: LatentModel, batch: Batch, epoch: int) -> dict[str, Tensor]:
        return self.values(Pass.of(model, batch, epoch))
