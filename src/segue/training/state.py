"""All that changes while a model is trained, so all that a checkpoint holds."""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from segue.models import LatentModel, build_model
from segue.objectives import Objective
from segue.training.averaging import Averaged
from segue.training.diverged import DivergedError
from segue.training.early_stop import Patience
from segue.training.trips import Watch
from segue.vectors import Space
from segue.windows import Windows
from segue.windows.rows import Rows

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


@dataclass(frozen=True)
class Stopped:
    """Why no further epoch is trained: a tripwire's verdict, or an early stop (`tripwire` None)."""

    tripwire: str | None
    verdict: str


@dataclass
class State:
    """A model in training.

    recipe         as the run began; `effective` is what the present epoch is trained with
    lr             what the schedule's factor is applied to
    objective      None before `pursue`
    average        of the model's weights, where the recipe has one
    epoch          the last begun, from 1; 0 before the first
    attempt        from 1; one more after each rollback: (attempt, epoch) names a line of the history
    best_epoch     by the recipe's metric; 0 while there is none
    history        finished lines of the run's history
    patience       the early stop's, where the recipe has one
    go_back        the epoch that a tripwire wants to go back to, once this one is saved
    force          verdicts of tripwires do not stop
    """

    recipe: "Recipe"
    model: LatentModel
    optimiser: torch.optim.Optimizer
    plateau: PlateauSchedule
    lr: float
    objective: Objective | None = None
    average: Averaged | None = None
    epoch: int = 0
    attempt: int = 1
    best_epoch: int = 0
    best_value: float | None = None
    history: int = 0
    patience: Patience | None = None
    watch: Watch = field(default_factory=Watch)
    go_back: int | None = None
    stopped: Stopped | None = None
    force: bool = False
    events: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.effective = self.recipe

    def pursue(self, objective: Objective) -> Objective:
        """Minimise this objective: what its terms train of their own is trained with the model."""
        self.objective = objective
        if parameters := list(objective.heads.parameters()):
            self.optimiser.add_param_group({"params": parameters})
        return objective

    def prepare(self, train: Windows, rows: Rows) -> None:
        """Before the first step: what the model works out from the train documents; an average begins from that."""
        self.model.prepare(train, rows, self.recipe.seed)
        if self.average is not None:
            self.average.begin()

    @property
    def heads(self) -> nn.ModuleDict:
        """The terms' own trained parts."""
        return self.objective.heads if self.objective is not None else nn.ModuleDict()

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """All that is trained."""
        yield from self.model.named_parameters()
        yield from self.heads.named_parameters(prefix="heads")

    @property
    def goes_on(self) -> bool:
        """Whether there is another epoch to train."""
        overruled = self.force and self.stopped is not None and self.stopped.tripwire is not None
        return self.epoch < self.recipe.epochs and (self.stopped is None or overruled)

    @property
    def seed(self) -> int:
        """Of what an epoch draws: after a rollback another one, or the same epochs would be trained again."""
        if self.attempt == 1:
            return self.recipe.seed
        return int(np.random.SeedSequence([self.recipe.seed, 0, self.attempt]).generate_state(1, np.uint64)[0])

    def averaged(self) -> AbstractContextManager[None]:
        """Within it the model is the average of its weights, where the recipe has one: as it is judged and saved."""
        return nullcontext() if self.average is None else self.average.worn()

    def begin_epoch(self) -> "Recipe":
        """Count on, and make the epoch's randomness depend on nothing but seed, attempt and epoch.

        → the recipe for this epoch: the run's with what tripwires have changed
        """
        self.epoch += 1
        self.events, self.stopped = [], None
        self.effective = recipe = self.watch.next_epoch(self.recipe)
        if self.objective is not None:
            self.objective.change(recipe.objective, recipe.context_drop)
        if self.watch.lr is not None:
            self.lr, self.watch.lr = self.watch.lr, None
        for group in self.optimiser.param_groups:
            group["weight_decay"] = recipe.weight_decay
        seed_torch(self.seed, self.epoch)
        self.model.train()
        self.heads.train()
        return recipe

    def update(self, loss: Tensor, share: float) -> None:
        """One step down the gradient, clipped, at a share of the run's windows.

        Raises DivergedError before it when loss or gradient is not finite.
        """
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        parameters = [parameter for _, parameter in self.named_parameters()]
        norm = nn.utils.get_total_norm([one.grad for one in parameters if one.grad is not None])
        value, length = torch.stack([loss.detach(), norm]).tolist()
        if not (math.isfinite(value) and math.isfinite(length)):
            raise DivergedError(
                f"epoch {self.epoch}: the loss is {value} and its gradient's norm {length}; stopped "
                f"before the update, finished epochs are kept. Lower lr ({self.lr:g}) or the weight of a term."
            )
        # `clip_grad_norm_` would pass over every gradient to multiply a short one by 1: a twentieth of amn's step.
        if length > self.effective.gradient_clip:
            nn.utils.clip_grads_with_norm_(parameters, self.effective.gradient_clip, norm)
        schedule = self.recipe.lr_schedule
        for group in self.optimiser.param_groups:
            group["lr"] = self.lr * (schedule.factor(share) if schedule else 1.0)
        self.optimiser.step()
        if self.average is not None:
            self.average.update()

    def judge(self, val: dict[str, float | None]) -> None:
        """After an epoch: is it the best so far, has the loss settled on a plateau, is it time to stop?"""
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
        stop = self.recipe.early_stop
        if stop is not None and self.patience is not None and self.patience.is_over(val[stop.metric]):
            self.stopped = Stopped(None, f"{stop.metric} was no better for {stop.patience} epochs")
            self.events.append(f"early stop: {self.stopped.verdict}")

    def stop(self, tripwire: str, verdict: str) -> str:
        """End training after this epoch, whatever else trips; words for it. With `force` only the words."""
        if self.force:
            return f"does not stop ({verdict}): --force"
        self.stopped, self.go_back = Stopped(tripwire, verdict), None
        return f"stops: {verdict}"

    def roll_back_to(self, epoch: int) -> str:
        """Go back once this epoch is saved; of several the furthest. Words for it."""
        if self.stopped is not None and self.stopped.tripwire is not None:
            return "stopped, so does not roll back"
        self.go_back, self.stopped = min(epoch, self.go_back or epoch), None
        return f"rolls back to epoch {epoch}"


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
    stop = recipe.early_stop
    return State(
        recipe,
        model,
        optimiser,
        PlateauSchedule(recipe.plateau.factor, recipe.plateau.patience),
        recipe.lr,
        average=Averaged(model, recipe.averaging) if recipe.averaging is not None else None,
        patience=Patience(stop.better == "higher", stop.patience) if stop else None,
    )
