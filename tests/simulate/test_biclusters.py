"""Planted bi-clusters are what the truth says they are."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from neurotools import schema, simulate
from neurotools.errors import SettingsError


def test_the_truth_explains_the_counts():
    recording, truth = simulate.biclusters(n_units=40, n_time=4000, n_clusters=4, family="poisson", seed=2)
    counts = recording["counts/counts"]
    assert schema.validate(recording) == []
    assert counts.dims == ("time", "unit")
    assert (np.bincount(truth["unit_label"]) == 10).all()
    rate = np.exp(truth["log_rate"].to_numpy())
    scaled = (counts.to_numpy() - rate) / np.sqrt(rate)
    assert scaled.mean() == pytest.approx(0, abs=0.01)
    assert scaled.var() == pytest.approx(1, abs=0.03)
    own = truth["latent"].sel(cluster=truth["unit_label"])
    made = (own * truth["loading"]).sum("component") + truth["baseline"]
    np.testing.assert_allclose(made.transpose("time", "unit"), truth["log_rate"])


def test_a_negative_binomial_has_the_variance_that_its_dispersion_says():
    recording, truth = simulate.biclusters(n_time=6000, dispersion=3.0, seed=1)
    rate = np.exp(truth["log_rate"].to_numpy())
    scaled = (recording["counts/counts"].to_numpy() - rate) ** 2 / (rate + rate**2 / 3.0)
    assert scaled.mean() == pytest.approx(1, abs=0.05)
    np.testing.assert_array_equal(truth["dispersion"], 3.0)
    assert "dispersion" not in simulate.biclusters(family="poisson")[1]


def test_latents_move_by_the_rule_of_their_state():
    _, truth = simulate.biclusters(n_time=20_000, n_states=3, seed=3)
    latent, states = truth["latent"].to_numpy(), truth["state_label"].to_numpy()
    assert set(states) == {0, 1, 2}
    lengths = np.diff(np.flatnonzero(np.diff(states)))
    assert lengths.mean() == pytest.approx(50, rel=0.05)
    for state in range(3):
        now = np.flatnonzero(states[1:] == state) + 1
        for cluster in range(3):
            x, y = latent[cluster][:, now - 1], latent[cluster][:, now]
            rule = np.linalg.lstsq(x.T, y.T, rcond=None)[0]  # from component to component_to
            planted = truth["dynamics_matrix"].sel(state=state, cluster=cluster).to_numpy()
            assert np.abs(rule - planted).max() < (0.15 if state == 0 else 0.02)
            assert (y.T - x.T @ planted).var() == pytest.approx(0.01, rel=0.05)
    for state, size in ((1, 1.01), (2, 0.98)):
        turning = np.linalg.eigvals(truth["dynamics_matrix"].sel(state=state, cluster=0))
        np.testing.assert_allclose(np.abs(turning), size)
        assert np.abs(np.angle(turning)).max() == pytest.approx(state * np.pi / 20)


def test_the_rate_sets_how_many_counts_there_are():
    few, many = (simulate.biclusters(rate=rate, seed=4)[1] for rate in (1.0, 6.0))
    np.testing.assert_allclose(many["log_rate"] - few["log_rate"], np.log(6.0))


def test_seeds_repeat_and_differ():
    one, again, other = (simulate.biclusters(seed=seed) for seed in (5, 5, 6))
    xr.testing.assert_identical(one[0], again[0])
    xr.testing.assert_identical(one[1], again[1])
    assert not one[0]["counts/counts"].equals(other[0]["counts/counts"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_clusters": 31}, "every cluster needs a unit"),
        ({"n_states": 0}, "n_states must be positive"),
        ({"dispersion": -1.0}, "dispersion must be positive"),
        ({"rate": 0.0}, "rate must be positive"),
        ({"visit": np.inf}, "visit must be positive"),
        ({"family": "gauss"}, "no family named 'gauss'"),
    ],
)
def test_impossible_settings_are_named(options, message):
    with pytest.raises(SettingsError, match=message):
        simulate.biclusters(**options)
