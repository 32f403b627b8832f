"""Memory of training on a large store: `python benchmarks/training_memory.py`.

A store of random unit vectors, 584,000 × 768 float16 (0.9 GB) as the experiments' was, one epoch of a recipe with its
validation and checkpoint. Prints the process's peak resident memory beyond what it holds after imports, with a model
and its optimiser made, as a multiple of the store. Pages of the memory-mapped store count as the process's own here,
although the system takes them back when it needs them. Windows materialised as float32 would be 2 (C + 1) stores.
"""

import argparse
import json
import resource
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from segue.recipe import resolve
from segue.training import open_data, open_run, train
from segue.training.state import new_state
from segue.vectors import Space, Store
from segue.vectors.store import write_store
from segue.windows import split_by_fractions


def large_store(path: Path, documents: int, length: int, dim: int) -> Store:
    """Documents of random unit vectors, made a block at a time."""
    n = documents * length
    raw = path.with_suffix(".raw.npy")
    vectors_ND = np.lib.format.open_memmap(raw, mode="w+", dtype=np.float16, shape=(n, dim))
    rng = np.random.default_rng(0)
    for start in range(0, n, 1 << 15):
        block = rng.standard_normal((min(1 << 15, n - start), dim), dtype=np.float32)
        vectors_ND[start : start + len(block)] = block / np.linalg.norm(block, axis=1, keepdims=True)
    chunks = {
        "document": np.repeat(np.arange(documents), length),
        "position": np.tile(np.arange(length), documents),
        "text": pa.nulls(n, pa.string()),
        "section": pa.nulls(n, pa.string()),
    }
    about = {
        "id": [str(i) for i in range(documents)],
        "title": pa.nulls(documents, pa.string()),
        "first_row": np.arange(documents) * length,
        "length": np.full(documents, length),
    }
    store = write_store(
        path,
        vectors_ND=vectors_ND,
        chunks=pa.table(chunks),
        documents=pa.table(about),
        space=Space("random", dim),
        made_by="benchmark",
        source={"name": "random"},
    )
    raw.unlink()
    return store


def resident() -> float:
    """MiB held now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, help="keep the store here, and use it when it is there")
    parser.add_argument("--documents", type=int, default=9_733)
    parser.add_argument("--length", type=int, default=60)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--set", action="append", default=["model=amn", "batch=256"], help="as segue train's")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        path = options.store or Path(folder) / "store"
        if not (path / "manifest.json").exists():
            large_store(path, options.documents, options.length, options.dim)
        recipe = resolve("p1", [*options.set, "epochs=1"])
        store = Store(path)
        state = new_state(recipe, store.space)
        for parameter in state.model.parameters():  # what AdamW will hold
            state.optimiser.state[parameter] = {"m": torch.ones_like(parameter), "v": torch.ones_like(parameter)}
        before = resident()
        size = store.vectors_ND.nbytes / 2**20
        split = split_by_fractions(store)
        run = open_run(Path(folder) / "run", recipe, store, split)
        train(recipe, open_data(recipe, store, split), run)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        found = {"store, MiB": size, "before, MiB": before, "peak, MiB": peak, "beyond / store": (peak - before) / size}
        print(json.dumps({key: round(value, 3) for key, value in found.items()}, indent=1))


if __name__ == "__main__":
    main()
