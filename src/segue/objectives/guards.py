"""Terms that hold one quantity of the output in bounds.

Legend: B batch, D width.
"""

from torch import Tensor

from segue.geometry import norm
from segue.models.network import Options
from segue.objectives.forward import Pass
from segue.objectives.margin import Level
from segue.objectives.term import Term


class PositiveFloor(Term):
    """Keep the cosine to the target above a floor.

    value     mean of relu(τ − cos(p, y))²                       scalar ≥ 0
    inputs    raw_BD any norm, target_BD unit
    gradient  −2 relu(τ − cos(p, y)) per unit of cos(p, y): fades as the floor is reached
    caution   windows above the floor feel nothing; at τ = .10 that is nearly all of them after the first epoch
    source    SPEC §8
    """

    floor: Level

    def per_window(self, made: Pass) -> Tensor:
        return (self.floor.at(made.epoch) - made.cos_target_B).relu().square()


class UnitNorm(Term):
    """Draw the raw output to length 1.

    value     mean of (‖r‖ − 1)²                                 scalar ≥ 0
    inputs    raw_BD any norm
    gradient  2 (‖r‖ − 1) p / B on r, along r only. On p it would be identically 0: the original's was
    caution   against MSE, whose best r is as long as its target is certain (‖r‖ ≈ .55), so r no longer estimates a
              mean: `steer` warns
    source    SPEC §8
    """

    def per_window(self, made: Pass) -> Tensor:
        return (norm(made.raw_BD)[:, 0] - 1).square()


class Orthogonality(Term):
    """Keep the prediction from leaning on the last context chunk.

    value     mean of cos(p, x_t)²                               scalar in [0, 1]
    inputs    raw_BD any norm, last_BD unit
    gradient  2 cos(p, x_t) per unit of it: at weight 5e-4 a third of MSE's where cos(p, x_t) = .5 (D = 768,
              ‖r‖ ≈ .55), half of it at .7, where plain MSE ends; not .05 %
    caution   pushes a negative cosine up as it pushes a positive one down
    source    SPEC §8
    """

    def per_window(self, made: Pass) -> Tensor:
        return made.cos_last_B.square()


class ResidualSize(Term):
    """Keep what a model adds to the last chunk small, or to what `model.skip` makes of the last ones.

    value     mean over the batch of ‖delta‖², the square summed over D          scalar ≥ 0
    inputs    delta_BD, so a model with `model.residual` or `model.skip`
    gradient  2 delta / B on delta. Were it a mean over D as well, P2's weight of 1e-4 would be a no-op
    caution   without `model.skip` a small delta is a copy: the term pulls the prediction to x_t
    source    SPEC §8
    """

    def fault(self, options: Options) -> str:
        if options.residual is not None or options.skip is not None:
            return ""
        return "the model has no residual: set model.residual, as 0.5, or the term to null"

    def per_window(self, made: Pass) -> Tensor:
        assert made.delta_BD is not None  # a recipe with another model is refused
        return made.delta_BD.float().square().sum(-1)
