"""`gru`: residual blocks of a GRU and a LayerNorm.

Legend: B batch, C context length, D width of the vectors, I width of the input, W width of the network.
"""

from typing import Any

from pydantic import Field
from torch import Tensor, nn

from segue.models.network import LatentModel, Options
from segue.models.recurrence import states
from segue.vectors import Space


class GatedRecurrentOptions(Options):
    width: int = Field(512, ge=1)
    layers: int = Field(4, ge=1)


class Block(nn.Module):
    """x ↦ LayerNorm(x + GRU(x)): post-norm, as the transformer's layers are. (C, B, W) → (C, B, W)

    SPEC names the parts, not their order; one GRU and one LayerNorm, with their biases, give the exact count.
    """

    def __init__(self, width: int):
        super().__init__()
        self.recurrent = nn.GRU(width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x_CBW: Tensor) -> Tensor:
        normed_CBW: Tensor = self.norm(x_CBW + states(self.recurrent, x_CBW))
        return normed_CBW


class GatedRecurrent(LatentModel):
    """Residual GRU blocks over the context, read at the last step (SPEC §7).

    D → W; `layers` blocks; top block's last step → D. 7,095,552 parameters at D = 768.
    """

    family = "gru"
    options_type = GatedRecurrentOptions
    options: GatedRecurrentOptions

    def __init__(self, space: Space, options: Options | None = None, **contract: Any):
        super().__init__(space, options, **contract)
        chosen = self.options
        self.project = nn.Linear(self.inputs, chosen.width)
        self.blocks = nn.Sequential(*(Block(chosen.width) for _ in range(chosen.layers)))
        self.head = nn.Linear(chosen.width, self.dim)

    def read(self, context_BCI: Tensor) -> Tensor:
        hidden_CBW = self.blocks(self.project(context_BCI.transpose(0, 1)))
        raw_BD: Tensor = self.head(hidden_CBW[-1])
        return raw_BD
