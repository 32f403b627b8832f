"""All that changes while a model is trained, so all that a checkpoint holds."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from segue.models import LatentModel, build_model
from segue.training.diverged import DivergedError
from segue.vectors import Space

if TYPE_CHECKING:
    from segue.recipe import Recipe

# An improvement is one by more than this share of the loss, as in torch's ReduceLROnPlateau.
IMPROVEMENT = 1e-4


def seed_torch(seed: int, epoch: int) -> None:
    """Set torch's generators for an epoch, 0 for the weights: a resumed epoch draws what an uninterrupted one does."""
    torch.manual_seed(int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0]))


@dataclass
class PlateauSchedule:
    """Multiply the learning rate by `factor` when VAL loss has not improved for more than `patience` epochs."""

    factor: float
    patience: int
    best: float | None = None
    waited: int = 0

    def factor_after(self, loss: float) -> float:
        """1, or `factor` after the epoch whose VAL loss is given."""
        if self.best is None or loss < self.best * (1 - IMPROVEMENT):
            self.best, self.waited = loss, 0
        else:
            self.waited += 1
        if self.waited <= self.patience:
            return 1.0
        self.waited = 0
        return self.factor


@dataclass
class State:
    """A model in training.

    epoch          the last begun, from 1; 0 before the first
    best_epoch     by the recipe's metric; 0 while there is none
    history        finished lines of the run's history
    """

    recipe: "Recipe"
    model: LatentModel
    optimiser: torch.optim.Optimizer
    plateau: PlateauSchedule
    epoch: int = 0
    best_epoch: int = 0
    best_value: float | None = None
    history: int = 0
    events: list[str] = field(default_factory=list)

    @property
    def lr(self) -> float:
        """The learning rate now."""
        return float(self.optimiser.param_groups[0]["lr"])

    @lr.setter
    def lr(self, value: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = value

    def begin_epoch(self) -> None:
        """Count on, and make the epoch's randomness depend on nothing but seed and epoch."""
        self.epoch += 1
        self.events = []
        seed_torch(self.recipe.seed, self.epoch)
        self.model.train()

    def update(self, loss: Tensor) -> None:
        """One step down the gradient, clipped. Raises DivergedError before it when loss or gradient is not finite."""
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        length = nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.gradient_clip)
        if not torch.isfinite(loss.detach() + length):
            raise DivergedError(
                f"epoch {self.epoch}: the loss is {loss.item()} and its gradient's norm {length.item()}; stopped "
                f"before the update, finished epochs are kept. Lower lr ({self.lr:g}) or the weight of a term."
            )
        self.optimiser.step()

    def judge(self, val: dict[str, float | None]) -> None:
        """After an epoch: is it the best so far, and has the loss settled on a plateau?"""
        value, best = val[self.recipe.best.metric], self.best_value
        higher = self.recipe.best.better == "higher"
        if value is not None and (best is None or (value > best if higher else value < best)):
            self.best_epoch, self.best_value = self.epoch, value
        elif not self.best_epoch:
            self.best_epoch = self.epoch
            self.events.append(f"{self.recipe.best.metric} could not be computed: best until a later epoch has it")
        loss = val["loss"]
        assert loss is not None
        factor = self.plateau.factor_after(loss)
        if factor != 1.0:
            self.events.append(f"VAL loss on a plateau: lr {self.lr:g} → {self.lr * factor:g}")
            self.lr *= factor


def new_state(recipe: "Recipe", space: Space, device: torch.device | str = "cpu") -> State:
    """A model with the recipe's seed, and its optimiser. The same weights on every device."""
    seed_torch(recipe.seed, 0)
    model = build_model(
        recipe.model.family,
        space,
        recipe.model.options,
        context=recipe.context,
        horizon=recipe.horizon,
        facets=recipe.facets,
        name=recipe.name,
    ).to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    return State(recipe, model, optimiser, PlateauSchedule(recipe.plateau.factor, recipe.plateau.patience))
