"""What the generative head's samples are like: spread, calibration, copying, and whether a rollout freezes.

    python benchmarks/onward_samples.py runs/onward/samples-seed0 --data runs/onward/data/documents

On VAL (documents 700–799), 500 windows. Beside the samples what they should be like: the corpus's own chunks; and the
model's own prediction, which is one vector.

Legend: B windows, M samples, P probes, S steps, D width.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from onward_study import PARTS, part_of
from segue.alignment.forwards import contexts
from segue.artifacts import write_json
from segue.geometry import normalise
from segue.models import load_model
from segue.models.causal import Causal
from segue.vectors import Store
from segue.windows import Windows
from segue.windows.rows import Rows

SAMPLES, STEPS, PROBES, WINDOWS = 99, 10, 32, 500
TEMPERATURES = (0.5, 1.0, 1.5)


def calibration(sample_BMD: Tensor, target_BD: Tensor, probe_PD: Tensor) -> dict[str, float]:
    """Where the truth ranks among the samples, along probes (other chunks) and by nearness to the samples' centre.

    Rank / (M + 1) is even on 0 … 1 where the truth is distributed as the samples are. `off` is the mean distance of
    its ten deciles' shares from .1; `mean` .5 where no side is preferred.
    """
    centre_BD = normalise(sample_BMD.mean(1))
    own = {
        "probes": (sample_BMD @ probe_PD.T, target_BD @ probe_PD.T),
        "centre": ((sample_BMD @ centre_BD[..., None]), (target_BD * centre_BD).sum(-1, keepdim=True)),
    }
    told = {}
    for name, (sample_BMP, target_BP) in own.items():
        rank_N = ((sample_BMP < target_BP[:, None]).sum(1) + 0.5).flatten().numpy() / (sample_BMP.shape[1] + 1)
        share_10 = np.histogram(rank_N, bins=10, range=(0, 1))[0] / len(rank_N)
        told |= {f"{name}: off": float(abs(share_10 - 0.1).mean()), f"{name}: mean": float(rank_N.mean())}
    return told


def spread(vector_BMD: Tensor) -> float:
    """Mean cosine of two different ones of the same window."""
    among_BMM = vector_BMD @ vector_BMD.transpose(1, 2)
    count = vector_BMD.shape[1]
    return float((among_BMM.sum((1, 2)) - count).mean() / (count * (count - 1)))


def paraphrasing(vector_BMD: Tensor, context_BCD: Tensor, target_BD: Tensor) -> float:
    """PAR (SPEC §2), the mean over samples too."""
    own_B = torch.einsum("bd,bcd->bc", target_BD, context_BCD).amax(1)
    nearest_B = torch.einsum("bmd,bcd->bmc", vector_BMD, context_BCD).amax(2).mean(1)
    return float((nearest_B / own_B)[own_B > 0].mean())


def adjacent(path_BSD: Tensor) -> float:
    """Mean cosine of neighbours along a rollout, the last chunk read before it."""
    return float((path_BSD[:, 1:] * path_BSD[:, :-1]).sum(-1).mean())


def rolled(model: Causal, context_BLD: Tensor, temperature: float, draw: torch.Generator) -> Tensor:
    """Each step one sample, read by the next: (B, L, D) → (B, 1 + S, D), the last chunk first."""
    length = context_BLD.shape[1]
    for _ in range(STEPS):
        context_BLD = torch.cat([context_BLD, model.samples(context_BLD, 1, temperature, draw)], 1)
    return context_BLD[:, length - 1 :]


def gathered(model: Causal, windows: Windows, rows: Rows, made: dict[str, list[Tensor]]) -> dict[str, Tensor]:
    """All that is measured, block by block of contexts of one length."""
    draw = torch.Generator().manual_seed(0)
    for at, context_BLD in contexts(windows, model.reach, rows):
        found = {"context": context_BLD[:, -windows.context :], "target": rows(windows.target_rows()[at])}
        found["prediction"] = model.predict(context_BLD)[:, None]
        found["rolled prediction"] = torch.cat([context_BLD[:, -1:], model.generate(context_BLD, STEPS)], 1)
        for temperature in TEMPERATURES:
            found[f"samples, {temperature:g}"] = model.samples(context_BLD, SAMPLES, temperature, draw)
            found[f"rolled, {temperature:g}"] = rolled(model, context_BLD, temperature, draw)
        for name, its in found.items():
            made.setdefault(name, []).append(its)
    return {name: torch.cat(its) for name, its in made.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, store = load_model(options.run), Store(options.data)
    assert isinstance(model, Causal)
    rows, windows = Rows(store), part_of(store, "VAL", PARTS["VAL"]).windows.sample(WINDOWS, seed=0)
    made = gathered(model, windows, rows, {})
    probe_PD = rows(np.random.default_rng(0).choice(int(store.first_row_G[700]), PROBES, replace=False))
    target_BD, context_BCD = made["target"], made["context"]
    told = {
        "corpus": {
            "adjacent": float((context_BCD[:, -1] * target_BD).sum(-1).mean()),
            "PAR": paraphrasing(target_BD[:, None], context_BCD, target_BD),
        },
        "prediction": {
            "adjacent": adjacent(made["rolled prediction"]),
            "PAR": paraphrasing(made["prediction"], context_BCD, target_BD),
        },
    }
    for temperature in TEMPERATURES:
        sample_BMD = made[f"samples, {temperature:g}"]
        told[f"samples, temperature {temperature:g}"] = {
            "adjacent": adjacent(made[f"rolled, {temperature:g}"]),
            "PAR": paraphrasing(sample_BMD, context_BCD, target_BD),
            "spread": spread(sample_BMD),
            "cos of a sample to the target": float((sample_BMD @ target_BD[..., None]).mean()),
            "cos of their mean": float((normalise(sample_BMD.mean(1)) * target_BD).sum(-1).mean()),
            **calibration(sample_BMD, target_BD, probe_PD),
        }
    write_json(options.run / "samples.json", told)
    for name, its in told.items():
        print(f"{name}: " + "  ".join(f"{what} {value:.3f}" for what, value in its.items()))


if __name__ == "__main__":
    main()
