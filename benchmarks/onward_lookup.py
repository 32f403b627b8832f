"""Finding the next chunk in a whole store, as `predict` and `chat` do: `python benchmarks/onward_lookup.py`.

After the study (its store, its fitted controls, its page). All windows of documents 700–899; candidates are all chunks
of those 200 documents but the ones the window has read. By each face of a model, by their sum, which `predict` looks up
by, and by the controls, the sum of both six numbers among them; MRR and R@10 with intervals over documents.

Legend: W windows, D width, N chunks of the store.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from onward_controls import DocumentWeights, OnePass
from onward_page import PAGE, told, with_tables
from segue.alignment.forwards import predicted
from segue.artifacts import read_json
from segue.geometry import normalise, rank_of_true
from segue.models import load_model
from segue.models.controls import context_mean, copy_last
from segue.models.faces import MeanFace
from segue.statistics import DocumentBootstrap, result_of
from segue.vectors import Store
from segue.windows import Windows, windows_of
from segue.windows.rows import Rows

JUDGED = np.arange(700, 900)
BLOCK = 512
AGAINST = ("copy_last", "sum of six numbers")


def ranks(prediction_WD: Tensor, windows: Windows, rows: Rows) -> np.ndarray:
    """Rank of the next chunk among all chunks of the windows' documents that the window has not read: (W,)

    The documents must be neighbours in the store.
    """
    store, documents = windows.store, windows.documents
    first, past = int(store.first_row_G[documents[0]]), int((store.first_row_G + store.length_G)[documents[-1]])
    every_ND, row_N = rows(np.arange(first, past)), np.arange(first, past)
    found = []
    for start in range(0, len(windows), BLOCK):
        some = windows.take(np.arange(start, min(start + BLOCK, len(windows))))
        similarity_WN = prediction_WD[start : start + len(some)] @ every_ND.T
        begin_W = some.last_W - some.earlier_W
        read_WN = (row_N >= begin_W[:, None]) & (row_N <= some.last_W[:, None])
        true_W1 = similarity_WN.gather(1, torch.as_tensor(some.target_rows() - first)[:, None])
        found.append(rank_of_true(similarity_WN, true_W1, torch.as_tensor(~read_WN)).numpy())
    return np.concatenate(found)


def table(answers: dict[str, Tensor], windows: Windows, rows: Rows) -> list[str]:
    """A line for each way to look up."""
    rank_WP = np.stack([ranks(its, windows, rows) for its in answers.values()], 1)
    bootstrap, names = DocumentBootstrap(windows.document_W), list(answers)
    reciprocal, among_ten = bootstrap.means(1 / rank_WP), bootstrap.means((rank_WP <= 10).astype(float))
    lines = ["| looked up by | MRR | " + " | ".join(f"− {name}" for name in AGAINST) + " | R@10 |"]
    lines.append("|---" * (3 + len(AGAINST)) + "|")
    for i, name in enumerate(names):
        lifts = [told(result_of(reciprocal[:, i] - reciprocal[:, names.index(other)]), "+") for other in AGAINST]
        cells = [told(result_of(reciprocal[:, i])), *lifts, told(result_of(among_ten[:, i]))]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/onward"), help="the study's folder")
    parser.add_argument("--model", default="onward", help="a model of two faces")
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    store, model = Store(options.out / "data" / "documents"), load_model(options.model)
    rows, windows = Rows(store), windows_of(store, JUDGED)
    fitted = read_json(options.out / "data" / "controls-1900.json")
    ways = {"ranking face": OnePass(model), "mean face": MeanFace(model)}
    ways |= {"copy_last": copy_last(store.dim), "context_mean": context_mean(store.dim)}
    six = ("document_weights", "mean_weights")
    ways |= {name: OnePass(DocumentWeights(np.array(fitted[name]), store.dim, name)) for name in six}
    answers = {name: predicted(one, windows, rows) for name, one in ways.items()}
    answers["sum of six numbers"] = normalise(sum(answers[name] for name in six))
    answers["sum of both faces"] = normalise(answers["ranking face"] + answers["mean face"])
    lines = table(answers, windows, rows)
    print("\n".join(lines))
    options.page.write_text(with_tables(options.page.read_text("utf-8"), {"lookup": lines}), encoding="utf-8")


if __name__ == "__main__":
    main()
