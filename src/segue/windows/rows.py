"""The one gather: rows of a store as float32 unit vectors on a device.

The store stays in its own type, memory-mapped or copied to an accelerator where it fits; a batch is converted when it
is gathered. Nothing is materialised beyond the batch, and of a row's length its inverse, once it was gathered.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch

from segue.geometry import norm

if TYPE_CHECKING:
    from segue.vectors import Store

# A GPU keeps the store when it takes at most this share of the free memory: model, optimiser and activations follow.
DEVICE_SHARE = 0.5
MEASURED = 1 << 15  # rows at once: a whole corpus in float64 would be four times its float16 store


class Rows:
    """Gather rows of a store: `rows(index) → (…, D)` float32, unit length."""

    def __init__(self, store: "Store", device: torch.device | str = "cpu"):
        self.device = torch.device(device)
        self.dim = store.dim
        vectors_ND = store.vectors_ND
        # torch has no negative strides: a reversed view (`Reversed`) is read from its far end.
        self._edge = len(vectors_ND) - 1 if vectors_ND.strides[0] < 0 else None
        self._vectors_ND = torch.from_numpy(vectors_ND if self._edge is None else vectors_ND[::-1])
        if self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            if self._vectors_ND.nbytes <= DEVICE_SHARE * free:
                self._vectors_ND = self._vectors_ND.to(self.device)
        self._inverse_N = torch.full((len(vectors_ND),), torch.nan, device=self._vectors_ND.device)

    def __call__(self, index: np.ndarray | torch.Tensor) -> torch.Tensor:
        index = torch.as_tensor(index, device=self._vectors_ND.device)
        rows = (index if self._edge is None else self._edge - index).reshape(-1)
        self._measure(rows)
        unit = self._vectors_ND.index_select(0, rows).float().mul_(self._inverse_N.index_select(0, rows)[:, None])
        return unit.to(self.device).reshape(*index.shape, self.dim)

    def _measure(self, rows: torch.Tensor) -> None:
        """Note the inverse lengths of rows gathered for the first time.

        To normalise each batch anew took a tenth of amn's training step. In float64: a row must come out the same, bit
        for bit, in whatever batch it is gathered, or the oracle would not recognise a context it has seen. Where the
        store lies: Apple's GPUs have no float64.
        """
        new = rows[self._inverse_N.index_select(0, rows).isnan()]
        for some in new.split(MEASURED):
            self._inverse_N[some] = (1 / norm(self._vectors_ND.index_select(0, some).double()))[:, 0].float()
