"""The mean of a model's weights over its last steps."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn, no_grad


class Averaged:
    """An exponential moving average of a model's parameters; between `worn` the model is the average.

    decay   d of a ← d·a + (1 − d)·w after each step; (1 + n) / (10 + n) where that is smaller, n the steps so far: the
            first weights are soon forgotten (as in TensorFlow's ExponentialMovingAverage, `num_updates`)
    source  Polyak & Juditsky 1992; over the last steps alone Tarvainen & Valpola 2017, arXiv 1703.01780
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay, self.steps = decay, 0
        self._weights = list(model.parameters())
        self._names = [name for name, _ in model.named_parameters()]
        self._other = [weight.detach().clone() for weight in self._weights]  # the average; while it is worn the weights

    @no_grad()
    def begin(self) -> None:
        """Before the first step: the average is what the model is now, fitted parts included."""
        torch._foreach_copy_(self._other, [weight.detach() for weight in self._weights])

    @no_grad()
    def update(self) -> None:
        """After a step of the optimiser."""
        share = 1 - min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self._other, [weight.detach() for weight in self._weights], share)
        self.steps += 1

    @contextmanager
    def worn(self) -> Iterator[None]:
        """For validation and saving: the model's parameters are the average, then again what they were."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @no_grad()
    def _swap(self) -> None:
        for weight, other in zip(self._weights, self._other, strict=True):
            kept = weight.detach().clone()
            weight.copy_(other)
            other.copy_(kept)

    def trained(self) -> dict[str, Tensor]:
        """While the average is worn: the weights that training goes on from, by name."""
        return dict(zip(self._names, self._other, strict=True))

    @no_grad()
    def restore(self, trained: Mapping[str, Tensor], steps: int) -> None:
        """Of a model that was saved as its average: training goes on from these. Raises KeyError for a missing one."""
        for name, weight, other in zip(self._names, self._weights, self._other, strict=True):
            other.copy_(weight)
            weight.copy_(trained[name])
        self.steps = steps
