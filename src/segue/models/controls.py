"""Predictors whose result is known (SPEC §6): what any figure is read against.

Attainable ones use what a model could: the context, and weights fitted on train (`fit_controls`). Unattainable ones
know the answer, or know it wrongly, and show what the harness says of them. All are predictors like any other.

Legend: B batch, C context, D width, W windows, N rows.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from segue.geometry import normalise
from segue.windows import Windows
from segue.windows.rows import Rows

BOTH = ("mean", "rank")


class _Control:
    """A direction for every context. Only `Ridge` is a `RawPredictor`: the length of the others' sum means nothing."""

    facets: tuple[str, ...] = BOTH

    def __init__(self, name: str, dim: int, context: int, horizon: int):
        self.name, self.dim, self.context, self.horizon = name, dim, context, horizon
        self.reach: int | None = context

    def direction(self, context_BCD: Tensor) -> Tensor:
        """The prediction at any length: (B, C, D) → (B, D)"""
        raise NotImplementedError

    def predict(self, context_BCD: Tensor) -> Tensor:
        """Unit predictions: (B, C, D) → (B, D)"""
        return normalise(self.direction(context_BCD))


class SlotWeights(_Control):
    """A fixed weight for every slot: p ∝ Σ w_i x_i, slots from the oldest to the last.

    `copy_last` is (0, …, 0, 1), `context_mean` is (1, …, 1); `best_weights` and `rank_weights` are fitted.
    """

    def __init__(self, name: str, weights: np.ndarray, dim: int, horizon: int):
        super().__init__(name, dim, len(weights), horizon)
        self.weights = np.asarray(weights, dtype=np.float64)

    def direction(self, context_BCD: Tensor) -> Tensor:
        weights_C = torch.as_tensor(self.weights, dtype=context_BCD.dtype, device=context_BCD.device)
        return weights_C @ context_BCD


class Ridge(_Control):
    """Linear regression of the target on the whole context, C·D → D, with a penalty `strength`·‖W‖² (closed form)."""

    def __init__(self, weights_CDD: Tensor, strength: float, context: int, horizon: int):
        super().__init__("ridge", weights_CDD.shape[1], context, horizon)
        self.weights_CDD, self.strength = weights_CDD, strength

    def direction(self, context_BCD: Tensor) -> Tensor:
        self.weights_CDD = self.weights_CDD.to(context_BCD.device)
        return context_BCD.flatten(1) @ self.weights_CDD

    def predict_with_raw(self, context_BCD: Tensor) -> tuple[Tensor, Tensor]:
        """Unit predictions, and the regression's estimate of E[target | context] itself: (B, C, D) → (B, D), (B, D)"""
        raw_BD = self.direction(context_BCD)
        return normalise(raw_BD), raw_BD


class Constant(_Control):
    """The same vector for every context: `corpus_mean`, the direction of the mean of the train vectors."""

    def __init__(self, name: str, vector_D: Tensor, context: int, horizon: int):
        super().__init__(name, len(vector_D), context, horizon)
        self.vector_D = vector_D

    def direction(self, context_BCD: Tensor) -> Tensor:
        return self.vector_D.to(context_BCD.device).expand(len(context_BCD), -1)


class Random(_Control):
    """A random direction for each context, drawn on the CPU so that every device draws the same."""

    def __init__(self, dim: int, context: int, horizon: int, seed: int = 0):
        super().__init__("random", dim, context, horizon)
        self._generator = torch.Generator().manual_seed(seed)

    def direction(self, context_BCD: Tensor) -> Tensor:
        return torch.randn(len(context_BCD), self.dim, generator=self._generator).to(context_BCD.device)


class ReadAvoider(_Control):
    """The cheat that fooled us: x_t minus its projection on everything read before the window (SPEC §2).

    It reads the whole document so far and predicts away from what it has read. Where chunks that it read are left
    among the candidates it looks skilful, untrained; in the pool `future` it has nothing to avoid.
    """

    def __init__(self, dim: int, context: int = 5, horizon: int = 1):
        super().__init__("read_avoider", dim, context, horizon)
        self.reach = None

    def direction(self, context_BCD: Tensor) -> Tensor:
        last_BD, read_BLD = context_BCD[:, -1], context_BCD[:, : -self.context]
        if not read_BLD.shape[1]:
            return last_BD
        # Projection by least squares; the pseudo-inverse bears repeated chunks and more chunks than dimensions.
        basis_BDL = read_BLD.transpose(1, 2)
        weights_BL1 = torch.linalg.pinv(basis_BDL, rtol=1e-4) @ last_BD[..., None]
        rest_BD = last_BD - (basis_BDL @ weights_BL1)[..., 0]
        return torch.where(rest_BD.norm(dim=1, keepdim=True) > 1e-4, rest_BD, last_BD)


class Recognition:
    """Knows a corpus's contexts by their bits: from a context to the row of its offset 0.

    windows   all of a part's; every row that can be offset 0, to the end of each run, is known: rollouts step past the
              last window
    reach     how many rows after offset 0 an answer may lie
    """

    def __init__(self, windows: Windows, rows: Rows, reach: int, rng: np.random.Generator):
        self.rows, self.context = rows, windows.context
        weights_U = rng.integers(0, 2**63, rows.dim, dtype=np.uint64)[::2] * 2 + 1  # one for each two floats
        self._word_weights_U = torch.from_numpy(weights_U.view(np.int64)).to(rows.device)
        self._slot_weights_C = rng.integers(0, 2**63, windows.context, dtype=np.uint64) * 2 + 1
        bounds = np.unique(np.stack([windows.last_W - windows.earlier_W, windows.last_W + windows.later_W]), axis=1)
        self.last_rows = np.concatenate([np.arange(a + windows.context - 1, b + 1) for a, b in bounds.T])
        self.ends = np.repeat(bounds[1], bounds[1] - bounds[0] + 2 - windows.context)  # of the run of each
        context_rows = self.last_rows[:, None] + np.arange(1 - self.context, 1)
        answers = np.concatenate([self.last_rows + k for k in range(1, reach + 1)])
        self._used_rows = np.unique(np.append(context_rows, answers[answers <= self.ends.max()]))
        blocks = np.array_split(self._used_rows, max(1, len(self._used_rows) // 4096))
        self._hash_of_used = np.concatenate([self._hash(rows(block)) for block in blocks])
        keys_W = self.keys(self.hash_of_rows(context_rows)).tolist()
        self.row_of_context: dict[int, int] = dict(zip(keys_W, self.last_rows.tolist(), strict=True))

    def _hash(self, vectors_ND: Tensor) -> np.ndarray:
        """64-bit hashes of rows by their float32 bits: (N, D) → (N,). Multiplication wraps, as a hash wants.

        Two neighbouring floats make one word: half the work, and every bit counts as before.
        """
        even_ND = vectors_ND if vectors_ND.shape[1] % 2 == 0 else torch.nn.functional.pad(vectors_ND, (0, 1))
        words_NU = even_ND.contiguous().view(torch.int64)
        hashes: np.ndarray = (words_NU * self._word_weights_U).sum(-1).cpu().numpy().view(np.uint64)
        return hashes ^ (hashes >> np.uint64(29))

    def hash_of_rows(self, rows: np.ndarray) -> np.ndarray:
        """The hashes of rows that are used, of any shape."""
        found: np.ndarray = self._hash_of_used[np.searchsorted(self._used_rows, rows)]
        return found

    def hash_of_slots(self, context_BCD: Tensor) -> np.ndarray:
        """(B, C) hashes of a context's slots."""
        return self._hash(context_BCD.flatten(0, 1)).reshape(context_BCD.shape[:2])

    def keys(self, hashes_BC: np.ndarray) -> np.ndarray:
        """(B,) keys of whole contexts."""
        keys: np.ndarray = (hashes_BC * self._slot_weights_C).sum(-1, dtype=np.uint64)
        return keys


class Oracle(_Control):
    """Knows the corpus: for a context that stands in it, the chunk that follows; the corpus mean for any other.

    delay    0 the target x_{t+h} (`oracle`) · 1 the chunk after it (`late_oracle`)
    another  answer for another window instead (`shuffled_target`), drawn by it

    A context is recognised by its bits. One that the oracle itself completed in a rollout counts as standing h further
    on, so that its rollout is the corpus's own; every other change of the context (shuffled, a slot dropped) makes it
    a stranger, and the answer the mean. Where the document ends before the answer, the answer is the mean.
    """

    def __init__(
        self,
        name: str,
        known: Recognition,
        horizon: int,
        mean_D: Tensor,
        *,
        delay: int = 0,
        another: np.random.Generator | None = None,
    ):
        super().__init__(name, known.rows.dim, known.context, horizon)
        self._known, self._mean_D = known, normalise(mean_D)
        self._completed: dict[int, int] = {}
        answers = known.last_rows + horizon + delay
        answers = np.where(answers <= known.ends, answers, -1)
        if another is not None:
            circle = another.permutation(
                np.flatnonzero(answers >= 0)
            )  # each takes its neighbour's: nobody keeps its own
            answers[circle] = answers[np.roll(circle, 1)]
        self._answer_of_row = dict(zip(known.last_rows.tolist(), answers.tolist(), strict=True))

    def predict(self, context_BCD: Tensor) -> Tensor:
        # Answers are unit already; normalising again could change a bit, and a rollout would be a stranger.
        known = self._known
        hashes_BC = known.hash_of_slots(context_BCD)
        keys = known.keys(hashes_BC).tolist()
        rows = [known.row_of_context.get(key, self._completed.get(key)) for key in keys]
        answers = np.asarray([-1 if row is None else self._answer_of_row.get(row, -1) for row in rows])
        known_B1 = torch.as_tensor(answers >= 0, device=context_BCD.device)[:, None]
        answer_BD = known.rows(np.maximum(answers, 0)).to(context_BCD.device)
        answer_BD = torch.where(known_B1, answer_BD, self._mean_D.to(context_BCD.device))
        right = np.flatnonzero(answers >= 0)
        completed_BC = np.column_stack([hashes_BC[right, 1:], known.hash_of_rows(answers[right])])
        for b, key in zip(right.tolist(), known.keys(completed_BC).tolist(), strict=True):
            row = rows[b]
            if row is not None:
                self._completed.setdefault(key, row + self.horizon)
        return answer_BD


def copy_last(dim: int, context: int = 5, horizon: int = 1) -> SlotWeights:
    """p = x_t."""
    return SlotWeights("copy_last", np.eye(context)[-1], dim, horizon)


def context_mean(dim: int, context: int = 5, horizon: int = 1) -> SlotWeights:
    """p ∝ the sum of the context."""
    return SlotWeights("context_mean", np.ones(context), dim, horizon)


# In the order tables show them. Each is made from fitted weights and the data at hand by `fit_controls`/`know_answers`.
ATTAINABLE = ("copy_last", "context_mean", "best_weights", "rank_weights", "ridge", "corpus_mean", "random")
UNATTAINABLE = ("oracle", "late_oracle", "shuffled_target")


def know_answers(windows: Windows, rows: Rows, mean_D: Tensor, seed: int = 0) -> dict[str, Oracle]:
    """The unattainable controls for the windows to be judged (all of a split's, so that none is a stranger)."""
    rng = np.random.default_rng(seed)
    known, horizon = Recognition(windows, rows, windows.horizon + 1, rng), windows.horizon
    make: dict[str, Callable[[], Oracle]] = {
        "oracle": lambda: Oracle("oracle", known, horizon, mean_D),
        "late_oracle": lambda: Oracle("late_oracle", known, horizon, mean_D, delay=1),
        "shuffled_target": lambda: Oracle("shuffled_target", known, horizon, mean_D, another=rng),
    }
    return {name: make[name]() for name in UNATTAINABLE}
