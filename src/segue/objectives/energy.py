"""The term that wants samples of the next chunk, not its mean.

Legend: B batch, M samples, D width.
"""

import torch
from pydantic import Field
from torch import Tensor

from segue.geometry import TINY
from segue.models.network import Options
from segue.objectives.forward import Pass
from segue.objectives.term import Term


class Energy(Term):
    """Draw samples that lie where the next chunk may: the energy score, estimated without bias from M samples.

    value     mean_i ‖x_i − y‖ − ½ · mean_{i≠j} ‖x_i − x_j‖, the mean over the batch       scalar, its mean ≥ 0
    inputs    samples of the model's generative head (`model.noise`), unit; target_BD unit
    gradient  the first summand draws all samples to y, the second pushes them apart; strictly proper: smallest in the
              mean only where the samples are distributed as y is, so one that always says the mean loses by it
    caution   says nothing to the model's own prediction. Over few samples it is noisy: 8 cost little, the head is small
    source    Gneiting & Raftery 2007, JASA 102, eq. 22; trained by it: Shen & Meinshausen 2023, arXiv 2307.00835
    """

    samples: int = Field(8, ge=2)

    def fault(self, options: Options) -> str:
        if getattr(options, "noise", None) is not None:
            return ""
        return "the model has no generative head: set model.noise (causal), as 16, or the term to null"

    def per_window(self, made: Pass) -> Tensor:
        assert made.drawn is not None  # a recipe with another model is refused
        sample_BMD = made.drawn(self.samples)
        with torch.autocast(sample_BMD.device.type, enabled=False):
            to_target_BM = _distance((sample_BMD @ made.batch.target_BD[..., None])[..., 0])
            apart_BMM = _distance(sample_BMD @ sample_BMD.transpose(1, 2))
        i, j = torch.triu_indices(self.samples, self.samples, 1)
        return to_target_BM.mean(1) - apart_BMM[:, i, j].mean(1) / 2


def _distance(cosine: Tensor) -> Tensor:
    """‖a − b‖ of unit vectors by their cosine; its gradient is 0 where they are one."""
    return (2 - 2 * cosine).clip(min=TINY).sqrt()
