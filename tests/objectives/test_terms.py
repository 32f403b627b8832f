"""Every term: its value and its gradient against SPEC §8 written out window by window in float64."""

import numpy as np
import pytest
import torch
from term_formulas import FORMULAS
from term_scenes import (
    CONTEXT,
    DIM,
    LENGTHS,
    assert_near,
    built,
    generic_raw,
    in_double,
    scene_of,
    some_documents,
    some_positions,
)
from torch import Tensor, nn

from segue.models import LatentModel, build_model
from segue.objectives import TERMS, Pass, Term
from segue.vectors import Space
from segue.windows import windows_of
from segue.windows.batches import Batch, gather
from segue.windows.rows import Rows

EPOCH = 3

# id → (term, its fields as a recipe has them, the formula's fields at EPOCH)
CASES = {
    "mse": ("mse", {}, {}),
    "cosine": ("cosine", {}, {}),
    "directional": ("directional", {"margin": {1: 0.9, 3: 0.05}}, {"margin": 0.05}),
    "directional_smooth": ("directional_smooth", {"margin": {1: 0, 2: 0.04}, "gamma": 8}, {"margin": 0.04, "gamma": 8}),
    "directional_ratio": (
        "directional_ratio",
        {"margin_gap": {1: 0.02, 3: 0.06}, "margin_ratio": {1: 0.2, 2: 0.05}},
        {"margin_gap": 0.06, "margin_ratio": 0.05},
    ),
    "anti_copy": ("anti_copy", {"margin": 0.01}, {"margin": 0.01}),
    "future": ("future", {"margin": {1: 0.5, 3: 0.008}}, {"margin": 0.008}),
    "rollout": ("rollout", {"steps": 3}, {"steps": 3}),
    "rollout of 2": ("rollout", {"steps": 2}, {"steps": 2}),
    "rollout of 5": ("rollout", {"steps": 5}, {"steps": 5}),
    "positive_floor": ("positive_floor", {"floor": {1: 0.9, 3: 0.12}}, {"floor": 0.12}),
    "unit_norm": ("unit_norm", {}, {}),
    "orthogonality": ("orthogonality", {}, {}),
    "residual_size": ("residual_size", {}, {}),
    "next_vs_prev": ("next_vs_prev", {"hidden": 7}, {}),
    "energy of 2": ("energy", {"samples": 2}, {"samples": 2}),
    "energy of 5": ("energy", {"samples": 5}, {"samples": 5}),
    "next_code": ("next_code", {}, {}),
    **{
        f"info_nce, {candidates}{', hard' if hard else ''}": (
            "info_nce",
            {"temperature": 0.07, "candidates": candidates, "hard_negative": hard},
            {"temperature": 0.07, "candidates": candidates, "hard_negative": hard},
        )
        for candidates in ("batch", "future", "outside", "batch+future", "batch+outside")
        for hard in (False, True)
    },
}
HINGED = ("directional", "anti_copy", "future", "rollout", "positive_floor")


@pytest.fixture
def documents() -> list[np.ndarray]:
    return some_documents()


@pytest.fixture(params=[1, 2], ids=["h = 1", "h = 2"])
def batch(request, make_store, documents) -> Batch:
    """All windows, the last of each document among them, in no order."""
    store = make_store(documents, positions=some_positions())
    windows = windows_of(store, np.arange(len(LENGTHS)), CONTEXT, request.param)
    return gather(windows.take(np.random.default_rng(1).permutation(len(windows))), Rows(store))


@pytest.fixture(params=["amn", "transformer", "residual transformer"])
def model(request) -> LatentModel:
    return built(request.param)


def head_of(term: Term) -> nn.ModuleDict:
    torch.manual_seed(11)
    head = term.head(DIM)
    return nn.ModuleDict({} if head is None else {"next_vs_prev": head})


def samples_about(raw: Tensor, count: int = 5) -> Tensor:
    """Samples that hang on the raw output: (B, D) → (B, M, D) unit."""
    moved = torch.randn(count, raw.shape[1], generator=torch.Generator().manual_seed(8)).to(raw.dtype)
    about = raw[:, None] + moved
    return about / (about**2).sum(-1, keepdim=True) ** 0.5


def quantised() -> LatentModel:
    torch.manual_seed(3)
    return build_model("amn", Space("test", DIM), built("amn").options.model_copy(update={"codes": 5}), context=CONTEXT)


def logits_of(model: LatentModel, raw: Tensor) -> Tensor | None:
    return None if model.codes is None else model.codes.logit(raw)


def made_of(case: str, batch: Batch, raw: Tensor, **more: object) -> tuple[Term, Pass]:
    name, fields, _ = CASES[case]
    term = TERMS[name](weight=1, **fields)
    return term, Pass(raw_BD=raw, batch=batch, epoch=EPOCH, rows=Rows(batch.windows.store), **more)


def test_every_term_has_a_formula_and_a_case():
    assert set(FORMULAS) == set(TERMS) == {name for name, *_ in CASES.values()}


@pytest.mark.parametrize("case", CASES)
def test_value_and_gradient_on_the_raw_output(case, batch, documents):
    model = quantised() if case == "next_code" else built("amn")
    leaf = generic_raw(batch).requires_grad_()
    delta = (0.5 * generic_raw(batch).flip(0)).requires_grad_()
    name, fields, at_epoch = CASES[case]
    heads = head_of(TERMS[name](weight=1, **fields))
    drawn = samples_about(leaf)
    term, made = made_of(
        case,
        batch,
        leaf,
        model=model,
        heads=heads,
        delta_BD=delta,
        drawn=lambda count: drawn[:, :count],
        logits_BK=logits_of(model, leaf),
    )
    value = term.value(made)
    value.backward()

    raw64 = leaf.detach().double().requires_grad_()
    delta64 = delta.detach().double().requires_grad_()
    head64 = in_double(next(iter(heads.values()), None))
    model64 = in_double(model)
    scene = scene_of(
        batch,
        documents,
        raw64,
        model=model64,
        head=head64,
        delta=delta64,
        drawn=samples_about(raw64),
        logits=logits_of(model64, raw64),
    )
    wanted = FORMULAS[name](scene, **at_epoch)
    wanted.backward()
    assert value.item() == pytest.approx(wanted.item(), rel=1e-5)
    ours, theirs = (delta, delta64) if name == "residual_size" else (leaf, raw64)
    assert_near(ours.grad, theirs.grad)
    if name in HINGED:
        assert min(scene.hinges) < -0.005 and max(scene.hinges) > 0.005, "both sides of the hinge"


@pytest.mark.parametrize("case", CASES)
def test_gradient_on_the_model_and_on_the_head(case, batch, documents, model):
    """Through the network, whatever a term asks of it: another forward, its delta, a head."""
    name, fields, at_epoch = CASES[case]
    term = TERMS[name](weight=1, **fields)
    heads = head_of(term)
    made = Pass.of(model, batch, EPOCH, Rows(batch.windows.store), heads)
    if fault := term.fault(model.options):
        wanted = {"residual_size": "model.residual", "energy": "model.noise", "next_code": "model.codes"}[name]
        assert wanted in fault and (name in ("energy", "next_code") or model.alpha is None)
        return
    term.value(made).backward()

    model64, context64 = in_double(model), batch.context_BCD.double()
    heads64 = in_double(heads)
    raw64 = model64(context64)
    delta64 = None if model.alpha is None else (raw64 - context64[:, -1]) / model64.alpha
    head64 = next(iter(heads64.values()), None)
    FORMULAS[name](scene_of(batch, documents, raw64, model=model64, head=head64, delta=delta64), **at_epoch).backward()
    ours, wanted = (
        torch.cat([_gradient(parameter) for parameter in [*m.parameters(), *h.parameters()]])
        for m, h in ((model, heads), (model64, heads64))
    )
    assert float(wanted.norm()) > 1e-3
    assert_near(ours, wanted)


def _gradient(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter).flatten() if parameter.grad is None else parameter.grad.flatten()


@pytest.mark.parametrize("name", TERMS)
def test_each_term_says_what_it_is(name):
    assert all(word in (TERMS[name].__doc__ or "") for word in ("value ", "inputs ", "gradient ", "source "))
