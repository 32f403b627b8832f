"""Known worlds: documents whose best prediction, and whose arrow of time, are known (SPEC §6).

Legend: G documents, N chunks a document, D width.
"""

import numpy as np

from segue.geometry import normalise


def rotation_world(documents: int, length: int, dim: int, *, noise: float = 1.5, seed: int = 0) -> list[np.ndarray]:
    """Documents that turn: x_{t+1} ∝ R·x_t + noise, R turning D/2 random planes by angles between .2 and 1.4.

    Predictable, and with an arrow: R⁻¹ ≠ R, so the order of the context says which way it turns. `noise` is the length
    of the noise expected beside a unit vector: the best prediction R·x_t has cosine near 1/√(1 + noise²), and no
    slot weights reach it, because each plane turns by an angle of its own. → G arrays (N, D), unit rows; D even.
    """
    rng = np.random.default_rng(seed)
    basis_DD, _ = np.linalg.qr(rng.standard_normal((dim, dim)))
    turn_DD = np.zeros((dim, dim))
    for plane, angle in enumerate(np.linspace(0.2, 1.4, dim // 2)):
        c, s = np.cos(angle), np.sin(angle)
        turn_DD[2 * plane : 2 * plane + 2, 2 * plane : 2 * plane + 2] = [[c, -s], [s, c]]
    rotation_DD = basis_DD @ turn_DD @ basis_DD.T
    vectors_GND = np.empty((documents, length, dim))
    vectors_GND[:, 0] = normalise(rng.standard_normal((documents, dim)))
    for t in range(1, length):
        stray = noise * rng.standard_normal((documents, dim)) / np.sqrt(dim)
        vectors_GND[:, t] = normalise(vectors_GND[:, t - 1] @ rotation_DD.T + stray)
    return list(vectors_GND)


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
