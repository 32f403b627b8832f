"""The study of `onward`: which change names the next chunk better, one at a time; docs/onward.md says what was found.

Runs the command line as a user would, one folder a run. Resumable: what is finished is not done again, what was cut
short goes on from its last epoch. Wikipedia documents (SPEC §10): train the first so many of 0–699 and 900–2,099, VAL
700–799, by which everything is chosen, test 800–899. Documents 2,100–2,399 are for `--final NAME` alone, once.

    python benchmarks/onward_study.py --out runs/onward                 all runs, then the page
    python benchmarks/onward_study.py --out runs/onward --only curve    those whose name begins so
"""

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onward_controls import DocumentWeights, OnePass, PoolCentred, Together, by_hand, document_weights, mean_weights
from segue.alignment.measure import Part, measure_judged
from segue.artifacts import read_json, write_atomic, write_json
from segue.models import Predictor, load_model
from segue.models.controls import ReadAvoider, SlotWeights, context_mean, copy_last
from segue.models.fitting import rank_weights
from segue.vectors import Store
from segue.windows import load_split, windows_of
from segue.windows.rows import Rows

TRAIN = {175: "0-174", 350: "0-349", 700: "0-699", 1900: "0-699,900-2099"}
PARTS = {"VAL": "700-799", "test": "800-899"}
FINAL = "2100-2399"
POOL_SHARES = (0.25, 0.5, 0.75, 1.0)
FITTED = {"rank_weights": rank_weights, "document_weights": document_weights, "mean_weights": mean_weights}
CENTRE = 0.5  # what `segue rank` takes off
CENTRED_TOO = ("base", "faces-skip", "transfer")  # judged as `segue rank` orders, too
CORPORA = ("techdocs", "books", "stories")  # judged as they are, nothing is fitted on them


@dataclass(frozen=True)
class Experiment:
    """A change of the recipe: what differs, how many train documents, which seeds."""

    name: str
    sets: tuple[str, ...] = ()
    documents: int = 1900
    seeds: tuple[int, ...] = (0,)
    recipe: str = "onward"


THREE = (0, 1, 2)
# The probe as issue 6 tells it: no mean, no places, weights by hand.
PROBE = ("model.skip=[1, 0.2, 0, -0.1, -0.1]", "model.skip_mean=null", "model.skip_places=null")
NO_SKIP = ("model.skip=null", "model.skip_mean=null", "model.skip_places=null")
PLATEAU = ("lr_schedule=null", "averaging=null", "plateau.patience=0", "epochs=10")
WINDOWS = ("model={family: transformer, width: 96, layers: 2, heads: 4, feed_forward: 192, dropout: 0.4}",)
SKIP = ("model.skip=[1, 0.4, 0.2, 0.1, 0.1]", "model.skip_mean=-1.1", "model.skip_places=8")
FACES = ("model.mean_head=true", "facets=[rank, mean]")


def small_part(weight: float) -> tuple[str, ...]:
    """What the network adds weighed by its length, and no place vectors: what of `onward` holds elsewhere."""
    return ("model.skip_places=null", f"objective.residual_size={{weight: {weight:g}}}")


EXPERIMENTS = (
    Experiment("base", seeds=THREE),
    *(Experiment(f"curve-{n}", documents=n, seeds=THREE) for n in (175, 350, 700)),
    *(Experiment(f"probe-{n}", PROBE, n) for n in (1900, 700, 350, 175)),
    Experiment("no-skip", NO_SKIP),
    Experiment("no-mean", ("model.skip_mean=null",)),
    Experiment("no-places", ("model.skip_places=null",)),
    Experiment("one-place", ("model.skip_places=1",)),
    Experiment("temperature-fixed", ("objective.info_nce.learned=false",)),
    Experiment("temperature-05", ("objective.info_nce.learned=false", "objective.info_nce.temperature=0.05")),
    Experiment("temperature-20", ("objective.info_nce.learned=false", "objective.info_nce.temperature=0.2")),
    Experiment("batch-candidates", ("objective.info_nce.candidates=batch+future",)),
    Experiment("outside-candidates", ("objective.info_nce.candidates=outside",)),
    Experiment("smaller", ("model.width=48", "model.layers=1", "model.feed_forward=96")),
    Experiment("larger", ("model.width=192", "model.layers=3", "model.feed_forward=384")),
    Experiment("dropout-20", ("model.dropout=0.2",)),
    Experiment("dropout-60", ("model.dropout=0.6",)),
    Experiment("head-whole", ("model.head_dropout=0",)),
    Experiment("chunk-dropout", ("context_drop=0.1",)),
    Experiment("next-vs-prev", ("objective.next_vs_prev={weight: 0.1}",)),
    Experiment("plateau", PLATEAU),
    Experiment("averaging-none", ("averaging=null",)),
    Experiment("averaging-longer", ("averaging=0.998",)),
    Experiment("positions-none", ("model.positions=none",)),
    Experiment("positions-sinusoidal", ("model.positions=sinusoidal",)),
    Experiment("causal-5", (*WINDOWS, *SKIP)),
    Experiment("bidirectional-5", (*WINDOWS, *SKIP, "model.bidirectional=true")),
    Experiment("no-duplicates", ("curation={near_duplicates: {cosine: 0.9}}",)),
    Experiment("steps-twice", ("batch=256",)),
    Experiment("decay-30", ("weight_decay=0.3",)),
    Experiment("faces", (*FACES, "objective.mse={weight: 300, face: mean}")),
    Experiment("faces-weak", (*FACES, "objective.mse={weight: 30, face: mean}")),
    Experiment("faces-skip", recipe="onward-faces", seeds=THREE),
    *(Experiment(f"size-{weight:g}", small_part(weight)) for weight in (0.1, 0.3, 1, 3)),
    Experiment("transfer", recipe="onward-transfer", seeds=THREE),  # what ships
    Experiment("mean-alone", ("objective={info_nce: null, mse: {weight: 1}}", "facets=[mean]", *NO_SKIP)),
)


def segue(log: Path, *arguments: object) -> None:
    """Run a command, what it says into a file; stop where it fails."""
    command = [str(Path(sys.executable).with_name("segue")), *map(str, arguments)]
    with log.open("a") as file:
        print("$ segue", *arguments, file=file, flush=True)
        status = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT).returncode
    if status:
        raise SystemExit(f"segue {' '.join(map(str, arguments))}: exit {status}, see {log}")


def make_data(vectors: Path, folder: Path) -> None:
    """The store and a split for each number of train documents."""
    folder.mkdir(parents=True, exist_ok=True)
    log, store = folder / "data.log", folder / "documents"
    if not (store / "manifest.json").exists():
        segue(log, "import", vectors, "--out", store, "--encoder", "minilm")
    for count, train in TRAIN.items():
        if not (folder / f"{count}.json").exists():
            parts = ("--train", train, "--val", PARTS["VAL"], "--ood", PARTS["test"])
            segue(log, "split", store, *parts, "--out", folder / f"{count}.json")


def train(one: Experiment, seed: int, folder: Path) -> Path:
    """Train one run from where it stands; its folder."""
    out, data = folder / f"{one.name}-seed{seed}", folder / "data"
    if not (out / "manifest.json").exists():
        print(f"{out.name}: training", flush=True)
        sets = [piece for value in one.sets for piece in ("--set", value)]
        where = ("--data", data / "documents", "--split", data / f"{one.documents}.json", "--out", out)
        resume = ["--resume"] if out.exists() else []
        log = folder / f"{out.name}.log"
        segue(log, "train", one.recipe, *where, "--seed", seed, "--threads", 1, "--samples", 0, *sets, *resume)
    return out


def part_of(store: Store, name: str, numbers: str) -> Part:
    """All windows of a range of documents."""
    first, last = map(int, numbers.split("-"))
    documents = np.arange(first, last + 1)
    return Part(name, windows_of(store, documents), documents)


def corpus_part(name: str, texts: Path, folder: Path) -> Part:
    """All windows of another corpus, embedded when it is first wanted."""
    if not (folder / name / "manifest.json").exists():
        print(f"{name}: embedding", flush=True)
        segue(folder / "data.log", "embed", texts / f"{name}.jsonl.gz", "--out", folder / name, "--encoder", "minilm")
    store = Store(folder / name)
    documents = np.arange(store.n_documents)
    return Part(name, windows_of(store, documents), documents)


def judge(predictor: Predictor, part: Part, out: Path) -> None:
    """Per window 1/rank in pool `future` and the cosine to the target, kept in `out` (.npz)."""
    if out.exists():
        return
    measured = measure_judged(predictor, part, only_whole=True)
    found = {"mrr": 1 / measured.rank_PSW[0, 0], "cos": measured.cos_PSW[0, 0], "document": part.windows.document_W}
    out.parent.mkdir(parents=True, exist_ok=True)
    with write_atomic(out) as file:
        np.savez(file, **found)


def judge_all(predictors: dict[str, Predictor], parts: list[Part], folder: Path) -> None:
    """Judge each on each part, under its name."""
    for name, predictor in predictors.items():
        for part in parts:
            judge(predictor, part, folder / "judged" / part.name / f"{name}.npz")


def controls(store: Store, folder: Path, documents: int) -> list[Predictor]:
    """What a run is read against; the fitted ones on the same train documents, kept as JSON."""
    rows, path = Rows(store), folder / "data" / f"controls-{documents}.json"
    known = read_json(path) if path.exists() else {}
    if missing := FITTED.keys() - known.keys():
        print(f"controls of {documents} documents: fitting {', '.join(sorted(missing))}", flush=True)
        split = load_split(folder / "data" / f"{documents}.json")
        windows = windows_of(store, split.documents(store, "train"))
        known |= {name: FITTED[name](windows, rows).tolist() for name in sorted(missing)}
        write_json(path, known)
    fitted = {name: np.array(its) for name, its in known.items()}
    document = DocumentWeights(fitted["document_weights"], store.dim)
    last, slots = copy_last(store.dim), SlotWeights("rank_weights", fitted["rank_weights"], store.dim, 1)
    return [
        last,
        by_hand(store.dim),
        slots,
        OnePass(document),
        OnePass(DocumentWeights(fitted["mean_weights"], store.dim, "mean_weights")),
        context_mean(store.dim),
        ReadAvoider(store.dim),
        *(PoolCentred(one, CENTRE) for one in (last, slots)),
        *(PoolCentred(OnePass(document), share) for share in POOL_SHARES),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=Path, default=Path("../shared/corpora/vectors/wikipedia-minilm.npz"))
    parser.add_argument("--out", type=Path, default=Path("runs/onward"))
    parser.add_argument("--only", nargs="*", default=[""], help="beginnings of names of experiments; default: all")
    parser.add_argument("--final", help="name of an experiment that is chosen: judged on documents 2,100–2,399")
    parser.add_argument("--corpora", action="store_true", help="judge on techdocs, books and stories instead")
    parser.add_argument("--no-page", action="store_true", help="only train and judge")
    options = parser.parse_args()
    make_data(options.vectors, options.out / "data")
    store = Store(options.out / "data" / "documents")
    ranges = PARTS if options.final is None else {"final": FINAL}
    parts = [part_of(store, name, numbers) for name, numbers in ranges.items()]
    if options.corpora:
        parts = [corpus_part(name, options.vectors.parent.parent, options.out / "data") for name in CORPORA]
    wanted = [one for one in EXPERIMENTS if any(one.name.startswith(start) for start in options.only)]
    if options.final is not None:
        wanted = [one for one in EXPERIMENTS if one.name == options.final]
    # In one pass a document elsewhere: a novel's windows read two thousand chunks each. Of two faces only the first.
    whole = OnePass if options.corpora else (lambda model: model)
    # All of the first seed before any of the next: the table fills from what says most.
    for seed in range(max(len(one.seeds) for one in wanted)):
        for one in wanted:
            if seed in one.seeds:
                model = load_model(train(one, seed, options.out))
                run = f"{one.name}-seed{seed}"
                found = {run: whole(model)}
                if one.name in CENTRED_TOO:
                    found[f"{run}, pool-centred"] = PoolCentred(OnePass(model), CENTRE)
                judge_all(found, parts, options.out)
    for one in wanted:
        if len(one.seeds) > 1 and not options.corpora:
            models = [load_model(options.out / f"{one.name}-seed{seed}") for seed in one.seeds]
            judge_all({f"{one.name}-together": Together(one.name, models)}, parts, options.out)
    for documents in sorted({one.documents for one in wanted}, reverse=True):
        known = controls(store, options.out, documents)
        if options.corpora:  # of a novel the cheat would take an hour, and nothing elsewhere is chosen by these
            known = [
                one for one in known if not isinstance(one, ReadAvoider) and getattr(one, "share", CENTRE) == CENTRE
            ]
        judge_all({f"{one.name}-{documents}": one for one in known}, parts, options.out)
    if not options.no_page:
        page = [sys.executable, str(Path(__file__).with_name("onward_page.py")), "--out", str(options.out)]
        sys.exit(subprocess.run(page).returncode)


if __name__ == "__main__":
    main()
