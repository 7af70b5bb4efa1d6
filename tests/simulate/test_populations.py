from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import neurotools as nt
from neurotools.errors import SettingsError


def test_counts_have_the_mean_that_the_truth_says():
    recording, truth = nt.simulate.switching_population(n_units=8, n_sessions=4, duration_s=60, seed=0)
    counts = recording["counts/counts"]
    design = nt.glm_design(counts, nt.ExponentialHistory())
    past = design.to_numpy().reshape(counts.shape)
    state = truth["path"].to_numpy()
    drive = truth["bias"].to_numpy()[state] + np.einsum(
        "tu,tuv->tv", past, truth["weight"].to_numpy()[state][..., 0]
    )
    mean = np.logaddexp(0, drive)
    score = (counts.to_numpy() - mean).sum(axis=0) / np.sqrt(mean.sum(axis=0))
    assert np.abs(score).max() < 4
    assert counts.to_numpy().mean() < 5  # activity does not run away


def test_couplings_change_or_do_not():
    _, truth = nt.simulate.switching_population(n_sessions=1, duration_s=5, seed=1)
    a, b = truth["weight"].to_numpy()[..., 0]
    assert ((a != 0) != (b != 0)).any()
    assert ((a != 0) & (b != 0)).any()
    _, still = nt.simulate.switching_population(n_sessions=1, duration_s=5, changes=False, seed=1)
    np.testing.assert_array_equal(*still["weight"].to_numpy())
    sign = np.sign(still["weight"].to_numpy()[0, ..., 0])
    assert all(np.unique(row[row != 0]).size <= 1 for row in sign)  # a unit has one sign
    assert float(still["bias"].diff("state").min()) == pytest.approx(0.5)


def test_events_are_the_odd_states_and_seeds_repeat():
    recording, truth = nt.simulate.switching_population(n_units=4, n_sessions=2, duration_s=30, seed=2)
    again, _ = nt.simulate.switching_population(n_units=4, n_sessions=2, duration_s=30, seed=2)
    xr.testing.assert_identical(recording["counts/counts"], again["counts/counts"])
    events = recording["events"].to_dataset()
    assert float(events["duration"].sum()) == pytest.approx(0.02 * int((truth["path"] == 1).sum()))
    assert not nt.validate(recording)
    with pytest.raises(SettingsError, match="at least 2 units"):
        nt.simulate.switching_population(n_units=1)
