"""The full 5CAT against a loop that calls the model one window at a time: `python benchmarks/fivecat_speed.py`.

Peer       what the original harness did: for each window 18 forwards of a batch of one (sweep, retrieval, shuffled,
           reversed, five drops, repeated, other document, rollout of five, coherence bin, generalisation), cosines and
           ranks by NumPy, in float32. It is timed on `--peer-windows` windows and scaled to all, which its loop allows.
Ours       `segue.alignment.evaluate.evaluate`: the model and all ten controls, four pools, intervals, certification.
           cold: nothing is kept, the controls are fitted and measured. warm: both are kept from the run before on the
           same windows, as for the second model that one tests on a store, and only the model is measured.
Data       random unit vectors. On them no strength of the ridge is the right one, so that it may try all eight; on text
           some four, of two seconds each. Nothing else here depends on what they say.

All in one run, in turns, so that a drifting machine meets all. Prints seconds, the ratio's median and spread, and the
share of our time outside the forwards of the judged model. Peak memory is the process's own (ru_maxrss).
"""

import argparse
import json
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch

from segue.alignment import fivecat
from segue.alignment.evaluate import evaluate
from segue.models import build_model
from segue.models.kept import Cache
from segue.models.network import LatentModel
from segue.models.precision import chosen, compute_in
from segue.vectors import Space, Store, write_store
from segue.windows import Split, split_by_ranges, windows_of
from segue.windows.rows import Rows

FORWARDS = 18


def random_store(path: Path, documents: int, length: int, dim: int) -> Store:
    """Documents of random unit vectors, float16."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((documents * length, dim), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return write_store(
        path,
        vectors_ND=vectors.astype(np.float16),
        chunks=pa.table(
            {
                "document": np.repeat(np.arange(documents), length),
                "position": np.tile(np.arange(length), documents),
                "text": pa.nulls(documents * length, pa.string()),
                "section": pa.nulls(documents * length, pa.string()),
            }
        ),
        documents=pa.table(
            {
                "id": [str(i) for i in range(documents)],
                "title": pa.nulls(documents, pa.string()),
                "first_row": np.arange(documents) * length,
                "length": np.full(documents, length),
            }
        ),
        space=Space("random", dim),
        made_by="benchmark",
        source={"name": "random"},
    )


def peer_seconds(model: LatentModel, store: Store, split: Split, windows: int, device: str) -> float:
    """One window at a time: seconds per window."""
    rows = Rows(store, device)
    every = windows_of(store, split.documents(store, "VAL")).sample(windows, seed=1)
    start = time.perf_counter()
    for w in range(len(every)):
        one = every.take(np.array([w]))
        context = rows(one.context_rows())
        first = int(store.first_row_G[one.document_W[0]])
        document = rows(np.arange(first, first + int(store.length_G[one.document_W[0]]))).cpu().numpy()
        for _ in range(FORWARDS):
            prediction = model.predict(context)[0].float().cpu().numpy()
            similarity = document @ prediction
            int((similarity > similarity[0]).sum()) + 1
    return (time.perf_counter() - start) / len(every)


class Took(NamedTuple):
    """Seconds of a 5CAT, and of its forwards of the judged model."""

    total: float
    inside: float

    @property
    def outside(self) -> float:
        return 1 - self.inside / self.total


class Stopwatch:
    """Seconds spent inside a model's forwards."""

    def __init__(self, model: LatentModel, device: str):
        self.seconds, self._honest, self._device = 0.0, model.predict_with_raw, device
        model.predict_with_raw = self  # type: ignore[method-assign, assignment]

    def __call__(self, context: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        start = time.perf_counter()
        answer = self._honest(context)
        if self._device == "cuda":
            torch.cuda.synchronize()
        self.seconds += time.perf_counter() - start
        return answer


def our_seconds(model: LatentModel, store: Store, split: Split, windows: int, device: str, kept: Cache) -> Took:
    """A full 5CAT: seconds in all, and in forwards of the model."""
    watch = Stopwatch(model, device)
    start = time.perf_counter()
    evaluate(model, store, split, samples=windows, device=device, kept=kept)
    total = time.perf_counter() - start
    del model.predict_with_raw
    return Took(total, watch.seconds)


def compared(options: argparse.Namespace, store: Store, split: Split, precision: str, folder: Path) -> dict[str, Any]:
    """Peer, cold and warm in turns, `--rounds` times."""
    torch.manual_seed(0)
    model = build_model("transformer", store.space).to(options.device).eval()
    peers: list[float] = []
    took: dict[str, list[Took]] = {"cold": [], "warm": []}
    for number in range(options.rounds):
        compute_in(model, "fp32")  # the original had no other
        peer = peer_seconds(model, store, split, options.peer_windows, options.device) * 2 * options.windows
        peers.append(peer)
        compute_in(model, precision)
        kept = Cache(folder / f"{precision}-{number}")
        for state, its in took.items():
            ours = our_seconds(model, store, split, options.windows, options.device, kept)
            its.append(ours)
            print(
                f"{precision} round {number + 1}, {state}: peer {peer:.0f} s, ours {ours.total:.0f} s, "
                f"ratio {peer / ours.total:.1f}, outside the model's forwards {ours.outside:.1%}",
                flush=True,
            )
    found: dict[str, Any] = {
        "computed": chosen(precision, torch.device(options.device)),
        "parameters": model.parameter_count,
        "peer_seconds": peers,
    }
    for state, its in took.items():
        ratios = [peer / ours.total for peer, ours in zip(peers, its, strict=True)]
        found[state] = {
            "our_seconds": [ours.total for ours in its],
            "ratio": {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)},
            "outside_forwards": statistics.median(ours.outside for ours in its),
        }
    return found


def asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=5000, help="windows of VAL, and as many of OOD")
    parser.add_argument("--peer-windows", type=int, default=40)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", default="fp32,bf16")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> None:
    options = asked()
    if options.threads:
        torch.set_num_threads(options.threads)
    length = 30
    documents = -(-options.windows // (length - 5))
    found: dict[str, Any] = {"windows": 2 * options.windows, "threads": torch.get_num_threads()}
    with tempfile.TemporaryDirectory() as folder:
        store = random_store(Path(folder) / "store", 4 * documents, length, options.dim)
        split = split_by_ranges(
            store,
            train=f"0-{2 * documents - 1}",
            val=f"{2 * documents}-{3 * documents - 1}",
            ood=f"{3 * documents}-{4 * documents - 1}",
        )
        for precision in options.precision.split(","):
            found[precision] = compared(options, store, split, precision, Path(folder))
    draws = fivecat.DocumentBootstrap(np.repeat(np.arange(200), 25))
    start = time.perf_counter()
    draws.means(np.random.default_rng(0).standard_normal((5000, 60)))
    found["bootstrap of 1,000 resamples, 5,000 windows, 60 metrics, seconds"] = time.perf_counter() - start
    found["peak memory, MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found, indent=1))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
