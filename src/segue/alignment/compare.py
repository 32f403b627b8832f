"""Compare predictions with the chunks they could have meant: similarities, ranks, and what they become when changed.

Writes columns, one number a window, NaN where the window is no member (SPEC §2, Membership).

Legend: W windows, B windows of a block, P predictors, N chunks of a document or split, D width, C context.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from segue.alignment.forwards import ABLATIONS, STEPS
from segue.geometry import rank_of_true
from segue.windows import Windows
from segue.windows.rows import Rows

Path = tuple[str, ...]
Columns = dict[Path, np.ndarray]

FURTHEST = 3  # offsets are swept to +3 (SPEC §2, margin)
RANKS = {"r1": 1, "r5": 5, "r10": 10}
SIMILARITIES = 1 << 24  # entries of the largest similarity matrix held at once


@dataclass
class Predicted:
    """One predictor's answers for a block of windows."""

    whole_BD: Tensor
    raw_BD: Tensor | None
    ablated: dict[str, list[Tensor]] = field(default_factory=dict)
    steps: list[Tensor] = field(default_factory=list)
    rolled_B: np.ndarray | None = None  # which windows of the block were rolled out


def offsets_of(windows: Windows) -> list[int]:
    """The offsets of the sweep: −(C−1) … +3, further where the horizon lies further."""
    return list(range(1 - windows.context, max(FURTHEST, windows.horizon) + 1))


def step_offsets(windows: Windows, steps: int = STEPS) -> list[int]:
    """The offset that each rollout step is compared with: h+j−1; for h > 1 a step moves h chunks, so j·h."""
    h = windows.horizon
    return [h + j - 1 if h == 1 else j * h for j in range(1, steps + 1)]


@dataclass(frozen=True)
class Corpus:
    """All chunks of a part: their rows, ascending, and their vectors."""

    rows_N: np.ndarray
    vectors_ND: Tensor


def compare(
    answers: dict[str, Predicted],
    block: Windows,
    rows: Rows,
    judged_reach: int | None,
    corpus: "Corpus | None",
) -> dict[str, Columns]:
    """Columns of every predictor for one block: similarities document by document, then the corpus."""
    columns: dict[str, Columns] = {name: {} for name in answers}
    whole_PBD = torch.stack([answer.whole_BD for answer in answers.values()])
    for document in np.unique(block.document_W):
        at = np.flatnonzero(block.document_W == document)
        first = int(block.store.first_row_G[document])
        vectors_ND = rows(np.arange(first, first + int(block.store.length_G[document])))
        limit = max(1, SIMILARITIES // (len(vectors_ND) * len(answers) * (1 + len(ABLATIONS) + STEPS)))
        for some in np.array_split(at, -(-len(at) // limit)):
            _compare_document(answers, whole_PBD, block, some, first, vectors_ND, judged_reach, columns)
    context_BCD, target_BD = rows(block.context_rows()), rows(block.target_rows())
    _context_columns(context_BCD, target_BD, block, answers, columns)
    if corpus is not None:
        _compare_corpus(whole_PBD, block, corpus, columns)
    return columns


def _put(columns: Columns, path: Path, size: int, at: np.ndarray, values: Tensor | np.ndarray | float) -> None:
    """Write some windows' values of one column; windows never written stay NaN."""
    column = columns.setdefault(path, np.full(size, np.nan))
    column[at] = values.double().cpu().numpy() if isinstance(values, Tensor) else values


def _put_ranks(columns: Columns, path: Path, size: int, at: np.ndarray, rank: Tensor, pool: np.ndarray) -> None:
    """MRR and R@k columns of one pool, with the chance level for its number of candidates."""
    _put(columns, (*path, "mrr"), size, at, 1 / rank)
    _put(columns, ("chance", *path, "mrr"), size, at, _harmonic(pool) / pool)
    _put(columns, (*path, "candidates"), size, at, pool)
    for name, k in RANKS.items():
        _put(columns, (*path, name), size, at, (rank <= k).double())
        _put(columns, ("chance", *path, name), size, at, np.minimum(k, pool) / pool)


def _harmonic(count: np.ndarray) -> np.ndarray:
    """1 + 1/2 + … + 1/n for every n."""
    totals = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, count.max() + 1))])
    values: np.ndarray = totals[count]
    return values


def _compare_document(
    answers: dict[str, Predicted],
    whole_PBD: Tensor,
    block: Windows,
    at: np.ndarray,
    first: int,
    vectors_ND: Tensor,
    judged_reach: int | None,
    columns: dict[str, Columns],
) -> None:
    """Offsets, pools of the document, ablations and rollouts of the windows `at`, all of one document."""
    size, device = len(block), vectors_ND.device
    last_B = torch.as_tensor(block.last_W[at] - first, device=device)
    place_N = torch.arange(len(vectors_ND), device=device)
    similarity_PBN = whole_PBD[:, torch.as_tensor(at, device=device)] @ vectors_ND.T
    true_B1 = (last_B + block.horizon)[:, None]
    true_PB1 = similarity_PBN.gather(2, true_B1.expand(len(answers), -1, -1))

    handed = block.earlier_W[at] + 1 if judged_reach is None else np.minimum(block.earlier_W[at] + 1, judged_reach)
    handed_B = torch.as_tensor(handed, device=device)
    future_BN = place_N > last_B[:, None]
    unseen_BN = future_BN | (place_N <= (last_B - handed_B)[:, None])
    pools = {"future": future_BN, "unseen": unseen_BN, "document": torch.ones_like(future_BN)}
    ranks = {pool: rank_of_true(similarity_PBN, true_PB1, mask) for pool, mask in pools.items()}
    sizes = {pool: mask.sum(-1).cpu().numpy() for pool, mask in pools.items()}

    before = 1 - block.context - block.horizon
    for p, (name, answer) in enumerate(answers.items()):
        mine = columns[name]
        for offset in [*offsets_of(block), before]:
            has = block.has(offset)[at]
            if not has.any():
                continue
            picked = torch.as_tensor(np.flatnonzero(has), device=device)
            values = similarity_PBN[p, picked, last_B[picked] + offset]
            _put(mine, ("s", str(offset)), size, at[has], values)
        for pool, rank_PB in ranks.items():
            _put_ranks(mine, ("retrieval", pool), size, at, rank_PB[p], sizes[pool])
        if answer.ablated:
            _compare_changed(
                answer, block, at, vectors_ND, last_B, future_BN, true_PB1[p, :, 0], ranks["future"][p], mine
            )


def _compare_changed(
    answer: Predicted,
    block: Windows,
    at: np.ndarray,
    vectors_ND: Tensor,
    last_B: Tensor,
    future_BN: Tensor,
    whole: tuple[Tensor, Tensor],
    columns: Columns,
) -> None:
    """Ablations and rollouts of one predictor: how cosine and MRR change, and how each step fares."""
    size = len(block)
    whole_cos_B, whole_mrr_B = whole
    at_device = torch.as_tensor(at, device=vectors_ND.device)
    true_B1 = (last_B + block.horizon)[:, None]
    for name, predictions in answer.ablated.items():
        if not predictions:
            continue
        cos, mrr = torch.zeros_like(whole_cos_B), torch.zeros_like(whole_cos_B)
        for prediction_BD in predictions:
            similarity_BN = prediction_BD[at_device] @ vectors_ND.T
            true = similarity_BN.gather(1, true_B1)
            cos += true[:, 0] / len(predictions)
            mrr += 1 / rank_of_true(similarity_BN, true, future_BN) / len(predictions)
        _put(columns, ("ablations", name), size, at, cos - whole_cos_B)
        _put(columns, ("ablations_mrr", name), size, at, mrr - whole_mrr_B)

    assert answer.rolled_B is not None
    far = np.flatnonzero(answer.rolled_B[at])
    if not len(far):
        return
    far_device = torch.as_tensor(far, device=vectors_ND.device)
    cos_steps, mrr_steps = [], []
    for step, offset in zip(answer.steps, step_offsets(block), strict=True):
        similarity_BN = step[at_device[far_device]] @ vectors_ND.T
        true = similarity_BN.gather(1, (last_B[far_device] + offset)[:, None])
        cos_steps.append(true[:, 0])
        mrr_steps.append(1 / rank_of_true(similarity_BN, true, future_BN[far_device]))
    for number, (cos, mrr) in enumerate(zip(cos_steps, mrr_steps, strict=True), start=1):
        _put(columns, ("rollout", "steps", str(number)), size, at[far], cos)
        _put(columns, ("rollout", "mrr_steps", str(number)), size, at[far], mrr)
    _put(columns, ("rollout", "mean"), size, at[far], torch.stack(cos_steps).mean(0))
    # Step 1 is test B again; what a rollout adds begins with step 2 (SPEC §3, skill D).
    _put(columns, ("rollout", "mrr"), size, at[far], torch.stack(mrr_steps[1:]).mean(0))


def _context_columns(
    context_BCD: Tensor,
    target_BD: Tensor,
    block: Windows,
    answers: dict[str, Predicted],
    columns: dict[str, Columns],
) -> None:
    """Coherence of each context, PAR and MSE."""
    size = len(block)
    everyone = np.arange(size)
    coherence_B = (context_BCD[:, 1:] * context_BCD[:, :-1]).sum(-1).mean(1)
    closest_B = torch.einsum("bd,bcd->bc", target_BD, context_BCD).max(1).values
    judged = (closest_B > 0).cpu().numpy()
    for name, answer in answers.items():
        _put(columns[name], ("coherence",), size, everyone, coherence_B)
        nearest_B = torch.einsum("bd,bcd->bc", answer.whole_BD, context_BCD).max(1).values
        _put(columns[name], ("par",), size, everyone[judged], (nearest_B / closest_B)[torch.as_tensor(judged)])
        raw_BD = answer.whole_BD if answer.raw_BD is None else answer.raw_BD
        _put(columns[name], ("mse",), size, everyone, (raw_BD - target_BD).square().mean(1))


def _compare_corpus(whole_PBD: Tensor, block: Windows, corpus: "Corpus", columns: dict[str, Columns]) -> None:
    """Ranks among all chunks of the part."""
    corpus_ND = corpus.vectors_ND
    true_W = np.searchsorted(corpus.rows_N, block.target_rows())
    everyone = torch.ones((), dtype=torch.bool, device=corpus_ND.device)
    limit = max(1, SIMILARITIES // len(corpus_ND))
    for p, mine in enumerate(columns.values()):
        for at in np.array_split(np.arange(len(block)), -(-len(block) // limit)):
            similarity_BN = whole_PBD[p, torch.as_tensor(at, device=corpus_ND.device)] @ corpus_ND.T
            true = similarity_BN.gather(1, torch.as_tensor(true_W[at], device=corpus_ND.device)[:, None])
            pool = np.full(len(at), len(corpus_ND))
            _put_ranks(mine, ("retrieval", "corpus"), len(block), at, rank_of_true(similarity_BN, true, everyone), pool)
