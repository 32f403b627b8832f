"""What is measured on a sample of the windows: peers' metrics, ordering, the other two rollouts.

Each of them costs forwards or searches of its own, and no gate judges them; a thousand windows give intervals that are
narrow enough to read (a share of one half: ± .03). Their n is printed like any other's.

Legend: P predictors, W windows of a part, X those of the sample.
"""

from collections.abc import Mapping

import numpy as np
import torch

from segue.alignment.compare import Corpus, Path, Secondary
from segue.alignment.contrastive import contrastive_accuracy
from segue.alignment.forwards import asks_of
from segue.alignment.ordering import CHANCE, span_orders
from segue.alignment.rollouts import Reencoder, Snap, fed_rollouts
from segue.models.predictor import Predictor
from segue.progress import Progress, silent
from segue.windows import Windows
from segue.windows.rows import Rows

SAMPLE = 1000
# Windows × chunks of the corpus compared in a step of the snapped rollout: ten predictors and four steps are 40 times
# that many cosines, 0.6 Tflop at D = 768. A corpus of 60,000 leaves 200 windows.
SNAP_PAIRS = 10_000_000
SNAP_LEAST = 200


def measure_secondary(
    predictors: Mapping[str, Predictor],
    windows: Windows,
    corpus: Corpus,
    rows: Rows,
    *,
    seed: int = 0,
    reencoder: Reencoder | None = None,
    progress: Progress = silent,
) -> Secondary:
    """Contrastive accuracy, ordered spans (h = 1), snapped rollouts, and re-encoded ones where a decoder is given."""
    chosen_X = _sample(np.arange(len(windows)), SAMPLE, seed)
    sample = windows.take(chosen_X)
    furthest = max(ask.offset for ask in asks_of(windows.context, windows.horizon))
    far_enough = np.flatnonzero(sample.later_W >= furthest)
    snapped = _sample(far_enough, max(SNAP_LEAST, SNAP_PAIRS // len(corpus.rows_N)), seed)
    tasks = [
        (np.arange(len(sample)), lambda some: contrastive_accuracy(predictors, some, rows, seed)),
        (snapped, lambda some: fed_rollouts("snapped", predictors, some, rows, Snap(corpus))),
    ]
    if windows.horizon == 1:
        tasks.append((np.arange(len(sample)), lambda some: span_orders(predictors, some, rows, seed)))
    if reencoder is not None:
        writes = reencoder
        few = _sample(far_enough, writes.windows, seed)
        tasks.append((few, lambda some: fed_rollouts("reencoded", predictors, some, rows, writes)))
    columns: dict[Path, np.ndarray] = {}
    with torch.inference_mode():
        for number, (at, task) in enumerate(tasks):
            progress("5CAT, secondary metrics", number, len(tasks), "metrics")
            for path, values_PX in task(sample.take(at)).items() if len(at) else ():
                columns[path] = np.full((len(predictors), len(windows)), np.nan)
                columns[path][:, chosen_X[at]] = values_PX
    progress("5CAT, secondary metrics", len(tasks), len(tasks), "metrics")
    chance: dict[Path, float] = {("contrastive", "paper"): 0.5, ("contrastive", "code"): 0.5, **CHANCE}
    return Secondary(columns, chance)


def _sample(of: np.ndarray, size: int, seed: int) -> np.ndarray:
    """At most `size` of these numbers, evenly, ascending."""
    if len(of) <= size:
        return of
    return np.sort(np.random.default_rng(seed).choice(of, size=size, replace=False))
