"""Recipes: what ships, what `extends` and `--set` mean, and what is refused."""

import pytest
import yaml

from segue.errors import InputError
from segue.models.transformer import TransformerOptions
from segue.recipe import parse, read_fields, resolve, shipped


def test_p1_is_the_experiments():
    """SPEC §9."""
    p1 = resolve("p1")
    assert (p1.name, p1.model.family, p1.model.options) == ("p1", "transformer", TransformerOptions())
    assert (p1.context, p1.horizon, p1.epochs, p1.batch) == (5, 1, 5, 64)
    assert (p1.lr, p1.weight_decay, p1.gradient_clip) == (5e-4, 0.01, 1)
    assert (p1.plateau.factor, p1.plateau.patience) == (0.5, 3)
    assert {name: term.weight.at(1) for name, term in p1.objective.items()} == {"mse": 1}
    assert p1.best.metric != "loss"
    assert [(e.epoch, e.metric, e.low, e.high) for e in p1.expectations] == [(3, "cos", 0.5, None)]


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_recipe_is_whole_short_and_says_how_it_is_run(name):
    text = shipped()[name].read_text()
    assert text.startswith(f"# segue train {name} | ")
    assert len(text.splitlines()) <= 50
    recipe = resolve(name)
    assert recipe.name == name
    assert parse(yaml.safe_load(recipe.to_yaml()), name) == recipe


def write(path, text):
    path.write_text(text)
    return path


def test_a_resolved_recipe_is_a_recipe_file(tmp_path):
    recipe = resolve("p1", ["objective.mse.weight={1: 1, 3: 0.5}"])
    assert resolve(write(tmp_path / "recipe.yaml", recipe.to_yaml())) == recipe


def test_extends_changes_only_what_differs(tmp_path):
    write(tmp_path / "base.yaml", "extends: p1\nmodel: {layers: 2}\nobjective: {mse: {weight: {1: 1, 4: 2}}}\n")
    child = resolve(write(tmp_path / "child.yaml", "extends: base.yaml\nplateau: {patience: 1}\nexpectations: []\n"))
    assert child.name == "child"
    assert (child.model.options.layers, child.model.options.width) == (2, 512)
    assert (child.plateau.factor, child.plateau.patience) == (0.5, 1)
    assert child.expectations == ()
    assert child.lr == resolve("p1").lr
    replaced = resolve(write(tmp_path / "other.yaml", "extends: base.yaml\nobjective: {mse: {weight: {1: 1, 6: 3}}}\n"))
    # A schedule is one value: merged with the base's it would rise at 4.
    assert [replaced.objective["mse"].weight.at(epoch) for epoch in (1, 4, 6)] == [1, 1, 3]


def test_a_schedule_at_the_top_is_one_value_too(tmp_path):
    """Merged with the base's, a probability dropped from 6 on would have come back at 9."""
    write(tmp_path / "base.yaml", "extends: p1\ncontext_drop: {1: 0, 6: 0.05, 9: 0.2}\n")
    child = resolve(write(tmp_path / "child.yaml", "extends: base.yaml\ncontext_drop: {1: 0, 6: 0.01}\n"))
    assert [child.context_drop.at(epoch) for epoch in (5, 6, 9)] == [0, 0.01, 0.01]
    ramp = resolve(tmp_path / "base.yaml", ["context_drop={from: 2, to: 3, start: 0.1, end: 0.2}"])
    assert ramp.context_drop.at(9) == 0.2


def test_another_family_takes_none_of_the_first_ones_options(tmp_path):
    small = write(tmp_path / "small.yaml", "extends: p1\nmodel: {layers: 2}\n")
    for choice in ("model=amn", "model={family: amn}", "model.family=amn"):
        recipe = resolve(small, [choice])
        assert recipe.model.family == "amn"
        assert recipe.model.options.hidden == 512
    assert resolve(small, ["model={family: transformer, width: 64}"]).model.options.layers == 2
    assert resolve("p1", ["model=amn", "model.hidden=32"]).model.options.hidden == 32


def test_sets_are_read_as_yaml():
    recipe = resolve("p1", ["epochs=2", "lr=1e-3", "best={metric: mse, better: lower}", "facets=[mean, rank]"])
    assert (recipe.epochs, recipe.lr, recipe.facets) == (2, 0.001, ("mean", "rank"))
    assert (recipe.best.metric, recipe.best.better) == ("mse", "lower")


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ("epoch=3", '"epochs"'),
        ("extend=p1", '"extends"'),
        ("objective.mse.wieght=1", '"weight"'),
        ("objective.msee.weight=1", '"mse"'),
        ("objective.mse.weight={from: 1, to: 3, strat: 1}", '"start"'),
        ("objective.mse.weight=0", "every weight is 0 at epoch 1"),
        ("objective.mse.weight=-1", "-1"),
        ("objective.mse=null", "objective"),
        ("objective=3", "map of terms"),
        ("objective={}", "changes nothing"),
        ("model=transfomer", '"transformer"'),
        ("model.layer=3", '"layers"'),
        ("model={layers:3}", "'model.layers:3'"),  # YAML without the space: a key of its own, null
        ("model.heads=3", "512 is not a multiple of heads 3"),
        ("model=null", "lacks 'model'"),
        ("best.metric=cosine", '"cos"'),
        ("best.better=up", "'up'"),
        ("plateau.facter=2", '"factor"'),
        ("plateau=3", "plateau"),
        ("expectations=[{epoch: 3, metrc: cos}]", '"metric"'),
        ("expectations=[{epoch: 3, metric: rho.directionel}]", "'rho.directionel'"),
        ("facets=[meen]", "'meen'"),
        ("epochs=0", "found 0"),
        ("lr=fast", "'fast'"),
        ("lr=.nan", "lr"),
        ("seed=-1", "-1"),
        ("lr=null", "lacks 'lr'"),
        ("precision=fp16", "'fp16'"),
        ("objective.residual_size={weight: 1e-4}", "set model.residual"),
        ("epochs", "KEY=VALUE"),
        ("=3", "KEY=VALUE"),
        ("a..b=3", "KEY=VALUE"),
        ("lr={", "not valid YAML"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(sets, said):
    with pytest.raises(InputError) as refused:
        resolve("p1", [sets])
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(InputError, match='"p1-long"'):
        resolve("p1-lng")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("extends: me.yaml\n", "extends itself"),
        ("extends: absent.yaml\n", "no such recipe file"),
        ("extends: p11\n", '"p1"'),
        ("- 1\n", "a map of keys is wanted"),
        ("", "a map of keys is wanted"),
        ("a: [\n", "not valid YAML"),
        ("epochs: 3\n", "lacks"),
    ],
)
def test_files_that_are_no_recipe(tmp_path, text, said):
    with pytest.raises(InputError) as refused:
        resolve(write(tmp_path / "me.yaml", text))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="no such recipe file"):
        read_fields(tmp_path / "absent.yaml")
