"""Every family learns, and what is saved is what was trained."""

import numpy as np
import pytest
import torch
from test_families import SMALL

from known_stores import build_store
from segue.alignment import five_cat, part_of
from segue.alignment.worlds import rotation_world
from segue.geometry import cosine
from segue.models import MODELS, LatentModel, build_model, load_model, save_model
from segue.models.amn import AttentionMixtureOptions
from segue.models.fitting import fit_controls
from segue.models.network import batches_for
from segue.vectors import Space, Store
from segue.windows import windows_of
from segue.windows.batches import gather
from segue.windows.rows import Rows

DIM, LENGTH = 16, 25
# amn adds to the context's mean, which is no guess here: its correction must have room for a whole rotation.
WIDE = {**SMALL, "amn": AttentionMixtureOptions(attention=8, hidden=32, bottleneck=24)}
TRAIN, VAL = np.arange(50), np.arange(50, 65)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    documents = rotation_world(65, LENGTH, DIM, noise=0.6, seed=1)
    return build_store(tmp_path_factory.mktemp("learning") / "store", documents)


def trained(store: Store, family: str, epochs: int = 6, **shared) -> LatentModel:
    """A plain loop over the batches that the family is trained on: AdamW on the mean squared error."""
    torch.manual_seed(0)
    model = build_model(family, Space("test", DIM), WIDE[family].model_copy(update=shared))
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01)
    for epoch in range(1, epochs + 1):
        for batch in batches_for(model, windows_of(store, TRAIN), Rows(store), 32, seed=0, epoch=epoch):
            loss = (model.raw_of(batch).raw_BD - batch.target_BD).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model


def loss_of(model: LatentModel, store: Store) -> float:
    batch = gather(windows_of(store, VAL), Rows(store))
    return (model.predict_with_raw(batch.context_BCD)[1] - batch.target_BD).square().mean().item()


@pytest.mark.parametrize("shared", [{}, {"residual": 0.5, "positional": 0.05}], ids=["plain", "shared"])
@pytest.mark.parametrize("family", MODELS)
def test_every_family_learns_and_is_saved_as_trained(store, tmp_path, family, shared):
    """On documents it was not trained on: better than it was, and than the zero vector, whose loss is 1/D."""
    fresh, model = trained(store, family, epochs=0, **shared), trained(store, family, **shared)
    assert loss_of(model, store) < 0.95 * min(1 / DIM, loss_of(fresh, store))
    folder = save_model(model, tmp_path / "model")
    before = torch.random.get_rng_state()
    loaded = load_model(folder)
    assert torch.equal(before, torch.random.get_rng_state())
    batch = gather(windows_of(store, VAL), Rows(store))
    assert torch.equal(loaded.predict(batch.context_BCD), model.predict(batch.context_BCD))


def test_5cat_judges_causal_on_whole_documents(store):
    """Its figures, against those of one pass over each document and of generation with the cache."""
    model = trained(store, "causal").eval()
    windows = windows_of(store, VAL)
    fitted = fit_controls(windows_of(store, TRAIN), windows)
    result = five_cat({"VAL": model}, {"VAL": part_of("VAL", windows, VAL)}, fitted, {"VAL": windows})
    documents_GND = torch.from_numpy(store.vectors_ND.reshape(-1, LENGTH, DIM)[VAL])
    raw_GND = model.positions(documents_GND)[:, 4:-1]
    judged = result["splits"]["VAL"]
    assert judged["cos"]["n"] == len(windows) == len(VAL) * (LENGTH - 5)
    assert judged["cos"]["value"] == pytest.approx(cosine(raw_GND, documents_GND[:, 5:]).mean().item(), abs=1e-5)
    assert "direction" not in judged  # it has read the chunk before the window
    assert result["gates"]["C"]["passed"]
    assert result["certified"]
    # A rollout's step 4 from every place that has the chunk it is compared with.
    made = [
        cosine(model.generate(documents_GND[:, :n], 4)[:, 3], documents_GND[:, n + 3]) for n in range(5, LENGTH - 4)
    ]
    rolled = judged["rollout"]["steps"][3]
    assert rolled["n"] == len(VAL) * len(made)
    assert rolled["value"] == pytest.approx(torch.stack(made).mean().item(), abs=1e-5)
