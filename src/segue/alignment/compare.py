"""Compare predictions with the chunks they could have meant: similarities, and ranks in the four pools (SPEC §2).

All predictors and all their answers meet a document's vectors in one matrix product, because for many short documents
it is the number of operations that costs, not their size.

Legend: P predictors, S asks, K offsets, W windows, B windows of a block, N chunks of a document or of the corpus,
D width.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segue.alignment.forwards import Ask, handed
from segue.geometry import rank_of_true
from segue.windows import Windows
from segue.windows.rows import Rows

Path = tuple[str, ...]

FURTHEST = 3  # offsets are swept to +3 (SPEC §2, margin)
SIMILARITIES = 1 << 24  # entries of the largest similarity matrix held at once


def offsets_of(windows: Windows) -> list[int]:
    """Offsets of the sweep, −(C−1) … +3 (further for a further horizon), and before them −C−h+1, for `direction`."""
    context, h = windows.context, windows.horizon
    return [1 - context - h, *range(1 - context, max(FURTHEST, h) + 1)]


@dataclass(frozen=True)
class Corpus:
    """All chunks of a part: their rows, ascending, and their vectors."""

    rows_N: np.ndarray
    vectors_ND: Tensor


@dataclass(frozen=True)
class Secondary:
    """What is measured on a sample of the windows only (`segue.alignment.secondary`), by the path of `5cat.json`.

    columns  (P, W), NaN outside the sample or where a window has no such value
    chance   level of chance, for the paths that have one
    """

    columns: dict[Path, np.ndarray] = field(default_factory=dict)
    chance: dict[Path, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """What was measured of every predictor on every window; NaN where the window is no member (SPEC §2, Membership).

    similarity_PKW  s(k) for the offsets k of `offsets_of`
    cos_PSW         cosine to the chunk each ask is compared with
    rank_PSW        rank of that chunk in the pool `future`
    rank            pool → (P, W) rank of the target in the pools `unseen`, `document`, `corpus` (if it was measured)
    candidates      pool → (W,) number of candidates
    coherence_W     mean adjacent cosine of the context
    par_PW, mse_PW  SPEC §2
    l2_PW           ‖p − y‖ of the unit prediction; l2_raw_PW ‖r − y‖ where the predictor tells its raw output r.
                    Large Concept Models' ℓ2: the distance itself, not its square (arXiv 2412.08821, §2.4.1)
    secondary       what a sample was asked
    """

    similarity_PKW: np.ndarray
    cos_PSW: np.ndarray
    rank_PSW: np.ndarray
    rank: dict[str, np.ndarray]
    candidates: dict[str, np.ndarray]
    coherence_W: np.ndarray
    par_PW: np.ndarray
    mse_PW: np.ndarray
    l2_PW: np.ndarray
    l2_raw_PW: np.ndarray
    secondary: Secondary = field(default_factory=Secondary)

    @classmethod
    def joined(cls, blocks: "list[Measured]") -> "Measured":
        """Blocks of windows end to end."""
        pools = blocks[0].rank
        names = ("similarity_PKW", "cos_PSW", "rank_PSW", "coherence_W", "par_PW", "mse_PW", "l2_PW", "l2_raw_PW")
        arrays: dict[str, Any] = {
            name: np.concatenate([getattr(block, name) for block in blocks], axis=-1) for name in names
        }
        return cls(
            rank={pool: np.concatenate([block.rank[pool] for block in blocks], axis=-1) for pool in pools},
            candidates={
                pool: np.concatenate([block.candidates[pool] for block in blocks]) for pool in blocks[0].candidates
            },
            **arrays,
        )

    def with_mean(self, mean: "Measured") -> "Measured":
        """Of a model of two faces: these ranks, and of its mean face all that tells how near it lies to a chunk."""
        names = ("similarity_PKW", "cos_PSW", "par_PW", "mse_PW", "l2_PW", "l2_raw_PW")
        return replace(self, **{name: getattr(mean, name) for name in names})

    def beside(self, other: "Measured") -> "Measured":
        """These predictors and others measured on the same windows: P + P' of them."""
        names = ("similarity_PKW", "cos_PSW", "rank_PSW", "par_PW", "mse_PW", "l2_PW", "l2_raw_PW")
        arrays: dict[str, Any] = {name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in names}
        mine, its = self.secondary.columns, other.secondary.columns
        columns = {path: np.concatenate([mine[path], its[path]]) for path in mine}
        return replace(
            self,
            rank={pool: np.concatenate([rank_PW, other.rank[pool]]) for pool, rank_PW in self.rank.items()},
            secondary=Secondary(columns, self.secondary.chance),
            **arrays,
        )


def compare(
    answer_PSBD: Tensor,
    raw_PBD: Tensor,
    asks: list[Ask],
    block: Windows,
    rows: Rows,
    judged_reach: int | None,
    corpus: Corpus | None,
) -> Measured:
    """Measure a block of windows in row order.

    raw_PBD        outputs before normalising; the unit predictions where a predictor tells none
    judged_reach   reach of the judged predictor: the pool `unseen` lacks what *it* was handed, for its controls too
    """
    similarity_PKB, cos_PSB, rank_PSB, rank, candidates = _in_documents(answer_PSBD, asks, block, rows, judged_reach)
    if corpus is not None:
        rank["corpus"] = _corpus_ranks(answer_PSBD[:, 0], block, corpus)
        candidates["corpus"] = torch.full_like(candidates["future"], len(corpus.rows_N))
    coherence_B, par_PB = _context_figures(answer_PSBD[:, 0], block, rows)
    target_BD = rows(block.target_rows())

    def out(values: Tensor) -> np.ndarray:
        return values.double().cpu().numpy()

    return Measured(
        similarity_PKW=out(similarity_PKB),
        cos_PSW=out(cos_PSB),
        rank_PSW=out(rank_PSB),
        rank={pool: out(values) for pool, values in rank.items()},
        candidates={pool: values.cpu().numpy() for pool, values in candidates.items()},
        coherence_W=out(coherence_B),
        par_PW=out(par_PB),
        mse_PW=out((raw_PBD - target_BD).square().mean(2)),
        l2_PW=out((answer_PSBD[:, 0] - target_BD).norm(dim=2)),
        l2_raw_PW=out((raw_PBD - target_BD).norm(dim=2)),
    )


def _in_documents(
    answer_PSBD: Tensor, asks: list[Ask], block: Windows, rows: Rows, judged_reach: int | None
) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """What the chunks of the windows' own documents tell, as `Measured` names it: s(k) (P, K, B), cosines and ranks of
    the asks (P, S, B), ranks of the target by pool (P, B), numbers of candidates by pool (B,)."""
    predictors, count, size, _ = answer_PSBD.shape
    offsets = offsets_of(block)
    device = answer_PSBD.device

    def empty(*shape: int) -> Tensor:
        return torch.full(shape, float("nan"), device=device)

    similarity_PKB, cos_PSB = empty(predictors, len(offsets), size), empty(predictors, count, size)
    rank_PSB = empty(predictors, count, size)
    rank = {pool: empty(predictors, size) for pool in ("unseen", "document")}
    candidates = {pool: torch.zeros(size, dtype=torch.int64, device=device) for pool in ("future", *rank)}
    has_KB = torch.as_tensor(np.stack([block.has(k) for k in offsets]), device=device)
    handed_B = torch.as_tensor(handed(block, judged_reach), device=device)
    offset_K1 = torch.as_tensor(offsets, device=device)[:, None]
    offset_S1 = torch.as_tensor([ask.offset for ask in asks], device=device)[:, None]
    for at, first, vectors_ND in documents_of(block, rows, predictors * count):
        last_B = torch.as_tensor(block.last_W[at.start : at.stop] - first, device=device)
        similarity_PSBN = answer_PSBD[:, :, at] @ vectors_ND.T
        edge = len(vectors_ND) - 1
        true_SB1 = (last_B + offset_S1).clamp(max=edge)[..., None]
        true_PSB1 = similarity_PSBN.gather(3, true_SB1.expand(predictors, -1, -1, -1))
        place_N = torch.arange(len(vectors_ND), device=device)
        future_BN = place_N > last_B[:, None]
        unseen_BN = future_BN | (place_N <= (last_B - handed_B[at])[:, None])
        pools = {"unseen": unseen_BN, "document": torch.ones_like(future_BN)}
        cos_PSB[:, :, at] = true_PSB1[..., 0]
        rank_PSB[:, :, at] = rank_of_true(similarity_PSBN, true_PSB1, future_BN)
        candidates["future"][at] = future_BN.sum(-1)
        for pool, mask_BN in pools.items():
            rank[pool][:, at] = rank_of_true(similarity_PSBN[:, 0], true_PSB1[:, 0], mask_BN)
            candidates[pool][at] = mask_BN.sum(-1)
        swept_KB = (last_B + offset_K1).clamp(0, edge)
        everyone_B = torch.arange(len(last_B), device=device)
        similarity_PKB[:, :, at] = similarity_PSBN[:, 0, everyone_B, swept_KB]
    similarity_PKB[:, ~has_KB] = float("nan")
    rank_PSB[cos_PSB.isnan()] = float("nan")
    return similarity_PKB, cos_PSB, rank_PSB, rank, candidates


def documents_of(block: Windows, rows: Rows, answers: int) -> "list[tuple[slice, int, Tensor]]":
    """The block cut by document: windows, first row, vectors. Long documents are cut so that similarities fit."""
    store = block.store
    cuts = np.flatnonzero(np.diff(block.document_W)) + 1
    pieces = []
    for start, stop in zip([0, *cuts], [*cuts, len(block)], strict=True):
        document = int(block.document_W[start])
        first, length = int(store.first_row_G[document]), int(store.length_G[document])
        vectors_ND = rows(np.arange(first, first + length))
        step = max(1, SIMILARITIES // (answers * length))
        pieces += [
            (slice(low, min(low + step, int(stop))), first, vectors_ND) for low in range(int(start), int(stop), step)
        ]
    return pieces


def _corpus_ranks(whole_PBD: Tensor, block: Windows, corpus: Corpus) -> Tensor:
    """Ranks of the targets among all chunks of the part: (P, B)"""
    true_B = torch.as_tensor(np.searchsorted(corpus.rows_N, block.target_rows()), device=whole_PBD.device)
    everyone = torch.ones((), dtype=torch.bool, device=whole_PBD.device)
    step = max(1, SIMILARITIES // len(corpus.rows_N))
    rank_PB = torch.empty(whole_PBD.shape[:2], device=whole_PBD.device)
    for p, whole_BD in enumerate(whole_PBD):
        for low in range(0, len(block), step):
            similarity_BN = whole_BD[low : low + step] @ corpus.vectors_ND.T
            true_B1 = similarity_BN.gather(1, true_B[low : low + step, None])
            rank_PB[p, low : low + step] = rank_of_true(similarity_BN, true_B1, everyone)
    return rank_PB


def _context_figures(whole_PBD: Tensor, block: Windows, rows: Rows) -> tuple[Tensor, Tensor]:
    """Coherence of each context (B,) and PAR (P, B). PAR is NaN where its denominator is ≤ 0."""
    context_BCD, target_BD = rows(block.context_rows()), rows(block.target_rows())
    coherence_B = (context_BCD[:, 1:] * context_BCD[:, :-1]).sum(-1).mean(1)
    own_B = torch.einsum("bd,bcd->bc", target_BD, context_BCD).amax(1)
    nearest_PB = torch.einsum("pbd,bcd->pbc", whole_PBD, context_BCD).amax(2)
    return coherence_B, torch.where(own_B > 0, nearest_PB / own_B, float("nan"))
