"""`segue certify`: the harness on worlds whose answers are known, before anybody quotes it.

Two worlds (SPEC §6), rotation with an arrow and noise, AR(1) without an arrow, each with a gap and repeated chunks
planted, at horizons 1 and 2. On each: every fact of `certification`, then the verdicts that are known.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from segue.alignment.certification import Fact, facts_of
from segue.alignment.figures import Figures
from segue.alignment.fivecat import controls_for, five_cat, part_of, summarise
from segue.alignment.measure import Part, measure
from segue.alignment.worlds import ar1_world, rotation_world
from segue.models.controls import ReadAvoider
from segue.models.fitting import fit_controls
from segue.models.predictor import Predictor
from segue.progress import Progress, silent
from segue.vectors import Space, Store, write_store
from segue.windows import Windows, split_by_ranges, windows_of

DOCUMENTS, LENGTH, DIM = 60, 30, 16
SPLIT = {"train": "0-39", "val": "40-49", "ood": "50-59"}


def _rotation() -> list[np.ndarray]:
    return rotation_world(DOCUMENTS, LENGTH, DIM, noise=1.2, seed=1)


def _ar1() -> list[np.ndarray]:
    return ar1_world(DOCUMENTS, LENGTH, DIM, seed=1)


WORLDS: dict[str, Callable[[], list[np.ndarray]]] = {"rotation": _rotation, "ar1": _ar1}


@dataclass(frozen=True)
class Certified:
    """Facts by world: `rotation, h 1 on VAL` → facts."""

    facts: dict[str, list[Fact]]

    @property
    def holds(self) -> bool:
        return all(fact.holds for facts in self.facts.values() for fact in facts)


def certify(device: str = "cpu", progress: Progress = silent) -> Certified:
    """Run the controls through the harness in every known world and check each result."""
    facts: dict[str, list[Fact]] = {}
    cases = [(name, horizon) for name in WORLDS for horizon in (1, 2)]
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, horizon) in enumerate(cases):
            progress("certifying", number, len(cases), "worlds")
            store = world_store(Path(folder) / name, WORLDS[name]()) if horizon == 1 else Store(Path(folder) / name)
            facts |= _certify_world(f"{name}, h {horizon}", store, horizon, device)
        progress("certifying", len(cases), len(cases), "worlds")
    return Certified(facts)


def world_store(path: Path, documents: list[np.ndarray]) -> Store:
    """A world as a store, with what trips harnesses planted: repeated chunks, and gaps in the positions."""
    documents = [document.copy() for document in documents]
    positions = [np.arange(len(document)) for document in documents]
    for document in documents[::4]:
        document[20] = document[12]  # the same chunk twice: ties among the candidates
    for position in positions[1::5]:
        position[15:] += 3  # three chunks lost: no window crosses
    lengths = np.array([len(document) for document in documents])
    vectors_ND = np.concatenate(documents).astype(np.float32)
    return write_store(
        path,
        vectors_ND=vectors_ND,
        chunks=pa.table(
            {
                "document": np.repeat(np.arange(len(documents)), lengths),
                "position": np.concatenate(positions),
                "text": pa.nulls(len(vectors_ND), pa.string()),
                "section": pa.nulls(len(vectors_ND), pa.string()),
            }
        ),
        documents=pa.table(
            {
                "id": [str(i) for i in range(len(documents))],
                "title": pa.nulls(len(documents), pa.string()),
                "first_row": np.concatenate([[0], np.cumsum(lengths)[:-1]]),
                "length": lengths,
            }
        ),
        space=Space(encoder="world", dim=vectors_ND.shape[1]),
        made_by="segue certify",
        source={"name": "a known world"},
    )


def _certify_world(name: str, store: Store, horizon: int, device: str) -> dict[str, list[Fact]]:
    split = split_by_ranges(store, **SPLIT)
    documents = {part: split.documents(store, part) for part in ("train", "VAL", "OOD")}
    every = {part: windows_of(store, its, 5, horizon) for part, its in documents.items()}
    parts = {part: part_of(part, every[part], documents[part]) for part in ("VAL", "OOD")}
    fitted = fit_controls(every["train"], every["VAL"], device)
    facts: dict[str, list[Fact]] = {}
    controls = {}
    for part in parts:
        controls[part] = controls_for(fitted, every[part], device)
        # Judged by a predictor that reads the whole document: the pool `unseen` must lack all of it, for everybody.
        avoider: dict[str, Predictor] = {"read_avoider": ReadAvoider(DIM, 5, horizon)}
        found = _figures({**avoider, **controls[part]}, parts[part], device)
        facts[f"{name} on {part}"] = facts_of(found, controls[part], parts[part], reach=None)
    facts[f"{name}: verdicts"] = _verdicts(controls, parts, fitted, every, device)
    return facts


def _figures(predictors: dict[str, Predictor], part: Part, device: str) -> dict[str, Figures]:
    measured = measure(predictors, part, device=device)
    reach = next(iter(predictors.values())).reach
    return summarise(list(predictors), measured, part.windows, reach)


def _verdicts(
    controls: dict[str, dict[str, Predictor]],
    parts: dict[str, Part],
    fitted: dict[str, Predictor],
    every: dict[str, Windows],
    device: str,
) -> list[Fact]:
    """Who passes and who fails profile `skill` here, whatever the figures."""
    horizon = parts["VAL"].windows.horizon
    judged: dict[str, dict[str, Predictor]] = {
        "oracle": {part: controls[part]["oracle"] for part in parts},
        "late_oracle": {part: controls[part]["late_oracle"] for part in parts},
        "copy_last": dict.fromkeys(parts, fitted["copy_last"]),
        "read_avoider": dict.fromkeys(parts, ReadAvoider(DIM, 5, horizon)),
    }
    facts = []
    for name, its in judged.items():
        result = five_cat(its, parts, fitted, every, device=device)
        gate = result["profiles"]["skill"]["gates"]["B"]["passed"]
        wanted = name == "oracle"
        told = f"{name}: {'passes' if wanted else 'fails'} gate B of profile skill"
        facts.append(Fact(told, float(wanted), float(gate), 0, "a cheat called skilful, or a perfect answer refused"))
    return facts
