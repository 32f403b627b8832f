"""A predictor with no symmetry, as torch and as slow float64: what the harness is compared with a slow loop on."""

import numpy as np
import torch

CONTEXT, DIM = 4, 12


class Crooked:
    """Reads every slot, order and sign: nothing cancels. `reach` other than C reads the last C of what it is handed."""

    def __init__(self, horizon=1, reach=CONTEXT):
        self.name, self.dim, self.context, self.horizon = "crooked", DIM, CONTEXT, horizon
        self.facets, self.reach = ("mean", "rank"), reach
        self.weights = np.random.default_rng(5).standard_normal((CONTEXT * DIM, DIM)) + 2 * np.tile(
            np.eye(DIM), (CONTEXT, 1)
        )

    def slow(self, slots):
        return np.tanh(np.concatenate(slots[-CONTEXT:]) @ self.weights)

    def predict(self, context_BCD):
        raw = torch.tanh(context_BCD[:, -CONTEXT:].double().flatten(1) @ torch.tensor(self.weights)).float()
        return raw / raw.norm(dim=1, keepdim=True)
