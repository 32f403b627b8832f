"""5CAT for a Python object that knows nothing of segue."""

from pathlib import Path
from typing import Any

from segue.alignment.evaluate import evaluate
from segue.alignment.fivecat import SAMPLES
from segue.alignment.profiles import Profiles
from segue.models.outside import Claims, PythonPredictor
from segue.progress import Progress, silent
from segue.vectors import Store
from segue.windows import Split, load_split, split_by_fractions


def judge_predictor(
    model: Any,
    store: Store | str | Path,
    split: Split | str | Path | None = None,
    *,
    claims: Claims | None = None,
    profile: str | Profiles = "skill",
    samples: int = SAMPLES,
    device: str = "cpu",
    progress: Progress = silent,
) -> dict[str, Any]:
    """The full 5CAT of any Python object, beside all controls: the value of `5cat.json`.

    model    an object with `predict(context)`, or a function; it gets unit vectors, oldest chunk first, as a torch
             tensor (B, L, D) float32 on `device`, L = C where its claims say no more, and gives (B, D): a tensor, an
             array or lists, of any length
    store    the store to judge on, or its folder
    split    a split or its file; without one 80/10/10 of the documents in store order
    claims   its context, horizon, facets and what it reads; by default C = 5, h = 1, `mean`, and those C chunks
    Raises InputError for an answer of another shape, NaN, infinity or all zeros, and for anything `evaluate` refuses.
    """
    opened = store if isinstance(store, Store) else Store(store)
    if split is None:
        split = split_by_fractions(opened)
    elif not isinstance(split, Split):
        split = load_split(split)
    predictor = PythonPredictor(model, opened.dim, claims or Claims(), device)
    return evaluate(predictor, opened, split, profile=profile, samples=samples, device=device, progress=progress)
