"""Predictors made elsewhere: any Python object with `predict`, a file of predictions, an HTTP endpoint.

What they answer is checked before it is believed: shape, finite numbers, a direction. Lengths do not matter, since all
that 5CAT asks of is cosines.

Legend: B batch, L chunks handed (C, or more for a predictor that reads further), C context, D width, W windows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from segue.errors import InputError
from segue.geometry import normalise
from segue.windows import Windows

FACETS = ("mean", "rank")
BLOCK = 1 << 15  # predictions of a file checked at once


@dataclass(frozen=True)
class Claims:
    """What a predictor cannot say of itself and its user says for it.

    context, horizon   C and h of the windows it predicts (SPEC §1)
    facets             what it is judged as: `mean` (its vector lies close to the target), `rank` (it orders candidates)
    reads              how many chunks up to offset 0 it is made from: `context` (C of them), `document` (all so far)
                       or a number
    """

    context: int = 5
    horizon: int = 1
    facets: tuple[str, ...] = ("mean",)
    reads: int | Literal["context", "document"] = "context"

    @property
    def reach(self) -> int | None:
        """`reads` as predictors say it: None is the whole document so far."""
        return self.context if self.reads == "context" else None if self.reads == "document" else self.reads

    def __post_init__(self) -> None:
        """Raises InputError, naming the option, for what no predictor can claim."""
        for name, found, least in (("context", self.context, 2), ("horizon", self.horizon, 1)):
            if found < least:
                raise InputError(f"--{name}: found {found}, a number from {least} is wanted.")
        if self.reach is not None and self.reach < 1:
            raise InputError(f"--reads: found {self.reads}, `document` or a number of chunks from 1 is wanted.")
        strange = [facet for facet in self.facets if facet not in FACETS]
        if strange or not self.facets:
            listed = ",".join(self.facets)
            raise InputError(f"--facets: found {listed!r}, one or both of mean, rank are wanted, as mean,rank.")


def unit_predictions(found: Any, count: int, dim: int, said_by: str) -> Tensor:
    """What a predictor gave as unit vectors: any array of (count, dim) numbers → (count, dim) float32 on the CPU.

    Raises InputError, naming who said it, for another shape, NaN or infinity, and a vector of zeros.
    """
    try:
        if found is None:  # NumPy would call it NaN
            raise TypeError("None")
        # In float64, so that vectors that are unit already keep their bits.
        vectors_BD = (
            found.detach().cpu().double() if isinstance(found, Tensor) else torch.tensor(np.array(found, np.float64))
        )
    except (TypeError, ValueError, OverflowError) as error:
        said = " ".join(str(error).split())[:200]
        raise InputError(f"{said_by}: gave no array of numbers ({said}), {count} × {dim} are wanted.") from None
    if tuple(vectors_BD.shape) != (count, dim):
        shape = " × ".join(map(str, vectors_BD.shape)) or "a single number"
        raise InputError(f"{said_by}: gave {shape}, {count} × {dim} is wanted: one vector for each context.")
    bad_B = ~vectors_BD.isfinite().all(1)
    if bad_B.any():
        raise InputError(
            f"{said_by}: {int(bad_B.sum())} of {count} predictions hold NaN or infinity (first: row "
            f"{int(bad_B.nonzero()[0])}), finite numbers are wanted."
        )
    zero_B = (vectors_BD == 0).all(1)
    if zero_B.any():
        raise InputError(
            f"{said_by}: {int(zero_B.sum())} of {count} predictions are all zeros (first: row "
            f"{int(zero_B.nonzero()[0])}), vectors with a direction are wanted."
        )
    return normalise(vectors_BD).float()


class PythonPredictor:
    """Any object with `predict(context)`, or any function of the context, as a predictor.

    It is handed unit contexts, oldest chunk first, as a torch tensor (B, L, D) float32 on `device`, and may answer with
    a tensor, a NumPy array or nested lists, (B, D), of any length. Every answer is checked (`unit_predictions`).
    """

    def __init__(self, model: Any, dim: int, claims: Claims, device: str = "cpu"):
        if claims.reach is not None and claims.reach < claims.context:
            raise InputError(
                f"{type(model).__name__}: claims to read {claims.reach} chunks of a context of {claims.context}, at "
                f"least the context is handed to it. Give Claims(context={claims.reach}) or more to read."
            )
        predict = getattr(model, "predict", model)
        if not callable(predict):
            raise InputError(
                f"{type(model).__name__}: has no `predict` and is no function; predict(context) from (B, C, {dim}) to "
                f"(B, {dim}) is wanted."
            )
        named = getattr(model, "name", None) or getattr(model, "__name__", None)
        self.name = str(named or type(model).__name__)
        self.dim, self.context, self.horizon = dim, claims.context, claims.horizon
        self.facets, self.reach = claims.facets, claims.reach
        self._predict: Callable[[Tensor], Any] = predict
        self._device = device

    def predict(self, context_BCD: Tensor) -> Tensor:
        """Unit predictions: (B, L, D) → (B, D). Raises InputError for an answer that is none."""
        # A copy: the object may change what it is handed, and the next ablation is made from the same context.
        found = self._predict(context_BCD.to(self._device, copy=True))
        return unit_predictions(found, len(context_BCD), self.dim, self.name).to(context_BCD.device)


class PredictedWindows:
    """Predictions of known windows, made beforehand. A `WindowPredictor`: asked for anything else, it has no answer.

    windows   in row order, one for each row of prediction_WD
    """

    def __init__(self, name: str, prediction_WD: np.ndarray, windows: Windows, claims: Claims):
        self.name, self.dim = name, windows.store.dim
        self.context, self.horizon = windows.context, windows.horizon
        self.facets, self.reach = claims.facets, claims.reach
        self._last_W = windows.last_W
        self._prediction_WD = prediction_WD

    def predict_windows(self, windows: Windows) -> Tensor:
        """Unit predictions of some of the windows: → (B, D) float32"""
        at = np.searchsorted(self._last_W, windows.last_W)
        if not np.array_equal(self._last_W[at.clip(max=len(self._last_W) - 1)], windows.last_W):
            raise ValueError(f"{self.name} holds no prediction for some of these windows")
        return unit_predictions(np.asarray(self._prediction_WD[at]), len(at), self.dim, self.name)

    def predict(self, context_BCD: Tensor) -> Tensor:
        """A file knows windows, not contexts."""
        raise TypeError(f"{self.name} holds predictions for known windows only")


class PredictionFile:
    """A `.npy` of predictions (W, D), rows in the order of `segue windows`: all of VAL's, then all of OOD's.

    Raises InputError when there is no such file, or it is not an .npy array of two axes of floating-point numbers.
    """

    def __init__(self, path: str | Path, claims: Claims):
        self.path, self.claims = Path(path), claims
        wanted = "an .npy file of floating-point numbers, one row for each window, is wanted"
        try:
            found = np.load(self.path, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            raise InputError(f"{path}: no such file.") from None
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); {wanted}.") from None
        except (ValueError, EOFError):
            raise InputError(f"{path}: holds pickled objects or is not a whole array; {wanted}.") from None
        if not isinstance(found, np.ndarray):
            raise InputError(f"{path}: is an archive of arrays; {wanted}.")
        if found.ndim != 2 or found.dtype.kind != "f":
            shape = " × ".join(map(str, found.shape)) or "a single value"
            raise InputError(f"{path}: holds {shape} of type {found.dtype}; {wanted}.")
        self.vectors_WD = found

    def on(self, windows: Mapping[str, Windows]) -> dict[str, PredictedWindows]:
        """The file's predictions by part; a file with rows for VAL alone is judged on VAL alone.

        Raises InputError for another number of rows or another width.
        """
        counts = {part: len(its) for part, its in windows.items()}
        rows, width = self.vectors_WD.shape
        dim = windows["VAL"].store.dim
        if width != dim:
            raise InputError(f"{self.path}: its predictions are {width} wide, the store's vectors are {dim} wide.")
        if rows == counts["VAL"]:
            windows = {"VAL": windows["VAL"]}
        elif rows != sum(counts.values()):
            listed = " and ".join(f"{part}'s {count:,}" for part, count in counts.items())
            raise InputError(
                f"{self.path}: has {rows:,} rows, {sum(counts.values()):,} are wanted: {listed} windows, in the order "
                f"of `segue windows` with the same store, split, --samples, --seed, --context and --horizon."
            )
        start, found = 0, {}
        for part, its in windows.items():
            block_WD = self.vectors_WD[start : start + len(its)]
            for low in range(0, len(its), BLOCK):  # refused before any work
                some_BD = block_WD[low : low + BLOCK]
                unit_predictions(some_BD, len(some_BD), dim, f"{self.path} ({part}, rows from {start + low})")
            found[part] = PredictedWindows(self.path.name, block_WD, its, self.claims)
            start += len(its)
        return found
