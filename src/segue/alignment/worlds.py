"""Known worlds: documents whose best prediction, and whose arrow of time, are known (SPEC §6).

Legend: G documents, N chunks a document, D width.
"""

import numpy as np

from segue.geometry import normalise


def rotation_world(
    documents: int, length: int, dim: int, *, angle: float = 0.9, noise: float = 0.35, seed: int = 0
) -> list[np.ndarray]:
    """Documents that turn: x_{t+1} ∝ R·x_t + noise, R a rotation by `angle` in D/2 random planes.

    Predictable, and with an arrow: the context's order says which way R turns, and R⁻¹ ≠ R. `noise` is the expected
    length of the noise added to a unit vector; it keeps ridge from being exact and mean adjacent cosine near
    cos(angle)/√(1 + noise²), at most .8. → G arrays (N, D), unit rows.
    """
    rng = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(rng.standard_normal((dim, dim)))
    turn = np.eye(dim)
    c, s = np.cos(angle), np.sin(angle)
    for plane in range(0, dim - 1, 2):
        turn[plane : plane + 2, plane : plane + 2] = [[c, -s], [s, c]]
    rotation_DD = basis @ turn @ basis.T
    worlds = np.empty((documents, length, dim))
    worlds[:, 0] = normalise(rng.standard_normal((documents, dim)))
    for t in range(1, length):
        stray = noise * rng.standard_normal((documents, dim)) / np.sqrt(dim)
        worlds[:, t] = normalise(worlds[:, t - 1] @ rotation_DD.T + stray)
    return list(worlds)


def ar1_world(
    documents: int, length: int, dim: int, *, memory: float = 0.8, topic: float = 0.5, seed: int = 0
) -> list[np.ndarray]:
    """Documents that drift about a topic: x_t ∝ topic + AR(1). Gaussian and stationary, so reversible: no arrow.

    memory  correlation of the drift with itself one chunk later
    topic   length of the document's own fixed vector, beside drift of expected length 1
    → G arrays (N, D), unit rows.
    """
    rng = np.random.default_rng(seed)
    topics = topic * rng.standard_normal((documents, 1, dim)) / np.sqrt(dim)
    drift = np.empty((documents, length, dim))
    drift[:, 0] = rng.standard_normal((documents, dim)) / np.sqrt(dim)
    for t in range(1, length):
        shock = rng.standard_normal((documents, dim)) / np.sqrt(dim)
        drift[:, t] = memory * drift[:, t - 1] + np.sqrt(1 - memory**2) * shock
    return list(normalise(topics + drift))
