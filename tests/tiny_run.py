"""A tiny hand-made 5CAT result and history with known numbers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

MakeRun = Callable[..., Path]
CONTROLS = {"copy_last": 0.469, "context_mean": 0.553, "best_weights": 0.5625, "rank_weights": 0.463, "oracle": 1.0}
MARKUP = "<script>alert('&')</script>"
RECIPE = f"""name: tiny
note: "{MARKUP}"
expectations:
  - {{epoch: 3, metric: cos, low: 0.50, high: null}}
  - {{epoch: 2, metric: cos, low: 0.54, high: 0.60}}
  - {{epoch: 8, metric: margin_last, low: 0.05, high: null}}
"""


def measured(value: float | None, chance: float | None = None, n: int = 4165) -> dict[str, Any] | None:
    """A number with an interval of ± .007."""
    if value is None:
        return None
    return {"value": value, "low": value - 0.007, "high": value + 0.007, "n": n, "chance": chance}


def metrics(cos: float, mrr: float) -> dict[str, Any]:
    """All that 5CAT measures of a predictor on a split, a few things left uncomputed."""
    pool = {"mrr": measured(mrr, 0.233), "r1": measured(mrr / 2, 0.105), "r5": measured(0.6, 0.348), "r10": None}
    return {
        "cos": measured(cos, 0.0),
        "margin": measured(-0.2),
        "margin_last": measured(-0.175),
        "peak": {"value": 0.0, "low": 0.0, "high": 0.0, "n": 4165, "chance": None},
        "win_last": measured(0.325, 0.5),
        "direction": measured(0.496, 0.5, n=4065),
        "par": None,
        "mse": {"value": 0.0023, "low": 0.00229, "high": 0.00231, "n": 4165, "chance": None},
        "offsets": {str(k): measured(cos - 0.02 * abs(k - 1)) for k in range(-4, 4)},
        "retrieval": {"future": {**pool, "candidates": 9.3}, "unseen": None, "document": pool, "corpus": None},
        "ablations": {"shuffle": measured(-0.012), "reverse": measured(-0.02), "leave_one_out": None},
        "rollout": {
            "mean": measured(cos - 0.05, n=3765),
            "steps": [measured(cos - 0.02 * j, n=3765) for j in range(5)],
            "mrr": measured(mrr - 0.03, n=3765),
            "mrr_steps": [measured(mrr - 0.01 * j, n=3765) for j in range(5)],
        },
        "bins": {"low": measured(cos - 0.1), "normal": measured(cos), "high": None},
    }


def five_cat(lift: float = -0.0132, facets: tuple[str, ...] = ("mean",), ood: bool = True) -> dict[str, Any]:
    """A result whose model lies `lift` above the best control of cos, ± .002."""
    parts = ("VAL", "OOD") if ood else ("VAL",)
    gates = {letter: {"passed": lift > 0, "why": f"{letter} says why."} for letter in "ABCD"}
    gates["E"] = {"passed": None, "why": "Not judged: there is no OOD part."}
    original = {letter: {"passed": letter == "D", "why": f"original {letter}."} for letter in "ABCDE"}

    def against(value: float, control: str) -> dict[str, Any]:
        return {
            "value": value,
            "low": value - 0.002,
            "high": value + 0.002,
            "n": 4165,
            "chance": None,
            "against": control,
        }

    return {
        "profile": "skill",
        "passed": lift > 0,
        "gates": gates,
        "profiles": {
            "skill": {"passed": lift > 0, "gates": gates},
            "original": {"passed": False, "gates": original},
        },
        "predictor": {
            "name": f"tiny {MARKUP}",
            "dim": 384,
            "context": 5,
            "horizon": 1,
            "facets": list(facets),
            "parameters": 1234567,
        },
        "data": {
            "store": f"wiki {MARKUP}",
            "store_hash": "sha256:1",
            "space": "minilm",
            "split": {"how": "ranges", "hash": "sha256:2"},
            "windows": {"VAL": 4165, "OOD": 4165 if ood else None},
            "documents": {"VAL": 100, "OOD": 100 if ood else None},
            "samples": 5000,
            "seed": 0,
            "warnings": [f"VAL has windows from 8 documents {MARKUP}."],
        },
        "splits": {"VAL": metrics(0.549, 0.405), "OOD": metrics(0.541, 0.402) if ood else None},
        "controls": {
            name: {"attainable": name != "oracle", **{part: metrics(cos, cos * 0.9) for part in parts}}
            for name, cos in CONTROLS.items()
        },
        "lifts": {
            part: {
                "cos": against(lift, "best_weights"),
                "mrr_future": against(lift, "copy_last"),
                "direction": against(lift, "rank_weights"),
                "rollout_mrr": None,
            }
            for part in parts
        },
        "generalisation": {"cos": measured(0.008) if ood else measured(None)},
        "certified": None,
    }


def history(epochs: int = 3) -> list[dict[str, Any]]:
    """A few epochs as training writes them."""
    return [
        {
            "epoch": epoch,
            "train": {"loss": 0.003 / epoch, "cos": 0.5, "terms": {"mse": {"value": 0.003, "weight": 1.0}}},
            "val": {
                "loss": 0.0035 / epoch,
                "cos": 0.5 + 0.01 * epoch,
                "margin_last": -0.2,
                "mrr_future": 0.4,
                "direction": None,
            },
            "lr": 5e-4,
            "seconds": 62.0,
            "windows_per_second": 800.0,
            "events": [f"lr halved {MARKUP}"] if epoch == 2 else [],
        }
        for epoch in range(1, epochs + 1)
    ]
