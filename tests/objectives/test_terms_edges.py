"""Where terms go wrong: document ends, fed-back steps, shared candidates, half precision, zero vectors, bad fields."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from term_formulas import rollout
from term_scenes import (
    CONTEXT,
    DIM,
    GAPPED,
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

from segue.errors import InputError
from segue.objectives import TERMS, Pass
from segue.recipe import parse, read_fields
from segue.windows import windows_of
from segue.windows.batches import Batch, gather
from segue.windows.rows import Rows

FIELDS = {
    "directional": {"margin": 0.05},
    "directional_smooth": {"margin": 0.05, "gamma": 8},
    "directional_ratio": {"margin_gap": 0.05, "margin_ratio": 0.05},
    "anti_copy": {"margin": 0.01},
    "future": {"margin": 0.01},
    "rollout": {"steps": 3},
    "positive_floor": {"floor": 0.1},
    "info_nce": {"temperature": 0.07, "candidates": "batch+outside", "hard_negative": True},
}


@pytest.fixture
def store(make_store):
    return make_store(some_documents(), positions=some_positions())


@pytest.fixture
def batch(store) -> Batch:
    return gather(windows_of(store, np.arange(len(LENGTHS)), CONTEXT), Rows(store))


def pass_of(batch: Batch, raw: Tensor, **more: object) -> Pass:
    return Pass(raw_BD=raw, batch=batch, epoch=1, rows=Rows(batch.windows.store), **({"model": built("amn")} | more))


def nce(batch: Batch, **fields: object) -> Tensor:
    return TERMS["info_nce"](weight=1, temperature=0.5, **fields).per_window(pass_of(batch, generic_raw(batch)))


def test_future_leaves_out_the_last_two_windows_of_each_run(store, batch):
    """A window that ends a document has no such chunks: the next document's must not stand in."""
    first = np.concatenate([[0], np.cumsum(LENGTHS)])
    ends = [row - 1 for row in first[1:]] + [first[GAPPED] + 3]
    wanted = [not any(0 < end - row < 3 for end in ends) for row in batch.windows.last_W]
    kept = TERMS["future"](weight=1, margin=0.01).kept(pass_of(batch, generic_raw(batch)))
    assert kept.tolist() == wanted and 0 < sum(wanted) < len(wanted)


def test_future_of_windows_that_all_end_a_document_is_0_without_a_gradient(store, batch):
    at_the_end = batch.windows.take(batch.windows.later_W <= 2)
    ending = gather(at_the_end, Rows(store))
    raw = generic_raw(ending).requires_grad_()
    value = TERMS["future"](weight=1, margin=2).value(pass_of(ending, raw))
    value.backward()
    assert value.item() == 0 and not raw.grad.any()


@pytest.mark.parametrize("detached", [1, 2, 3])
@pytest.mark.parametrize("kind", ["amn", "transformer"])
def test_rollout_goes_through_every_step(detached, kind, batch):
    """A rollout whose fed-back predictions are detached has the same value and another gradient."""
    model = built(kind)
    TERMS["rollout"](weight=1, steps=4).value(Pass.of(model, batch, 1, Rows(batch.windows.store))).backward()
    ours = torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).double()
    whole, cheat = (_rollout_gradient(in_double(model), batch, step) for step in (None, detached))
    assert_near(ours, whole)
    assert float((cheat - whole).norm() / whole.norm()) > 0.01


def _rollout_gradient(model: nn.Module, batch: Batch, detached: int | None) -> Tensor:
    model.zero_grad()
    scene = scene_of(batch, some_documents(), model(batch.context_BCD.double()), model=model)
    rollout(scene, 4, detached=detached).backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def test_under_context_drop_the_rollouts_later_contexts_are_whole(batch):
    """p_1 is what the model made of the context it was shown; what is slid is what stands in the document."""
    model = built("amn")
    shown_BCD = batch.context_BCD.clone()
    shown_BCD[:, -1] = torch.nn.functional.normalize(torch.randn(len(batch), DIM), dim=-1)
    value = TERMS["rollout"](weight=1, steps=3).value(pass_of(batch, model(shown_BCD), model=model))
    model64 = in_double(model)
    scene = scene_of(batch, some_documents(), model64(shown_BCD.double()), model=model64)
    assert value.item() == pytest.approx(rollout(scene, 3).item(), rel=1e-5)


@pytest.mark.parametrize("candidates", ["batch", "batch+future"])
def test_a_window_that_stands_twice_is_not_its_own_negative(candidates, store, batch):
    """Two windows with one target row: to take it for a negative is to punish the right answer."""
    index = np.arange(len(batch))
    twice = gather(batch.windows.take(np.concatenate([index, index[:3]])), Rows(store))
    raw = generic_raw(batch)
    term = TERMS["info_nce"](weight=1, temperature=0.5, candidates=candidates)
    once_B = term.per_window(pass_of(batch, raw))
    twice_B = term.per_window(pass_of(twice, torch.cat([raw, raw[:3]])))
    torch.testing.assert_close(twice_B, torch.cat([once_B, once_B[:3]]))


def test_each_candidate_counts_once(batch):
    """All targets of a document are in its windows' batch already: its future adds nothing to them but the chunks
    that no window has as a target, and x_t is a target of the window before."""
    one = batch.windows.take(batch.windows.document_W == 3)
    whole = gather(one, Rows(batch.windows.store))
    torch.testing.assert_close(nce(whole, candidates="batch+future"), nce(whole, candidates="batch"))
    hard, plain = (nce(whole, candidates="batch", hard_negative=hard) for hard in (True, False))
    torch.testing.assert_close(hard[1:], plain[1:])  # x_t of the first window is nobody's target
    assert hard[0] > plain[0]


def test_the_last_window_of_a_document_has_nothing_to_tell_its_target_from(batch):
    last = batch.windows.later_W == 1
    value_B = nce(batch, candidates="future").numpy()
    # Of the gapped document's first run the last window has the second run as its pool.
    ends = last & ~((batch.windows.document_W == GAPPED) & (batch.windows.last_W < sum(LENGTHS[:GAPPED]) + 4))
    assert np.abs(value_B[ends]).max() < 1e-6 and value_B[~ends].min() > 1e-3


@pytest.mark.parametrize("name", ["info_nce", "next_vs_prev", "anti_copy", "future", "directional_ratio"])
def test_under_autocast_terms_compute_in_float32(name, batch):
    """A cosine in bfloat16 comes in steps of .004: a sixteenth of a margin of .06, and at τ = .07 far more."""
    term = TERMS[name](weight=1, **FIELDS.get(name, {}))
    torch.manual_seed(0)
    head = term.head(DIM)
    heads = nn.ModuleDict({} if head is None else {"next_vs_prev": head})
    found = []
    for enabled in (False, True):
        raw = generic_raw(batch).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            value = term.value(pass_of(batch, raw, heads=heads))
        value.backward()
        found.append((value.detach(), raw.grad))
    assert found[0][0].dtype == torch.float32 and torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


OF_A_HEAD = ("residual_size", "next_vs_prev", "energy", "next_code")  # not of the output alone


@pytest.mark.parametrize("name", [name for name in TERMS if name not in OF_A_HEAD])
def test_finite_for_an_output_of_0_and_one_that_is_the_target(name, batch):
    """‖r‖ = 0 has no direction, and a hinge met exactly no slope: neither may make a NaN."""
    raw = generic_raw(batch)
    raw[0], raw[1], raw[2] = 0, batch.target_BD[1], batch.context_BCD[2, -1]
    raw.requires_grad_()
    value = TERMS[name](weight=1, **FIELDS.get(name, {})).value(pass_of(batch, raw))
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(raw.grad).all()


def test_a_learned_temperature_is_the_fixed_one_until_it_moves_and_moves_towards_what_fits(batch):
    """Its value and gradient are those of a fixed one a little to either side: dL/dlog τ by differences."""
    raw = generic_raw(batch)

    def value(temperature: float, learned: bool = False) -> torch.Tensor:
        term = TERMS["info_nce"](weight=1, temperature=temperature, candidates="future", learned=learned)
        heads.update({} if (head := term.head(DIM)) is None else {"info_nce": head})
        return term.value(pass_of(batch, raw, heads=heads))

    heads = nn.ModuleDict()
    fixed, learned = value(0.2), value(0.2, learned=True)
    assert learned.item() == pytest.approx(fixed.item(), rel=1e-6)
    learned.backward()
    by_difference = (value(0.2 * np.exp(1e-2)) - value(0.2 * np.exp(-1e-2))) / 2e-2
    assert heads["info_nce"].log.grad.item() == pytest.approx(by_difference.item(), rel=1e-3)
    assert TERMS["info_nce"](weight=1, temperature=0.2, candidates="future").head(DIM) is None


def test_info_nce_is_finite_at_a_temperature_that_overflows_an_exponential(batch):
    raw = generic_raw(batch).requires_grad_()
    value = TERMS["info_nce"](weight=1, temperature=1e-3, candidates="batch").value(pass_of(batch, raw))
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(raw.grad).all() and raw.grad.any()


@pytest.mark.parametrize(
    ("term", "fields", "told"),
    [
        ("directional", {}, "lacks 'objective.directional.margin'"),
        ("directional", {"margin": 2.5}, "a margin between two cosines of 2.5"),
        ("directional", {"margin": {1: 0.1, 5: -2}}, "a margin between two cosines of -2"),
        ("directional_smooth", {"margin": 0.02, "gamma": 0}, "objective.directional_smooth.gamma: found 0"),
        ("directional_ratio", {"margin_gap": 0.02, "margin_ratio": 1.5}, "a margin of a ratio of 1.5"),
        ("positive_floor", {"floor": 1.5}, "a cosine of 1.5"),
        ("rollout", {"steps": 1}, "objective.rollout.steps: found 1"),
        ("rollout", {"step": 3}, "unknown key 'objective.rollout.step'. Did you mean \"steps\"?"),
        ("info_nce", {"temperature": 0, "candidates": "batch"}, "objective.info_nce.temperature: found 0"),
        ("info_nce", {"temperature": 0.07, "candidates": "document"}, "'batch', 'future', 'outside'"),
        ("next_vs_prev", {"hidden": 0}, "objective.next_vs_prev.hidden: found 0"),
    ],
)
def test_a_recipe_with_a_field_that_cannot_be_is_refused(term, fields, told):
    base = read_fields("p1")
    with pytest.raises(InputError) as refusal:
        parse({**base, "objective": {**base["objective"], term: {"weight": 0.1, **fields}}}, "mine")
    assert told in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize(("head", "without"), [({"noise": 4}, "next_code"), ({"codes": 8}, "energy")])
def test_a_whole_recipe_of_terms_reads_back_as_it_was_written(head, without):
    base = {**read_fields("p1"), "model": {"family": "causal", "residual": 0.5, **head}}
    terms = {name: {"weight": {1: 0.1, 4: 0.2}, **FIELDS.get(name, {})} for name in TERMS if name != without}
    recipe = parse({**base, "objective": terms}, "mine")
    assert parse(recipe.to_json(), "mine") == recipe


def test_fields_are_not_shared_with_what_was_passed_in():
    with pytest.raises(ValidationError):
        TERMS["rollout"](weight=1, steps=3).steps = 1
