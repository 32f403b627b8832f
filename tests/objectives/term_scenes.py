"""A small corpus, models and outputs on which every term is at work, and the same for the formulas."""

import copy

import numpy as np
import torch
from term_formulas import Scene
from torch import Tensor, nn

from segue.models import LatentModel, build_model
from segue.models.amn import AttentionMixtureOptions
from segue.models.transformer import TransformerOptions
from segue.vectors import Space
from segue.windows.batches import Batch

DIM, CONTEXT = 6, 3
LENGTHS = (9, 5, 8, 12)
# This document lacks position 4: two runs of four chunks, and for h = 2 no window in either.
GAPPED = 2


def some_documents() -> list[np.ndarray]:
    """Some that wander and one that hardly moves: there a rollout stands still, and its hinge acts."""
    draw = np.random.default_rng(7)
    made = [draw.normal(size=(length, DIM)) + 0.7 * draw.normal(size=DIM) for length in LENGTHS]
    made[0] = draw.normal(size=DIM) + 0.02 * made[0]
    return made


def some_positions() -> list[np.ndarray]:
    made = [np.arange(length) for length in LENGTHS]
    made[GAPPED] = made[GAPPED] + (made[GAPPED] >= 4)
    return made


def built(kind: str, dim: int = DIM) -> LatentModel:
    torch.manual_seed(3)
    residual = 0.5 if kind.startswith("residual") else None
    if kind.endswith("amn"):
        options = AttentionMixtureOptions(attention=4, hidden=5, bottleneck=4, residual=residual)
    else:
        options = TransformerOptions(width=8, layers=2, heads=2, feed_forward=12, dropout=0, residual=residual)
    model = build_model(kind.split()[-1], Space("test", dim), options, context=CONTEXT)
    if kind == "amn":  # nearer to the mean of the context, so that a still document's rollout stands still
        with torch.no_grad():
            model.correction[-1].weight.mul_(0.1)
            model.correction[-1].bias.mul_(0.1)
    return model


def scene_of(batch: Batch, documents: list[np.ndarray], raw: Tensor, **more: object) -> Scene:
    """The batch for the formulas; of the windows only which chunk is x_t is taken over."""
    units = [(document / np.linalg.norm(document, axis=1, keepdims=True)) for document in map(np.float32, documents)]
    first = np.concatenate([[0], np.cumsum(LENGTHS)])
    at = [int(np.searchsorted(first, row, side="right")) - 1 for row in batch.windows.last_W]
    runs = [[0] * length for length in LENGTHS]
    runs[GAPPED] = [0] * 4 + [1] * 4
    return Scene(
        raw,
        [torch.tensor(unit, dtype=torch.float64) for unit in units],
        runs,
        [(document, int(row - first[document])) for document, row in zip(at, batch.windows.last_W, strict=True)],
        CONTEXT,
        batch.windows.horizon,
        **more,
    )


def generic_raw(batch: Batch) -> Tensor:
    """Outputs of all lengths, some near the target, some near the last chunk or the oldest, some far from all."""
    draw = torch.Generator().manual_seed(5)
    share = torch.randn(len(batch), 4, 1, generator=draw)
    of = [batch.target_BD, batch.context_BCD[:, -1], batch.context_BCD[:, 0]]
    noise = 0.3 * torch.randn(batch.target_BD.shape, generator=draw)
    return (share * torch.stack([*of, noise], 1)).sum(1)


def in_double(module: nn.Module | None) -> nn.Module | None:
    return None if module is None else copy.deepcopy(module).double()


def assert_near(ours: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(ours.double(), wanted, rtol=1e-4, atol=2e-5 * float(wanted.abs().max()) + 1e-12)
