"""The tables of docs/onward.md from what benchmarks/onward_study.py kept; the words around them stay."""

import argparse
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np

from onward_corpora import lifts_svg
from onward_curve import curve_svg, extrapolated
from onward_study import CENTRE, CORPORA, EXPERIMENTS, POOL_SHARES, THREE, Experiment
from segue.statistics import DocumentBootstrap, Result, result_of

CONTROLS = ("copy_last", "by_hand", "rank_weights", "document_weights")
CENTRED_CONTROLS = tuple(
    f"{name}, pool-centred {CENTRE:g}" for name in ("copy_last", "rank_weights", "document_weights")
)
CENTRED = tuple(f"document_weights, pool-centred {share:g}" for share in POOL_SHARES)
CHEATS = ("context_mean", "read_avoider", *CENTRED)
PAGE = Path(__file__).parent.parent / "docs" / "onward.md"
FACES = ("faces-seed0", "faces-weak-seed0", "faces-skip-seed0", "transfer-seed0")
RUNS = ("base", "faces-skip", "transfer")  # one face; two; two, as it ships: three seeds each
PICTURE, LIFTS = "img/onward-curve.svg", "img/onward-corpora.svg"
WIKIPEDIA = {"VAL": "Wikipedia, VAL", "test": "Wikipedia, 800–899", "final": "Wikipedia, 2,100–2,399"}


class Judged:
    """What was judged on a part of the documents: 1/rank of each window by predictor, seeds averaged."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._bootstrap: DocumentBootstrap | None = None

    def mrr(self, names: Iterable[str]) -> np.ndarray | None:
        """(W,) the mean over these files; None where one is missing: fewer seeds would pass for all of them."""
        paths = [self.folder / f"{name}.npz" for name in names]
        if not all(path.exists() for path in paths):
            return None
        found = [np.load(path) for path in paths]
        self._bootstrap = self._bootstrap or DocumentBootstrap(found[0]["document"])
        return np.mean([one["mrr"] for one in found], 0)

    def mean(self, name: str, figure: str) -> np.ndarray:
        """(W,) another figure of one file."""
        found: np.ndarray = np.load(self.folder / f"{name}.npz")[figure]
        return found

    def draws(self, values_WQ: np.ndarray) -> np.ndarray:
        """Means in each draw of documents: (W, Q) → (1 + R, Q)"""
        assert self._bootstrap is not None
        return self._bootstrap.means(values_WQ)

    def run(self, one: Experiment) -> np.ndarray | None:
        return self.mrr(f"{one.name}-seed{seed}" for seed in one.seeds)

    def results(self, ours_W: np.ndarray, other_W: np.ndarray) -> tuple[Result, Result]:
        """A mean with its interval, and its lift over another, paired over documents."""
        assert self._bootstrap is not None
        draws = self._bootstrap.means(np.stack([ours_W, other_W], 1))
        return result_of(draws[:, 0], len(ours_W)), result_of(draws[:, 0] - draws[:, 1], len(ours_W))


def told(result: Result, sign: str = "") -> str:
    return f"{result.value:{sign}.4f} [{result.low:{sign}.4f}, {result.high:{sign}.4f}]"


def seeds(judged: Judged, one: Experiment) -> str:
    """Each seed's own figure."""
    values = [judged.mrr([f"{one.name}-seed{seed}"]) for seed in one.seeds]
    return " ".join(f"{value.mean():.4f}" for value in values if value is not None)


def study(judged: Judged) -> list[str]:
    """Every experiment against the base of as many documents and seeds, and against the best controls."""
    lines = ["| run | documents | MRR `future`, VAL | by seed | − base | − rank_weights | − document_weights |"]
    lines.append("|---" * 7 + "|")
    for one in EXPERIMENTS:
        ours = judged.run(one)
        if ours is None:
            continue
        against = [judged.run(EXPERIMENTS[0])]  # the mean of three seeds: one alone may be the luckiest
        against += [judged.mrr([f"{name}-{one.documents}"]) for name in ("rank_weights", "document_weights")]
        cells = ["–" if other is None else told(judged.results(ours, other)[1], "+") for other in against]
        first = told(judged.results(ours, ours)[0])
        cells[0] = "–" if one.name == "base" else cells[0]
        lines.append(f"| `{one.name}` | {one.documents:,} | {first} | {seeds(judged, one)} | {' | '.join(cells)} |")
    return lines


def controls(judged: Judged, documents: int = 1900) -> list[str]:
    """The controls and the cheats themselves."""
    lines = ["| predictor | MRR `future` | − copy_last | cos |", "|---|---|---|---|"]
    copy = judged.mrr([f"copy_last-{documents}"])
    names = [f"{name}-{documents}" for name in (*CONTROLS, "mean_weights", *CHEATS)]
    names += [
        "base-seed0",
        "base-together",
        "faces-seed0",
        "faces-skip-seed0",
        "transfer-seed0",
        "mean-alone-seed0",
        "base-seed0, pool-centred",
    ]
    for name in names:
        its = judged.mrr([name])
        if its is not None and copy is not None:
            value, lift = judged.results(its, copy)
            cos = told(judged.results(*2 * [judged.mean(name, "cos")])[0])
            lines.append(f"| `{name.removesuffix(f'-{documents}')}` | {told(value)} | {told(lift, '+')} | {cos} |")
    return lines


def curve(judged: Judged) -> list[str]:
    """MRR and paired lifts over each control by number of train documents."""
    lines = ["| documents | run | MRR `future` | " + " | ".join(f"− {name}" for name in CONTROLS) + " |"]
    lines.append("|---" * (3 + len(CONTROLS)) + "|")
    for one in sorted(EXPERIMENTS, key=lambda one: one.documents):
        ours = judged.run(one) if one.name == "base" or one.name.startswith(("curve", "probe")) else None
        if ours is None:
            continue
        others = [judged.mrr([f"{name}-{one.documents}"]) for name in CONTROLS]
        cells = ["–" if other is None else told(judged.results(ours, other)[1], "+") for other in others]
        lines.append(
            f"| {one.documents:,} | `{one.name}` | {told(judged.results(ours, ours)[0])} | {' | '.join(cells)} |"
        )
    return lines


def faces(parts: dict[str, Judged]) -> list[str]:
    """MRR of the ranking face, cos of the mean face: models of one face and of two, beside each one's best control."""
    lines = ["| predictor | " + " | ".join(f"MRR, {part} | cos, {part}" for part in parts) + " |"]
    lines.append("|---" * (1 + 2 * len(parts)) + "|")
    for name in ("document_weights-1900", "mean_weights-1900", "base-seed0", "mean-alone-seed0", *FACES):
        cells = []
        for judged in parts.values():
            mrr = judged.mrr([name])
            found = [mrr, judged.mean(name, "cos")] if mrr is not None else []
            cells += [told(judged.results(one, one)[0]) for one in found] or ["–", "–"]
        lines.append(f"| `{name.removesuffix('-1900')}` | {' | '.join(cells)} |")
    return lines


def elsewhere(parts: dict[str, Judged], documents: int = 1900) -> list[str]:
    """Every part of the documents and every corpus, nothing fitted on it: controls, what ships, what knows the pool.

    Runs are the mean of their seeds' reciprocal ranks.
    """
    files = {name: [f"{name}-{documents}"] for name in (*CONTROLS, "context_mean")}
    files |= {run: [f"{run}-seed{seed}" for seed in THREE] for run in RUNS}
    files |= {name: [f"{name}-{documents}"] for name in CENTRED_CONTROLS}
    files |= {f"{run}, pool-centred": [f"{run}-seed{seed}, pool-centred" for seed in THREE] for run in RUNS}
    pairs = [(run, control) for run in RUNS for control in ("rank_weights", "document_weights")]
    pairs += [("transfer", "faces-skip")]
    pairs += [("transfer, pool-centred", other) for other in ("copy_last", "context_mean", *CENTRED_CONTROLS)]
    found = {part: judged for part, judged in parts.items() if judged.mrr(files["copy_last"]) is not None}
    lines = ["| predictor | " + " | ".join(found) + " |", "|---" * (1 + len(found)) + "|"]

    def line(label: str, cell: Callable[[Judged], str]) -> None:
        lines.append(f"| {label} | {' | '.join(map(cell, found.values()))} |")

    def value(judged: Judged, name: str) -> str:
        its = judged.mrr(files[name])
        return "–" if its is None else told(judged.results(its, its)[0])

    def lift(judged: Judged, ours: str, other: str) -> str:
        a, b = judged.mrr(files[ours]), judged.mrr(files[other])
        return "–" if a is None or b is None else told(judged.results(a, b)[1], "+")

    for name in files:
        line(f"`{name}`", partial(value, name=name))
    for ours, other in pairs:
        line(f"`{ours}` − `{other}`", partial(lift, ours=ours, other=other))
    return lines


def gains(parts: dict[str, Judged], documents: int = 1900) -> dict[str, dict[str, Result]]:
    """`model − control` → part or corpus → lift, three seeds, for the picture."""
    wanted = (("faces-skip", "rank_weights"), ("transfer", "rank_weights"), ("transfer", "document_weights"))
    found: dict[str, dict[str, Result]] = {}
    for run, control in wanted:
        for part, judged in parts.items():
            ours = judged.mrr(f"{run}-seed{seed}" for seed in THREE)
            other = judged.mrr([f"{control}-{documents}"])
            if ours is not None and other is not None:
                found.setdefault(f"{run} − {control}", {})[part.removeprefix("Wikipedia, ")] = judged.results(
                    ours, other
                )[1]
    return found


def far(judged: Judged) -> tuple[list[str], str]:
    """The curve of three seeds over documents with what fitted laws make of 20,000: a table, a picture."""
    ours = [one for one in EXPERIMENTS if one.name == "base" or one.name.startswith("curve")]
    by_n = {one.documents: its for one in ours if (its := judged.run(one)) is not None}
    documents = sorted(by_n)
    if len(documents) < 3:
        return ["(three numbers of documents are wanted)"], ""
    draws = judged.draws(np.stack([by_n[n] for n in documents], 1))
    ahead = extrapolated(draws, documents, len(by_n[documents[0]]))
    lines = ["| law | MRR `future` |", "|---|---|", *(f"| {law} | {told(result)} |" for law, result in ahead.items())]
    lines += [f"| measured, {n:,} | {told(result_of(draws[:, i]))} |" for i, n in enumerate(documents)]
    curves = {"onward": by_n}
    for name in ("document_weights", "rank_weights", "copy_last"):
        curves[name] = {n: its for n in documents if (its := judged.mrr([f"{name}-{n}"])) is not None}
    drawn = {name: {n: judged.results(its, its)[0] for n, its in by.items()} for name, by in curves.items()}
    return lines, curve_svg(drawn, ahead, WIKIPEDIA[judged.folder.name])


def with_tables(page: str, tables: dict[str, list[str]]) -> str:
    """A page with what stands between `<!-- table: NAME -->` and `<!-- end -->` replaced."""
    for name, lines in tables.items():
        mark = f"<!-- table: {name} -->"
        before, _, after = page.partition(mark)
        if after:
            page = before + mark + "\n" + "\n".join(lines) + "\n" + after[after.index("<!-- end -->") :]
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/onward"))
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    parts = {name: Judged(options.out / "judged" / name) for name in (*WIKIPEDIA, *CORPORA)}
    val, test = parts["VAL"], parts["test"]
    laws, picture = far(test)
    named = {WIKIPEDIA.get(name, name): judged for name, judged in parts.items()}
    tables = {
        "study, VAL": study(val),
        "controls, VAL": controls(val),
        "controls, test": controls(test),
        "curve, VAL": curve(val),
        "curve, test": curve(test),
        "far, test": laws,
        "faces": faces({"VAL": val, "test": test}),
        "elsewhere": elsewhere(named),
    }
    if lifts := gains(named):
        (options.page.parent / LIFTS).write_text(lifts_svg(lifts), encoding="utf-8")
    if picture:
        (options.page.parent / PICTURE).write_text(picture, encoding="utf-8")
    options.page.write_text(with_tables(options.page.read_text(encoding="utf-8"), tables), encoding="utf-8")


if __name__ == "__main__":
    main()
