"""The heads beside the ranking one: samples of the next chunk, and codes. Trains, measures, writes docs/onward.md.

    python benchmarks/onward_heads.py --out runs/onward                      both, then tables and pictures
    python benchmarks/onward_heads.py --out runs/onward --only samples       or codes
    python benchmarks/onward_heads.py --out runs/onward --part VAL --no-page what choices were made by

Resumable as `onward_study.py` is, whose data it reads; figures on test (documents 800–899) unless `--part` says VAL.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from onward_codes import TOLD, Counted, code_predictors, judged, logits_of, perplexity, ratio
from onward_page import PAGE, told, with_tables
from onward_pictures import adjacent_svg, calibration_svg
from onward_samples import (
    LINES,
    SAMPLES,
    STEPS,
    TRAIN,
    Draw,
    Residuals,
    Truth,
    adjacent,
    by_context,
    chunks_read,
    evenness,
    paths,
    ranks,
    scores,
    shares,
    train_chunks,
)
from onward_study import PARTS, Experiment, make_data, part_of, train
from segue.models import LatentModel, Predictor, build_model, load_model
from segue.models.controls import context_mean, copy_last
from segue.statistics import DocumentBootstrap, Result, result_of
from segue.vectors import Store
from segue.windows import Windows, load_split, windows_of
from segue.windows.rows import Rows

DOCUMENTS, WINDOWS = 700, 400
TEMPERATURES = (0.5, 1.0, 1.5)
MRR = ("retrieval", "future", "mrr")
RANKED = ("lines", "last", "read", "centre", "average", "depth")
CODES = (64, 256, 1024)
# What a mean is made of: the last chunks and, most, the mean of all that was read.
MEAN_SKIP = ("model.skip=[0.2, 0.1, 0.1, 0.1, 0.1]", "model.skip_mean=0.2")
LESS_DROPOUT = ("model.dropout=0.2", "model.head_dropout=0.2", "batch=256")
# The head begins well: what it learns on top is little, and large steps unlearn.
FEW_STEPS = ("epochs=3", "batch=512", "lr=0.0003", "lr_schedule={warmup: 0.03, decay: cosine}")
NO_SKIP = ("model.skip=null", "model.skip_mean=null", "model.skip_places=null")


def experiment(name: str, documents: int, *sets: str) -> Experiment:
    return Experiment(f"heads-{name}-{documents}", (*LESS_DROPOUT, *sets), documents)


def experiments(documents: int) -> dict[str, Experiment]:
    """What is trained, by what tables call it."""
    energy = "objective={info_nce: null, energy: {weight: 1, samples: 4}}"
    code = "objective={info_nce: null, next_code: {weight: 1}}"
    squared = "objective={info_nce: null, mse: {weight: 1}}"
    found = {
        "regression": experiment("regression", documents, squared, "facets=[mean]", "epochs=8", *MEAN_SKIP),
        "samples": experiment("samples", documents, energy, "model.noise=256", *FEW_STEPS, *NO_SKIP),
    }
    for count in CODES:
        found[f"codes-{count}"] = experiment(
            f"codes-{count}", documents, code, f"model.codes={count}", "facets=[mean]", *MEAN_SKIP
        )
    return found


class Heads:
    """The trained models and what they are measured on."""

    def __init__(self, out: Path, documents: int, part: str):
        make_data_if_missing(out)
        self.store = Store(out / "data" / "documents")
        self.rows = Rows(self.store)
        self.out, self.documents = out, documents
        self.part = part_of(self.store, part, PARTS[part])
        self.val = part_of(self.store, "VAL", PARTS["VAL"]).windows
        split = load_split(out / "data" / f"{documents}.json")
        self.train = windows_of(self.store, split.documents(self.store, "train"))

    def model(self, name: str) -> LatentModel:
        return load_model(train(experiments(self.documents)[name], 0, self.out))


def make_data_if_missing(out: Path) -> None:
    if not (out / "data" / "documents" / "manifest.json").exists():
        make_data(Path("../shared/corpora/vectors/wikipedia-minilm.npz"), out / "data")


def untrained(model: LatentModel, heads: Heads) -> LatentModel:
    """A model as training begins with it: fitted, no step taken."""
    torch.manual_seed(0)
    fresh = build_model(model.family, model.space, model.options, context=model.context, horizon=model.horizon)
    fresh.prepare(heads.train, heads.rows, 0)
    return fresh.eval()


def sampled(model: LatentModel, temperature: float, draw: torch.Generator, count: int = SAMPLES) -> Draw:
    return lambda context_BLD: model.samples(context_BLD, count, temperature, draw)


def forecasts(heads: Heads, residuals: Residuals, count: int = SAMPLES) -> dict[str, Draw]:
    """Who is asked, by name; each with noise of its own seed."""
    model, draws = heads.model("samples"), [torch.Generator().manual_seed(seed) for seed in range(8)]
    return {
        "regression, one point": residuals.point,
        "a train chunk": train_chunks(residuals.target_TD, draws[0]),
        "a chunk read": chunks_read(draws[1]),
        "successors of like contexts": residuals.successors(),
        "regression + Gaussian": residuals.gaussian(draws[2], count),
        "regression + a train residual": residuals.resampled(draws[3]),
        "head, untrained": sampled(untrained(model, heads), 1.0, draws[4], count),
        **{f"head, {t:g}": sampled(model, t, draws[5 + i], count) for i, t in enumerate(TEMPERATURES)},
    }


def samples_tables(heads: Heads) -> tuple[dict[str, list[str]], dict[str, str]]:
    """The generative head beside controls: tables by name, pictures by name."""
    rows, windows = heads.rows, heads.part.windows.sample(WINDOWS, seed=0)
    residuals = Residuals.of(heads.model("regression"), heads.train.sample(TRAIN, seed=0), rows)
    line_PD = residuals.target_TD[np.random.default_rng(0).choice(len(residuals.target_TD), LINES, replace=False)]
    truth = Truth.of(windows, rows, line_PD)
    made = forecasts(heads, residuals)
    score, even, share = {}, {}, {}
    for name, draw in made.items():
        print(f"samples: {name}", flush=True)
        sample_WMD = by_context(draw, rows)(windows)
        score[name] = scores(sample_WMD, truth)
        if sample_WMD.shape[1] > 1:
            rank = ranks(sample_WMD, truth)
            even[name] = {by: evenness(rank[by], truth) for by in RANKED}
            share[name] = {by: shares(rank[by], truth) for by in ("lines", "last", "centre", "depth")}
    print("samples: rollouts", flush=True)
    far = windows.take(windows.has(STEPS))
    alone = forecasts(heads, residuals, count=1)
    wanted = ("regression, one point", "regression + Gaussian", *(f"head, {t:g}" for t in TEMPERATURES))
    path = paths({name: alone[name] for name in wanted}, far, rows)
    tables = {
        "samples": score_table(score, truth),
        "calibration": calibration_table(even),
        "rollouts": rollout_table(path, far),
    }
    bootstrap = DocumentBootstrap(far.document_W)
    steps = {name: step_results(adjacent(its), bootstrap) for name, its in path.items() if "Gaussian" not in name}
    shown = {name: share[name] for name in ("regression + Gaussian", "head, 1")}
    return tables, {"onward-calibration.svg": calibration_svg(shown), "onward-rollout.svg": adjacent_svg(steps)}


def step_results(value_WS: np.ndarray, bootstrap: DocumentBootstrap) -> list[Result]:
    draws = bootstrap.means(value_WS)
    return [result_of(draws[:, step], len(value_WS)) for step in range(value_WS.shape[1])]


def score_table(score: Mapping[str, Mapping[str, np.ndarray]], truth: Truth) -> list[str]:
    """Energy score, the lift over a Gaussian around the regression, and how near samples are to each other, the truth
    and the context."""
    lines = ["| forecast | energy score | − regression + Gaussian | cos among samples | cos to the truth | PAR |"]
    lines.append("|---" * 6 + "|")
    base_W = score["regression + Gaussian"]["energy"]
    for name, its in score.items():
        cells = [told(truth.result(its["energy"])), told(truth.result(its["energy"] - base_W), "+")]
        among = f"{its['among'].mean():.3f}" if "among" in its else "1"
        cells += [among, f"{its['to truth'].mean():.3f}", told(truth.result(its["par"]))]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def calibration_table(even: Mapping[str, Mapping[str, Mapping[str, Result | float]]]) -> list[str]:
    """The mean rank, its spread and how far the deciles are off, by what the truth was ranked by."""
    lines = ["| forecast | " + " | ".join(RANKED) + " |", "|---" * (1 + len(RANKED)) + "|"]
    for name, by in even.items():
        cells = []
        for one in RANKED:
            mean, spread = by[one]["mean"], by[one]["spread"]
            assert isinstance(mean, Result) and isinstance(spread, Result)
            cells.append(f"{mean.value:.2f} · {spread.value:.2f} · {by[one]['off']:.3f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def rollout_table(path: Mapping[str, torch.Tensor], windows: Windows) -> list[str]:
    """Adjacent cosines, and how far a rollout has come from the last chunk read."""
    lines = ["| rolled out | adjacent, step 1 | 2 | 5 | 10 | mean of 2–10 | step 10 to the last chunk read |"]
    lines.append("|---" * 7 + "|")
    bootstrap = DocumentBootstrap(windows.document_W)
    for name, path_WSD in path.items():
        value_WS = adjacent(path_WSD)
        far_W = (path_WSD[:, -1] * path_WSD[:, 0]).sum(-1).double().numpy()
        steps = step_results(value_WS, bootstrap)
        mean, far = step_results(np.stack([value_WS[:, 1:].mean(1), far_W], 1), bootstrap)
        cells = [f"{steps[step - 1].value:.3f}" for step in (1, 2, 5, 10)]
        lines.append(f"| {name} | {' | '.join(cells)} | {told(mean)} | {told(far)} |")
    return lines


def codes_tables(heads: Heads) -> dict[str, list[str]]:
    """Perplexity over the codes, and 5CAT's figures of what the heads and their codes say."""
    rows, windows = heads.rows, heads.part.windows
    bootstrap = DocumentBootstrap(windows.document_W)
    every_N = np.arange(len(heads.store.document_N))
    counts = ["| codes | predictor | perplexity | head / it |", "|---|---|---|---|"]
    asked: dict[str, Predictor] = {
        "copy_last": copy_last(heads.store.dim),
        "context_mean": context_mean(heads.store.dim),
        "regression": heads.model("regression"),
    }
    for count in CODES:
        print(f"codes: {count}", flush=True)
        model = heads.model(f"codes-{count}")
        assert model.codes is not None
        code_N = np.concatenate([model.codes.of(rows(some)).numpy() for some in np.array_split(every_N, 50)])
        logits_WK = logits_of(model, windows, rows)
        true_W = torch.as_tensor(code_N[windows.target_rows()])
        ours_W = torch.nn.functional.cross_entropy(logits_WK, true_W, reduction="none").double().numpy()
        counts.append(f"| {count} | head | {number(perplexity(ours_W, bootstrap))} | |")
        for name, nats_W in Counted(code_N, count, heads.train).nats(windows, heads.val).items():
            against = told(ratio(ours_W, nats_W, bootstrap))
            counts.append(f"| {count} | {name} | {number(perplexity(nats_W, bootstrap))} | {against} |")
        asked |= {one.name: one for one in code_predictors(model, logits_WK, windows, code_N)}
    found = judged(asked, heads.part)
    lines = ["| predictor | cos | margin_last | MRR `future` | − copy_last | PAR |", "|---" * 6 + "|"]
    for name, its in found.items():
        cells = [told(its.result(path), "+" if path == ("margin_last",) else "") for path in TOLD]
        cells.insert(3, told(its.lift(MRR, found["copy_last"]), "+"))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return {"codes, perplexity": counts, "codes, 5CAT": lines}


def number(result: Result) -> str:
    return f"{result.value:.1f} [{result.low:.1f}, {result.high:.1f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/onward"))
    parser.add_argument("--only", choices=("samples", "codes"))
    parser.add_argument("--documents", type=int, default=DOCUMENTS, help="train documents: 175, 350, 700 or 1900")
    parser.add_argument("--part", choices=tuple(PARTS), default="test")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--no-page", action="store_true", help="print the tables only")
    options = parser.parse_args()
    torch.set_num_threads(1)
    heads = Heads(options.out, options.documents, options.part)
    tables: dict[str, list[str]] = {}
    pictures: dict[str, str] = {}
    if options.only != "codes":
        tables, pictures = samples_tables(heads)
    if options.only != "samples":
        tables |= codes_tables(heads)
    for name, lines in tables.items():
        print(f"\n{name}, {options.part}", *lines, sep="\n")
    if not options.no_page:
        options.page.write_text(with_tables(options.page.read_text(encoding="utf-8"), tables), encoding="utf-8")
        for name, picture in pictures.items():
            (options.page.parent / "img" / name).write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
