"""The first figures: controls and p1 on the first 900 Wikipedia documents, `python benchmarks/first_900.py`.

Runs the command line as a user would (import, split, check, train, 5cat) and prints EXPERIMENTS.md's table as Markdown.
Resumable: run again, what is finished is not done again. Documents 0–699 train, 700–799 VAL, 800–899 OOD (SPEC §10).
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

COLUMNS = {
    "cos": ("cos",),
    "margin_last": ("margin_last",),
    "direction": ("direction",),
    "R@1": ("retrieval", "future", "r1"),
    "R@5": ("retrieval", "future", "r5"),
    "MRR": ("retrieval", "future", "mrr"),
    "MRR unseen": ("retrieval", "unseen", "mrr"),
    "shuffle": ("ablations", "shuffle"),
    "rollout cos": ("rollout", "mean"),
    "rollout MRR": ("rollout", "mrr"),
}


def segue(*arguments: object, may_fail: bool = False) -> None:
    """Run a command; exit status 1 is a finding where the command judges."""
    command = [str(Path(sys.executable).with_name("segue")), *map(str, arguments)]
    print("$ segue", *arguments, file=sys.stderr, flush=True)
    status = subprocess.run(command, stdout=sys.stderr).returncode
    if status and not (may_fail and status == 1):
        sys.exit(status)


def markdown(result: dict[str, Any], part: str) -> str:
    """Every predictor's figures on a part; the interval of the judged one and of MRR for all."""
    lines = ["| predictor | " + " | ".join(COLUMNS) + " |", "|---" * (1 + len(COLUMNS)) + "|"]

    def cell(metrics: dict[str, Any], path: tuple[str, ...], interval: bool) -> str:
        for name in path:
            metrics = (metrics or {}).get(name)
        if not metrics or metrics["value"] is None:
            return "–"
        text = f"{metrics['value']:.3f}"
        return f"{text} [{metrics['low']:.3f}, {metrics['high']:.3f}]" if interval else text

    rows = {f"**{result['predictor']['name']}**": result["splits"][part]}
    rows |= {name: its[part] for name, its in result["controls"].items()}
    for name, metrics in rows.items():
        judged = name.startswith("**")
        cells = [cell(metrics, path, judged or column == "MRR") for column, path in COLUMNS.items()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=Path, default=Path("../shared/corpora/vectors/wikipedia-minilm.npz"))
    parser.add_argument("--out", type=Path, default=Path("runs/first900"))
    parser.add_argument("--recipe", default="p1")
    parser.add_argument("--set", action="append", default=[], help="as segue train's")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    store, split, run = options.out / "store", options.out / "split.json", options.out / options.recipe
    if not (store / "manifest.json").exists():
        segue("import", options.vectors, "--out", store, "--encoder", "minilm")
    if not split.exists():
        segue("split", store, "--train", "0-699", "--val", "700-799", "--ood", "800-899", "--out", split)
    segue("check", store, "--split", split, "--threads", options.threads, may_fail=True)
    sets = [piece for value in options.set for piece in ("--set", value)]
    resume = ["--resume"] if run.exists() else []
    trained = ["train", options.recipe, "--data", store, "--split", split, "--out", run, *sets, *resume]
    segue(*trained, "--threads", options.threads)
    result = json.loads((run / "5cat.json").read_text())
    for part in ("VAL", "OOD"):
        windows, documents = result["data"]["windows"][part], result["data"]["documents"][part]
        print(f"\n{part}: {windows:,} windows of {documents} documents\n\n{markdown(result, part)}")


if __name__ == "__main__":
    main()
