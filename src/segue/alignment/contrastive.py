"""Contrastive accuracy, as Large Concept Models report it, in both of its definitions.

The figure is a share, not a hit rate: of all distractors of a batch, how many lie further from the prediction than the
truth does. Half is chance, whatever the size of the batch, which makes it comparable across batches where R@1 is not.

    paper   distractors are all chunks of the batch but the truth and its two neighbours (Large Concept Models, LCM
            team 2024, arXiv 2412.08821). Most of the batch may be the same document.
    code    distractors are the chunks of the *other documents* of the batch, as in their published code: easier, for
            the topic gives them away.

Both as they were told to us: neither text was at hand when this was written. The figure depends on the batch's size and
mixture too: compare it with the controls beside it, not with a number from another paper.

Both measure "further" by ℓ2. Here every chunk has length 1, and ‖r − x‖² = ‖r‖² + 1 − 2 r·x: the order by ℓ2 is the
order by cosine, of the raw output and of the unit prediction alike. So one figure serves both.

Legend: P predictors, X windows, B windows of a batch, N chunks of a batch, D width.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from segue.alignment.compare import Path
from segue.alignment.forwards import predicted
from segue.models.predictor import Predictor
from segue.windows import Windows
from segue.windows.rows import Rows

BATCH = 512  # chunks, at least: documents are put in whole


@dataclass(frozen=True)
class Batch:
    """Whole documents of a part, and the windows of them that are judged.

    at_B        positions of the windows among all that are judged
    rows_N      rows of all chunks, document after document
    document_N  the document of each
    """

    at_B: np.ndarray
    rows_N: np.ndarray
    document_N: np.ndarray


def batches_of(windows: Windows, seed: int = 0, size: int = BATCH) -> list[Batch]:
    """The windows' documents, shuffled by the seed, in batches of at least `size` chunks and two documents.

    Shuffled, because a store in the order of its subjects would make harder distractors than one that is not. What is
    left at the end joins the last batch.
    """
    store = windows.store
    documents = np.random.default_rng(seed).permutation(windows.documents)
    groups: list[list[int]] = [[]]
    for document in documents.tolist():
        groups[-1].append(document)
        if len(groups[-1]) > 1 and store.length_G[groups[-1]].sum() >= size:
            groups.append([])
    if len(groups) > 1 and (len(groups[-1]) < 2 or store.length_G[groups[-1]].sum() < size):
        left = groups.pop()
        groups[-1] += left
    batches = []
    for group in groups:
        rows = [np.arange(store.first_row_G[g], store.first_row_G[g] + store.length_G[g]) for g in group]
        rows_N = np.concatenate(rows)
        at_B = np.flatnonzero(np.isin(windows.document_W, group))
        batches.append(Batch(at_B, rows_N, store.document_N[rows_N]))
    return batches


def share_further(similarity_BN: Tensor, true_B1: Tensor, distractor_BN: Tensor) -> Tensor:
    """Share of the distractors less similar than the truth, ties counted half: (B,). NaN where there is no distractor.

    true_B1   entries of the same matrix (see `geometry.rank_of_true`)
    """
    further = ((similarity_BN < true_B1) & distractor_BN).sum(1)
    level = ((similarity_BN == true_B1) & distractor_BN).sum(1)
    return (further + 0.5 * level) / distractor_BN.sum(1)  # 0 / 0 is NaN, as wanted


def contrastive_accuracy(
    predictors: Mapping[str, Predictor], windows: Windows, rows: Rows, seed: int = 0
) -> dict[Path, np.ndarray]:
    """`contrastive.paper`, `contrastive.code`, and `contrastive.batch`, the chunks of the window's batch: (P, X) each.

    The two neighbours are the rows before and after the truth in its document.
    """
    found = {name: np.full((len(predictors), len(windows)), np.nan) for name in ("paper", "code", "batch")}
    for batch in batches_of(windows, seed):
        judged = windows.take(batch.at_B)
        vectors_ND = rows(batch.rows_N)
        place_N = torch.as_tensor(batch.rows_N, device=rows.device)
        document_N = torch.as_tensor(batch.document_N, device=rows.device)
        target_B1 = torch.as_tensor(judged.target_rows(), device=rows.device)[:, None]
        other_BN = document_N != torch.as_tensor(judged.document_W, device=rows.device)[:, None]
        far_BN = other_BN | ((place_N - target_B1).abs() > 1)
        true_B1 = (place_N == target_B1).int().argmax(1, keepdim=True)
        for p, predictor in enumerate(predictors.values()):
            similarity_BN = predicted(predictor, judged, rows) @ vectors_ND.T
            nearness_B1 = similarity_BN.gather(1, true_B1)
            for name, distractor_BN in (("paper", far_BN), ("code", other_BN)):
                share_B = share_further(similarity_BN, nearness_B1, distractor_BN)
                found[name][p, batch.at_B] = share_B.double().cpu().numpy()
        found["batch"][:, batch.at_B] = len(batch.rows_N)
    return {("contrastive", name): values for name, values in found.items()}
