"""Curation, tripwires and early stop in recipes: what can be said, how it is laid over, and what is refused."""

import pytest
import yaml

from segue.errors import InputError
from segue.recipe import parse, resolve

TERMS = "objective.directional={weight: {1: 0, 2: 0.002}, margin: 0.01}"
FALL = "{name: fall, when: {epochs: [4, 5], metric: cos, falls_by: 0.05}, do: {set: {objective.mse.weight: 0.5}}}"


def recipe(*sets: str):
    return resolve("p1", ["epochs=20", TERMS, *sets])


# The watches of SPEC §9, those of p2, p4 and p5 and the one for all.
EXPRESSIBLE = [
    "{name: a, when: {epochs: [4, 5], metric: cos, falls_by: 0.05}, do: {set: {objective.directional.weight: 0.03}}}",
    "{name: b, when: {epochs: 5, metric: cos, below: 0.45}, do: {set: {objective.directional.weight: 0.03}}}",
    "{name: c, when: {epochs: [10, 20], metric: margin, below: 0.06}, do: {set: {objective.directional.margin: 0.04}}}",
    "{name: d, when: {epochs: [9, null], metric: cos, below: 0.48}, "
    "do: {roll_back_to: 3, set: {objective.directional.weight: 0.03}}}",
    "{name: e, when: {epochs: [3, null], all: [{metric: peak, not_horizon: true}, {metric: margin, at_most: 0}]}, "
    "do: {set: {objective.directional.weight: {1: 0, 9: 1}, context_drop: 0}, for: 1}}",
    "{name: f, when: {metric: margin_last, regresses_by: 0.05, running: 2}, do: {roll_back_to: best}}",
    "{name: g, when: {epochs: 4, any: [{metric: margin, below: 0.02}, {metric: r5_future, below: 0.6}, "
    "{metric: rollout, below: 0.46}]}, do: {stop: stage A did not pass}}",
]


@pytest.mark.parametrize("written", EXPRESSIBLE)
def test_what_the_experiments_watched_for_can_be_said_and_is_written_as_it_is_read(written):
    found = recipe(f"tripwires=[{written}]")
    assert parse(yaml.safe_load(found.to_yaml()), "p1") == found
    assert parse(found.to_json(), "p1") == found
    assert yaml.safe_load(found.to_yaml())["tripwires"][0]["do"] == yaml.safe_load(written)["do"]
    assert "null" not in yaml.safe_dump(found.to_json()["tripwires"]).replace("- null", "")


def test_a_recipe_without_them_says_so():
    value = resolve("p1").to_json()
    assert (value["curation"], value["tripwires"], value["early_stop"]) == (None, [], None)


def test_tripwires_are_laid_over_by_name(tmp_path):
    other = FALL.replace("fall,", "other,")
    (tmp_path / "base.yaml").write_text(f"extends: p1\ntripwires:\n  - {FALL}\n  - {other}\n")
    again = FALL.replace("0.05", "0.5")
    found = resolve(tmp_path / "base.yaml", [f"tripwires=[{again}, {FALL.replace('fall,', 'third,')}]"])
    assert [(one.name, one.when.falls_by) for one in found.tripwires] == [
        ("fall", 0.5),
        ("other", 0.05),
        ("third", 0.05),
    ]
    assert resolve(tmp_path / "base.yaml", ["tripwires=[]"]).tripwires == ()


def test_changed_is_the_recipe_with_that_field_and_nothing_else():
    before = recipe()
    after = before.changed({"objective.directional.weight": {1: 0, 9: 1}, "batch": 7})
    assert [after.objective["directional"].weight.at(epoch) for epoch in (8, 9)] == [0, 1]
    assert after.objective["mse"] == before.objective["mse"]
    assert after.model_copy(update={"batch": 64, "objective": before.objective}) == before


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ("tripwires={a: 1}", "a list of {name, when, do}"),
        ("tripwires=[3]", "a list of {name, when, do}"),
        (f"tripwires=[{FALL}, {FALL}]", "there twice"),
        (f"tripwires=[{FALL.replace('falls_by', 'fals_by')}]", '"falls_by"'),
        (f"tripwires=[{FALL.replace('metric', 'metrc')}]", '"metric"'),
        (f"tripwires=[{FALL.replace('cos', 'cosine')}]", '"cos"'),
        (f"tripwires=[{FALL.replace('when', 'wen')}]", '"when"'),
        (f"tripwires=[{FALL.replace('set:', 'sets:')}]", '"set"'),
        (f"tripwires=[{FALL.replace('mse.weight', 'mse.wieght')}]", '"objective.mse.weight"'),
        (f"tripwires=[{FALL.replace('mse.weight', 'directinal.weight')}]", "tripwires.fall.do.set: cannot change"),
        (f"tripwires=[{FALL.replace('mse.weight', 'mse')}]", "the whole of 'objective.mse'"),
        (f"tripwires=[{FALL.replace('objective.mse.weight', 'epochs')}]", "cannot change 'epochs'"),
        (f"tripwires=[{FALL.replace('objective.mse.weight', 'gradient_clp')}]", '"gradient_clip"'),
        (f"tripwires=[{FALL.replace('0.5}', 'fast}')}]", "tripwires.fall.do.set: objective.mse.weight: found 'fast'"),
        (f"tripwires=[{FALL.replace('0.5}', '-1}')}]", "-1"),
        (f"tripwires=[{FALL.replace('0.5}', '0}')}]", "every weight is 0 at epoch 1"),
        (f"tripwires=[{FALL.replace('0.5}}', '0.5}, for: 0}')}]", "for"),
        ("tripwires=[{name: a, when: {metric: cos, below: 1}, do: {}}]", "nothing would happen"),
        ("tripwires=[{name: a, when: {metric: cos, below: 1}, do: {stop: failed, set: {lr: 1}}}]", "stop"),
        ("tripwires=[{name: a, when: {metric: cos, below: 1}, do: {set: {lr: 1}, for: 2}}]", "set for good"),
        ("tripwires=[{name: a, when: {metric: cos, below: 1}, do: {roll_back_to: 3}}]", "an epoch before is wanted"),
        ("tripwires=[{name: a, when: {metric: cos, below: 1}, do: {roll_back_to: 0}}]", "roll_back_to"),
        ("tripwires=[{name: a, when: {metric: cos, below: 1, above: 2}, do: {roll_back_to: best}}]", "exactly one of"),
        ("tripwires=[{name: a, when: {epochs: 3}, do: {roll_back_to: best}}]", "one comparison of a metric"),
        ("tripwires=[{name: a, when: {metric: cos, not_horizon: true}, do: {roll_back_to: best}}]", "`peak`"),
        ("tripwires=[{name: a, when: {epochs: [5, 4], metric: cos, below: 1}, do: {stop: failed}}]", "5 to 4 are none"),
        ("tripwires=[{name: a, when: {any: []}, do: {stop: failed}}]", "any"),
        ("curation={forward: 0.3}", '"forward_distinct"'),
        ("curation=0.3", "a map of one of"),
        ("curation={forward_distinct: 0}", "a share of 0"),
        ("curation={forward_distinct: {1: 0.3, 5: 1.5}}", "a share of 1.5"),
        ("curation={forward_distinct: {from: 2, to: 3, start: 1, end: 1}}", "a share of 0"),
        ("curation={forward_distinct: {5: 1}}", "from epoch 1 on"),
        ("curation={coherent: {lo: 0.3}}", '"low"'),
        ("curation={coherent: {low: 0.5, high: 0.4}}", "low must be below high"),
        ("curation={coherent: 3}", "curation.coherent: found 3"),
        ("early_stop={metric: cos, better: higher}", "lacks 'early_stop.patience'"),
        ("early_stop={metric: coss, better: higher, patience: 2}", '"cos"'),
        ("early_stop={metric: cos, better: higher, patience: 0}", "found 0"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(sets, said):
    """A typo in a tripwire must be found before training, not when it trips, or never."""
    with pytest.raises(InputError) as refused:
        recipe(sets)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
