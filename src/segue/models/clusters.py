"""k-means: which K points stand best for many. Deterministic by its seed, on the CPU, in plain matrix products.

Legend: N points, K clusters, D width.
"""

import numpy as np
import torch
from torch import Tensor

PER_CLUSTER = 256  # points a cluster are enough to place it, as faiss holds too; more are left out at random
ROUNDS = 50
BLOCK = 8192  # points compared with all centroids at once


def nearest(point_ND: Tensor, centroid_KD: Tensor) -> Tensor:
    """The cluster whose centroid is nearest to each point, of equals the first: (N, D), (K, D) → (N,) int64"""
    half_K = centroid_KD.square().sum(1) / 2
    return torch.cat([(block @ centroid_KD.T - half_K).argmax(1) for block in point_ND.split(BLOCK)])


def kmeans(point_ND: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Lloyd's algorithm from k-means++ seeds (Arthur & Vassilvitskii 2007): centroids (K, D), share of the points (K,).

    Every centroid is the mean of the points nearest to it, or the last of `ROUNDS` steps on the way there; one that
    none is nearest to takes over the point that lies worst. The shares are of all points, those left out too.
    """
    draw = np.random.default_rng(seed)
    point_ND = point_ND.detach().cpu().float()
    learnt_ND = point_ND
    if len(point_ND) > PER_CLUSTER * count:
        learnt_ND = point_ND[np.sort(draw.choice(len(point_ND), PER_CLUSTER * count, replace=False))]
    centroid_KD = learnt_ND[seeds(learnt_ND, count, draw)]
    cluster_N = nearest(learnt_ND, centroid_KD)
    for _ in range(ROUNDS):
        centroid_KD = _means(learnt_ND, cluster_N, centroid_KD)
        before_N, cluster_N = cluster_N, nearest(learnt_ND, centroid_KD)
        if torch.equal(before_N, cluster_N):
            break
    share_K = torch.bincount(nearest(point_ND, centroid_KD), minlength=count) / len(point_ND)
    return centroid_KD, share_K


def seeds(point_ND: Tensor, count: int, draw: np.random.Generator) -> list[int]:
    """k-means++: each next point drawn by its squared distance to the nearest of those chosen before."""
    chosen = [int(draw.integers(len(point_ND)))]
    square_N = point_ND.square().sum(1)
    far_N = torch.full_like(square_N, torch.inf)
    while len(chosen) < count:
        last_D = point_ND[chosen[-1]]
        far_N = torch.minimum(far_N, (square_N - 2 * (point_ND @ last_D) + last_D @ last_D).clip(min=0))
        reach_N = far_N.double().cumsum(0).numpy()
        chosen.append(min(int(np.searchsorted(reach_N, draw.random() * reach_N[-1], side="right")), len(reach_N) - 1))
    return chosen


def _means(point_ND: Tensor, cluster_N: Tensor, centroid_KD: Tensor) -> Tensor:
    """The mean of each cluster's points: (K, D)"""
    count_K = torch.bincount(cluster_N, minlength=len(centroid_KD))
    sum_KD = torch.zeros(centroid_KD.shape, dtype=torch.float64).index_add_(0, cluster_N, point_ND.double())
    mean_KD = (sum_KD / count_K.clamp(min=1)[:, None]).float()
    empty = torch.nonzero(count_K == 0).flatten()
    if len(empty):
        off_N = (point_ND - mean_KD[cluster_N]).square().sum(1)
        mean_KD[empty] = point_ND[off_N.topk(len(empty)).indices]
    return mean_KD
