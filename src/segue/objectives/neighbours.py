"""Terms that want the prediction nearer to the target than to the chunks around it.

Legend: B batch, C context length, K offsets, D width.
"""

import torch
from torch import Tensor

from segue.objectives.forward import Pass
from segue.objectives.margin import Margin
from segue.objectives.term import Term


class AntiCopy(Term):
    """A hinge against each chunk of the context.

    value     mean over windows and slots i of relu(m − (cos(p, y) − cos(p, x_i)))     scalar ≥ 0
    inputs    raw_BD any norm, target_BD and context_BCD unit
    gradient  per unit of cos(p, y) minus the share of slots that are nearer than the margin allows
    caution   slot C is x_t, so a C-th of it is `directional` over again
    source    SPEC §8
    """

    margin: Margin

    def per_window(self, made: Pass) -> Tensor:
        cos_BC = (made.pred_BD[:, None] * made.batch.context_BCD).sum(-1)
        return (self.margin.at(made.epoch) - made.cos_target_B[:, None] + cos_BC).relu().mean(1)


class Future(Term):
    """Hinges against the two chunks after the target: of the future, the prediction is to be the nearest part.

    value     mean of Σ_k relu(m − (cos(p, y) − cos(p, x_{t+k}))), k = h + 1, h + 2     scalar ≥ 0
    inputs    raw_BD any norm, target_BD unit; the chunks h + 1 and h + 2 in one gather
    applies   to windows that have both chunks: none that end a document, nor a run before a gap
    gradient  per unit of cos(p, y) between 0 and −2
    source    SPEC §8
    """

    margin: Margin

    def kept(self, made: Pass) -> Tensor:
        windows = made.batch.windows
        return torch.as_tensor(windows.has(windows.horizon + 2), device=made.raw_BD.device)

    def per_window(self, made: Pass) -> Tensor:
        horizon = made.batch.windows.horizon
        after_BKD, _ = made.offset(horizon + 1, horizon + 2)
        cos_BK = (made.pred_BD[:, None] * after_BKD).sum(-1)
        return (self.margin.at(made.epoch) - made.cos_target_B[:, None] + cos_BK).relu().sum(1)
