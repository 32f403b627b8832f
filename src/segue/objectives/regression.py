"""Terms that pull the output to the target."""

from torch import Tensor

from segue.objectives.term import Pass, Term


class MeanSquaredError(Term):
    """Pull the raw output to the target, so that it estimates the mean of all targets of such a context.

    value     mean over B·D of (r − y)²                          scalar ≥ 0
    inputs    raw_BD any norm, target_BD unit
    gradient  2 (r − y) / (B·D) on r: per unit of cosine only 2·‖r‖/D ≈ .0014 at D = 768, ‖r‖ ≈ .55, which is what
              the weight of any other term is to be read against
    source    SPEC §8
    """

    def value(self, made: Pass) -> Tensor:
        return (made.raw_BD - made.batch.target_BD).square().mean()
