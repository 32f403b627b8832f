"""Finding the next chunk in a whole store, as `predict` and `chat` do: `python benchmarks/onward_lookup.py STORE`.

All windows of documents 700–899; candidates are all chunks of those 200 documents but the ones the window has read. By
each face of the model that ships, by their sum, which `predict` looks up by, and by the controls; MRR and R@10 with
intervals over documents, paired with the cosine to the last chunk.

Legend: W windows, D width, N chunks of the store.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from onward_controls import DocumentWeights, document_weights, mean_weights
from segue.alignment.forwards import predicted
from segue.geometry import normalise
from segue.models import load_model
from segue.models.controls import context_mean, copy_last
from segue.models.faces import MeanFace
from segue.statistics import DocumentBootstrap, result_of
from segue.vectors import Store
from segue.windows import Windows, windows_of
from segue.windows.rows import Rows

JUDGED = np.arange(700, 900)
FITTED_ON = np.r_[0:700, 900:2100]
BLOCK = 512


def ranks(prediction_WD: Tensor, windows: Windows, rows: Rows) -> np.ndarray:
    """Rank of the next chunk among all chunks of the judged documents that the window has not read: (W,)"""
    store = windows.store
    first, past = int(store.first_row_G[JUDGED[0]]), int(store.first_row_G[JUDGED[-1]] + store.length_G[JUDGED[-1]])
    every_ND, row_N = rows(np.arange(first, past)), np.arange(first, past)
    found = []
    for start in range(0, len(windows), BLOCK):
        some = windows.take(np.arange(start, min(start + BLOCK, len(windows))))
        similarity_WN = prediction_WD[start : start + len(some)] @ every_ND.T
        begin_W = some.last_W - some.earlier_W
        read_WN = (row_N >= begin_W[:, None]) & (row_N <= some.last_W[:, None])
        similarity_WN[torch.as_tensor(read_WN)] = -torch.inf
        true_W1 = similarity_WN.gather(1, torch.as_tensor(some.target_rows() - first)[:, None])
        above_W, level_W = (similarity_WN > true_W1 + 1e-6).sum(1), (similarity_WN >= true_W1 - 1e-6).sum(1)
        found.append(((above_W + level_W + 1) / 2).numpy())  # ties averaged (SPEC §2)
    return np.concatenate(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path, help="the 2,400 Wikipedia documents")
    parser.add_argument("--model", default="onward", help="a model of two faces")
    options = parser.parse_args()
    store, model = Store(options.store), load_model(options.model)
    rows, windows, train = Rows(store), windows_of(store, JUDGED), windows_of(store, FITTED_ON)
    ours = {"ranking face": model, "mean face": MeanFace(model)}
    theirs = {"copy_last": copy_last(store.dim), "context_mean": context_mean(store.dim)}
    for fit in (document_weights, mean_weights):
        theirs[fit.__name__] = DocumentWeights(fit(train, rows), store.dim, fit.__name__)
    answers = {name: predicted(one, windows, rows) for name, one in (ours | theirs).items()}
    answers["sum of both faces"] = normalise(answers["ranking face"] + answers["mean face"])
    rank_WP = np.stack([ranks(its, windows, rows) for its in answers.values()], 1)
    bootstrap, last = DocumentBootstrap(windows.document_W), list(answers).index("copy_last")
    reciprocal = bootstrap.means(1 / rank_WP)
    among_ten = bootstrap.means((rank_WP <= 10).astype(float))
    print(f"{len(windows):,} windows, {int(store.length_G[JUDGED].sum()):,} chunks")
    print("| looked up by | MRR | − copy_last | R@10 |\n|---|---|---|---|")
    for i, name in enumerate(answers):
        cells = [reciprocal[:, i], reciprocal[:, i] - reciprocal[:, last], among_ten[:, i]]
        results = [result_of(cell) for cell in cells]
        print(f"| {name} | " + " | ".join(f"{r.value:.3f} [{r.low:.3f}, {r.high:.3f}]" for r in results) + " |")


if __name__ == "__main__":
    main()
