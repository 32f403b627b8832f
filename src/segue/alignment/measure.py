"""Run predictors over windows and note, for each window, every quantity that 5CAT takes a mean of.

All predictors are measured together: a document's vectors are gathered once and compared with everybody's predictions
in one matrix product. What comes out are columns, one number a window, NaN where the window is no member (SPEC §2,
Membership); `figures` turns them into means with intervals.

Legend: W windows, B windows of a block, P predictors or predictions, N chunks of a document or split, D width,
C context, L chunks handed, K offsets, H steps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from segue.alignment.compare import Columns, Corpus, Predicted, compare, step_offsets
from segue.alignment.forwards import ABLATIONS, STEPS, Draws, ablate, rollout, shuffled_orders
from segue.models.predictor import Predictor, RawPredictor
from segue.progress import Progress, silent
from segue.windows import Windows
from segue.windows.rows import Rows

BLOCK = 512  # windows a block: contexts, predictions and similarities of one block are all that is held


@dataclass(frozen=True)
class Part:
    """What predictors are judged on: VAL, OOD, or any other set of documents.

    name       `VAL` or `OOD`
    windows    the windows to judge, all of the part's or a sample of them
    documents  indices of all the part's documents, also those too short for a window: pool `corpus`
    """

    name: str
    windows: Windows
    documents: np.ndarray

    def corpus_rows(self) -> np.ndarray:
        """(N,) rows of all chunks of the part, ascending."""
        store = self.windows.store
        spans = [
            np.arange(store.first_row_G[g], store.first_row_G[g] + store.length_G[g]) for g in np.sort(self.documents)
        ]
        return np.concatenate(spans)


def measure(
    predictors: Mapping[str, Predictor],
    part: Part,
    *,
    device: str = "cpu",
    only_whole: bool = False,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, Columns]:
    """Per-window quantities of every predictor on one part; the first predictor is the one judged.

    only_whole   tests A and B alone, without the pool `corpus` (mini-5CAT)
    → name → {metric path: (W,) float64, NaN where the window is no member}
    """
    windows = part.windows
    rows = Rows(windows.store, device)
    generator = torch.Generator().manual_seed(seed)
    judged = next(iter(predictors.values()))
    order_WC = shuffled_orders(len(windows), windows.context, generator)
    other_W = other_document_rows(part, generator)
    pieces: dict[str, list[Columns]] = {name: [] for name in predictors}
    corpus = None if only_whole else Corpus(part.corpus_rows(), rows(part.corpus_rows()))
    for start in range(0, len(windows), BLOCK):
        progress(f"5CAT on {part.name}", start, len(windows), "windows")
        index = np.arange(start, min(start + BLOCK, len(windows)))
        block = windows.take(index)
        draws = Draws(order_WC[index], None if other_W is None else rows(other_W[index]))
        answers = {name: _predict(p, block, rows, draws, only_whole) for name, p in predictors.items()}
        for name, columns in compare(answers, block, rows, judged.reach, corpus).items():
            pieces[name].append(columns)
    progress(f"5CAT on {part.name}", len(windows), len(windows), "windows")
    return {name: _joined(parts) for name, parts in pieces.items()}


def _joined(pieces: list[Columns]) -> Columns:
    """Blocks end to end; a column that a block had no member for is NaN there."""
    sizes = [len(piece[("mse",)]) for piece in pieces]
    paths = dict.fromkeys(path for piece in pieces for path in piece)
    return {
        path: np.concatenate([piece.get(path, np.full(n, np.nan)) for piece, n in zip(pieces, sizes, strict=True)])
        for path in paths
    }


def other_document_rows(part: Part, generator: torch.Generator) -> np.ndarray | None:
    """For each window a row of another document of the part, evenly over their chunks; None with one document."""
    if len(part.documents) < 2:
        return None
    rows_N = part.corpus_rows()
    document_N = part.windows.store.document_N[rows_N]
    others = np.empty(len(part.windows), dtype=np.int64)
    wanted = np.arange(len(others))
    while len(wanted):
        drawn = torch.randint(len(rows_N), (len(wanted),), generator=generator).numpy()
        others[wanted] = rows_N[drawn]
        wanted = wanted[document_N[drawn] == part.windows.document_W[wanted]]
    return others


def _predict(predictor: Predictor, block: Windows, rows: Rows, draws: Draws, only_whole: bool) -> Predicted:
    """All forwards of one predictor over a block; windows of equal length handed go together."""
    size, dim = len(block), rows.dim
    reach = block.earlier_W + 1 if predictor.reach is None else np.minimum(block.earlier_W + 1, predictor.reach)
    rolled_B = block.later_W >= step_offsets(block)[-1]
    answer = Predicted(torch.empty(size, dim, device=rows.device), None, rolled_B=rolled_B)
    for length in np.unique(reach):
        at = np.flatnonzero(reach == length)
        context_BLD = rows(block.last_W[at, None] + np.arange(1 - length, 1))
        if isinstance(predictor, RawPredictor):
            whole_BD, raw_BD = predictor.predict_with_raw(context_BLD)
            answer.raw_BD = torch.empty_like(answer.whole_BD) if answer.raw_BD is None else answer.raw_BD
            answer.raw_BD[at] = raw_BD
        else:
            whole_BD = predictor.predict(context_BLD)
        answer.whole_BD[at] = whole_BD
        if only_whole:
            continue
        here = Draws(draws.order_BC[at], None if draws.other_BD is None else draws.other_BD[at])
        for name in ABLATIONS:
            contexts = ablate(name, context_BLD, block.context, here)
            kept = answer.ablated.setdefault(name, [torch.empty(size, dim, device=rows.device) for _ in contexts or ()])
            for slot, context in enumerate(contexts or ()):
                kept[slot][at] = predictor.predict(context)
        far = np.flatnonzero(rolled_B[at])
        if not answer.steps:
            answer.steps = [torch.zeros(size, dim, device=rows.device) for _ in range(STEPS)]
        if len(far):
            for kept_BD, step_BD in zip(answer.steps, rollout(predictor, context_BLD[far], whole_BD[far]), strict=True):
                kept_BD[at[far]] = step_BD
    return answer


def predictors_fit(predictors: Sequence[Predictor], windows: Windows) -> None:
    """Every predictor must be of the windows' width, context and horizon; a bug of the caller otherwise."""
    for p in predictors:
        if (p.dim, p.context, p.horizon) != (windows.store.dim, windows.context, windows.horizon):
            raise ValueError(f"{p.name} is for {p.dim} wide, C {p.context}, h {p.horizon}; the windows are not")
