"""The arrow of time: is a store easier to predict forwards than backwards (SPEC §5)?

Two questions, which are not the same:

skill     is the next chunk easier to predict than the one before? The skill of a predictor fitted and judged on the
          documents as they are, less that of the same method fitted and judged on the same documents reversed.
transfer  does it matter which way one reads? What is lost, on the same windows, by a predictor fitted the other way;
          the mean of both ways. Above zero wherever forwards and backwards follow different laws.

A world may have an arrow and no difference of skill. x_{t+1} ∝ R·x_t + noise with isotropic noise is one: read
backwards it is the same world with R⁻¹ for R, exactly as predictable, yet one who learned R is wrong about R⁻¹
(`transfer` sees it, `skill` must not). And for one-dimensional stationary series the best linear prediction is equally
good both ways whatever the law, since autocovariance is symmetric; in D dimensions the error's determinant is, its
trace and the cosine are not. A reversible world (`ar1`) shows neither.

Skill also differs where no law of succession is at work, but documents open otherwise than they end: an opening that
resembles everything after it is easy to come near and hard to tell from nothing. `copy_last`, which fits nothing,
stands beside as the measure of that.

Legend: W windows, Q quantities, draws are (1 + R,).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from segue.alignment.compare import Measured, offsets_of
from segue.alignment.fivecat import part_of, warnings_of
from segue.alignment.measure import Part, measure
from segue.errors import InputError
from segue.models.controls import copy_last
from segue.models.fitting import MAX_WINDOWS, ridge
from segue.models.predictor import Predictor
from segue.progress import Progress, silent
from segue.statistics import DocumentBootstrap, result_of
from segue.vectors import Store
from segue.vectors.reversed import Reversed
from segue.windows import Split, Windows, windows_of
from segue.windows.rows import Rows

METRICS = ("cos", "mrr_future")
WAYS = ("forward", "reversed")
Trainer = Callable[[Store, str], Predictor]


def arrow(
    store: Store,
    split: Split,
    trainer: Trainer | None = None,
    *,
    context: int = 5,
    horizon: int = 1,
    samples: int = 5000,
    device: str = "cpu",
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Skill forwards against backwards, fitted on train, judged on VAL and OOD documents together, paired by document.

    trainer   (store, "forward" or "reversed") → a predictor fitted on the split's train documents of that store;
              without one ridge, its strength chosen on VAL, the same way both times
    Window and mirrored window hold the same chunks, one reads them from each end, so pools are of equal size (but for
    documents with gaps; both levels of chance are told). Intervals are over the judged documents; what another
    training set, or seed, would change they do not hold.
    → {"method", "skill" and "copy_last": {metric: {"forward", "reversed", "difference"}},
    "transfer": {metric: result}, "data": {…}}
    Raises InputError for samples below 1 or a part without windows.
    """
    if samples < 1:
        raise InputError(f"--samples: found {samples}, a number from 1 is wanted.")
    stores: dict[str, Store] = {"forward": store, "reversed": Reversed(store)}
    fit = trainer or (lambda where, _: _ridge(where, split, context, horizon, device))
    parts, fitted = {}, {}
    chosen = None
    for way, where in stores.items():
        documents = np.sort(np.concatenate([split.documents(where, part) for part in ("VAL", "OOD")]))
        part_of("train", windows_of(where, split.documents(where, "train"), context, horizon), documents)
        every = windows_of(where, documents, context, horizon)
        if chosen is None:
            sampled = part_of("held-out", every, documents, samples, seed).windows
            chosen = np.searchsorted(every.last_W, sampled.last_W)
        else:
            chosen = np.sort(len(every) - 1 - chosen)  # the mirrored windows of the same chunks, in row order
        parts[way] = Part("held-out documents, " + way, every.take(chosen), documents)
    for number, (way, where) in enumerate(stores.items()):
        progress("fitting both ways", number, 2)
        fitted[way] = fit(where, way)
    progress("fitting both ways", 2, 2)
    result = _compared(parts, fitted, device, seed, progress)
    part = parts["forward"]
    result["data"] = {
        "store": str(store.path),
        "store_hash": store.hash,
        "space": store.space.to_json(),
        "split": {"how": split.how, "hash": split.hash},
        "context": context,
        "horizon": horizon,
        "windows": len(part.windows),
        "documents": len(part.windows.documents),
        "samples": samples,
        "seed": seed,
        "warnings": warnings_of({"the held-out part": part}),
    }
    return {"method": fitted["forward"].name, **result}


def _ridge(store: Store, split: Split, context: int, horizon: int, device: str) -> Predictor:
    train, val = (
        windows_of(store, split.documents(store, part), context, horizon).sample(MAX_WINDOWS, seed=0)
        for part in ("train", "VAL")
    )
    if not len(val):
        raise InputError(
            f"{store.path}: no VAL document has {context + horizon} chunks in a row, so ridge's strength cannot be "
            f"chosen. Give VAL longer documents."
        )
    rows = Rows(store, device)
    return ridge(train, val, rows, rows)


def _compared(
    parts: dict[str, Part], fitted: dict[str, Predictor], device: str, seed: int, progress: Progress
) -> dict[str, Any]:
    """Both predictors on both readings; every mean from the same resamples of the documents."""
    columns: dict[tuple[str, str, str], np.ndarray] = {}  # (predictor, judged way, metric) → (W,)
    chance = {}
    windows = parts["forward"].windows
    everyone = {**fitted, "copy_last": copy_last(windows.store.dim, windows.context, windows.horizon)}
    for way, part in parts.items():
        measured = measure(everyone, part, device=device, only_whole=True, seed=seed, progress=progress)
        for number, by in enumerate(everyone):
            for metric, values_W in _values(measured, number, part.windows).items():
                # Reversed rows run the other way: flipped, each stands beside the window it mirrors.
                columns[by, way, metric] = values_W if way == "forward" else values_W[::-1]
        chance[way] = _chance(measured.candidates["future"])
    bootstrap = DocumentBootstrap(windows.document_W, seed=seed)
    n = len(windows)
    means = bootstrap.means(np.stack(list(columns.values()), axis=1))
    draws = {key: means[:, q] for q, key in enumerate(columns)}
    level = {"cos": dict.fromkeys(WAYS, 0.0), "mrr_future": chance}

    def both_ways(by: dict[str, str], metric: str) -> dict[str, Any]:
        """Each way's figure of the predictor that `by` names for it, and the paired difference."""
        f, r = (draws[by[way], way, metric] for way in WAYS)
        figures = {way: result_of(d, n, level[metric][way]) for way, d in zip(WAYS, (f, r), strict=True)}
        return {name: one.to_json() for name, one in {**figures, "difference": result_of(f - r, n)}.items()}

    transfer = {}
    for metric in METRICS:
        right = draws["forward", "forward", metric] + draws["reversed", "reversed", metric]
        wrong = draws["reversed", "forward", metric] + draws["forward", "reversed", metric]
        transfer[metric] = result_of((right - wrong) / 2, n).to_json()
    return {
        "skill": {metric: both_ways({way: way for way in WAYS}, metric) for metric in METRICS},
        "copy_last": {metric: both_ways(dict.fromkeys(WAYS, "copy_last"), metric) for metric in METRICS},
        "transfer": transfer,
    }


def _values(measured: Measured, number: int, windows: Windows) -> dict[str, np.ndarray]:
    return {
        "cos": measured.similarity_PKW[number, offsets_of(windows).index(windows.horizon)],
        "mrr_future": 1 / measured.rank_PSW[number, 0],
    }


def _chance(candidates_W: np.ndarray) -> float:
    """Mean 1/rank of a random order: (1 + 1/2 + … + 1/n)/n, over windows."""
    harmonic = np.cumsum(1 / np.arange(1, candidates_W.max() + 1))
    return float(np.mean(harmonic[candidates_W - 1] / candidates_W))
