"""The term that feeds predictions back.

Legend: B batch, C context length, D width, H steps.
"""

import torch
from pydantic import Field
from torch import Tensor

from segue.geometry import normalise
from segue.objectives.forward import Pass
from segue.objectives.term import Term

STILL, SCALE = 0.95, 10.0  # SPEC §8


class Rollout(Term):
    """Go H steps on the model's own predictions, and do not stand still.

    value     mean over H steps: at the first the mean over D of (p_1 − y)²; at a later one
              10 relu(cos(p_{j−1}, p_j) − .95); p_j is predicted from the context with p_1 … p_{j−1} slid in
                                                                 scalar ≥ 0
    inputs    raw_BD any norm, target_BD and context_BCD unit; p_1 is the batch's own prediction, each later step one
              more forward of the model in the mode it is in. Under `context_drop` the later contexts are whole
    gradient  through every step, the predictions that were fed back included
    caution   the first step is MSE on the unit prediction, (2 − 2 cos) / D; where two predictions in a row are nearer
              than .95 a later one pulls 10 D / 2 as hard, 3,840 times at D = 768. It costs H − 1 forwards and
              backwards more, and never sees what comes after the target. A model of whole documents makes the first
              step from all of one, the later from C chunks
    source    SPEC §8
    """

    steps: int = Field(ge=2)

    def per_window(self, made: Pass) -> Tensor:
        before_BD, context_BCD = made.pred_BD, made.batch.context_BCD
        value_B = (before_BD - made.batch.target_BD).square().mean(-1)
        for _ in range(self.steps - 1):
            context_BCD = torch.cat([context_BCD[:, 1:], before_BD[:, None]], 1)
            next_BD = normalise(made.model(context_BCD).float())
            value_B = value_B + SCALE * ((before_BD * next_BD).sum(-1) - STILL).relu()
            before_BD = next_BD
        return value_B / self.steps
