"""SPEC §8 written out window by window in float64, apart from the code: what each term is compared with.

Nothing of segue's geometry, windows or gathers is used: a window is a document and the index of x_t in it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass
class Scene:
    """A batch as the formulas see it.

    raw        (B, D) float64, leaf or made by `model`
    documents  unit vectors of each, (n, D) float64
    runs       document → the number of the gap-free run that each chunk lies in
    places     window → (document, index of x_t in it)
    hinges     what every hinge was asked, its sign the side: below 0 it rests
    """

    raw: Tensor
    documents: list[Tensor]
    runs: list[list[int]]
    places: list[tuple[int, int]]
    context: int
    horizon: int
    model: nn.Module | None = None
    head: nn.Module | None = None
    delta: Tensor | None = None
    drawn: Tensor | None = None
    logits: Tensor | None = None
    hinges: list[float] = field(default_factory=list)

    def chunk(self, b: int, offset: int) -> Tensor:
        document, t = self.places[b]
        return self.documents[document][t + offset]

    def exists(self, b: int, offset: int) -> bool:
        document, t = self.places[b]
        at = t + offset
        return 0 <= at < len(self.documents[document]) and self.runs[document][at] == self.runs[document][t]

    def target(self, b: int) -> Tensor:
        return self.chunk(b, self.horizon)

    def cos(self, b: int, other: Tensor) -> Tensor:
        return cos(self.raw[b], other)

    def gap(self, b: int) -> Tensor:
        return self.cos(b, self.target(b)) - self.cos(b, self.chunk(b, 0))

    def hinge(self, asked: Tensor) -> Tensor:
        self.hinges.append(asked.item())
        return asked if asked > 0 else asked * 0

    def mean(self, of_window: Callable[[int], Tensor], windows: list[int] | None = None) -> Tensor:
        windows = list(range(len(self.places))) if windows is None else windows
        return sum(of_window(b) for b in windows) / len(windows)


def cos(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b) / ((a @ a).sqrt() * (b @ b).sqrt())


def softplus(x: Tensor) -> Tensor:
    return torch.log(1 + torch.exp(x))


def mse(s: Scene) -> Tensor:
    return s.mean(lambda b: sum((s.raw[b] - s.target(b)) ** 2) / s.raw.shape[1])


def cosine(s: Scene) -> Tensor:
    return s.mean(lambda b: 1 - s.cos(b, s.target(b)))


def directional(s: Scene, margin: float) -> Tensor:
    return s.mean(lambda b: s.hinge(margin - s.gap(b)))


def directional_smooth(s: Scene, margin: float, gamma: float) -> Tensor:
    return s.mean(lambda b: softplus(gamma * (margin - s.gap(b))) / gamma)


def directional_ratio(s: Scene, margin_gap: float, margin_ratio: float) -> Tensor:
    def one(b: int) -> Tensor:
        ratio = s.gap(b) / (abs(s.cos(b, s.target(b))) + abs(s.cos(b, s.chunk(b, 0))) + 1e-6)
        return 0.7 * softplus(4 * (margin_gap - s.gap(b))) / 4 + 0.3 * softplus(4 * (margin_ratio - ratio)) / 4

    return s.mean(one)


def anti_copy(s: Scene, margin: float) -> Tensor:
    def one(b: int) -> Tensor:
        slots = [s.chunk(b, k) for k in range(-(s.context - 1), 1)]
        return sum(s.hinge(margin - (s.cos(b, s.target(b)) - s.cos(b, x))) for x in slots) / len(slots)

    return s.mean(one)


def future(s: Scene, margin: float) -> Tensor:
    after = (s.horizon + 1, s.horizon + 2)
    whole = [b for b in range(len(s.places)) if all(s.exists(b, k) for k in after)]

    def one(b: int) -> Tensor:
        return sum(s.hinge(margin - (s.cos(b, s.target(b)) - s.cos(b, s.chunk(b, k)))) for k in after)

    return s.mean(one, whole)


def rollout(s: Scene, steps: int, detached: int | None = None) -> Tensor:
    """`detached`: feed that step's prediction back without its gradient, as the cheat does."""

    def one(b: int) -> Tensor:
        window = [s.chunk(b, k) for k in range(-(s.context - 1), 1)]
        p = s.raw[b] / (s.raw[b] @ s.raw[b]).sqrt()
        value = sum((p - s.target(b)) ** 2) / len(p)
        for step in range(2, steps + 1):
            window = [*window[1:], p.detach() if detached == step - 1 else p]
            r = s.model(torch.stack(window)[None])[0]
            following = r / (r @ r).sqrt()
            value = value + 10 * s.hinge(cos(p, following) - 0.95)
            p = following
        return value / steps

    return s.mean(one)


def positive_floor(s: Scene, floor: float) -> Tensor:
    return s.mean(lambda b: s.hinge(floor - s.cos(b, s.target(b))) ** 2)


def unit_norm(s: Scene) -> Tensor:
    return s.mean(lambda b: (sum(s.raw[b] ** 2) ** 0.5 - 1) ** 2)


def orthogonality(s: Scene) -> Tensor:
    return s.mean(lambda b: s.cos(b, s.chunk(b, 0)) ** 2)


def residual_size(s: Scene) -> Tensor:
    return s.mean(lambda b: sum(s.delta[b] ** 2))


def info_nce(s: Scene, temperature: float, candidates: str, hard_negative: bool = False) -> Tensor:
    def one(b: int) -> Tensor:
        document, t = s.places[b]
        true = (document, t + s.horizon)
        named = {true}
        if "batch" in candidates:
            named |= {(other, at + s.horizon) for other, at in s.places}
        length = len(s.documents[document])
        if "future" in candidates:
            named |= {(document, i) for i in range(t + 1, length)}
        if "outside" in candidates:
            named |= {(document, i) for i in range(length) if not t - s.context < i <= t}
        if hard_negative:
            named.add((document, t))
        share = {one: torch.exp(s.cos(b, s.documents[one[0]][one[1]]) / temperature) for one in named}
        return -torch.log(share[true] / sum(share.values()))

    return s.mean(one)


def next_vs_prev(s: Scene) -> Tensor:
    first, last = s.head.layers[0], s.head.layers[2]
    width = s.raw.shape[1]

    def score(p: Tensor, chunk: Tensor) -> Tensor:
        pair = torch.cat([width**0.5 * p, width**0.5 * chunk, width * p * chunk])
        x = first.weight @ pair + first.bias
        return (last.weight @ (x * (1 + torch.erf(x / math.sqrt(2))) / 2) + last.bias)[0]

    def one(b: int) -> Tensor:
        p = s.raw[b] / (s.raw[b] @ s.raw[b]).sqrt()
        next_, previous = score(p, s.target(b)), score(p, s.chunk(b, 0))
        return -(torch.log(1 / (1 + torch.exp(-next_))) + torch.log(1 - 1 / (1 + torch.exp(-previous)))) / 2

    return s.mean(one)


def energy(s: Scene, samples: int) -> Tensor:
    """Over all ordered pairs, by differences of vectors."""

    def apart(a: Tensor, b: Tensor) -> Tensor:
        return sum((a - b) ** 2) ** 0.5

    def one(b: int) -> Tensor:
        x = s.drawn[b, :samples]
        near = sum(apart(x[i], s.target(b)) for i in range(samples)) / samples
        pairs = [apart(x[i], x[j]) for i in range(samples) for j in range(samples) if i != j]
        return near - sum(pairs) / len(pairs) / 2

    return s.mean(one)


def next_code(s: Scene) -> Tensor:
    """The nearest code by distances, the share of its logit among all."""
    codes = s.model.codes.centroid_KD

    def one(b: int) -> Tensor:
        far = [sum((s.target(b) - c) ** 2).item() for c in codes]
        share = torch.exp(s.logits[b])
        return -torch.log(share[far.index(min(far))] / share.sum())

    return s.mean(one)


# name → its formula
FORMULAS: dict[str, Callable[..., Tensor]] = {
    "mse": mse,
    "cosine": cosine,
    "directional": directional,
    "directional_smooth": directional_smooth,
    "directional_ratio": directional_ratio,
    "anti_copy": anti_copy,
    "future": future,
    "rollout": rollout,
    "positive_floor": positive_floor,
    "unit_norm": unit_norm,
    "orthogonality": orthogonality,
    "residual_size": residual_size,
    "info_nce": info_nce,
    "next_vs_prev": next_vs_prev,
    "energy": energy,
    "next_code": next_code,
}
