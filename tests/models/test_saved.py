"""Model folders: the loaded model is the saved one to the bit, and damage is refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from test_families import SMALL, unit

from segue.artifacts import hash_file
from segue.errors import InputError
from segue.models import MODELS, build_model, load_model, save_model
from segue.vectors import Space

SPACE = Space("minilm", 10, revision="1", pooling="mean")


def saved(folder: Path, family: str = "transformer", **contract) -> Path:
    torch.manual_seed(0)
    return save_model(build_model(family, SPACE, SMALL[family], **contract), folder)


def edit(folder: Path, weights=None, description=None) -> None:
    """Change a folder as one who also mends its hashes would."""
    if weights is not None:
        save_file(weights, folder / "weights.safetensors")
    if description is not None:
        (folder / "model.yaml").write_text(yaml.safe_dump(description))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["hashes"] = {name: hash_file(folder / name) for name in manifest["hashes"]}
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("family", MODELS)
def test_round_trip_is_bitwise(tmp_path, family):
    torch.manual_seed(0)
    contract = {"context": 4, "horizon": 2, "facets": ("mean", "rank"), "name": "mine"}
    model = build_model(family, SPACE, SMALL[family], **contract)
    loaded = load_model(save_model(model, tmp_path / "model"))
    context_BCD = unit(3, 4, 10)
    assert torch.equal(model.predict(context_BCD), loaded.predict(context_BCD))
    assert loaded.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(loaded.state_dict()[name], tensor) for name, tensor in model.state_dict().items())
    assert {name: getattr(loaded, name) for name in contract} == contract
    assert (loaded.space, loaded.dim, loaded.options) == (SPACE, 10, SMALL[family])
    assert loaded.reach == model.reach == (None if family == "causal" else 4)
    assert not loaded.training


def test_a_run_folder_means_its_best(tmp_path):
    saved(tmp_path / "run" / "epochs" / "002", name="second")
    (tmp_path / "run" / "best").symlink_to("epochs/002")
    assert load_model(tmp_path / "run").name == "second"


def test_loading_leaves_the_generator_alone(tmp_path):
    """Else a load in the middle of training would change what the next epoch draws."""
    folder = saved(tmp_path / "model")
    before = torch.random.get_rng_state()
    load_model(folder)
    assert torch.equal(before, torch.random.get_rng_state())


def test_weights_that_do_not_fit_are_refused(tmp_path):
    folder = saved(tmp_path / "model")
    good = load_file(folder / "weights.safetensors")
    edit(folder, {name: tensor for name, tensor in good.items() if name != "project.bias"})
    with pytest.raises(InputError, match=r"lacks 1 tensors \(first: project.bias\)"):
        load_model(folder)
    edit(folder, {**good, "strange": torch.zeros(1)})
    with pytest.raises(InputError, match="strange"):
        load_model(folder)
    edit(folder, {**good, "project.weight": torch.zeros(16, 11)})
    with pytest.raises(InputError, match=r"project.weight is \(16, 11\), model.yaml makes it \(16, 10\)"):
        load_model(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "netwrok"}, "network"),
        ({"family": "transfromer"}, "transformer"),
        ({"options": {"layer": 3}}, "does not describe a model"),
        ({"space": {"width": 3}}, "does not describe a model"),
        ({"context": None}, None),
    ],
)
def test_a_description_that_cannot_be_is_refused(tmp_path, change, said):
    folder = saved(tmp_path / "model")
    described = yaml.safe_load((folder / "model.yaml").read_text())
    if said is None:
        described.pop(next(iter(change)))
        change, said = {}, "does not describe a model"
    edit(folder, description={**described, **change})
    with pytest.raises(InputError, match=said):
        load_model(folder)


def test_damage_is_refused(tmp_path):
    folder = saved(tmp_path / "model")
    whole = (folder / "weights.safetensors").read_bytes()
    (folder / "weights.safetensors").write_bytes(whole[:-1] + b"\1")
    with pytest.raises(InputError, match="hash differs"):
        load_model(folder)
    (folder / "weights.safetensors").write_bytes(whole[:100])
    edit(folder)
    with pytest.raises(InputError, match="not a whole safetensors file"):
        load_model(folder)
    (folder / "weights.safetensors").unlink()
    with pytest.raises(InputError, match="no such file"):
        load_model(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(InputError, match="not a finished model"):
        load_model(folder)
    shutil.rmtree(folder)
    with pytest.raises(InputError, match="no such model"):
        load_model(folder)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file"):
        saved(tmp_path / "file" / "model")


def test_overwriting_is_unfinished_until_it_is_done(tmp_path, monkeypatch):
    """A kill between new weights and the manifest must not leave old hashes beside them."""
    folder = saved(tmp_path / "model")

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("segue.models.saved.write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        saved(folder)
    with pytest.raises(InputError, match="not a finished model"):
        load_model(folder)
