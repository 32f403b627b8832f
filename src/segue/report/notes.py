"""A run's training notes and its model card, as Markdown. Every figure is from the run's own files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from segue.artifacts import make_folder, write_text
from segue.errors import InputError
from segue.report import levels, tables
from segue.report.curves import events, expectations, labels
from segue.report.findings import Finding, findings, next_steps, open_questions, planned_steps
from segue.report.lineage import lineage
from segue.report.markdown import literal, rows, table
from segue.report.names import COS, DIRECTION, LIFTS, MARGIN_LAST, MRR, ROLLOUT_MRR, Metric
from segue.report.numerals import NONE, number, size, with_interval
from segue.report.run import MODEL, Run, lookup, read_begun, result
from segue.report.standing import approach, diverged, fired, parameters, standing
from segue.report.verdict import verdict

NOTES, CARD = "notes.md", "model-card.md"
EPOCHS = (
    ("train loss", "train.loss", "small"),
    ("VAL loss", "val.loss", "small"),
    ("cos", "val.cos", "plain"),
    ("margin", "val.margin", "signed"),
    ("margin_last", "val.margin_last", "signed"),
    ("peak", "val.peak", "offset"),
    ("direction", "val.direction", "plain"),
    ("R@5", "val.r5_future", "plain"),
    ("MRR", "val.mrr_future", "plain"),
    ("lr", "lr", "small"),
)
# Each beside the control that is best in a lift: a margin beside the one of the best cos, ranks beside the best MRR's.
CARD_METRICS = (
    (COS, "cos"),
    (MARGIN_LAST, "cos"),
    (DIRECTION, "direction"),
    (Metric("retrieval.future.r1", "R@1"), "mrr_future"),
    (Metric("retrieval.future.r5", "R@5"), "mrr_future"),
    (MRR, "mrr_future"),
    (Metric("rollout.mean", "rollout"), "rollout_mrr"),
    (ROLLOUT_MRR, "rollout_mrr"),
)


def write_notes(folder: str | Path, out: str | Path | None = None) -> list[Path]:
    """Write `notes.md` and, of a tested run, `model-card.md`, into the run or into `out`; returns their paths.

    Raises InputError for what is no run, a run without an epoch, or a folder that cannot be written.
    """
    run = read_begun(folder)
    if not run.history:
        raise InputError(f"{folder}: has not trained an epoch, so there is nothing to note. Train it first.")
    target = make_folder(out) if out is not None else run.folder
    texts = {NOTES: notes(run), **({CARD: model_card(run)} if run.splits else {})}
    for name, text in texts.items():
        write_text(target / name, text)
    return [target / name for name in texts]


def _name(run: Run) -> str:
    return run.folder.resolve().name


def _sections(parts: Sequence[tuple[str, str]]) -> str:
    return "\n\n".join(f"## {title}\n\n{text}" for title, text in parts if text) + "\n"


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def notes(run: Run) -> str:
    """The training report."""
    head = [f"# {literal(_name(run))}: training notes", f"{literal(approach(run))}; {standing(run).said}."]
    if why := diverged(run):
        head.append(literal(why))
    if run.splits:
        head.append(f"**{literal(verdict(run).headline)}**")
        head += [f"> {literal(warning)}" for warning in verdict(run).warnings]
    else:
        head.append("Not tested: the figures below are of the small test after each epoch (VAL, no intervals).")
    lifts = tables.lifts(run)
    level = levels.table(run)
    parts = [
        ("Configuration", _configuration(run)),
        ("Epochs", _epochs(run)),
        ("Against the baseline", table(lifts) if lifts else ""),
        ("Tripwires and events", _events(run)),
        ("What the recipe expected", _expectations(run)),
        ("Levels of success", f"{level.caption}\n\n{table(level)}" if level else ""),
        ("Findings", _findings(findings(run))),
        ("What the figures leave open", _bullets([literal(one) for one in open_questions(run)])),
        ("Next steps", _bullets([*map(literal, planned_steps(run)), *next_steps(run)])),
        ("Where it comes from", _facts([*lineage(run)]) if run.splits else ""),
    ]
    return "\n\n".join(head) + "\n\n" + _sections(parts)


def _facts(pairs: Sequence[tuple[str, Any]]) -> str:
    return rows(("", ""), [(literal(what), literal(value)) for what, value in pairs])


def _configuration(run: Run) -> str:
    recipe = run.resolved
    model = recipe.get("model") or {}
    options = {key: value for key, value in model.items() if key != "family"} if isinstance(model, dict) else {}
    plain = ("context", "horizon", "epochs", "batch", "lr", "weight_decay", "gradient_clip", "seed", "precision")
    pairs: list[tuple[str, Any]] = [
        ("recipe", recipe.get("name")),
        ("model", f"{model.get('family') if isinstance(model, dict) else model}, {size(parameters(run))} parameters"),
        *((key, value) for key, value in options.items() if value is not None),
        *((f"term {name}", _flow(_set(its))) for name, its in (recipe.get("objective") or {}).items()),
        *((key, recipe.get(key)) for key in plain if recipe.get(key) is not None),
        *((key, _flow(recipe[key])) for key in ("context_drop", "curation", "best", "early_stop") if recipe.get(key)),
        ("facets", ", ".join(recipe.get("facets") or [])),
    ]
    return _facts(pairs)


def _set(fields: Any) -> Any:
    """Without what is not used."""
    return {key: its for key, its in fields.items() if its is not None} if isinstance(fields, dict) else fields


def _flow(value: Any) -> str:
    """A part of a recipe in one line, as a recipe would have it."""
    return (
        yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True).removesuffix("...\n").strip()
    )


def _epochs(run: Run) -> str:
    best = lookup(run.manifest, "best.epoch")
    shown = [
        (head, path, kind) for head, path, kind in EPOCHS if any(result(e, path).value is not None for e in run.history)
    ]
    lines = []
    for name, entry in zip(labels(run), run.history, strict=True):
        mark = " best" if entry is run.epochs.get(best) else ""
        lines.append([name + mark, *(number(result(entry, path).value, kind) for _, path, kind in shown)])
    heads = ["epoch", *(literal(head) for head, _, _ in shown)]
    note = "On VAL by the small test after each epoch; R@5 and MRR in the pool future. 4′ is epoch 4 run again."
    return f"{note}\n\n{rows(heads, lines, [False, *([True] * len(shown))])}"


def _events(run: Run) -> str:
    told = [f"after epoch {one.epoch}: {literal('; '.join(one.said))}" for one in events(run)]
    names = {one.name for one in fired(run)}
    quiet = [str(one.get("name")) for one in run.resolved.get("tripwires") or [] if str(one.get("name")) not in names]
    if quiet:
        told.append(f"did not trip: {', '.join(map(literal, quiet))}")
    return _bullets(told)


def _expectations(run: Run) -> str:
    """What the experiments reported of this recipe, and what was expected of it by epoch."""
    reported = run.resolved.get("reported")
    parts = [f"The original experiments reported: {literal(reported)}"] if reported else []
    lines = [(str(one.epoch), literal(one.metric), one.wanted, one.found, one.outcome) for one in expectations(run)]
    parts += [rows(("epoch", "metric", "wanted", "found on VAL", "outcome"), lines)] if lines else []
    return "\n\n".join(parts)


def _findings(found: Sequence[Finding]) -> str:
    parts = dict.fromkeys(one.part for one in found)
    blocks = []
    for part in parts:
        blocks.append(f"{part}:\n\n" + _bullets([literal(one.text) for one in found if one.part == part]))
    return "\n\n".join(blocks)


def model_card(run: Run) -> str:
    """A card for a model hub: front matter, use, data, figures with intervals beside the controls, limits."""
    front = yaml.safe_dump(_front(run), sort_keys=False, allow_unicode=True, width=120)
    licence = "# license: choose one before publishing; that of the training texts may bind you\n"
    title = f"# {literal(_name(run))}"
    headline = f"**{literal(verdict(run).headline)}**"
    parts = [
        ("What it does", _about(run)),
        ("Intended use", _use(run)),
        ("How to use it", _code(run)),
        ("Training", _training(run)),
        ("Results", _results(run)),
        ("Limits", _limits(run)),
        (
            "Where it comes from",
            _facts([(what, _store(run) if what == "store" else its) for what, its in lineage(run)]),
        ),
    ]
    return f"---\n{front}{licence}---\n\n{title}\n\n{headline}\n\n{_sections(parts)}"


def _front(run: Run) -> dict[str, Any]:
    part = run.splits[-1]
    found = [(metric, run.result(MODEL, part, metric.path)) for metric, _ in CARD_METRICS]
    measured = [
        {"type": metric.path, "name": f"{metric.label} ({part})", "value": round(one.value, 4)}
        for metric, one in found
        if one.value is not None
    ]
    data = {"type": "embeddings", "name": f"{_store(run)}, {part}"}
    return {
        "library_name": "segue",
        "tags": ["next-embedding-prediction", "sentence-embeddings", str(lookup(run.resolved, "model.family"))],
        "model-index": [
            {
                "name": _name(run),
                "results": [{"task": {"type": "feature-extraction"}, "dataset": data, "metrics": measured}],
            }
        ],
    }


def _store(run: Run) -> str:
    """By name: a card is published, and paths are of a machine."""
    return Path(str(run.data.get("store"))).name


def _space(run: Run) -> str:
    space = run.data.get("space")
    return literal(space.get("id") if isinstance(space, dict) else space)


def _about(run: Run) -> str:
    predictor = run.predictor
    target = "the next one" if run.horizon == 1 else f"the one at offset +{run.horizon}"
    return (
        f"A latent vector model: it reads {predictor.get('context')} unit vectors of text chunks "
        f"({predictor.get('dim')} wide, embedding space {_space(run)}) and predicts the vector of {target}. "
        f"{literal(approach(run))}, {size(parameters(run))} parameters."
    )


def _use(run: Run) -> str:
    claims = {"mean": "to lie close to what follows (facet mean)", "rank": "to name what follows (facet rank)"}
    claimed = [claims[facet] for facet in run.predictor.get("facets") or ["mean"] if facet in claims]
    return (
        f"Research on prediction in embedding space. It claims {' and '.join(claimed)}; whether it does is below. "
        f"Only vectors of the space {_space(run)} fit it. It writes no text, and its figures say nothing of texts "
        "unlike those it was measured on."
    )


def _code(run: Run) -> str:
    shape = f"(batch, {run.predictor.get('context')}, {run.predictor.get('dim')})"
    return (
        "```python\nfrom segue.models import load_model\n\n"
        f'model = load_model("RUN")  # the best epoch\npredicted = model.predict(context)  # {shape}, unit rows, '
        "oldest chunk first\n```"
    )


def _training(run: Run) -> str:
    data = lookup(run.five_cat, "data.train") or {}
    on = f"{number(data.get('windows'), 'count')} windows of {number(data.get('documents'), 'count')} documents"
    split = lookup(run.data, "split.how") or run.data.get("split")
    text = f"Trained on {on} of {literal(_store(run))} (split: {literal(split)})"
    return f"{text}; {standing(run).said}.\n\n{_configuration(run)}"


def _results(run: Run) -> str:
    blocks = []
    for part in run.splits:
        lines = []
        for metric, lift in CARD_METRICS:
            one = run.result(MODEL, part, metric.path)
            best = run.best_control(part, lift, LIFTS[lift].path)
            theirs = run.result(best, part, metric.path) if best else None
            beside = f"{with_interval(theirs, metric.kind)} ({best})" if theirs and theirs.value is not None else NONE
            if one.value is not None:
                lines.append(
                    (metric.label, with_interval(one, metric.kind), beside, number(one.chance), number(one.n, "count"))
                )
        caption = (
            f"{part}: {number(run.windows(part), 'count')} windows of {number(run.documents(part), 'count')} documents"
        )
        blocks.append(f"{caption}\n\n{rows(('metric', 'model', 'best simple control', 'chance', 'n'), lines)}")
    blocks.append("Intervals: 95 %, from a bootstrap over documents. R@k and MRR: pool future. Paired differences:")
    lifts = tables.lifts(run)
    return "\n\n".join([*blocks, table(lifts)] if lifts else blocks[:-1])


def _limits(run: Run) -> str:
    lines = [f"{one.part}: {one.text}" for one in findings(run) if one.good is False]
    lines += [f"Not shown either way. {one}" for one in open_questions(run)]
    lines += [str(warning) for warning in verdict(run).warnings]
    if "OOD" not in run.splits:
        lines.append("Not measured on documents other than those of its own corpus.")
    return _bullets([literal(line) for line in lines])
