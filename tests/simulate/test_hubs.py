"""A circuit with hubs: who drives whom is planted, and shows."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import neurotools as nt
from neurotools.errors import SettingsError
from neurotools.simulate import hubs


@pytest.fixture(scope="module")
def circuit():
    return nt.simulate.hub_circuit(n_units=30, n_hubs=1, duration_s=20.0, seed=1)


def test_connections_are_those_that_were_asked_for(circuit):
    _, truth = circuit
    weight, hub = truth["weight"].to_numpy(), truth["hub"].to_numpy()
    assert hub.sum() == 1
    assert (weight[hub] == hubs.HUB_WEIGHT).sum() == hubs.N_TARGETS
    assert set(np.unique(np.abs(weight[~hub]))) <= {0.0, hubs.WEIGHT}
    assert not weight.diagonal().any()
    sign = np.sign(weight).sum(1)
    assert (np.abs(sign) == (weight != 0).sum(1)).all()  # a unit excites or inhibits


def test_targets_fire_after_their_hub(circuit):
    recording, truth = circuit
    counts = nt.bin_spikes(recording, width_s=0.002).to_numpy().astype(float)
    hub = int(np.flatnonzero(truth["hub"])[0])
    after = np.stack([counts[:-lag, hub] @ counts[lag:] for lag in (1, 2, 3)]).sum(0)
    before = np.stack([counts[lag:, hub] @ counts[:-lag] for lag in (1, 2, 3)]).sum(0)
    targets = truth["weight"][hub].to_numpy() > 0
    assert (after[targets] > before[targets]).all()
    assert after[targets].sum() > 2 * before[targets].sum()
    assert after[~targets].sum() < 1.5 * before[~targets].sum()


def test_no_unit_fires_while_it_rests_and_times_are_on_the_grid(circuit):
    recording, _ = circuit
    spikes = recording["spikes"].to_dataset()
    edges = np.cumsum(spikes["row_size"].to_numpy())[:-1]
    for train in np.split(spikes["spike_time"].to_numpy(), edges):
        assert np.diff(train).min() > hubs.REFRACTORY_S - 1e-9
        np.testing.assert_allclose(train / hubs.STEP_S, np.round(train / hubs.STEP_S), atol=1e-6)
        assert 5 < len(train) / 20 < 40


def test_a_shared_drive_has_the_same_edges_in_truth_and_none_in_fact(circuit):
    recording, truth = nt.simulate.hub_circuit(n_units=30, n_hubs=1, duration_s=20.0, drive="shared", seed=1)
    assert truth.attrs["connected"] == 0
    xr.testing.assert_identical(truth["weight"], circuit[1]["weight"])
    counts = nt.bin_spikes(recording, width_s=0.01).to_numpy()
    together = np.corrcoef(counts.T)[~np.eye(30, dtype=bool)].mean()
    alone = np.corrcoef(nt.bin_spikes(circuit[0], width_s=0.01).to_numpy().T)[~np.eye(30, dtype=bool)].mean()
    assert together > alone + 0.03


def test_a_seed_says_it_all_and_wrong_numbers_are_refused():
    one, two = (nt.simulate.hub_circuit(n_units=14, n_hubs=1, duration_s=1.0, seed=3)[0] for _ in range(2))
    np.testing.assert_array_equal(one["spikes/spike_time"], two["spikes/spike_time"])
    for wrong in ({"n_units": 20, "n_hubs": 2}, {"duration_s": 0.0}, {"n_hubs": -1}):
        with pytest.raises(SettingsError, match="targets of its own"):
            nt.simulate.hub_circuit(**wrong)
    with pytest.raises(SettingsError, match="no drive named"):
        nt.simulate.hub_circuit(drive="common")
