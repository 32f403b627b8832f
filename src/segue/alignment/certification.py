"""Does the harness count right? The controls' figures against arithmetic that shares no code with it (SPEC §6).

`facts_of` holds for any data, so every 5CAT carries its outcome for the data at hand; `certify` adds what only worlds
made for it can show. Everything here reads the store's own tables in float64: it may not call `forwards`, `compare` or
`figures`, or a slip there would certify itself.

Legend: W windows, N chunks, D width, C context, h horizon, t row of offset 0, y target.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from segue.alignment.figures import Figures, Path
from segue.alignment.measure import Part
from segue.models.controls import SlotWeights
from segue.statistics import small_sample_factor

POOLS = ("future", "unseen", "document")
ROUNDING = 2e-5  # float32 figures against float64 ones
PIECE = 1 << 22  # windows × chunks of a document looked at together: 32 MiB of cosines
FEWEST_DOCUMENTS = 8  # below, the formula for the spread of a resampled ratio is too rough to hold anybody to it
REPEATED = 2e-3  # contexts that occur twice in a corpus have one answer; a boilerplate page or two is forgiven


@dataclass(frozen=True)
class Fact:
    """One thing known beforehand: what it says, its value, what the harness found, and how far they may differ."""

    name: str
    expected: float
    found: float | None
    tolerance: float
    catches: str

    @property
    def holds(self) -> bool:
        return self.found is not None and bool(abs(self.found - self.expected) <= self.tolerance)

    def to_json(self) -> dict[str, Any]:
        numbers = {name: float(value) for name, value in asdict(self).items() if isinstance(value, int | float)}
        return {**asdict(self), **numbers, "holds": self.holds}


class _Truth:
    """Windows of a part looked at directly: rows of the store, unit vectors in float64."""

    def __init__(self, part: Part, reach: int | None):
        self.part, self.windows, self.reach = part, part.windows, reach
        store = part.windows.store
        self.stored_ND = store.vectors_ND
        self.document_N, self.position_N = store.document_N, store.position_N
        self.t = part.windows.last_W
        self.h, self.context = part.windows.horizon, part.windows.context
        self.y_WD = self.unit(self.t + self.h)

    def unit(self, rows: np.ndarray) -> np.ndarray:
        x = self.stored_ND[rows].astype(np.float64)
        return x / np.linalg.norm(x, axis=-1, keepdims=True)

    def has(self, offset: int) -> np.ndarray:
        """Whether the row `offset` away is that many chunks away in the same document, with no gap between."""
        other = np.clip(self.t + offset, 0, len(self.document_N) - 1)
        inside = (self.t + offset >= 0) & (self.t + offset < len(self.document_N))
        same = self.document_N[other] == self.document_N[self.t]
        return inside & same & (self.position_N[other] - self.position_N[self.t] == offset)

    def cosine_to_target(self, offset: int) -> np.ndarray:
        """cos(y, x_{t+offset}), NaN where it does not exist."""
        has = self.has(offset)
        values = np.full(len(self.t), np.nan)
        values[has] = (self.y_WD[has] * self.unit(self.t[has] + offset)).sum(-1)
        return values

    def document_rows(self, row: int) -> np.ndarray:
        """All rows of the document of a row: they are adjacent."""
        document = self.document_N[row]
        return np.arange(*np.searchsorted(self.document_N, [document, document + 1]))

    def documents(self) -> Iterator[tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]]:
        """The windows by document, long ones in pieces: which windows (B,), the document's rows (N,), and for each pool
        which of the rows are candidates (B, N)."""
        for document in np.unique(self.document_N[self.t]):
            every = np.flatnonzero(self.document_N[self.t] == document)
            rows = self.document_rows(int(self.t[every[0]]))
            for at in np.array_split(every, -(-len(every) * len(rows) // PIECE)):
                t = self.t[at][:, None]
                # Of the window's own gap-free run up to offset 0, the last `reach` were read, or all.
                read = (self.position_N[t] - self.position_N[rows] == t - rows) & (rows <= t)
                if self.reach is not None:
                    read &= rows > t - self.reach
                yield at, rows, {"future": rows > t, "unseen": ~read, "document": np.ones_like(read)}

    def weighted(self, weights: np.ndarray) -> np.ndarray:
        """Unit weighted sums of the slots, oldest first: (W, D)"""
        total = sum(w * self.unit(self.t + k) for w, k in zip(weights, range(1 - self.context, 1), strict=True))
        direction_WD: np.ndarray = total / np.linalg.norm(total, axis=-1, keepdims=True)
        return direction_WD

    def ranked(self, prediction_WD: np.ndarray) -> dict[str, np.ndarray]:
        """Reciprocal ranks in the pools of the document; ties averaged: pool → (W,)"""
        found = {pool: np.full(len(self.t), np.nan) for pool in POOLS}
        for at, rows, pools in self.documents():
            similarity_BN = prediction_WD[at] @ self.unit(rows).T
            true_B1 = similarity_BN[rows == self.t[at][:, None] + self.h][:, None]
            # Equal to 1e-12: the products of identical rows may differ in the last bit of a float64.
            above_BN, level_BN = similarity_BN > true_B1 + 1e-12, abs(similarity_BN - true_B1) <= 1e-12
            for pool, inside_BN in pools.items():
                above, level = (above_BN & inside_BN).sum(1), (level_BN & inside_BN).sum(1)
                found[pool][at] = 1 / (above + (level + 1) / 2)
        return found


def facts_of(
    found: Mapping[str, Figures], controls: Mapping[str, Any], part: Part, reach: int | None = None
) -> list[Fact]:
    """What must hold of the controls' figures on any data.

    found      control → its figures on the part
    controls   the controls themselves: slot weights for their weights, `corpus_mean` for its vector
    reach      how far the judged predictor reads (None: the whole document), for the pool `unseen`
    """
    truth = _Truth(part, reach)
    facts = [
        *_windows_are_whole(truth),
        *_copies(truth, found, controls),
        *_oracle(truth, found),
        *_late_oracle(truth, found, controls),
        *_random(truth, found),
        *_other_document(truth, found),
        _documents_are_resampled(truth, found),
    ]
    return [fact for fact in facts if not np.isnan(fact.expected)]


def _value(found: Mapping[str, Figures], control: str, *path: str) -> float | None:
    return found[control].result(path).value


def _windows_are_whole(truth: _Truth) -> list[Fact]:
    whole = truth.has(truth.h) & truth.has(1 - truth.context)
    expected = "a window that crosses a document's edge or a gap"
    return [Fact("every window lies in one gap-free run", 1.0, float(whole.mean()), 0.0, expected)]


def _copies(truth: _Truth, found: Mapping[str, Figures], controls: Mapping[str, Any]) -> list[Fact]:
    """Slot weights: their cosine, and their ranks counted again."""
    s_h = float(truth.cosine_to_target(0).mean())
    facts = [
        Fact("copy_last: cos is the mean cosine at lag h", s_h, _value(found, "copy_last", "cos"), ROUNDING, "offsets"),
        Fact(
            "copy_last: margin_last is that less 1",
            s_h - 1,
            _value(found, "copy_last", "margin_last"),
            ROUNDING,
            "offset 0 taken for another",
        ),
        Fact("copy_last: closest to offset 0", 0, _value(found, "copy_last", "peak"), 0, "the sweep relabelled"),
    ]
    for name in ("context_mean", "best_weights", "rank_weights"):
        control = controls[name]
        assert isinstance(control, SlotWeights)
        cos = float((truth.weighted(control.weights) * truth.y_WD).sum(-1).mean())
        told = f"{name}: cos of its weighted sum"
        facts.append(Fact(told, cos, _value(found, name, "cos"), ROUNDING, "slots in the wrong order"))
    sums = [[inside_BN.sum() for inside_BN in pools.values()] for _, _, pools in truth.documents()]
    for pool, size in zip(POOLS, np.sum(sums, axis=0) / len(truth.t), strict=True):
        told = f"pool {pool}: its number of candidates"
        measured = _value(found, "copy_last", "retrieval", pool, "candidates")
        facts.append(Fact(told, float(size), measured, 1e-9, "chunks that were read left in the pool"))
    for name in ("copy_last", "rank_weights"):
        ranked = truth.ranked(truth.weighted(controls[name].weights))
        for pool, values in ranked.items():
            told = f"{name}: MRR in the pool {pool}, counted again"
            measured = _value(found, name, "retrieval", pool, "mrr")
            facts.append(Fact(told, float(values.mean()), measured, 1e-3, f"a wrong pool {pool}, a wrong rank"))
    return facts


def _oracle(truth: _Truth, found: Mapping[str, Figures]) -> list[Fact]:
    h = truth.h
    s_h = float(truth.cosine_to_target(0).mean())
    offsets = [k for k in range(1 - truth.context, 4) if k != h and truth.has(k).any()]
    nearest = max(float(np.nanmean(truth.cosine_to_target(k))) for k in offsets)
    before = truth.cosine_to_target(1 - truth.context - h)
    before = before[~np.isnan(before)]
    # Not computed for a judged predictor that was handed the earlier chunk.
    asked = len(before) and truth.reach == truth.context
    direction = float(np.mean(before < 1 - 1e-6)) if asked else np.nan
    mean = _value(found, "corpus_mean", "cos")
    assert mean is not None
    facts = [
        Fact("oracle: cos is 1", 1, _value(found, "oracle", "cos"), REPEATED, "offsets shifted"),
        Fact("oracle: margin_last", 1 - s_h, _value(found, "oracle", "margin_last"), REPEATED, "offsets shifted"),
        Fact("oracle: margin", 1 - nearest, _value(found, "oracle", "margin"), REPEATED, "the sweep's membership"),
        Fact("oracle: closest to the target", h, _value(found, "oracle", "peak"), 0, "offsets shifted"),
        Fact("oracle: direction", direction, _value(found, "oracle", "direction"), REPEATED, "the wrong earlier chunk"),
        Fact("oracle: PAR is 1", 1, _value(found, "oracle", "par"), 2e-2, "PAR against the wrong slots"),
        Fact("oracle: mse is 0", 0, _value(found, "oracle", "mse"), REPEATED, "mse against another chunk"),
    ]
    ranks = _oracle_ranks(truth)
    for pool, rank in ranks.items():
        told = f"oracle: MRR in the pool {pool}, equals sharing their places"
        measured = _value(found, "oracle", "retrieval", pool, "mrr")
        facts.append(Fact(told, float(np.mean(1 / rank)), measured, REPEATED, "ties broken, a wrong pool"))
    for name, share in (("shuffle", 1.0), ("reverse", 1.0), ("leave_one_out", (truth.context - 1) / truth.context)):
        told = f"oracle: a context changed by {name} is a stranger"
        measured = _value(found, "oracle", "ablations", name)
        facts.append(Fact(told, share * (mean - 1), measured, 2e-2, "an ablation that changes nothing"))
    if ("rollout", "mean") in found["oracle"]:
        for j in range(1, 6):
            told = f"oracle: step {j} of its rollout is the truth"
            measured = _value(found, "oracle", "rollout", "steps", str(j))
            facts.append(Fact(told, 1, measured, REPEATED, "the rollout compared one late or early"))
    return facts


def _oracle_ranks(truth: _Truth) -> dict[str, np.ndarray]:
    """Ranks of a perfect answer: 1, or the mean of the places that chunks identical to the target share."""
    found = {pool: np.full(len(truth.t), np.nan) for pool in POOLS}
    for at, rows, pools in truth.documents():
        numbers: dict[bytes, int] = {}  # chunks of the same bits have the same number
        kind_N = np.array([numbers.setdefault(vector.tobytes(), len(numbers)) for vector in truth.stored_ND[rows]])
        true_B1 = kind_N[truth.t[at] + truth.h - rows[0]][:, None]
        for pool, inside_BN in pools.items():
            found[pool][at] = (((kind_N == true_B1) & inside_BN).sum(1) + 1) / 2
    return found


def _late_oracle(truth: _Truth, found: Mapping[str, Figures], controls: Mapping[str, Any]) -> list[Fact]:
    """Answers x_{t+h+1}, the corpus mean where the document ends: known at every offset, and never skilful."""
    later = truth.has(truth.h + 1)
    mean_D = controls["corpus_mean"].vector_D.double().cpu().numpy()
    cos = truth.y_WD @ (mean_D / np.linalg.norm(mean_D))
    cos[later] = truth.cosine_to_target(truth.h + 1)[later]
    facts = [
        Fact("late_oracle: cos", float(cos.mean()), _value(found, "late_oracle", "cos"), REPEATED, "offsets shifted")
    ]
    path: Path = ("offsets", str(truth.h + 1))
    if later.any() and path in found["late_oracle"]:
        told = "late_oracle: s(h+1) is 1"
        facts.append(Fact(told, 1, _value(found, "late_oracle", *path), REPEATED, "offsets shifted"))
    return facts


def _random(truth: _Truth, found: Mapping[str, Figures]) -> list[Fact]:
    """Chance: within four standard errors of n independent draws."""
    n, dim = len(truth.t), truth.y_WD.shape[1]
    mrr = found["random"].result(("retrieval", "future", "mrr"))
    assert mrr.chance is not None
    return [
        Fact("random: cos is 0", 0, _value(found, "random", "cos"), 4 / np.sqrt(n * dim), "a leak of the target"),
        Fact("random: MRR is chance", mrr.chance, mrr.value, 4 * 0.33 / np.sqrt(n), "a wrong pool or chance level"),
    ]


def _other_document(truth: _Truth, found: Mapping[str, Figures]) -> list[Fact]:
    """copy_last's answer to a last chunk of another document is that chunk: as close as other documents are."""
    documents = np.sort(truth.part.documents)
    if len(documents) < 2:
        return []
    rows_of = {int(g): truth.document_rows(int(truth.windows.store.first_row_G[g])) for g in documents}
    sums = {g: truth.unit(rows).sum(0) for g, rows in rows_of.items()}
    sizes = {g: len(rows) for g, rows in rows_of.items()}
    total_D, size = sum(sums.values()), sum(sizes.values())
    own = truth.document_N[truth.t]
    others_WD = np.stack([(total_D - sums[int(g)]) / (size - sizes[int(g)]) for g in own])
    expected_W = (truth.y_WD * others_WD).sum(-1) - truth.cosine_to_target(0)
    measured = _value(found, "copy_last", "ablations", "other_document")
    if measured is None:
        return []
    told = "copy_last: a last chunk of another document is as far as other documents are"
    return [Fact(told, float(expected_W.mean()), measured, 4 * 0.3 / np.sqrt(len(truth.t)), "the same document taken")]


def _documents_are_resampled(truth: _Truth, found: Mapping[str, Figures]) -> Fact:
    """The spread of copy_last's cos over the resamples, against the linearised error of a ratio of document sums.

    Var(Σ s_g / Σ n_g) ≈ Σ (s_g − n_g·mean)² / (Σ n_g)², the usual formula for clusters (Cochran 1977, §6.3 and §9A).
    """
    told = "copy_last: spread of cos over the resamples, against the formula for documents"
    documents, group_W = np.unique(truth.document_N[truth.t], return_inverse=True)
    if len(documents) < FEWEST_DOCUMENTS:
        return Fact(told, np.nan, None, 0, "")
    value_W = truth.cosine_to_target(0)
    off_G = np.bincount(group_W, weights=value_W - value_W.mean())
    expected = np.sqrt((off_G**2).sum()) / len(value_W) * small_sample_factor(len(documents))
    draws = found["copy_last"].draws[("cos",)][1:]
    return Fact(told, 1.0, float(draws.std() / expected), 0.35, "a bootstrap over windows")
