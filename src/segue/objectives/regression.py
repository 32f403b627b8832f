"""Terms that pull the output to the target."""

from torch import Tensor

from segue.objectives.forward import Pass
from segue.objectives.term import Term


class MeanSquaredError(Term):
    """Pull the raw output to the target, so that it estimates the mean of all targets of such a context.

    value     mean over B·D of (r − y)²                          scalar ≥ 0
    inputs    raw_BD any norm, target_BD unit
    gradient  2 (r − y) / (B·D) on r: per unit of cosine only 2·‖r‖/D ≈ .0014 at D = 768, ‖r‖ ≈ .55, which is what
              the weight of any other term is to be read against
    source    SPEC §8
    """

    def per_window(self, made: Pass) -> Tensor:
        return made.squared_error_B


class CosineDistance(Term):
    """Turn the prediction to the target, whatever its length.

    value     mean of 1 − cos(p, y)                              scalar in [0, 2]
    inputs    raw_BD any norm, target_BD unit
    gradient  −(y − cos(p, y) p) / (B ‖r‖) on r: at right angles to r, and D / (2 ‖r‖) ≈ 700 times the same part of
              MSE's at D = 768, ‖r‖ ≈ .55
    caution   leaves ‖r‖ free, so r no longer estimates a mean: `steer` warns
    source    SPEC §8
    """

    def per_window(self, made: Pass) -> Tensor:
        return 1 - made.cos_target_B
