"""What is hidden in each fold, and that settings change one at a time; the sampler is a stand-in."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import xarray as xr
from bicluster_cases import made

import neurotools as nt
from neurotools.errors import SettingsError
from neurotools.evaluate import heldout_counts


@dataclass(frozen=True)
class Prior:
    rho: float = 0.2


@dataclass(frozen=True)
class StandIn:
    """A model whose posterior is made by hand; it remembers how it was asked."""

    latent_dim: int = 2
    prior: Prior = Prior()
    seed: int = 0
    asked: list = field(default_factory=list, compare=False)

    def sample(self, counts, draws, tune, chains, held_out=None):
        self.asked.append((self, held_out))
        stray = 0.05 if self.prior.rho < 0.5 else 0.6
        post = made(stray=stray, draws=draws, chains=chains, keep=2, seed=0).post
        if held_out is not None:
            post["constant_data/held_out"][:] = held_out.transpose("time", "unit").to_numpy()
        return post


@pytest.fixture(scope="module")
def counts():
    return made().recording["counts/counts"]


@pytest.mark.parametrize("n_folds", [2, 5, 7])
def test_speckles_hide_every_entry_once(rng, n_folds):
    masks = heldout_counts.speckled((50, 9), n_folds, rng)
    np.testing.assert_array_equal(np.sum(masks, axis=0), 1)
    sizes = [mask.sum() for mask in masks]
    assert max(sizes) - min(sizes) <= 1


def test_units_are_hidden_in_every_other_stretch_and_once(rng):
    masks = heldout_counts.unit_stretches((100, 12), 4, rng)
    hidden = np.sum(masks, axis=0)
    assert hidden.max() == 1
    np.testing.assert_array_equal(hidden.sum(axis=0), 50)
    for mask in masks:
        assert mask.any(axis=0).sum() == 3
        edges = np.abs(np.diff(mask[:, mask.any(axis=0)].astype(int), axis=0)).sum(axis=0)
        np.testing.assert_array_equal(edges, 9)


def test_every_fold_is_scored_on_what_it_hid(counts):
    model = StandIn()
    found = nt.heldout(model, counts, n_folds=3, draws=10, tune=0, chains=2, seed=4)
    assert found.sizes == {"fold": 3}
    assert int(found["n_counts"].sum()) == counts.size
    assert int(found["n_spikes"].sum()) == int(counts.sum())
    for fold, (_, mask) in enumerate(model.asked[:3]):
        post = model.sample(counts, 10, 0, 2, held_out=mask)
        xr.testing.assert_equal(found.isel(fold=fold, drop=True), nt.heldout_score(post, seed=4))


def test_the_order_of_dimensions_is_free(counts):
    one, two = (nt.heldout(StandIn(), each, n_folds=2, draws=8, tune=0) for each in (counts, counts.T))
    xr.testing.assert_identical(one, two)


def test_impossible_folds_are_named(counts):
    with pytest.raises(SettingsError, match="no kind of held-out counts named 'bins'"):
        nt.heldout(StandIn(), counts, kind="bins")
    with pytest.raises(SettingsError, match="n_folds is at least 2"):
        nt.heldout(StandIn(), counts, kind="unit", n_folds=19)


def test_settings_are_changed_one_at_a_time(counts):
    model = StandIn()
    found = nt.sensitivity(model, counts, {"prior.rho": (0.1, 0.9), "latent_dim": (3,)}, draws=12, tune=0)
    assert found["setting"].to_numpy().tolist() == [
        "as given", "prior.rho=0.1", "prior.rho=0.9", "latent_dim=3"
    ]  # fmt: skip
    asked = [one for one, _ in model.asked]
    assert [(one.prior.rho, one.latent_dim) for one in asked] == [(0.2, 2), (0.1, 2), (0.9, 2), (0.2, 3)]
    assert float(found["unit_agreement"].sel(setting="as given")) == 1
    assert float(found["unit_agreement"].sel(setting="prior.rho=0.9")) < 0.9
    assert found["unit_label"].dims == ("setting", "unit")


def test_settings_that_are_not_there_are_named(counts):
    with pytest.raises(SettingsError, match=r"StandIn has no setting 'latent'. Did you mean 'latent_dim'"):
        nt.sensitivity(StandIn(), counts, {"latent": (1,)})
    with pytest.raises(SettingsError, match="Prior has no setting 'roh'"):
        nt.sensitivity(StandIn(), counts, {"prior.roh": (1,)})
    with pytest.raises(SettingsError, match="seed holds no further settings"):
        nt.sensitivity(StandIn(), counts, {"seed.more": (1,)})
