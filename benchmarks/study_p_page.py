"""The page of the study: tables and pictures for docs/p-series.md from the finished runs, `make study-p` calls it.

Every block between `<!-- begin: NAME -->` and `<!-- end: NAME -->` of the page is written anew; the words around them
are by hand. Differences are paired over the same windows of documents 800–899, with 95 % intervals over documents.
"""

import argparse
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from markupsafe import Markup

from segue.alignment.frontier import frontier
from segue.alignment.held_out import held_out
from segue.errors import InputError
from segue.report import svg
from segue.report.frontier import frontier_svg
from segue.report.markdown import rows as table
from segue.statistics import Result
from study_p_runs import Study


def told(one: Result, signed: bool = False) -> str:
    """`.123 [.120, .126]`"""
    kind = "+.3f" if signed else ".3f"
    if one.value is None:
        return "–"
    text = format(one.value, kind)
    return text if one.low is None else f"{text} [{one.low:{kind}}, {one.high:{kind}}]"


ORDER = (
    *("p1", "p1-long", "v3", "p2", "p3", "p4", "p5", "p6", "p6b-v1", "p6b-v2.1", "p6b-v2.2", "p6b-v2.3"),
    *("p6b-v2.3-free", "p7"),
)
CONTROLS = ("copy_last", "context_mean", "best_weights", "rank_weights", "ridge")
EPOCHS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 15, 20, 34)


def recipes_table(study: Study, names: list[str]) -> str:
    """The last epoch's figures, which the guards have shaped; the best epoch by cos often lies before them."""
    rows = []
    for name in names:
        run = study.runs[name]
        own = {entry["epoch"]: entry for entry in run.history}  # of an epoch that ran twice the later
        epochs = [epoch for epoch in EPOCHS if epoch in own]
        path = " ".join(f"{own[epoch]['val']['cos']:.3f}".removeprefix("0") for epoch in epochs)
        figures = [told(study.mean(name, key), key == "margin_last") for key in ("cos", "margin_last", "mrr")]
        rows.append(
            [
                f"`{name}`",
                run.reported.replace("|", "\\|") if name == run.manifest["recipe"]["name"] and run.reported else "–",
                f"{path} (epochs {', '.join(map(str, epochs))})",
                *figures,
                f"{run.manifest['best']['epoch']}: {told(run.metric('cos'))}, {told(run.metric('margin_last'), True)}",
                told(run.metric("ablations", "shuffle"), signed=True),
                f"{run.gates('skill')} · {run.gates('original')}",
            ]
        )
    head = ["recipe", "they reported", "ours: VAL cos by epoch", "OOD, last epoch: cos", "margin_last", "MRR future"]
    return table([*head, "best epoch: cos, margin_last", "its shuffle", "its gates: skill · original"], rows)


def events_table(study: Study, names: list[str]) -> str:
    """What tripwires and controllers did."""
    rows = []
    for name in names:
        for entry in study.runs[name].history:
            told_events = [event for event in entry["events"] if not event.startswith("VAL loss")]
            rows += [[f"`{name}`", str(entry["epoch"]), event.replace("|", "\\|")] for event in told_events]
    return table(["run", "after epoch", "event"], rows)


def controls_table(study: Study) -> str:
    rows = []
    for horizon in (1, 2):
        for name in CONTROLS:
            key = f"{name}/{horizon}"
            cells = [told(study.mean(key, figure), figure == "margin_last") for figure in ("cos", "margin_last", "mrr")]
            rows.append([f"{name}, h = {horizon}", *cells])
    return table(["control", "OOD cos", "margin_last", "MRR future"], rows)


def retrieval_table(study: Study, names: list[str]) -> str:
    """R@5 of each recipe's tested epoch, beside what copying and chance have among as many candidates."""
    rows = []
    copying = {}
    for name in names:
        run = study.runs[name]
        future = run.metric("retrieval", "future", "r5")
        if run.tested is None or future.value is None:
            continue
        rows.append([f"`{name}`", str(run.manifest["horizon"]), told(future), f"{future.chance:.3f}"])
        copy = run.tested["controls"]["copy_last"]["OOD"]["retrieval"]["future"]["r5"]
        copying[run.manifest["horizon"]] = [told(Result(**copy)), f"{copy['chance']:.3f}"]
    rows += [["copy_last", f"{horizon}", *cells] for horizon, cells in sorted(copying.items())]
    return table(["R@5, pool future, OOD", "h", "R@5", "chance"], rows)


def pairs_table(study: Study, pairs: list[tuple[str, str]]) -> str:
    rows = []
    for one, other in pairs:
        if {re.split("[@/]", name)[0] for name in (one, other)} - {*study.runs, *CONTROLS}:
            continue
        cells = [told(study.difference(one, other, figure), signed=True) for figure in ("cos", "margin_last", "mrr")]
        rows.append([f"`{one}` − `{other}`", *cells])
    return table(["paired, OOD", "cos", "margin_last", "MRR future"], rows)


def steered_table(study: Study, pairs: list[tuple[str, str]]) -> str:
    rows = []
    for base, like in pairs:
        if {base, like} <= set(study.runs):
            try:
                beta, found = study.steered(base, like)
            except InputError:  # its margin is below what the base has unsteered
                rows.append([f"`{base}` to the margin of `{like}`", "below β = 0", "–", "–", "–"])
                continue
            cells = [told(found[key], signed=True) for key in ("cos", "margin_last", "mrr")]
            rows.append([f"`{base}` to the margin of `{like}`", f"{beta:.3f}", *cells])
    return table(["steered after training, minus the run", "β", "cos", "margin_last", "MRR future"], rows)


def terms_table(study: Study, names: list[str]) -> str:
    """What the guards weigh: in the loss, and in the gradient."""
    rows = []
    for name in names:
        if name not in study.runs:
            continue
        history = study.runs[name].history
        for term in history[-1]["train"]["terms"]:
            lines = [e["train"]["terms"][term] for e in history]
            on = [(e["epoch"], one) for e, one in zip(history, lines, strict=True) if one["weight"]]
            if term == "mse" or not on:
                continue
            first, last = on[0], on[-1]
            cell = lambda at: f"{at[1]['weight']:.2g} · {at[1]['rho']:.3f} · {at[1]['gradient_ratio'] or 0:.2f}"  # noqa: E731
            rows.append([f"`{name}`", term, f"epoch {first[0]}: {cell(first)}", f"epoch {last[0]}: {cell(last)}"])
    return table(["run", "term", "first: weight · share of mse's value · of its gradient", "last"], rows)


def frontier_picture(study: Study, names: list[str], path: Path) -> None:
    """cos, MRR and direction against margin_last: the last epoch of each run, and the controls."""
    models = {name: study.predictor(name) for name in names}
    horizon = next(iter(models.values())).horizon
    held = held_out(study.store, study.split, 5, horizon, samples=5000)
    path.write_text(frontier_svg(frontier(models, held)))


def coherence_table(study: Study, names: list[str]) -> str:
    rows = []
    for name in names:
        coherence = study.figures(name)["coherence"]
        edges = [(-1.0, 0.45), (0.45, 0.55), (0.55, 2.0)]
        cells = [
            told(study.mean(name, "margin_last", (coherence >= low) & (coherence < high)), signed=True)
            for low, high in edges
        ]
        rows.append([f"`{name}`", *cells])
    return table(["margin_last, OOD", "coherence < .45", ".45 – .55", "≥ .55"], rows)


def seeds_table(study: Study, recipes: list[str]) -> str:
    rows = []
    for recipe in recipes:
        names = [name for name in (recipe, f"{recipe}-seed1", f"{recipe}-seed2") if name in study.runs]
        values = {f: [float(study.figures(name)[f].mean()) for name in names] for f in ("cos", "margin_last", "mrr")}
        cells = [f"{np.mean(v):+.3f} ({min(v):+.3f} … {max(v):+.3f})" for v in values.values()]
        full = f"{recipe}-full"
        if full in study.runs:
            cells.append(", ".join(f"{study.mean(full, f).value:+.3f}" for f in ("cos", "margin_last", "mrr")))
        else:
            cells.append("not run")
        rows.append([f"`{recipe}`", str(len(names)), *cells])
    return table(
        ["recipe", "seeds", "OOD cos", "margin_last", "MRR future", "the recipe's own network: cos, margin_last, MRR"],
        rows,
    )


def curves_svg(study: Study, names: list[str]) -> str:
    """Small multiples: VAL cos and margin_last by epoch, a panel a recipe."""
    across, wide, high, gap = 4, 300.0, 190.0, 16.0
    from importlib.resources import files

    css = files("segue.report").joinpath("templates", "page.css").read_text("utf-8")
    parts = [svg.tag("style", Markup(css)), svg.tag("rect", width="100%", height="100%", style="fill: var(--paper)")]
    for i, name in enumerate(names):
        history = study.runs[name].history
        series = [
            svg.Series(
                metric, style, shape, [svg.Point(float(at), e["val"][metric]) for at, e in enumerate(history, start=1)]
            )
            for metric, style, shape in (("cos", "model", "circle"), ("margin_last", "copy", "square"))
        ]
        every = max(1, len(history) // 5)
        x_ticks = [
            (float(at), str(e["epoch"]) if at % every == 0 or at == 1 else "") for at, e in enumerate(history, start=1)
        ]
        chart = svg.line_chart(
            series, x_ticks=x_ticks, x_label="", y_label="", y_range=(-0.5, 0.5), description=name, size=(wide, high)
        )
        left, top = gap + (i % across) * (wide + gap), 44 + (i // across) * (high + 34)
        parts.append(svg.tag("text", name, x=left + 40, y=top - 6, class_="strong"))
        parts.append(svg.tag("svg", chart, x=left, y=top, width=wide, height=high))
    parts.append(svg.tag("text", "VAL by epoch: cos above, margin_last below", x=gap + 40, y=20.0, class_="label"))
    width, height = gap + across * (wide + gap), 44 + -(-len(names) // across) * (high + 34)
    return str(
        svg.tag(
            "svg",
            *parts,
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {width:.0f} {height:.0f}",
            class_="chart",
            width=width,
            height=height,
        )
    )


def replaced(page: str, blocks: Mapping[str, Callable[[], str]]) -> str:
    for name, make in blocks.items():
        begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
        if begin in page:
            print(f"writing {name}", flush=True)
            page = re.sub(f"{begin}.*?{end}", lambda _: f"{begin}\n{make()}\n{end}", page, flags=re.DOTALL)  # noqa: B023
    return page


def main() -> None:
    from study_p import AGAINST, RECIPES, SEEDED

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/study-p"))
    parser.add_argument("--page", type=Path, default=Path("docs/p-series.md"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    study = Study(options.out)
    ran = [name for name in sorted(RECIPES, key=ORDER.index) if name in study.runs]
    further = [name for name in study.runs if name not in RECIPES]
    pairs = [
        ("p1", "best_weights"), ("p1", "copy_last"), ("p1-long", "best_weights"), ("p1-long", "ridge"),
        ("p1-long", "p1-long@3"), ("p1-long@10", "p1-long@3"),
        ("v3", "p1-long"), ("p2", "p1-long"), ("p3", "p1-long"), ("p4", "p1-long"), ("p4", "p4-no-rollout"),
        ("p3-2-percent", "p1-long"), ("p3-5-percent", "p1-long"), ("p5", "p5-no-curriculum"),
        ("p5-positional-05", "p5"), ("p5-positional-10", "p5"), ("p6b-v1", "p6"), ("p6b-v2.1", "p6"),
        ("p6b-v2.2", "p6"), ("p6b-v2.3", "p6"), ("p6b-v2.3-free", "p6b-v2.3"), ("p7", "p1-long"),
        ("p3", "p3@5"), ("p3-full", "p3-full@5"), ("p1-full", "best_weights"), ("p6b-v2.2", "best_weights/2"),
        ("p6b-v2.2-full", "best_weights/2"),
    ]  # fmt: skip
    steers = [("p1-long", name) for name in ("v3", "p3", "p4", "p3-2-percent", "p3-5-percent")]
    steers += [("p1", "p3"), ("p1-full", "p3-full")]
    steers += [("p6", name) for name in ("p6b-v1", "p6b-v2.1", "p6b-v2.2", "p6b-v2.3")]
    guarded = ["v3", "p2", "p3", "p4", "p6b-v1", "p6b-v2.1", "p6b-v2.2", "p6b-v2.3", "p6b-v2.3-free", *AGAINST]
    blocks: dict[str, Callable[[], str]] = {
        "recipes": lambda: recipes_table(study, ran),
        "further": lambda: recipes_table(study, further),
        "controls": lambda: controls_table(study),
        "retrieval": lambda: retrieval_table(study, ran),
        "pairs": lambda: pairs_table(study, pairs),
        "steered": lambda: steered_table(study, steers),
        "terms": lambda: terms_table(study, guarded),
        "events": lambda: events_table(study, [*ran, *further]),
        "seeds": lambda: seeds_table(study, list(SEEDED)),
        "coherence": lambda: coherence_table(
            study,
            [n for n in ("p1-long", "p3") if n in study.runs] + ["copy_last", "context_mean", "best_weights", "ridge"],
        ),
    }
    options.page.write_text(replaced(options.page.read_text(), blocks))
    pictures = options.page.parent / "img"
    (pictures / "p-series-curves.svg").write_text(curves_svg(study, ran))
    for horizon in (1, 2):
        chosen = [name for name in ran if study.predictor(name).horizon == horizon]
        if chosen:
            frontier_picture(study, chosen, pictures / f"p-series-frontier-{horizon}.svg")


if __name__ == "__main__":
    main()
