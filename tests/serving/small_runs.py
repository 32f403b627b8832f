"""Runs made by hand: a fresh network's weights and a 5CAT that says what a test wants."""

from pathlib import Path
from typing import Any

import torch

from segue.artifacts import write_json
from segue.models import LatentModel, build_model, save_model
from segue.models.saved import weights_hash
from segue.models.transformer import TransformerOptions
from segue.vectors import Space

SPACE = Space("test", 16)


def small_model(
    name: str = "small", seed: int = 0, family: str = "transformer", space: Space = SPACE, **contract: Any
) -> LatentModel:
    torch.manual_seed(seed)
    options = TransformerOptions(width=16, layers=1, heads=2, feed_forward=16) if family == "transformer" else None
    return build_model(family, space, options, name=name, **contract).eval()


def five_cat(model: LatentModel, passed: bool, *, certified: bool = True, true_last: float = 0.47) -> dict[str, Any]:
    """Only what serving reads of a 5CAT."""
    gates = {gate: {"passed": passed or gate == "C", "why": f"{gate}."} for gate in "ABCDE"}
    return {
        "passed": passed,
        "certified": certified,
        "profiles": {
            "skill": {"passed": passed, "gates": gates},
            "original": {"passed": False, "gates": {**gates, "A": {"passed": False, "why": "A."}}},
        },
        "predictor": {
            "name": model.name,
            "dim": model.dim,
            "context": model.context,
            "horizon": model.horizon,
            "facets": list(model.facets),
            "parameters": model.parameter_count,
            "weights": weights_hash(model),
        },
    }


def small_run(folder: Path, passed: bool | None = True, model: LatentModel | None = None, **told: Any) -> Path:
    """A model folder with a 5CAT beside it; `passed` None: without one."""
    model = model or small_model(folder.name)
    save_model(model, folder)
    if passed is not None:
        write_json(folder / "5cat.json", five_cat(model, passed, **told))
    return folder
