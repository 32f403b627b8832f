"""What the page calls things: metrics, controls, gates, pools, and their definitions (SPEC §2, §3, §6), once."""

from typing import NamedTuple


class Metric(NamedTuple):
    """A metric of 5CAT: where it lies in the JSON, its heading, how its numbers are written."""

    path: str
    label: str
    kind: str = "plain"


COS = Metric("cos", "cos")
MARGIN_LAST = Metric("margin_last", "margin_last", "signed")
DIRECTION = Metric("direction", "direction")
MRR = Metric("retrieval.future.mrr", "MRR")
ROLLOUT_MRR = Metric("rollout.mrr", "rollout MRR")

# Under which name a lift lies in `lifts`, and the metric that it is a difference of.
LIFTS = {"cos": COS, "mrr_future": MRR, "direction": DIRECTION, "rollout_mrr": ROLLOUT_MRR}

ALL_METRICS = (
    COS,
    MARGIN_LAST,
    Metric("margin", "margin", "signed"),
    Metric("peak", "peak", "offset"),
    Metric("win_last", "win_last"),
    DIRECTION,
    Metric("par", "par"),
    Metric("mse", "mse", "small"),
    Metric("retrieval.future.r1", "R@1"),
    Metric("retrieval.future.r5", "R@5"),
    MRR,
    Metric("ablations.shuffle", "shuffle", "signed"),
    Metric("rollout.mean", "rollout"),
    ROLLOUT_MRR,
)

RETRIEVAL = (("r1", "R@1"), ("r5", "R@5"), ("r10", "R@10"), ("mrr", "MRR"))

POOLS = {
    "future": "the chunks of the document after the last one read: the pool that matters, for nothing in it was ever "
    "handed to any predictor",
    "unseen": "the document without every chunk that this predictor was handed; a model can score here by merely "
    "avoiding what it has read",
    "document": "all chunks of the document, those it read included; what the original experiments used",
    "corpus": "all chunks of the split",
}

ABLATIONS = {
    "shuffle": "context in another order",
    "reverse": "context reversed",
    "leave_one_out": "one chunk left out",
    "repeat_last": "filled with the last chunk",
    "other_document": "last chunk from elsewhere",
}

BINS = {"low": "below .45", "normal": ".45 to .55", "high": "above .55"}

GATES = {
    "A": "Offset sweep",
    "B": "Retrieval",
    "C": "Ablations",
    "D": "Rollout",
    "E": "Generalisation",
}

CONTROLS = {
    "copy_last": "repeats the last chunk",
    "context_mean": "is the mean of the context",
    "best_weights": "weighs the slots, fitted for cos",
    "rank_weights": "weighs the slots, fitted for MRR",
    "ridge": "is linear in the whole context",
    "corpus_mean": "is one vector for all",
    "random": "is a random vector",
    "oracle": "knows the target",
    "late_oracle": "knows the chunk after the target",
    "shuffled_target": "knows another window's target",
}

GLOSSARY = {
    "window, offset": "A window is a few neighbouring chunks of one document (the context) and the chunk to predict "
    "(the target). Offsets count from the last context chunk: 0 is the last one read, +1 the next, −1 the one before.",
    "cos": "Mean cosine between the prediction and the target.",
    "s(k)": "Mean cosine between the prediction and the chunk at offset k.",
    "margin_last": "cos minus s(0): is the prediction closer to the target than to the last chunk read? A diagnostic, "
    "not the verdict: subtracting a little of the last chunk buys any margin_last and costs skill.",
    "margin": "cos minus the largest s(k) at any other offset from the first context chunk to +3.",
    "peak": "The offset with the largest s(k); right when it is the target's.",
    "win_last": "Share of windows in which the prediction is closer to the target than to the last chunk.",
    "direction": "Share of windows in which the prediction is closer to the target than to the chunk as far before "
    "the window. 0.5 is symmetric in time; weighting recency alone moves it, so it is read against rank_weights.",
    "par": "Paraphrasing ratio: how close the prediction comes to its context, against how close the true next chunk "
    "does. 1 is natural; more is repetition.",
    "mse": "Mean squared error of the raw output, per component.",
    "R@k, MRR": "All chunks of a pool ranked by cosine to the prediction: share of windows whose true chunk is among "
    "the first k, and the mean of 1/rank. The pool is always named, and chance beside it.",
    "ablation": "Change of cos when the context is damaged. A model that uses the order of its context loses when it "
    "is shuffled.",
    "rollout": "Predictions fed back as context, five steps; each step against the chunk that stands there.",
    "ℓ2": "Distance to the target: of the prediction, ‖p − y‖, and of the raw output, ‖r − y‖. As LCM's ℓ2.",
    "contrastive accuracy": "Share of distractors that lie further from the prediction than the target does; half is "
    "chance. Paper: distractors are all chunks of a batch but the target and its two neighbours. Code: those of the "
    "batch's other documents.",
    "ordering": "The five chunks after the context, shuffled, put in order greedily: the nearest to the prediction is "
    "taken and appended. Kendall τ of that order (chance 0), share in perfect order (chance 1/120). Binary: is the "
    "next chunk nearer than the one after it?",
    "snapped, re-encoded": "Rollouts in which not the prediction is fed back but the nearest stored chunk that was not "
    "read yet, or the vector of the text that a decoder makes of it.",
    "coherence": "Mean cosine of adjacent context chunks.",
    "interval": "95 %, from a bootstrap over documents. A lift is paired: the same windows, model minus control.",
    "best attainable control": "The strongest of the simple predictors that a user could have instead of a model. "
    "Oracles are shown to calibrate the tests; nobody can have one.",
    "controls": "; ".join(f"{name} {what}" for name, what in CONTROLS.items()) + ".",
    "VAL, OOD": "Documents held out from training; and documents from another range or another corpus.",
}
