"""Split hygiene: is anything that is tested on also in what was trained on (SPEC §5).

Two documents are near-duplicates when at least half of the chunks of the shorter one have a counterpart of cosine ≥ .98
in the other. At .98 encoders hold texts that differ in punctuation or a word. A share, not one chunk: of 900 different
articles of Wikipedia 79 pairs have a chunk in common (headings, formulas), never more than 15 % of the shorter one.
And not the mean vector: two of them have means at cosine .92 and no chunk in common.

Not every pair is compared chunk by chunk (20,000 documents have 68 million pairs across parts). Candidates are the
pairs whose mean vectors lie at cosine ≥ .60, the most similar first, at most 20,000. Documents of which half is the
same and the other half of another subject have means at .55 to .75 (5 % of them below .60); a document that is cut
from a longer one, at .90 and more (MiniLM, paragraphs of Wikipedia).

Legend: G documents of a part, D width.
"""

from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from segue.geometry import normalise
from segue.progress import Progress, silent
from segue.statistics import Result
from segue.windows.rows import Rows
from segue.windows.split import PARTS, Split

if TYPE_CHECKING:
    from segue.vectors import Store

SAME_CHUNK, SAME_SHARE = 0.98, 0.5
CANDIDATE, MAX_CANDIDATES = 0.60, 20_000
BLOCK = 1024  # documents of one part against all of another; rows gathered at once are BLOCK × 16
LISTED = 20


@dataclass(frozen=True)
class Pair:
    """Two documents of different parts: the share of the shorter one's chunks that the other has too."""

    parts: tuple[str, str]
    documents: tuple[str, str]
    share: float


@dataclass(frozen=True)
class Hygiene:
    """What the parts of a split share.

    twice       ids of documents in more than one part
    pairs       near-duplicates, the largest share first
    documents   how many were compared
    left_out    candidates beyond the first 20,000, not compared chunk by chunk
    """

    twice: list[str]
    pairs: list[Pair]
    documents: int
    left_out: int = 0

    @property
    def found(self) -> Result:
        """Documents in two parts and near-duplicates together."""
        return Result(len(self.twice) + len(self.pairs), n=self.documents)

    def to_json(self) -> dict[str, Any]:
        return {
            "documents": self.documents,
            "in_two_parts": self.twice[:LISTED],
            "in_two_parts_count": len(self.twice),
            "near_duplicates": [vars(pair) for pair in self.pairs[:LISTED]],
            "near_duplicates_count": len(self.pairs),
            "candidates_left_out": self.left_out,
        }


@dataclass(frozen=True)
class _Part:
    """A part's documents with their unit mean vectors."""

    name: str
    rows: Rows
    store: "Store"
    documents_G: np.ndarray
    means_GD: Tensor = field(repr=False)

    def chunks(self, g: int) -> Tensor:
        first, length = self.store.first_row_G[self.documents_G[g]], self.store.length_G[self.documents_G[g]]
        return self.rows(np.arange(first, first + length))


def check_split(
    store: "Store", split: Split, ood: "Store | None" = None, device: str = "cpu", progress: Progress = silent
) -> Hygiene:
    """What train, VAL and OOD share. `ood`: a store all of whose documents stand for OOD instead.

    Raises InputError when the store lacks a document of the split.
    """
    named: dict[str, tuple[Store, np.ndarray]] = {
        part: (store, split.documents(store, part)) for part in PARTS if getattr(split, part)
    }
    if ood is not None:
        named["OOD"] = (ood, np.arange(ood.n_documents))
    ids = [{where.document_ids[g] for g in documents} for where, documents in named.values()]
    # Another store numbers its documents as it likes: an id shared with it says nothing.
    held = ids if ood is None else ids[:-1]
    twice = set().union(*(a & b for a, b in combinations(held, 2)))
    parts = [_part(part, *its, device, progress) for part, its in named.items()]
    pairs, left_out = near_duplicates(parts, progress)
    return Hygiene(sorted(twice), pairs, sum(len(part.documents_G) for part in parts), left_out)


def _part(name: str, store: "Store", documents_G: np.ndarray, device: str, progress: Progress) -> _Part:
    """Mean vectors of a part's documents, their rows read in blocks of whole documents."""
    rows = Rows(store, device)
    documents_G = np.sort(documents_G)
    means_GD = torch.zeros(len(documents_G), store.dim, device=rows.device)
    lengths = store.length_G[documents_G]
    block_G = np.cumsum(lengths) // (BLOCK * 16)
    for block in np.unique(block_G):
        progress(f"reading {name}", int(np.searchsorted(block_G, block)), len(documents_G), "documents")
        at = np.flatnonzero(block_G == block)
        first = store.first_row_G[documents_G[at]]
        rows_N = np.concatenate([np.arange(a, a + n) for a, n in zip(first, lengths[at], strict=True)])
        owner_N = torch.as_tensor(np.repeat(at, lengths[at]), device=rows.device)
        means_GD.index_add_(0, owner_N, rows(rows_N))
    progress(f"reading {name}", len(documents_G), len(documents_G), "documents")
    return _Part(name, rows, store, documents_G, normalise(means_GD))


def near_duplicates(parts: list[_Part], progress: Progress = silent) -> tuple[list[Pair], int]:
    """Near-duplicates across parts, the largest share first; and how many candidates were too many to compare."""
    candidates, above = [], 0
    for left, right in combinations(parts, 2):
        nearest, count = _near_means(left, right)
        candidates += [(score, a, b, left, right) for score, a, b in nearest]
        above += count
    candidates.sort(key=lambda one: -one[0])
    chosen = candidates[:MAX_CANDIDATES]
    pairs = []
    for number, (_, a, b, left, right) in enumerate(chosen):
        if number % 500 == 0:
            progress("comparing documents", number, len(chosen), "pairs")
        shared = same_share(left.chunks(a), right.chunks(b))
        if shared >= SAME_SHARE:
            ids = (left.store.document_ids[left.documents_G[a]], right.store.document_ids[right.documents_G[b]])
            pairs.append(Pair((left.name, right.name), ids, shared))
    progress("comparing documents", len(chosen), len(chosen), "pairs")
    return sorted(pairs, key=lambda pair: -pair.share), above - len(chosen)


def _near_means(left: _Part, right: _Part) -> tuple[list[tuple[float, int, int]], int]:
    """The nearest pairs whose means lie at cosine ≥ .60, at most 20,000: (cosine, left, right); and how many there are.

    In a narrow space every pair may: so only the nearest of each block are kept.
    """
    found_3Q, above = torch.empty(3, 0, dtype=torch.float64), 0
    for start in range(0, len(left.means_GD), BLOCK):
        cosine_AB = left.means_GD[start : start + BLOCK] @ right.means_GD.T.to(left.means_GD.device)
        above += int((cosine_AB >= CANDIDATE).sum())
        score_Q, at_Q = cosine_AB.flatten().cpu().topk(min(MAX_CANDIDATES, cosine_AB.numel()))
        a_Q, b_Q = at_Q // cosine_AB.shape[1] + start, at_Q % cosine_AB.shape[1]
        found_3Q = torch.cat([found_3Q, torch.stack([score_Q.double(), a_Q.double(), b_Q.double()])], dim=1)
        best_Q = found_3Q[0].topk(min(MAX_CANDIDATES, found_3Q.shape[1])).indices
        found_3Q = found_3Q[:, best_Q]
    kept = found_3Q[:, found_3Q[0] >= CANDIDATE].T.tolist()
    return [(score, int(a), int(b)) for score, a, b in kept], above


def same_share(a_ND: Tensor, b_MD: Tensor) -> float:
    """Share of the shorter document's chunks with a counterpart of cosine ≥ .98 in the other: (N, D), (M, D) → 0 … 1"""
    shorter_ND, longer_MD = (a_ND, b_MD) if len(a_ND) <= len(b_MD) else (b_MD, a_ND)
    blocks = shorter_ND.split(BLOCK)
    near = [(block @ longer_MD.T.to(block.device)).amax(1) >= SAME_CHUNK for block in blocks]
    return float(torch.cat(near).float().mean())
