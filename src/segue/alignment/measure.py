"""Run predictors over the windows of a part, block by block, and note what was measured.

Legend: P predictors, S asks, W windows, B windows of a block, N chunks, D width.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from segue.alignment.compare import Corpus, Measured, compare
from segue.alignment.forwards import Chance, Questions, answer, asks_of, shuffled_orders
from segue.alignment.rollouts import Reencoder
from segue.alignment.secondary import measure_secondary
from segue.models.faces import mean_face
from segue.models.predictor import Predictor, RawPredictor
from segue.progress import Progress, silent
from segue.windows import Windows
from segue.windows.rows import Rows

BLOCK = 256  # windows a block: the predictions and similarities of one block are all that is held


@dataclass(frozen=True)
class Part:
    """What predictors are judged on: VAL, OOD, or any other set of documents.

    name       `VAL` or `OOD`
    windows    the windows to judge, in row order; all of the part's or a sample of them
    documents  indices of all the part's documents, also those too short for a window: pool `corpus`
    """

    name: str
    windows: Windows
    documents: np.ndarray

    def corpus_rows(self) -> np.ndarray:
        """(N,) rows of all chunks of the part, ascending."""
        first_G, length_G = self.windows.store.first_row_G, self.windows.store.length_G
        return np.concatenate([np.arange(first_G[g], first_G[g] + length_G[g]) for g in np.sort(self.documents)])


def measure(
    predictors: Mapping[str, Predictor],
    part: Part,
    *,
    beside: Predictor | None = None,
    device: str = "cpu",
    only_whole: bool = False,
    seed: int = 0,
    reencoder: Reencoder | None = None,
    progress: Progress = silent,
) -> Measured:
    """Everything 5CAT takes a mean of, for all predictors (axis P in their order).

    beside       the judged predictor, whose reach bounds the pool `unseen` for everybody; without, the first one is it
    only_whole   tests A and B alone, without the pool `corpus` and all that is measured on a sample (mini-5CAT)
    reencoder    what turns predictions into text and text into vectors, for the re-encoded rollout
    Raises ValueError when a predictor is not of the windows' width, context and horizon.
    """
    windows = part.windows
    for p in predictors.values():
        if (p.dim, p.context, p.horizon) != (windows.store.dim, windows.context, windows.horizon):
            raise ValueError(f"{p.name} is for width {p.dim}, C {p.context}, h {p.horizon}; the windows are not")
    rows = Rows(windows.store, device)
    generator = torch.Generator().manual_seed(seed)
    asks = asks_of(windows.context, windows.horizon, only_whole)
    order_WC = shuffled_orders(len(windows), windows.context, generator)
    other_W = other_document_rows(part, generator)
    corpus = None if only_whole else Corpus(part.corpus_rows(), rows(part.corpus_rows()))
    judged_reach = (beside or next(iter(predictors.values()))).reach
    what = f"5CAT on {part.name}" + (", controls" if beside else "")
    size = 2 * BLOCK if len(predictors) == 1 else BLOCK
    # One buffer for all blocks: fresh memory of this size costs more to map than to fill.
    whole_block = torch.empty(len(predictors), len(asks), min(size, len(windows)), rows.dim, device=rows.device)
    blocks = []
    for start in range(0, len(windows), size):
        progress(what, start, len(windows), "windows")
        at = np.arange(start, min(start + size, len(windows)))
        block = windows.take(at)
        chance = Chance(order_WC[at], None if other_W is None else rows(other_W[at]))
        questions = Questions(block, rows, asks, chance)
        answer_PSBD = whole_block[:, :, : len(at)]
        with torch.inference_mode():
            raws = [answer(p, questions, answer_PSBD[i]) for i, p in enumerate(predictors.values())]
            raw_PBD = torch.stack([answer_PSBD[i, 0] if raw is None else raw for i, raw in enumerate(raws)])
            blocks.append(compare(answer_PSBD, raw_PBD, asks, block, rows, judged_reach, corpus))
    progress(what, len(windows), len(windows), "windows")
    measured = Measured.joined(blocks)
    tells_raw_P = [isinstance(p, RawPredictor) for p in predictors.values()]
    measured = replace(measured, l2_raw_PW=np.where(np.array(tells_raw_P)[:, None], measured.l2_raw_PW, np.nan))
    if corpus is None:
        return measured
    return replace(
        measured,
        secondary=measure_secondary(
            predictors, windows, corpus, rows, seed=seed, reencoder=reencoder, progress=progress
        ),
    )


def measure_judged(judged: Predictor, part: Part, **how: Any) -> Measured:
    """`measure` of one predictor. Of a model of two faces each is asked for itself, its rollouts too: ranks are those
    of its own prediction, cosines and distances those of its mean face."""
    own, mean = measure({"": judged}, part, **how), mean_face(judged)
    return own if mean is None else own.with_mean(measure({"": mean}, part, **how))


def other_document_rows(part: Part, generator: torch.Generator) -> np.ndarray | None:
    """For each window a row of another document of the part, evenly over their chunks; None with one document."""
    if len(part.documents) < 2:
        return None
    rows_N = part.corpus_rows()
    document_N = part.windows.store.document_N[rows_N]
    others_W = np.empty(len(part.windows), dtype=np.int64)
    wanted = np.arange(len(others_W))
    while len(wanted):
        drawn = torch.randint(len(rows_N), (len(wanted),), generator=generator).numpy()
        others_W[wanted] = rows_N[drawn]
        wanted = wanted[document_N[drawn] == part.windows.document_W[wanted]]
    return others_W
