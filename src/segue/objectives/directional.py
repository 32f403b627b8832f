"""Terms that want the prediction nearer to the target than to the last context chunk.

gap = cos(p, y) − cos(p, x_t), `Pass.gap_B`; its mean is `margin_last` (SPEC §2).
"""

from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus

from segue.objectives.forward import Pass
from segue.objectives.margin import Margin, RatioMargin
from segue.objectives.term import Term

GAMMA = 4.0  # of the ratio term: SPEC §8 gives it no other


class Directional(Term):
    """A hinge on the gap.

    value     mean of relu(m − gap)                              scalar ≥ 0
    inputs    raw_BD any norm, target_BD and last_BD unit
    gradient  per unit of gap −1 where gap < m, else 0: a weight of .01 pulls 7 times as hard as MSE, .002 1.4 times
              (D = 768, ‖r‖ ≈ .55)
    caution   past the frontier (SPEC §4) it buys margin with cosine, as `steer` does after training with one number
    source    SPEC §8
    """

    margin: Margin

    def per_window(self, made: Pass) -> Tensor:
        return (self.margin.at(made.epoch) - made.gap_B).relu()


class DirectionalSmooth(Term):
    """The hinge on the gap with a soft corner.

    value     mean of softplus(γ (m − gap)) / γ                  scalar > 0
    inputs    raw_BD any norm, target_BD and last_BD unit
    gradient  per unit of gap −sigmoid(γ (m − gap)): at γ = 8 still −.07 where the gap is m + .32
    caution   never satisfied, and on most windows near half its full pull: at γ = 8 gaps of ± .1 give −.3 … −.7
    source    SPEC §8
    """

    margin: Margin
    gamma: float = Field(gt=0)

    def per_window(self, made: Pass) -> Tensor:
        return softplus(self.margin.at(made.epoch) - made.gap_B, beta=self.gamma)


class DirectionalRatio(Term):
    """Soft hinges on the gap and on the gap relative to the cosines it is made of.

    value     mean of .7 softplus(γ (m_gap − gap)) / γ
                    + .3 softplus(γ (m_ratio − gap / (|cos(p, y)| + |cos(p, x_t)| + 1e-6))) / γ, γ = 4     scalar > 0
    inputs    raw_BD any norm, target_BD and last_BD unit
    gradient  of the ratio per unit of cos(p, y), where both cosines are above 0: 2 cos(p, x_t) / (sum)², so at
              cosines of .5 as large as the gap's own, and without bound where both come to 0
    caution   the ratio's part asks little of good predictions and most of useless ones: `skip` leaves it out there
    source    SPEC §8
    """

    margin_gap: Margin
    margin_ratio: RatioMargin

    def per_window(self, made: Pass) -> Tensor:
        ratio_B = made.gap_B / (made.cos_target_B.abs() + made.cos_last_B.abs() + 1e-6)
        of_gap_B = softplus(self.margin_gap.at(made.epoch) - made.gap_B, beta=GAMMA)
        of_ratio_B = softplus(self.margin_ratio.at(made.epoch) - ratio_B, beta=GAMMA)
        return 0.7 * of_gap_B + 0.3 * of_ratio_B
