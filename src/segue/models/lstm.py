"""`lstm`: stacked LSTM layers.

Legend: B batch, C context length, D width of the vectors, I width of the input, W width of the network.
"""

from typing import Any

from pydantic import Field
from torch import Tensor, nn

from segue.models.network import LatentModel, Options
from segue.vectors import Space


class LongShortTermMemoryOptions(Options):
    width: int = Field(512, ge=1)
    layers: int = Field(2, ge=1)
    dropout: float = Field(0.2, ge=0, lt=1)


class LongShortTermMemory(LatentModel):
    """LSTM layers over the context, read at the last step (SPEC §7).

    `layers` LSTMs of width W with dropout between them; top layer's last step → D. 5,120,768 parameters at D = 768.
    """

    family = "lstm"
    options_type = LongShortTermMemoryOptions
    options: LongShortTermMemoryOptions

    def __init__(self, space: Space, options: Options | None = None, **contract: Any):
        super().__init__(space, options, **contract)
        chosen = self.options
        between = chosen.dropout if chosen.layers > 1 else 0.0  # torch warns of a dropout that nothing comes after
        self.layers = nn.LSTM(self.inputs, chosen.width, chosen.layers, batch_first=True, dropout=between)
        self.head = nn.Linear(chosen.width, self.dim)

    def read(self, context_BCI: Tensor) -> Tensor:
        hidden_BCW, _ = self.layers(context_BCI)
        raw_BD: Tensor = self.head(hidden_BCW[:, -1])
        return raw_BD
