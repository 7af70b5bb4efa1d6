from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import neurotools as nt
from neurotools.errors import SchemaError, SettingsError


@pytest.fixture(scope="module")
def known():
    """Simulated choices with the true parameters and states in the form of a fit."""
    recording, truth = nt.simulate.switching_choices(n_sessions=10, seed=3)
    choice, design = recording["behaviour/choice"], nt.choice_design(recording)
    state = truth["path"].to_numpy()
    fit = xr.Dataset(
        {
            "feature_weight": (("state", "feature"), truth["weight"].to_numpy()[0, :, 1:]),
            "bias": ("state", truth["weight"].to_numpy()[0, :, 0]),
            "state_prob": (("trial", "state"), (state[:, None] == np.arange(3)).astype(float)),
        },
        coords={"state": np.arange(3), "feature": ["stimulus", "choice_back_1"]},
    )
    return fit, choice, design, state


def test_shares_are_counts_where_states_are_certain(known):
    fit, choice, design, state = known
    curves = nt.psychometric(fit, choice, design, n_bins=11)
    level = design.sel(feature="stimulus").to_numpy()
    assert curves.attrs["stimulus"] == "stimulus"
    np.testing.assert_allclose(curves["stimulus"], np.unique(level))
    for k in range(3):
        for b, at in enumerate(np.unique(level)):
            here = (state == k) & (level == at)
            assert float(curves["n_trials"][k, b]) == here.sum()
            assert float(curves["p_choice"][k, b]) == pytest.approx(choice.to_numpy()[here].mean())


def test_the_curve_of_the_truth_runs_through_the_intervals(known):
    curves = nt.psychometric(*known[:3], n_bins=11)
    at = curves["curve"].interp(level=curves["stimulus"], kwargs={"fill_value": "extrapolate"})
    low, high = curves["p_choice_interval"].transpose("bound", "state", "bin").to_numpy()
    inside = (low <= at.to_numpy() + 1e-9) & (at.to_numpy() - 1e-9 <= high)
    assert inside.mean() >= 0.8  # 90 % intervals, 33 of them


def test_many_levels_are_binned_evenly(known, rng):
    fit, choice, design, _ = known
    noisy = design.copy()
    noisy.loc[{"feature": "stimulus"}] += 1e-3 * rng.normal(size=design.sizes["trial"])
    curves = nt.psychometric(fit, choice, noisy, "stimulus", n_bins=5)
    np.testing.assert_allclose(curves["n_trials"].sum("state"), design.sizes["trial"] / 5, rtol=0.01)


def test_what_is_missing_is_said(known):
    fit, choice, design, _ = known
    with pytest.raises(SettingsError, match=r"(?s)no regressor 'stimulsu'.*Did you mean 'stimulus'"):
        nt.psychometric(fit, choice, design, "stimulsu")
    with pytest.raises(SchemaError, match="other trials"):
        nt.psychometric(fit, choice[:-1], design[:-1])
    with pytest.raises(SchemaError, match="fit to choices"):
        nt.psychometric(fit.drop_vars("feature_weight"), choice, design)
    with pytest.raises(SettingsError, match="more than five levels"):
        nt.psychometric(fit, choice, design.sel(feature=["choice_back_1"]))
