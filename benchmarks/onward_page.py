"""The tables of docs/onward.md from what benchmarks/onward_study.py kept; the words around them stay."""

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from onward_study import EXPERIMENTS, POOL_SHARES, Experiment
from segue.statistics import DocumentBootstrap, Result, result_of

CONTROLS = ("copy_last", "by_hand", "rank_weights", "document_weights")
CENTRED = tuple(f"document_weights, pool-centred {share:g}" for share in POOL_SHARES)
CHEATS = ("context_mean", "read_avoider", *CENTRED)
PAGE = Path(__file__).parent.parent / "docs" / "onward.md"


class Judged:
    """What was judged on a part of the documents: 1/rank of each window by predictor, seeds averaged."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._bootstrap: DocumentBootstrap | None = None

    def mrr(self, names: Iterable[str]) -> np.ndarray | None:
        """(W,) the mean over those of the files that are there; None: none is."""
        found = [np.load(path) for name in names if (path := self.folder / f"{name}.npz").exists()]
        if not found:
            return None
        self._bootstrap = self._bootstrap or DocumentBootstrap(found[0]["document"])
        return np.mean([one["mrr"] for one in found], 0)

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
    base = judged.mrr(["base-seed0"])
    for one in EXPERIMENTS:
        ours = judged.run(one)
        if ours is None:
            continue
        against = [base] if one.seeds == (0,) else [judged.run(EXPERIMENTS[0])]
        against += [judged.mrr([f"{name}-{one.documents}"]) for name in ("rank_weights", "document_weights")]
        cells = ["–" if other is None else told(judged.results(ours, other)[1], "+") for other in against]
        first = told(judged.results(ours, ours)[0])
        cells[0] = "–" if one.name == "base" else cells[0]
        lines.append(f"| `{one.name}` | {one.documents:,} | {first} | {seeds(judged, one)} | {' | '.join(cells)} |")
    return lines


def controls(judged: Judged, documents: int = 1900) -> list[str]:
    """The controls and the cheats themselves."""
    lines = ["| predictor | MRR `future` | − copy_last |", "|---|---|---|"]
    copy = judged.mrr([f"copy_last-{documents}"])
    names = [
        *(f"{name}-{documents}" for name in (*CONTROLS, *CHEATS)),
        "base-seed0",
        "base-together",
        "base-seed0, pool-centred",
    ]
    for name in names:
        its = judged.mrr([name])
        if its is not None and copy is not None:
            value, lift = judged.results(its, copy)
            lines.append(f"| `{name.removesuffix(f'-{documents}')}` | {told(value)} | {told(lift, '+')} |")
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
    val, test = (Judged(options.out / "judged" / part) for part in ("VAL", "test"))
    tables = {
        "study, VAL": study(val),
        "controls, VAL": controls(val),
        "controls, test": controls(test),
        "curve, VAL": curve(val),
        "curve, test": curve(test),
    }
    options.page.write_text(with_tables(options.page.read_text(encoding="utf-8"), tables), encoding="utf-8")


if __name__ == "__main__":
    main()
