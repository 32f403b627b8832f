"""Training against a plain DataLoader loop: `python benchmarks/training_speed.py`.

Plain  windows materialised as float32 tensors, `DataLoader(TensorDataset, shuffle=True)` with its own collate, forward,
       MSE, backward, `clip_grad_norm_`, `torch.optim.AdamW` as it comes, `loss.item()` each step; float32. Of two
       models with the same parameters and outputs: one of torch's own modules as SPEC writes it (`plain_models.py`),
       and ours, which shares with `segue train` what we made faster in it.
Ours   what `segue train p1` runs between two epochs: batches gathered from the store, the objective, each term's log,
       the update; `--precision fp32` and `auto`.
Data   a store of random unit vectors, float16.

All in turns, in one process, so that a drifting machine meets all. Prints windows per second, medians over the rounds;
ratios, median, least and most; the shares of the matrix-product peaks measured in the same run, by the FLOPs counted in
our model's forward and backward (an LSTM's own kernels are not counted); and the bound: the ratio to each plain loop if
the products ran at the whole bfloat16 peak and all else took no time.
"""

import argparse
import contextlib
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

from fivecat_speed import random_store
from plain_models import plain
from segue.models.precision import autocast
from segue.objectives import Objective
from segue.recipe import Recipe, resolve
from segue.training.data import Data, open_data
from segue.training.log import RunLog
from segue.training.state import new_state
from segue.windows import split_by_fractions
from segue.windows.batches import batches

FAMILIES = ("amn", "lstm", "gru", "transformer")
PLAIN, OWN, FP32, AUTO = "plain", "plain loop, our model", "ours fp32", "ours auto"
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
Clock = Callable[[], float]
PEAKS = {"fp32 peak": torch.float32, "bf16 peak": torch.bfloat16}


def peer_steps(recipe: Recipe, data: Data, *, own: bool) -> Iterator[int]:
    """The plain loop, of our model or of the plain one; yields the windows of each step."""
    device = data.rows.device
    context_WCD = data.rows(data.train.context_rows()).cpu()
    target_WD = data.rows(data.train.target_rows()).cpu()
    model: nn.Module = new_state(recipe, data.train.store.space, device).model
    model = (model if own else plain(model, context_WCD[:8].to(device))).train()
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


def our_steps(recipe: Recipe, data: Data) -> Iterator[int]:
    """The loop of `segue.training.train`, without its validation and checkpoints; yields the windows of each step."""
    device = data.rows.device
    state = new_state(recipe, data.train.store.space, device)
    objective = Objective(recipe.objective, data.rows, recipe.context_drop)
    with tempfile.TemporaryDirectory() as folder, RunLog(Path(folder), state) as log:
        while True:
            state.begin_epoch()
            for batch in batches(data.train, data.rows, recipe.batch, seed=recipe.seed, epoch=state.epoch):
                with autocast(recipe.precision, device):
                    step = objective(state.model, batch, state.epoch)
                log.step(step)
                state.update(step.total, 0.5)
                yield len(batch)


def speed(steps: Iterator[int], count: int, device: torch.device, clock: Clock) -> float:
    """Windows per second over so many steps."""
    start = clock()
    windows = sum(itertools.islice(steps, count))
    if device.type == "cuda":
        torch.cuda.synchronize()
    return windows / (clock() - start)


def peak(kind: torch.dtype, device: torch.device, clock: Clock) -> float:
    """FLOP/s of a square matrix product, the best of some."""
    size = 8192 if device.type == "cuda" else 2048
    a, b = torch.randn(size, size, device=device, dtype=kind), torch.randn(size, size, device=device, dtype=kind)
    best = float("inf")
    for _ in range(6):
        start = clock()
        a @ b
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, clock() - start)
    return 2 * size**3 / best


def flops(recipe: Recipe, data: Data) -> float:
    """Of a window: forward and backward."""
    model = new_state(recipe, data.train.store.space, data.rows.device).model.train()
    context_BCD = data.rows(data.train.context_rows()[: recipe.batch])
    with FlopCounterMode(display=False) as counter:
        model(context_BCD).square().mean().backward()
    return counter.get_total_flops() / recipe.batch


def race(family: str, data: Data, sets: tuple[str, ...], options: argparse.Namespace) -> dict[str, list[float]]:
    """Windows per second of each contestant in each round, and the peaks beside them."""
    device, clock = data.rows.device, CLOCKS[options.clock]
    recipes = {precision: resolve("p1", (*sets, f"precision={precision}")) for precision in ("fp32", "auto")}
    with contextlib.ExitStack() as stack:
        contestants = {
            PLAIN: peer_steps(recipes["fp32"], data, own=False),
            OWN: peer_steps(recipes["fp32"], data, own=True),
            FP32: our_steps(recipes["fp32"], data),
            AUTO: our_steps(recipes["auto"], data),
        }
        for steps in contestants.values():
            stack.callback(steps.close)
            speed(steps, 5, device, clock)
        found: dict[str, list[float]] = {name: [] for name in [*contestants, *PEAKS]}
        for _ in range(options.rounds):
            for name, steps in contestants.items():
                found[name].append(speed(steps, options.steps, device, clock))
            for name, kind in PEAKS.items():
                found[name].append(peak(kind, device, clock))
    return found


def row(family: str, found: dict[str, list[float]], flop: float) -> dict[str, object]:
    """A family's line of the table. `flop`: of a window."""

    def ratio(mine: str, theirs: str) -> str:
        each = [a / b for a, b in zip(found[mine], found[theirs], strict=True)]
        return f"{statistics.median(each):.2f} ({min(each):.2f} … {max(each):.2f})"

    speeds = {name: statistics.median(found[name]) for name in (PLAIN, OWN, FP32, AUTO)}
    fp32, bf16 = (max(found[name]) / flop for name in PEAKS)  # windows per second at the whole peak
    counted = family != "lstm"
    return {
        "family": family,
        **{name: f"{value:,.0f}" for name, value in speeds.items()},
        "auto to plain": ratio(AUTO, PLAIN),
        "auto to plain loop, our model": ratio(AUTO, OWN),
        "fp32 to plain": ratio(FP32, PLAIN),
        "plain, of the fp32 peak": f"{speeds[PLAIN] / fp32:.2f}" if counted else "–",
        "fp32, of its peak": f"{speeds[FP32] / fp32:.2f}" if counted else "–",
        "auto, of the bf16 peak": f"{speeds[AUTO] / bf16:.2f}" if counted else "–",
        "bound": f"{bf16 / speeds[PLAIN]:.2f}, {bf16 / speeds[OWN]:.2f}" if counted else "–",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="*", default=FAMILIES)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="processor: with one thread beside other work")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.clock == "processor" and (options.threads != 1 or options.device != "cpu"):
        parser.error("--clock processor goes with --threads 1 --device cpu: it adds up what every thread spends")
    if options.threads:
        torch.set_num_threads(options.threads)
    table: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        store = random_store(Path(folder) / "store", 200, 60, options.dim)
        split = split_by_fractions(store)
        for family in options.families:
            sets = (f"model={family}", f"batch={options.batch}")
            data = open_data(resolve("p1", sets), store, split, options.device)
            found = race(family, data, sets, options)
            table.append(row(family, found, flops(resolve("p1", sets), data)))
            print(json.dumps(table[-1], ensure_ascii=False), flush=True)
    print("| " + " | ".join(table[0]) + " |\n|" + "---|" * len(table[0]))
    for line in table:
        print("| " + " | ".join(map(str, line.values())) + " |")
    if options.json:
        options.json.write_text(json.dumps(table, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    np.random.seed(0)
    main()
