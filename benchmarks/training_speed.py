"""Training against a plain DataLoader loop: `python benchmarks/training_speed.py`.

Peer   windows materialised as float32 tensors, `DataLoader(TensorDataset, shuffle=True)`, forward, MSE, backward, clip,
       `torch.optim.AdamW` as it comes, `loss.item()` each step; float32. The same network, batch and thread count.
Ours   what `segue train p1` runs between two epochs: batches gathered from the store, the objective, each term's log,
       the update; float32 and `--precision auto`.
Data   a store of random unit vectors, float16.

In turns, in one process, so that a drifting machine meets both. Prints windows per second, the ratio's median, least
and most over the rounds, and our share of the matrix-product peak measured in the same run, by the FLOPs counted in
forward and backward (an LSTM's own kernels are not counted).
"""

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

from fivecat_speed import random_store
from segue.models.precision import autocast, chosen
from segue.objectives import Objective
from segue.recipe import Recipe, resolve
from segue.training.data import Data, open_data
from segue.training.log import RunLog
from segue.training.state import new_state
from segue.windows import split_by_fractions
from segue.windows.batches import batches

FAMILIES = ("amn", "lstm", "gru", "transformer")


def peer_steps(recipe: Recipe, data: Data) -> Iterator[int]:
    """The plain loop; yields the windows of each step."""
    device = data.rows.device
    state = new_state(recipe, data.train.store.space, device)
    model = state.model.train()
    context_WCD = data.rows(data.train.context_rows()).cpu()
    target_WD = data.rows(data.train.target_rows()).cpu()
    loader = DataLoader(TensorDataset(context_WCD, target_WD), batch_size=recipe.batch, shuffle=True)
    optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    while True:
        for context_BCD, target_BD in loader:
            optimiser.zero_grad()
            loss = nn.functional.mse_loss(model(context_BCD.to(device)), target_BD.to(device))
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
            optimiser.step()
            loss.item()
            yield len(target_BD)


def our_steps(recipe: Recipe, data: Data, folder: Path) -> Iterator[int]:
    """The loop of `segue.training.train`, without its validation and checkpoints; yields the windows of each step."""
    device = data.rows.device
    state = new_state(recipe, data.train.store.space, device)
    objective = Objective(recipe.objective, data.rows, recipe.context_drop)
    with RunLog(folder, state) as log:
        while True:
            state.begin_epoch()
            for batch in batches(data.train, data.rows, recipe.batch, seed=recipe.seed, epoch=state.epoch):
                with autocast(recipe.precision, device):
                    step = objective(state.model, batch, state.epoch)
                log.step(step)
                state.update(step.total)
                yield len(batch)


def speed(steps: Iterator[int], count: int, device: torch.device) -> float:
    """Windows per second over so many steps."""
    start = time.perf_counter()
    windows = sum(itertools.islice(steps, count))
    if device.type == "cuda":
        torch.cuda.synchronize()
    return windows / (time.perf_counter() - start)


def peak(precision: str, device: torch.device) -> float:
    """FLOP/s of a square matrix product, the best of some."""
    kind = torch.bfloat16 if chosen(precision, device) == "bf16" else torch.float32
    size = 8192 if device.type == "cuda" else 2048
    a, b = torch.randn(size, size, device=device, dtype=kind), torch.randn(size, size, device=device, dtype=kind)
    best = float("inf")
    for _ in range(6):
        start = time.perf_counter()
        a @ b
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def flops(recipe: Recipe, data: Data) -> float:
    """Of a window: forward and backward."""
    model = new_state(recipe, data.train.store.space, data.rows.device).model.train()
    context_BCD = data.rows(data.train.context_rows()[: recipe.batch])
    with FlopCounterMode(display=False) as counter:
        model(context_BCD).square().mean().backward()
    return counter.get_total_flops() / recipe.batch


def compare(family: str, precision: str, data: Data, recipe: Recipe, options: argparse.Namespace) -> dict[str, object]:
    """One family at one precision against the plain loop."""
    device = data.rows.device
    with tempfile.TemporaryDirectory() as folder:
        peer, ours = peer_steps(recipe, data), our_steps(recipe, data, Path(folder))
        speed(peer, 5, device), speed(ours, 5, device)
        pairs = [
            (speed(peer, options.steps, device), speed(ours, options.steps, device)) for _ in range(options.rounds)
        ]
        ours.close()
    ratios = [mine / theirs for theirs, mine in pairs]
    mine = statistics.median(one for _, one in pairs)
    return {
        "family": family,
        "precision": f"{precision} ({chosen(precision, device)})",
        "peer, windows/s": round(statistics.median(one for one, _ in pairs)),
        "ours, windows/s": round(mine),
        "ratio": round(statistics.median(ratios), 2),
        "least": round(min(ratios), 2),
        "most": round(max(ratios), 2),
        "share of peak": round(mine * flops(recipe, data) / peak(precision, device), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="*", default=FAMILIES)
    parser.add_argument("--precisions", nargs="*", default=("fp32", "auto"))
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    table = []
    with tempfile.TemporaryDirectory() as folder:
        store = random_store(Path(folder) / "store", 200, 60, options.dim)
        split = split_by_fractions(store)
        for family, precision in itertools.product(options.families, options.precisions):
            sets = (f"model={family}", f"batch={options.batch}", f"precision={precision}")
            recipe = resolve("p1", sets)
            data = open_data(recipe, store, split, options.device)
            table.append(compare(family, precision, data, recipe, options))
            print(json.dumps(table[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    np.random.seed(0)
    main()
