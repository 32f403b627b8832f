"""Every recipe of the experiments on the first 900 Wikipedia documents: `make study-p`.

Runs the command line as a user would and writes docs/p-series.md with its pictures. Resumable: what is finished is not
done again, what was cut short goes on from its last epoch. Documents 0–699 train, 700–799 VAL, 800–899 OOD (SPEC §10).

The networks are small and their batches too (`SMALL`), one setting for all recipes: on 26,358 windows the recipes' own
batch of 64 makes 412 updates an epoch, where the experiments had some 9,000. `FULL` is the recipes' own network, for
the three recipes that show whether the size changes the reading.
"""

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segue.vectors import Store
from segue.windows import windows_of

SETTING = ("batch=16", "lr=0.001", "precision=auto")
SMALL = (*SETTING, "model.width=256", "model.layers=1", "model.heads=4", "model.feed_forward=512")
FULL = ("batch=16", "precision=auto")
FAMILIES = {
    "lstm": ("model=lstm", "model.width=256", "model.layers=1"),
    "gru": ("model=gru", "model.width=256", "model.layers=1"),
    "amn": ("model=amn",),
}
RECIPES = (
    *("p1", "p3", "p6b-v2.2", "p1-long", "v3", "p2", "p4", "p5", "p6", "p6b-v1", "p6b-v2.1", "p6b-v2.3"),
    *("p6b-v2.3-free", "p7"),
)
SEEDED = ("p1", "p3", "p6b-v2.2")
# What a claim is compared with: name → (recipe, what differs).
AGAINST = {
    "p4-no-rollout": ("p4", "objective.rollout=null", "tripwires=[]"),
    "p5-no-curriculum": ("p5", "curation=null"),
    "p3-2-percent": (
        "p3",
        "objective.directional.weight={rho: {1: 0, 6: 0.02}, least: 1e-6, most: 1}",
        "objective.future=null",
    ),
    "p3-5-percent": (
        "p3",
        "objective.directional.weight={rho: {1: 0, 6: 0.05}, least: 1e-6, most: 1}",
        "objective.future=null",
    ),
}


@dataclass(frozen=True)
class Job:
    """One run of the study."""

    name: str
    recipe: str
    sets: tuple[str, ...]
    seed: int = 0
    data: str = "documents"


def jobs() -> list[Job]:
    """All runs, those that the page needs most first."""
    return [
        *(Job(recipe, recipe, SMALL) for recipe in RECIPES),
        *(Job(name, recipe, (*SMALL, *sets)) for name, (recipe, *sets) in AGAINST.items()),
        *(Job(f"p4-{name}", "p4", (*SETTING, *sets)) for name, sets in FAMILIES.items()),
        *(Job(name, name, SMALL) for name in ("p5-positional-05", "p5-positional-10")),
        *(Job(f"{recipe}-seed{seed}", recipe, SMALL, seed) for seed in (1, 2) for recipe in SEEDED),
        Job("p1-random-windows", "p1", SMALL, data="windows"),
        Job("p1-fp32", "p1", (*SMALL, "precision=fp32")),
        *(Job(f"{recipe}-full", recipe, FULL) for recipe in SEEDED),
    ]


def segue(log: Path, *arguments: object, good: tuple[int, ...] = (0,)) -> int:
    """Run a command, what it says into a file; stop where it ends otherwise than wanted."""
    command = [str(Path(sys.executable).with_name("segue")), *map(str, arguments)]
    with log.open("a") as file:
        print("$ segue", *arguments, file=file, flush=True)
        status = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT).returncode
    if status not in good:
        raise SystemExit(f"segue {' '.join(map(str, arguments))}: exit {status}, see {log}")
    return status


def run(job: Job, folder: Path) -> None:
    """Train and test one run, from where it stands."""
    out, log = folder / job.name, folder / f"{job.name}.log"
    sets = [piece for value in job.sets for piece in ("--set", value)]
    if not (out / "manifest.json").exists():
        print(f"{job.name}: training", flush=True)
        resume = ["--resume"] if out.exists() else []
        data = ("--data", folder / "data" / job.data, "--split", folder / "data" / f"{job.data}.json")
        where = ("--out", out, "--seed", job.seed, "--threads", 1, "--samples", 0)
        segue(log, "train", job.recipe, *data, *where, *sets, "--force", *resume)
    if not (out / "5cat.json").exists():
        print(f"{job.name}: testing", flush=True)
        segue(log, "5cat", out, "--threads", 1, good=(0, 1))
        segue(log, "frontier", out, "--threads", 1)
    if not (out / "report.html").exists():
        segue(log, "report", out)
        segue(log, "notes", out)
    print(f"{job.name}: done", flush=True)


def make_data(vectors: Path, folder: Path) -> None:
    """The store and its split; and one whose documents are single windows, split at random: neighbours share chunks."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "data.log"
    whole, windows = folder / "documents", folder / "windows"
    if not (whole / "manifest.json").exists():
        segue(log, "import", vectors, "--out", whole, "--encoder", "minilm")
    if not (folder / "documents.json").exists():
        parts = ("--train", "0-699", "--val", "700-799", "--ood", "800-899")
        segue(log, "split", whole, *parts, "--out", folder / "documents.json")
    if not (windows / "manifest.json").exists():
        store = Store(whole)
        every = windows_of(store, np.arange(800))
        rows = np.concatenate([every.context_rows(), every.target_rows()[:, None]], 1)
        np.savez(
            folder / "windows.npz",
            vectors=store.vectors_ND[rows.ravel()],
            article_ids=np.repeat(np.arange(len(every)), rows.shape[1]),
            chunk_ids=np.tile(np.arange(rows.shape[1]), len(every)),
        )
        segue(log, "import", folder / "windows.npz", "--out", windows, "--encoder", "minilm")
    if not (folder / "windows.json").exists():
        segue(log, "split", windows, "--fractions", ".8,.1,.1", "--seed", 0, "--out", folder / "windows.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=Path, default=Path("../shared/corpora/vectors/wikipedia-minilm.npz"))
    parser.add_argument("--out", type=Path, default=Path("runs/study-p"))
    parser.add_argument("--only", nargs="*", help="names of runs; default: all")
    parser.add_argument(
        "--workers", type=int, default=max(1, (os.cpu_count() or 2)), help="runs at once, a thread each"
    )
    parser.add_argument("--no-page", action="store_true", help="only train and test")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    make_data(options.vectors, options.out / "data")
    wanted = [job for job in jobs() if options.only is None or job.name in options.only]
    with ThreadPoolExecutor(options.workers) as pool:
        for done in [pool.submit(run, job, options.out) for job in wanted]:
            done.result()
    if not options.no_page:
        page = [sys.executable, str(Path(__file__).with_name("study_p_page.py")), "--out", str(options.out)]
        sys.exit(subprocess.run(page).returncode)


if __name__ == "__main__":
    main()
