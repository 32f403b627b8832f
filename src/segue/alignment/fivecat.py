"""5CAT, the five causal alignment tests: measure, summarise, judge, and say it in one JSON value (DESIGN)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from segue.alignment.beside import controls_beside
from segue.alignment.certification import Fact, facts_of
from segue.alignment.compare import Measured
from segue.alignment.figures import Figures, figures
from segue.alignment.gates import Evidence, all_passed, judge
from segue.alignment.legacy import with_legacy
from segue.alignment.measure import Part, measure_judged
from segue.alignment.profiles import Profiles, choose_profiles
from segue.alignment.rollouts import Reencoder
from segue.errors import InputError
from segue.models import LatentModel
from segue.models.controls import ATTAINABLE, UNATTAINABLE, Random, know_answers
from segue.models.kept import Cache
from segue.models.precision import chosen
from segue.models.predictor import Predictor
from segue.models.saved import weights_hash
from segue.progress import Progress, silent
from segue.statistics import DocumentBootstrap
from segue.windows import Windows
from segue.windows.rows import Rows

SAMPLES = 5000
MINI_SAMPLES = 500
FEW_DOCUMENTS = 30
LIFTS = {
    "cos": ("cos",),
    "mrr_future": ("retrieval", "future", "mrr"),
    "direction": ("direction",),
    "rollout_mrr": ("rollout", "mrr"),
    "snapped_mrr": ("rollout", "snapped", "mrr"),
    "contrastive": ("contrastive", "paper"),
    "kendall_tau": ("ordering", "kendall_tau"),
    "perfect_match": ("ordering", "perfect_match"),
    "binary": ("ordering", "binary"),
}


def part_of(name: str, windows: Windows, documents: np.ndarray, samples: int = SAMPLES, seed: int = 0) -> Part:
    """A part to judge: at most `samples` of its windows, drawn over all its documents.

    Raises InputError when no document is long enough for a window.
    """
    if not len(windows):
        length = windows.context + windows.horizon
        raise InputError(
            f"{windows.store.path}: none of the {len(documents)} {name} documents has {length} chunks in a row, "
            f"so there is no window to judge. Chunk more finely or give {name} longer documents."
        )
    return Part(name, windows.sample(samples, seed), documents)


def controls_for(
    fitted: Mapping[str, Predictor], windows: Windows, device: str = "cpu", seed: int = 0
) -> dict[str, Predictor]:
    """All controls of SPEC §6 for one part: those fitted on train, and those that know the part's answers.

    windows   all windows of the part, not a sample: the oracle must recognise what a rollout leads to
    """
    mean_D = fitted["corpus_mean"].predict(Rows(windows.store, device)(windows.context_rows()[:1]))[0]
    # Its own for each part, so that what is drawn on one does not depend on what was measured before.
    random = Random(windows.store.dim, windows.context, windows.horizon)
    return {**fitted, "random": random, **know_answers(windows, Rows(windows.store, device), mean_D, seed)}


@dataclass(frozen=True)
class Tested:
    """One part: figures of the judged predictor and of the controls, what is known of these, whether they were kept."""

    figures: Figures
    controls: dict[str, Figures]
    facts: list[Fact]
    kept: bool


def tested(
    judged: Predictor,
    part: Part,
    fitted: Mapping[str, Predictor],
    every: Windows,
    *,
    device: str = "cpu",
    seed: int = 0,
    legacy: bool = False,
    reencoder: Reencoder | None = None,
    progress: Progress = silent,
    kept: Cache | None = None,
) -> Tested:
    """Measure a predictor and the controls on a part, and check the controls' figures against what is known of them.

    legacy   the original harness's figures too
    """

    def controls() -> dict[str, Predictor]:
        return controls_for(fitted, every, device, seed)

    own = measure_judged(judged, part, device=device, seed=seed, reencoder=reencoder, progress=progress)
    measured, were_kept = controls_beside(
        judged,
        part,
        fitted,
        every,
        controls,
        device=device,
        seed=seed,
        reencoder=reencoder,
        progress=progress,
        kept=kept,
    )
    names = ["", *dict.fromkeys([*fitted, *UNATTAINABLE])]
    found = summarise(names, own.beside(measured), part.windows, judged.reach, seed)
    facts = facts_of(found, fitted, part, judged.reach)
    if legacy:
        everyone = {"": judged, **controls()}
        found = {name: with_legacy(found[name], everyone[name], part, device) for name in names}
    return Tested(found.pop(""), found, facts, were_kept)


def five_cat(
    judged: Mapping[str, Predictor],
    parts: Mapping[str, Part],
    fitted: Mapping[str, Predictor],
    every_window: Mapping[str, Windows],
    *,
    profile: str | Profiles = "skill",
    device: str = "cpu",
    seed: int = 0,
    reencoder: Reencoder | None = None,
    progress: Progress = silent,
    kept: Cache | None = None,
) -> dict[str, Any]:
    """The full 5CAT of one predictor beside all controls.

    judged         the predictor for each part: the same one, but for controls that know a part's answers
    parts          `VAL` and, where there is one, `OOD` (`part_of`)
    fitted         the attainable controls (`segue.models.fitting.fit_controls`)
    every_window   all windows of each part, for the controls that know the answers
    profile        whose verdict counts; the others of `choose_profiles` are judged and reported beside it
    reencoder      a decoder and an encoder, for the rollout through text
    kept           where the controls' figures are kept for the next predictor; None: measured now
    → the value of `5cat.json` without its `data`, which the caller knows. Raises InputError for an unknown profile.
    """
    profiles = choose_profiles(profile) if isinstance(profile, str) else profile
    predictor = judged["VAL"]
    found = {
        name: tested(
            judged[name],
            part,
            fitted,
            every_window[name],
            device=device,
            seed=seed,
            legacy=profiles.needs_legacy,
            reencoder=reencoder,
            progress=progress,
            kept=kept,
        )
        for name, part in parts.items()
    }
    controls = {
        control: {name: its.controls[control] for name, its in found.items()} for control in found["VAL"].controls
    }
    judged_figures = {name: its.figures for name, its in found.items()}
    evidence = Evidence(judged_figures, controls, predictor.facets, predictor.horizon)
    return {
        **_said_of(predictor, evidence, profiles, device),
        # The controls' figures on this very data, against arithmetic that shares no code with the harness.
        "certified": all(fact.holds for its in found.values() for fact in its.facts),
        "certification": {name: [fact.to_json() for fact in its.facts] for name, its in found.items()},
        "kept": {name: its.kept for name, its in found.items()},
    }


def _precision(predictor: Predictor, device: str) -> str | None:
    """What a network computed in; None of what is none, and computes as it does."""
    asked = getattr(predictor, "precision", None)
    return None if asked is None else chosen(asked, torch.device(device))


def _said_of(predictor: Predictor, evidence: Evidence, profiles: Profiles, device: str) -> dict[str, Any]:
    """Verdicts, figures and lifts of the judged predictor, and the controls'."""
    figures_of, controls = evidence.judged, evidence.controls
    verdicts = _verdicts(evidence, profiles)
    return {
        "profile": profiles.chosen,
        "passed": verdicts[profiles.chosen]["passed"],
        "gates": verdicts[profiles.chosen]["gates"],
        "profiles": verdicts,
        "predictor": {
            "name": predictor.name,
            "dim": predictor.dim,
            "context": predictor.context,
            "horizon": predictor.horizon,
            "facets": list(predictor.facets),
            "parameters": getattr(predictor, "parameter_count", None),
            "precision": _precision(predictor, device),
            "weights": weights_hash(predictor) if isinstance(predictor, LatentModel) else None,
        },
        "splits": {part: figures_of[part].to_json() if part in figures_of else None for part in ("VAL", "OOD")},
        "controls": {
            name: {
                "attainable": name in ATTAINABLE,
                # What each gate says of a control, asked of the facets that the judged predictor claims.
                "gates": _passes(replace(evidence, judged=its), profiles),
                **{part: its[part].to_json() for part in its},
            }
            for name, its in controls.items()
        },
        "lifts": {part: _lifts(evidence, part) for part in figures_of},
        "generalisation": {
            "cos": evidence.cos_gap().to_json(),
            "bins": {name: evidence.cos_gap(("bins", name)).to_json() for name in ("low", "normal", "high")},
        },
    }


def _verdicts(evidence: Evidence, profiles: Profiles) -> dict[str, Any]:
    """Every profile's outcome, with what it is about and what its gates ask: a result explains itself."""
    verdicts: dict[str, Any] = {}
    for name, profile in profiles.rules.items():
        gates = judge(profile, evidence)
        verdicts[name] = {
            "passed": all_passed(gates),
            "about": profile["about"],
            "gates": {gate: {**vars(gates[gate]), "asks": profile["gates"].get(gate, [])} for gate in gates},
        }
    return verdicts


def _passes(evidence: Evidence, profiles: Profiles) -> dict[str, dict[str, bool | None]]:
    """Profile → gate → whether it passes."""
    return {
        name: {gate: outcome.passed for gate, outcome in judge(profile, evidence).items()}
        for name, profile in profiles.rules.items()
    }


def summarise(
    names: list[str], measured: Measured, windows: Windows, judged_reach: int | None, seed: int = 0
) -> dict[str, Figures]:
    """Figures of every measured predictor, all from the same resamples of the documents."""
    bootstrap = DocumentBootstrap(windows.document_W, seed=seed)
    return {name: figures(measured, p, windows, bootstrap, judged_reach) for p, name in enumerate(names)}


def _lifts(evidence: Evidence, part: str) -> dict[str, Any]:
    """Paired differences to the best attainable control, for the metrics verdicts rest on."""
    lifts: dict[str, Any] = {}
    for name, path in LIFTS.items():
        if path not in evidence.judged[part]:
            lifts[name] = None
            continue
        control, lift = evidence.lift(path, part, "rank_weights" if name == "direction" else "attainable")
        lifts[name] = {**lift.to_json(), "against": control}
    return lifts


def warnings_of(parts: Mapping[str, Part]) -> list[str]:
    """What a reader must know before quoting the figures."""
    said = []
    for name, part in parts.items():
        documents = len(part.windows.documents)
        if documents < FEW_DOCUMENTS:
            said.append(f"{name} has windows from {documents} documents; below {FEW_DOCUMENTS} intervals are wide.")
    return said


def mini_5cat(
    predictor: Predictor, val: Windows, device: str = "cpu", samples: int = MINI_SAMPLES, seed: int = 0
) -> dict[str, float | None]:
    """Tests A and B on a sample of VAL, for each epoch's history: metric → value, None where not computed."""
    windows = val.sample(samples, seed)
    part = Part("VAL", windows, windows.documents)
    measured = measure_judged(predictor, part, device=device, only_whole=True, seed=seed)
    found = figures(measured, 0, windows, DocumentBootstrap(windows.document_W, resamples=0), predictor.reach)
    paths = {
        **{name: (name,) for name in ("cos", "margin", "margin_last", "win_last", "direction", "peak")},
        **{f"{name}_future": ("retrieval", "future", name) for name in ("mrr", "r1", "r5")},
    }
    return {name: found.result(path).value for name, path in paths.items()}
