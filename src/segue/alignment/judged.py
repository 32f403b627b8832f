"""Which windows a predictor is judged on, and their list for who predicts elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from segue.alignment.fivecat import SAMPLES, part_of
from segue.alignment.measure import Part
from segue.errors import InputError
from segue.vectors import Store, require_same_space
from segue.windows import Split, Windows, windows_of


@dataclass(frozen=True)
class Judged:
    """The windows a predictor is judged on.

    every   part (`VAL`, `OOD`) → all its windows: the controls that know the answers need them
    parts   part → those judged, all or a sample of them, in row order
    """

    every: Mapping[str, Windows]
    parts: Mapping[str, Part]


def judged_windows(
    store: Store,
    split: Split,
    *,
    ood: Store | None = None,
    context: int = 5,
    horizon: int = 1,
    samples: int = SAMPLES,
    seed: int = 0,
) -> Judged:
    """The windows of VAL and, where there is one, OOD: the order of a file of predictions is this one's.

    Raises InputError for an `ood` store of another space, and a part without windows.
    """
    if samples < 1:
        raise InputError(f"--samples: found {samples}, a number from 1 is wanted.")
    if ood is not None:
        require_same_space(store.space, ood.space, f"the store {store.path}", str(ood.path))
    documents = {"VAL": (store, split.documents(store, "VAL"))}
    if ood is not None:
        documents["OOD"] = (ood, np.arange(ood.n_documents))
    elif split.OOD:
        documents["OOD"] = (store, split.documents(store, "OOD"))
    every = {part: windows_of(where, ids, context, horizon) for part, (where, ids) in documents.items()}
    parts = {part: part_of(part, every[part], ids, samples, seed) for part, (_, ids) in documents.items()}
    return Judged(every, parts)


def listed(parts: Mapping[str, Part]) -> pa.Table:
    """One row for each window judged, VAL's first: the order that a file of predictions must have.

    part, window     `VAL` or `OOD`; number of the window in the part, from 0
    document         the document's id
    position         of the last context chunk in its document, as the store counts them
    target_position  of the chunk to predict
    context_rows     rows of the store's vectors.npy that are the context, oldest first (of the `--ood` store for OOD)
    target_row       the row to predict
    """
    blocks = []
    for name, part in parts.items():
        its = part.windows
        ids = np.asarray(its.store.document_ids, dtype=object)
        blocks.append(
            pa.table(
                {
                    "part": [name] * len(its),
                    "window": np.arange(len(its)),
                    "document": pa.array(ids[its.document_W], pa.string()),
                    "position": its.store.position_N[its.last_W],
                    "target_position": its.store.position_N[its.target_rows()],
                    "context_rows": pa.array(list(its.context_rows()), pa.list_(pa.int64())),
                    "target_row": its.target_rows(),
                }
            )
        )
    return pa.concat_tables(blocks)
