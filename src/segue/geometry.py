"""Normalise, cosine and rank: the one place where the project's geometry is written down.

Works alike on NumPy arrays and torch tensors, which is why nothing here imports either. Compute in float32 or wider:
a half-precision sum of squares overflows or loses the digits that ties are made of.
"""

from typing import Any, TypeVar

Array = TypeVar("Array", bound=Any)  # numpy.ndarray or torch.Tensor: both have the few methods used here

# Squared: the clip sits under the root, so that the gradient at the zero vector is 0, not NaN.
TINY = 1e-24
# Cosines closer than this are level: a matrix product gives identical rows values that differ in the last bit of a
# float32, according to the column they stand in.
LEVEL = 1e-6


def norm(x: Array) -> Array:
    """Euclidean length over the last axis, kept as an axis of 1: (…, D) → (…, 1)."""
    return (x * x).sum(-1)[..., None].clip(min=TINY) ** 0.5


def normalise(x: Array) -> Array:
    """Unit vectors along the last axis; the zero vector stays zero. (…, D) → (…, D)"""
    return x / norm(x)


def cosine(a: Array, b: Array) -> Array:
    """Cosine over the last axis of broadcastable arrays of any length: (…, D), (…, D) → (…)"""
    return (normalise(a) * normalise(b)).sum(-1)


def rank_of_true(similarity_WN: Array, true_W1: Array, candidates_WN: Array) -> Array:
    """Rank of the true item among the candidates, 1 is best, ties averaged (SPEC §2). → (W,)

    similarity_WN  similarity of each query to every item
    true_W1        the true item's entry *of the same matrix*: computed apart it could differ in the last bit, and
                   the rank with it
    candidates_WN  True where an item is in the query's pool; the true item must be
    """
    above = ((similarity_WN > true_W1 + LEVEL) & candidates_WN).sum(-1)
    level = ((similarity_WN >= true_W1 - LEVEL) & candidates_WN).sum(-1) - above
    return above + 0.5 * (level + 1)
