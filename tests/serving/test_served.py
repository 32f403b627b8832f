"""Models in memory: the answers are the model's own, whatever else is in the batch; the registry is followed."""

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import SPACE, small_model, small_run

from segue.errors import InputError
from segue.models import LatentModel, save_model
from segue.models.steered import Steered
from segue.serving import registry
from segue.serving.served import ContextError, Question, ServedModel, answer, load_served
from segue.serving.shelf import (
    DeprecatedModelError,
    LoadingModelError,
    Served,
    UnknownModelError,
    named_runs,
    shelf_of_registry,
    shelf_of_runs,
)


def served(model: LatentModel) -> ServedModel:
    return ServedModel(model.name, Path("nowhere"), "", model)


def contexts(n: int, length: int, seed: int = 0) -> np.ndarray:
    """(n, length, D) float32 unit vectors."""
    drawn = np.random.default_rng(seed).standard_normal((n, length, SPACE.dim))
    return (drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("family", ["transformer", "gru", "amn", "causal"])
def test_a_question_is_answered_to_the_bit_as_the_model_predicts(family: str):
    model = small_model(family=family)
    context_BLD = contexts(7, 5)
    alone = answer([Question(served(model), context_BLD[0])])[0]
    assert np.array_equal(alone.prediction_D, model.predict(torch.from_numpy(context_BLD[:1]))[0].numpy())
    its = served(model)
    together = answer([Question(its, context_LD) for context_LD in context_BLD])
    expected_BD = model.predict(torch.from_numpy(context_BLD)).numpy()
    assert np.array_equal(np.stack([one.prediction_D for one in together]), expected_BD)


def test_mixed_models_lengths_and_steerings_do_not_meet():
    """A batch that loses the order, or takes one question's β, length or model for another's."""
    models = [served(small_model("a", 1)), served(small_model("b", 2)), served(small_model("c", 3, "causal"))]
    questions = []
    for i in range(60):
        its = models[i % 3]
        length = 5 if its.model.reach else 1 + i % 7
        questions.append(Question(its, contexts(1, length, seed=i)[0], steering=(0.0, 0.3, 0.7)[i % 4 % 3]))
    for question, found in zip(questions, answer(questions), strict=True):
        raw_D = question.served.model.predict_with_raw(torch.from_numpy(question.context_LD)[None])[1][0].double()
        last_D = question.context_LD[-1].astype(np.float64)
        expected_D = raw_D.numpy() - question.steering * last_D
        expected_D /= np.linalg.norm(expected_D)
        assert found.prediction_D == pytest.approx(expected_D, abs=2e-6)
        assert found.cosine_last == pytest.approx(expected_D @ last_D / np.linalg.norm(last_D), abs=2e-6)


def test_what_a_model_cannot_read():
    fixed, causal = served(small_model("fixed")), served(small_model("causal", family="causal"))
    good = contexts(1, 5)[0]
    for its, context_LD, code, told in (
        (fixed, good[:, :15], "wrong_width", "15 wide, fixed wants 16"),
        (fixed, good[:4], "context_too_short", "found 4 chunks, fixed wants 5"),
        (fixed, contexts(1, 6)[0], "context_too_long", "found 6 chunks, fixed wants 5"),
        (causal, good[:0], "context_too_short", "found 0 chunks, causal wants 1 to 1,024"),
        (causal, contexts(1, 1025)[0], "context_too_long", "found 1,025 chunks"),
        (fixed, 2 * good, "not_unit", "has length 2"),
        (fixed, 0 * good, "not_unit", "has length 0"),
        (fixed, good * np.float32(np.inf), "not_finite", "found NaN, infinity"),
        (fixed, good * np.float32(np.nan), "not_finite", "found NaN, infinity"),
    ):
        with pytest.raises(ContextError, match=told) as error:
            its.require(context_LD)
        assert error.value.code == code and "\n" not in str(error.value)
    fixed.require(good.astype(np.float16).astype(np.float32))  # stored in half precision: unit but for its rounding
    causal.require(good[:1])


def test_a_loaded_run_says_what_it_is(tmp_path: Path):
    run = small_run(tmp_path / "p", passed=False)
    its = load_served("p", run, precision="fp32")
    assert its.info()["gates"]["skill"] == {"A": False, "B": False, "C": True, "D": False, "E": False}
    assert (its.info()["precision"], its.info()["reach"], its.info()["space"]["id"]) == ("fp32", 5, SPACE.id)
    assert its.warnings(0.0) == []
    assert "its recipe is not known" in its.warnings(0.2)[0]
    (run / "recipe.yaml").write_text("model: {family: gru}\nobjective: {mse: {weight: 1.0}}\n")
    assert load_served("p", run).warnings(0.2) == [], "mse alone: the raw output is an estimate of the mean"
    (run / "recipe.yaml").write_text("model: {family: gru}\nobjective: {info_nce: {weight: 1.0}}\n")
    assert ["info_nce" in line for line in load_served("p", run).warnings(0.2)] == [True, False]
    steered = ServedModel("s", run, "", Steered(small_model(), 0.25))
    assert "steered already (β 0.250)" in steered.warnings(0.1)[0]


def test_runs_by_name(tmp_path: Path):
    first, second = small_run(tmp_path / "a"), small_run(tmp_path / "b")
    assert named_runs([str(first), f"x={second}"]) == {"a": first, "x": second}
    odd = tmp_path / "we=ird"
    with pytest.raises(InputError, match="two runs are called a"):
        named_runs([str(first), f"a={second}"])
    with pytest.raises(InputError, match="no name for a model"):
        named_runs([str(tmp_path / "with space")])
    assert named_runs([f"good={odd}"]) == {"good": odd}
    shelf = shelf_of_runs({"a": first, "x": second})
    assert shelf.default == "a" and shelf.find(None).name == "a" and shelf.find("x").name == "x"
    with pytest.raises(UnknownModelError, match="Known: a, x"):
        shelf.find("<script>")


def followed(tmp_path: Path) -> tuple[Path, Served]:
    """A registry with `a` in production and `b` served, and a service that follows it."""
    folder = tmp_path / "registry"
    for name in "ab":
        registry.add(folder, name, small_run(tmp_path / name, model=small_model(name, ord(name))))
    registry.promote(folder, "a")
    return folder, Served.registry(folder)


def test_a_registry_is_followed_and_what_is_loaded_is_kept(tmp_path: Path):
    folder, its = followed(tmp_path)
    before = its.shelf
    assert not its.stale and before.find(None).name == "a"
    registry.promote(folder, "b")
    registry.add(folder, "c", small_run(tmp_path / "c"))
    registry.deprecate(folder, "a", "b")
    assert its.stale
    its.refresh()
    its.settled()
    assert not its.stale and its.trouble() == []
    assert its.shelf.find(None).name == "b" and its.shelf.find("c").name == "c"
    assert its.shelf.find("b").model is before.find("b").model, "loaded once"
    with pytest.raises(DeprecatedModelError, match=r"a is deprecated\. Use b\.") as error:
        its.shelf.find("a")
    assert error.value.use == "b"
    assert before.find(None).name == "a", "a request keeps the shelf it began with"


def test_a_broken_registry_changes_nothing_and_is_told(tmp_path: Path):
    folder, its = followed(tmp_path)
    path, whole = folder / "registry.json", (folder / "registry.json").read_text()
    value = json.loads(whole)
    for broken in ("{", json.dumps({**value, "models": {}}), None):
        path.unlink() if broken is None else path.write_text(broken)
        assert its.stale
        its.refresh()
        assert not its.stale, "told once, not at every request"
        assert its.shelf.find(None).name == "a" and "served on" in its.trouble()[0]
    path.write_text(whole)
    its.refresh()
    assert its.trouble() == []


def test_a_registry_that_names_a_lost_run_keeps_what_is_served(tmp_path: Path):
    folder, its = followed(tmp_path)
    registry.add(folder, "c", small_run(tmp_path / "c"))
    shutil.rmtree(tmp_path / "c")
    its.refresh()
    its.settled()
    assert sorted(its.shelf.models) == ["a", "b"]
    assert "c: " in its.trouble()[0] and its.trouble()[0].endswith("It is not served.")
    with pytest.raises(UnknownModelError, match="Known: a, b"):
        its.shelf.find("c")


def test_a_lost_run_holds_back_no_other_change_of_the_registry(tmp_path: Path):
    """A deprecation beside it is a refusal somebody decided on; a promotion of a loaded model needs nothing of it."""
    folder, its = followed(tmp_path)
    registry.add(folder, "c", small_run(tmp_path / "c"))
    (tmp_path / "c").rename(tmp_path / "away")
    registry.promote(folder, "b")
    registry.deprecate(folder, "a", "b")
    its.refresh()
    its.settled()
    assert its.shelf.find(None).name == "b" and its.shelf.find("b").status == "production"
    with pytest.raises(DeprecatedModelError):
        its.shelf.find("a")
    assert len(its.trouble()) == 1 and "c: " in its.trouble()[0]
    (tmp_path / "away").rename(tmp_path / "c")
    registry.add(folder, "d", small_run(tmp_path / "d"))
    its.refresh()
    its.settled()
    assert sorted(its.shelf.models) == ["b", "c", "d"] and its.trouble() == [], "tried again when the registry changes"


def test_what_is_new_is_loaded_beside_what_answers(tmp_path: Path):
    """`c` is put into production while it is not loaded: `a` answers until it is, and nobody waits."""
    folder, begun, may_load = tmp_path / "registry", threading.Event(), threading.Event()
    registry.add(folder, "a", small_run(tmp_path / "a"))
    registry.promote(folder, "a")

    def slow(name: str, *rest: Any) -> ServedModel:
        if name == "c":
            begun.set()
            assert may_load.wait(60)
        return load_served(name, *rest)

    its = Served.registry(folder, slow)
    registry.add(folder, "c", small_run(tmp_path / "c"))
    registry.promote(folder, "c")
    its.refresh()
    assert begun.wait(60) and not its.stale and its.trouble() == []
    assert its.shelf.find(None).name == "a" and its.shelf.find("a").status == "served"
    with pytest.raises(LoadingModelError, match="c is being loaded"):
        its.shelf.find("c")
    registry.deprecate(folder, "a", "c")
    its.refresh()
    with pytest.raises(LoadingModelError):  # nobody else is left to answer
        its.shelf.find(None)
    may_load.set()
    its.settled()
    assert its.shelf.find(None).name == "c" and not its.shelf.loading


def test_a_name_given_to_another_run_is_answered_by_the_first_until_the_other_is_there(tmp_path: Path):
    folder, its = followed(tmp_path)
    old = its.shelf.find("b").model
    registry.remove(folder, "b")
    registry.add(folder, "b", small_run(tmp_path / "other", model=small_model("b", seed=7)))
    shutil.rmtree(tmp_path / "other")
    its.refresh()
    its.settled()
    assert its.shelf.find("b").model is old and "What it was before is served on." in its.trouble()[0]
    registry.remove(folder, "b")
    registry.add(folder, "b", small_run(tmp_path / "third", model=small_model("b", seed=8)))
    its.refresh()
    its.settled()
    assert its.shelf.find("b").run == tmp_path / "third" and its.trouble() == []


def test_a_run_moved_behind_a_link_is_loaded_once(tmp_path: Path):
    """Guards against a model known by its resolved path, the registry's being another: loaded over and over."""
    folder, _ = followed(tmp_path)
    (tmp_path / "b").rename(tmp_path / "disk")
    (tmp_path / "b").symlink_to(tmp_path / "disk")
    loads = list[str]()

    def counted(name: str, *rest: Any) -> ServedModel:
        loads.append(name)
        if len(loads) > 5:
            raise InputError("loaded over and over")
        return load_served(name, *rest)

    its = Served.registry(folder, counted)
    registry.promote(folder, "b", force=True, why="a test")
    its.refresh()
    its.settled()
    assert loads == ["a", "b"] and its.shelf.find(None).name == "b" and its.trouble() == []


def test_a_folder_deleted_or_changed_under_the_service(tmp_path: Path):
    folder, its = followed(tmp_path)
    shutil.rmtree(tmp_path / "a")
    save_model(small_model("b", seed=99), tmp_path / "b")
    gone, changed = its.trouble()
    assert "its folder is gone" in gone and "was changed since it was loaded" in changed
    question = Question(its.shelf.find("a"), contexts(1, 5)[0])
    expected_D = small_model("a", ord("a")).predict(torch.from_numpy(question.context_LD)[None])[0]
    assert np.array_equal(answer([question])[0].prediction_D, expected_D.numpy())
    with pytest.raises(InputError, match="no such model"):
        shelf_of_registry(folder)


def test_weights_changed_since_they_were_registered_are_not_served(tmp_path: Path):
    """Who was judged is who is served: a run trained on in place would pass by another's 5CAT."""
    folder, _ = followed(tmp_path)
    save_model(small_model("b", seed=99), tmp_path / "b")
    with pytest.raises(InputError, match="was changed since it was registered as b"):
        shelf_of_registry(folder)
