"""Fit the attainable controls on train: closed forms where there is one (SPEC §6).

Legend: W windows, C context, D width, P pairs of a window and a candidate.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segue.geometry import cosine, normalise
from segue.models.controls import Constant, Random, Ridge, SlotWeights, context_mean, copy_last
from segue.models.kept import Cache, computed_by, windows_key
from segue.models.predictor import Predictor
from segue.progress import Progress, silent
from segue.windows import Windows
from segue.windows.rows import Rows

BLOCK = 4096
# Weights of a handful of slots, and a ridge, are settled long before this many windows; more only cost time.
MAX_WINDOWS = 60_000
MAX_RANK_WINDOWS = 20_000
MAX_RANK_PAIRS = 4_000_000  # a window near the start of a book has thousands of candidates: fewer windows then
MAX_VAL_WINDOWS = 5_000
RIDGE_STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
FIRST_STRENGTH = 4  # tried first: 30 to 300 is what text wants


def _blocks(windows: Windows, rows: Rows) -> Iterator[tuple[Tensor, Tensor]]:
    """Context (B, C, D) and target (B, D) of windows, block by block."""
    for start in range(0, len(windows), BLOCK):
        block = windows.take(np.arange(start, min(start + BLOCK, len(windows))))
        yield rows(block.context_rows()), rows(block.target_rows())


def best_weights(windows: Windows, rows: Rows) -> np.ndarray:
    """Slot weights of the largest cosine between the weighted sum and the target, (C,), scaled to sum 1.

    Closed form: the ratio of means w·s / √(wᵀGw), s_i = mean x_i·y and G_ij = mean x_i·x_j, is largest at w ∝ G⁻¹s.
    """
    gram = np.zeros((windows.context, windows.context))
    pull = np.zeros(windows.context)
    for context_BCD, target_BD in _blocks(windows, rows):
        gram += torch.einsum("bid,bjd->ij", context_BCD, context_BCD).double().cpu().numpy()
        pull += torch.einsum("bid,bd->i", context_BCD, target_BD).double().cpu().numpy()
    weights: np.ndarray = np.linalg.solve(gram, pull)
    return weights / abs(weights.sum())


def ridge(train: Windows, val: Windows, train_rows: Rows, val_rows: Rows) -> Ridge:
    """Ridge regression of the raw target on the flattened context; the strength of the largest mean cosine on VAL.

    Closed form W = (XᵀX + λI)⁻¹XᵀY, no intercept, over unit vectors.
    """
    gram, moment = _moments(train, train_rows)
    sample = list(_blocks(val.sample(MAX_VAL_WINDOWS, seed=0), val_rows))

    @cache
    def fitted(at: int) -> tuple[float, Ridge]:
        """The mean cosine of a strength, and its regression."""
        penalised = gram.clone()
        penalised.diagonal().add_(RIDGE_STRENGTHS[at])
        weights = torch.cholesky_solve(moment, torch.linalg.cholesky(penalised)).float()
        model = Ridge(weights, RIDGE_STRENGTHS[at], train.context, train.horizon)
        return sum(float(cosine(model.direction(x), y).sum()) for x, y in sample), model

    at = highest(lambda at: fitted(at)[0], len(RIDGE_STRENGTHS), FIRST_STRENGTH)
    return fitted(at)[1]


def highest(score: Callable[[int], float], count: int, start: int) -> int:
    """Of places 0 … count − 1 the one with the largest score, where scores rise to it and fall after it.

    So that of eight strengths some four are tried: over-smoothing and over-fitting leave one maximum between them. A
    climb to an end found no such thing, as where train says nothing of VAL and scores are highest at both ends: then
    all are tried.
    """
    at, best = start, score(start)
    for step in (1, -1):
        moved = False
        while 0 <= at + step < count and (found := score(at + step)) > best:
            at, best, moved = at + step, found, True
        if moved:
            break
    return at if 0 < at < count - 1 else max(range(count), key=score)


def _moments(windows: Windows, rows: Rows) -> tuple[Tensor, Tensor]:
    """XᵀX (C·D, C·D) and XᵀY (C·D, D) of flattened contexts and targets, blocks in float32 added up in float64."""
    context, dim = windows.context, rows.dim
    gram = torch.zeros(context * dim, context * dim, device=rows.device, dtype=torch.float64)
    moment = torch.zeros(context * dim, dim, device=rows.device, dtype=torch.float64)
    for context_BCD, target_BD in _blocks(windows, rows):
        flat = context_BCD.flatten(1)
        for low in range(0, context * dim, dim):  # the part above the diagonal; the other is its mirror
            gram[low : low + dim, low:] += flat[:, low : low + dim].T @ flat[:, low:]
        moment += flat.T @ target_BD
    for low in range(0, context * dim, dim):
        gram[low + dim :, low : low + dim] = gram[low : low + dim, low + dim :].T
    return gram, moment


def _future_pairs(windows: Windows, rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Similarities of every slot to every chunk after offset 0 of the document, all windows laid end to end.

    → (P, C) float32 similarities; (W,) first pair of each window; (W,) pair of its target.
    """
    store = windows.store
    parts, lengths = [], []
    for document in windows.documents:
        mine = windows.last_W[windows.document_W == document]
        first = store.first_row_G[document]
        vectors_ND = rows(np.arange(first, first + store.length_G[document]))
        local = mine - first
        slots = torch.as_tensor(local[:, None] + np.arange(1 - windows.context, 1), device=vectors_ND.device)
        similarity_WCN = (vectors_ND[slots.flatten()] @ vectors_ND.T).reshape(*slots.shape, -1).cpu().numpy()
        parts += [similarity_WCN[i, :, t + 1 :].T for i, t in enumerate(local)]
        lengths += [len(vectors_ND) - 1 - t for t in local]
    first_W = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
    return np.concatenate(parts), first_W, first_W + windows.horizon - 1


def _affordable(windows: Windows) -> int:
    """How many windows have `MAX_RANK_PAIRS` candidates in the pool `future`, on average."""
    ends_W = (windows.store.first_row_G + windows.store.length_G)[windows.document_W]
    return max(1, int(MAX_RANK_PAIRS / (ends_W - 1 - windows.last_W).mean()))


def _mrr(weights: np.ndarray, pairs_PC: np.ndarray, first_W: np.ndarray, true_W: np.ndarray) -> float:
    score_P = pairs_PC @ weights.astype(np.float32)
    lengths = np.diff(np.append(first_W, len(score_P)))
    true_P = np.repeat(score_P[true_W], lengths)
    above = np.add.reduceat((score_P > true_P).astype(np.int64), first_W)
    level = np.add.reduceat((score_P == true_P).astype(np.int64), first_W)
    return float(np.mean(1 / (above + 0.5 * (level + 1))))


def rank_weights(windows: Windows, rows: Rows) -> np.ndarray:
    """Slot weights, negative ones allowed, of the largest MRR over the pool `future` on train, (C,), largest |w| = 1.

    Starts from the conditional logit −log softmax(Σ w_i cos(x_i, ·))[true], convex in w, and from copy_last; then a
    pattern search on the MRR itself, one slot at a time with a shrinking step.
    """
    windows = windows.sample(min(MAX_RANK_WINDOWS, _affordable(windows)), seed=0)
    pairs_PC, first_W, true_W = _future_pairs(windows, rows)
    starts = [_conditional_logit(pairs_PC, first_W, true_W), np.eye(windows.context)[-1]]
    score, weights = max(((_mrr(w, pairs_PC, first_W, true_W), w) for w in starts), key=lambda pair: pair[0])
    step = 0.2
    while step > 0.01:
        before = score
        for slot in range(windows.context):
            for sign in (1, -1):
                trial = weights.copy()
                trial[slot] += sign * step
                found = _mrr(trial, pairs_PC, first_W, true_W)
                if found > score:
                    score, weights = found, trial
        if score == before:
            step /= 2
    return weights / np.abs(weights).max()


def _conditional_logit(pairs_PC: np.ndarray, first_W: np.ndarray, true_W: np.ndarray) -> np.ndarray:
    pairs = torch.as_tensor(pairs_PC)
    window_P = torch.as_tensor(np.repeat(np.arange(len(first_W)), np.diff(np.append(first_W, len(pairs_PC)))))
    true = torch.as_tensor(true_W)
    weights = torch.zeros(pairs.shape[1], requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=50, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        score_P = pairs @ weights
        # exp without a running maximum is safe: |score| ≤ Σ|w|, which the logit keeps in the tens.
        total_W = torch.zeros(len(first_W)).index_add(0, window_P, score_P.exp())
        value = (total_W.log() - score_P[true]).mean()
        value.backward()
        return value

    optimiser.step(loss)
    fitted: np.ndarray = weights.detach().numpy().astype(np.float64)
    largest = np.abs(fitted).max()
    # All zero where every pool holds the true chunk alone: nothing to rank, so nothing to learn.
    return fitted / largest if largest > 0 else np.eye(len(fitted))[-1]


def corpus_mean(windows: Windows, rows: Rows) -> Tensor:
    """Direction of the mean of the documents' vectors, (D,) unit."""
    store = windows.store
    total_D = torch.zeros(rows.dim, dtype=torch.float64, device=rows.device)
    for document in windows.documents:
        first = store.first_row_G[document]
        total_D += rows(np.arange(first, first + store.length_G[document])).double().sum(0)
    return normalise(total_D).float()


def fit_controls(
    train: Windows, val: Windows, device: str = "cpu", progress: Progress = silent
) -> dict[str, Predictor]:
    """The attainable controls of SPEC §6, fitted on train, in the order of `ATTAINABLE`."""
    rows, val_rows = Rows(train.store, device), Rows(val.store, device)
    sample = train.sample(MAX_WINDOWS, seed=0)
    steps: dict[str, Callable[[], np.ndarray | Tensor | Ridge]] = {
        "best_weights": lambda: best_weights(sample, rows),
        "rank_weights": lambda: rank_weights(sample, rows),
        "ridge": lambda: ridge(sample, val, rows, val_rows),
        "corpus_mean": lambda: corpus_mean(sample, rows),
    }
    found: dict[str, Any] = {}
    for number, (name, fit) in enumerate(steps.items()):
        progress("fitting controls", number, len(steps), "controls")
        found[name] = fit()
    progress("fitting controls", len(steps), len(steps), "controls")
    return _fitted(**found, horizon=train.horizon)


def _fitted(
    best_weights: np.ndarray, rank_weights: np.ndarray, ridge: Ridge, corpus_mean: Tensor, horizon: int
) -> dict[str, Predictor]:
    """The controls of what was fitted."""
    dim, context = len(corpus_mean), len(best_weights)
    return {
        "copy_last": copy_last(dim, context, horizon),
        "context_mean": context_mean(dim, context, horizon),
        "best_weights": SlotWeights("best_weights", best_weights, dim, horizon),
        "rank_weights": SlotWeights("rank_weights", rank_weights, dim, horizon),
        "ridge": ridge,
        "corpus_mean": Constant("corpus_mean", corpus_mean, context, horizon),
        "random": Random(dim, context, horizon),
    }


def kept_controls(
    train: Windows, val: Windows, device: str, progress: Progress, kept: Cache | None
) -> tuple[dict[str, Predictor], bool]:
    """As `fit_controls`, from what was fitted before where it was kept; and whether it was."""
    if kept is None:
        return fit_controls(train, val, device, progress), False
    key = {"what": "fitted controls", "train": windows_key(train), "VAL": windows_key(val), **computed_by(device)}
    if found := kept.find(key):
        arrays, beside = found
        ridge = Ridge(torch.from_numpy(arrays["ridge"]).to(device), beside["strength"], train.context, train.horizon)
        mean_D = torch.from_numpy(arrays["corpus_mean"]).to(device)
        return _fitted(arrays["best_weights"], arrays["rank_weights"], ridge, mean_D, train.horizon), True
    fitted = fit_controls(train, val, device, progress)
    kept.keep(key, arrays_of(fitted), {"strength": getattr(fitted["ridge"], "strength", 0.0)})
    return fitted, False


def arrays_of(fitted: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """What of the controls was fitted, by name."""
    return {
        "best_weights": fitted["best_weights"].weights,
        "rank_weights": fitted["rank_weights"].weights,
        "ridge": fitted["ridge"].weights_CDD.cpu().numpy(),
        "corpus_mean": fitted["corpus_mean"].vector_D.cpu().numpy(),
    }
