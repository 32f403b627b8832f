"""Steering: β for a wanted margin, a folder that loads like any other, what is doubted."""

import numpy as np
import pytest
import torch
from known_worlds import make_world

from segue.alignment.frontier import curve
from segue.alignment.steer import bought, doubts, fit_beta
from segue.artifacts import read_manifest
from segue.errors import InputError
from segue.geometry import normalise
from segue.models import build_model, load_model, save_model
from segue.models.steered import Steered, save_steered
from segue.vectors import Space

MADE = {}  # a world for each horizon, made once


@pytest.fixture(params=[1, 2])
def world(request, make_store):
    if request.param not in MADE:
        MADE[request.param] = make_world(make_store, "rotation", horizon=request.param)
    return MADE[request.param]


@pytest.mark.parametrize("beyond", [0.0, 0.1, 0.3])
def test_the_wanted_margin_is_what_comes_out(world, beyond):
    """On VAL the fitted β gives the margin to five decimals, by the harness's own measurement; h = 1 and 2."""
    ridge, part = world.fitted["ridge"], world.parts["VAL"]
    (plain,) = curve(ridge, part, (0.0,))
    wanted = plain.result(("margin_last",)).value + beyond
    fit = fit_beta(ridge, part.windows, wanted)
    (there,) = curve(ridge, part, (fit.beta,))
    assert there.result(("margin_last",)).value == pytest.approx(wanted, abs=1e-5)
    assert fit.margin_last == pytest.approx(wanted, abs=1e-5) and fit.low - 1e-6 <= wanted <= fit.high
    assert (fit.beta < 1e-3) == (beyond == 0)


def test_a_margin_out_of_reach_names_the_range(world):
    ridge, windows = world.fitted["ridge"], world.parts["VAL"].windows
    with pytest.raises(
        InputError, match=r"--margin: found \+3\.000, .* [+-]0\.\d+ \(as it is\) to \+\d\.\d+ .* better model"
    ):
        fit_beta(ridge, windows, 3.0)
    with pytest.raises(InputError, match=r"found -1\.000, .* A lower margin needs no steering"):
        fit_beta(ridge, windows, -1.0)
    with pytest.raises(InputError, match="copy_last: tells no raw output"):
        fit_beta(world.fitted["copy_last"], windows, 0.0)


def test_bought_is_the_paired_difference(world):
    told = bought(world.fitted["ridge"], 0.3, world.parts)
    for its in told.values():
        for metric in ("cos", "margin_last", "mrr_future", "direction"):
            before, after, change = (its[when][metric] for when in ("before", "after", "change"))
            assert change["value"] == pytest.approx(after["value"] - before["value"], abs=1e-12)
            assert change["low"] < change["value"] < change["high"]
        assert its["change"]["margin_last"]["low"] > 0 > its["change"]["cos"]["high"]
        # Paired: narrower than two independent intervals would allow.
        width = its["change"]["cos"]["high"] - its["change"]["cos"]["low"]
        assert width < its["before"]["cos"]["high"] - its["before"]["cos"]["low"]


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    model = build_model("amn", Space(encoder="test", dim=16), horizon=2, facets=("mean",), name="base")
    save_model(model, tmp_path / "base")
    out = tmp_path / "steered"
    save_steered(Steered(model, 0.25), tmp_path / "base", out, "tests", {"steer.json": {"beta": 0.25}}, beta=0.25)
    return model, out


def test_a_steered_folder_loads_like_any_other(saved, tmp_path):
    """The same contract as its base, the same bits as the formula, and no need of the base's own folder."""
    model, out = saved
    (tmp_path / "base").rename(tmp_path / "gone")
    loaded = load_model(out)
    context = normalise(torch.randn(7, 5, 16, generator=torch.Generator().manual_seed(1)))
    unit_BD, raw_BD = loaded.predict_with_raw(context)
    expected = model.predict_with_raw(context)[1] - 0.25 * context[:, -1]
    assert torch.equal(raw_BD, expected) and torch.equal(unit_BD, normalise(expected))
    assert torch.equal(loaded.predict(context), unit_BD)
    assert torch.equal(loaded(context), expected)
    assert (loaded.dim, loaded.context, loaded.horizon, loaded.facets) == (16, 5, 2, ("mean",))
    assert loaded.name == "base steered" and loaded.parameter_count == model.parameter_count
    assert read_manifest(out, "model")["beta"] == 0.25


@pytest.mark.parametrize("name", ["model.yaml", "base/manifest.json", "base/weights.safetensors", "base/model.yaml"])
def test_a_changed_file_is_refused(saved, name):
    _, out = saved
    file = out / name
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(InputError, match=r"was changed after it was written"):
        load_model(out)


def test_a_beta_that_is_none_is_refused(saved):
    model, _ = saved
    for beta in (1.0, -0.1, float("nan")):
        with pytest.raises(InputError, match="a number from 0 to below 1 is wanted"):
            Steered(model, beta)


def test_a_folder_that_holds_something_is_refused_an_unfinished_one_is_done_again(saved, tmp_path):
    model, out = saved
    again = (Steered(model, 0.5), tmp_path / "base", out, "tests", {"steer.json": {}})
    with pytest.raises(InputError, match="already holds a finished artifact"):
        save_steered(*again)
    (out / "manifest.json").unlink()
    save_steered(*again)
    assert load_model(out).beta == 0.5
    (out / "manifest.json").unlink()
    (out / "mine.txt").write_text("")
    with pytest.raises(InputError, match="already holds other files"):
        save_steered(*again)


def test_doubts():
    """What breaks the meaning of ‖r‖ is told; a weight that is 0 at every epoch breaks nothing."""
    mse = {"mse": {"weight": 1}}
    assert doubts({"model": {"family": "amn"}, "objective": mse}) == []
    assert doubts({"model": {"family": "amn"}, "objective": {**mse, "directional": {"weight": 0.002}}}) == []
    for name in ("unit_norm", "cosine", "info_nce"):
        for weight in (1e-3, {1: 0, 5: 0.1}, {"from": 1, "to": 3, "start": 0, "end": 0.1, "shape": "linear"}):
            (said,) = doubts({"model": "amn", "objective": {**mse, name: {"weight": weight}}})
            assert f"its objective has {name}," in said
        for never in (0, {1: 0, 6: 0}, {"from": 4, "to": 9, "start": 0, "end": 0, "shape": "linear"}):
            assert doubts({"model": "amn", "objective": {**mse, name: {"weight": never}}}) == []
    assert "residual" in doubts({"model": {"family": "residual"}, "objective": mse})[0]
    assert "no mse" in doubts({"model": "amn", "objective": {"info_nce": {"weight": 1}}})[1]
    assert "not known" in doubts(None)[0]


def test_a_longer_reach_is_handed_what_it_asks_for(world):
    """β is fitted on the same contexts the harness measures with."""

    class Longer:
        name, facets, reach, lengths = "longer", ("mean",), 7, set()

        def __init__(self, ridge):
            self._ridge, self.dim, self.context, self.horizon = ridge, ridge.dim, ridge.context, ridge.horizon

        def predict_with_raw(self, context_BLD):
            self.lengths.add(context_BLD.shape[1])
            return self._ridge.predict_with_raw(context_BLD[:, -5:])

        def predict(self, context_BLD):
            return self.predict_with_raw(context_BLD)[0]

    ridge, windows = world.fitted["ridge"], world.parts["VAL"].windows
    longer = Longer(ridge)
    assert fit_beta(longer, windows, 0.4).beta == pytest.approx(fit_beta(ridge, windows, 0.4).beta, abs=1e-5)
    assert longer.lengths == {5, 6, 7} and np.all(windows.earlier_W >= 4)
