"""Rescaled intervals are uniform under the truth and not under another model; averages around states."""

import numpy as np
import pytest
import xarray as xr
from models.switching_cases import drawn
from scipy.stats import kstest

import neurotools as nt
from neurotools import schema
from neurotools.errors import SchemaError, SettingsError
from neurotools.evaluate.rescaling import rescaled_intervals

MODEL = nt.SwitchingGLM(2, link="sigmoid", n_restarts=1, uncertainty="none")


def truth_of(counts, truth):
    """The true parameters in the form of a fit."""
    units = counts["unit"].to_numpy()
    moves = np.full((2, 2), 0.02)
    np.fill_diagonal(moves, 0.98)
    return truth[["weight", "bias"]].assign(
        transition=(("state", "state_to"), moves), initial_prob=("state", [0.5, 0.5])
    ).assign_coords(unit=units, unit_to=units, state=[0, 1], state_to=[0, 1], basis=[0])  # fmt: skip


def test_intervals_are_uniform_under_the_true_model_and_not_under_one_without_history():
    counts, design, truth = drawn(3, n_time=4000, n_unit=3, n_state=2)
    true = truth_of(counts, truth)
    found = nt.time_rescaling(counts, MODEL.predict(true, counts, design))
    assert (found["p_value"] > 0.01).all()
    assert kstest(found["rescaled"], "uniform").pvalue > 0.01
    flat = true.assign(weight=true["weight"] * 0, bias=true["bias"].mean("state") + 0 * true["bias"])
    wrong = nt.time_rescaling(counts, MODEL.predict(flat, counts, design))
    assert (wrong["p_value"] < 1e-4).all()


def test_coarse_bins_are_no_reason_to_reject(rng):
    """Half of all bins have a spike: without the random part the intervals would be far from uniform."""
    chance = rng.uniform(0.3, 0.7, 4000)
    fired = rng.random(4000) < chance
    found = rescaled_intervals(fired, -np.log1p(-chance), rng)
    assert found.size == fired.sum()
    assert kstest(found, "uniform").pvalue > 0.01


def test_bins_that_were_not_observed_are_passed_over(rng):
    counts, design, truth = drawn(4, n_time=2000, n_unit=3, n_state=2)
    predicted = MODEL.predict(truth_of(counts, truth), counts, design)
    seen = np.ones(2000, bool)
    seen[300:700] = False
    found = nt.time_rescaling(counts.assign_coords(observed=("time", seen)), predicted)
    kept = counts.to_numpy()[seen] > 0
    np.testing.assert_array_equal(found["n_intervals"], kept.sum(axis=0))


def test_a_unit_that_hardly_fires_is_not_judged_and_strangers_are_named():
    counts, design, truth = drawn(3, n_time=300, n_unit=3, n_state=2)
    predicted = MODEL.predict(truth_of(counts, truth), counts, design)
    quiet = counts * np.array([0, 1, 1])
    found = nt.time_rescaling(quiet, predicted)
    assert np.isnan(found["p_value"][0])
    assert int(found["n_intervals"][0]) == 0
    with pytest.raises(SchemaError, match="not those that were predicted"):
        nt.time_rescaling(counts.isel(unit=[1, 0, 2]), predicted)
    with pytest.raises(SchemaError, match="no probability of silence"):
        nt.time_rescaling(counts, predicted.drop_vars("silent_prob"))


# ---- around changes of state ------------------------------------------------------------------------------
def path_of(states, session):
    return xr.DataArray(
        states, dims="time",
        coords={"time": schema.time_axis(len(states), 10.0), "session": ("time", session)},
    )  # fmt: skip


def test_averages_are_those_of_a_plain_loop(rng):
    states = np.repeat([0, 1, 2, 0, 1, 0, 2], [7, 3, 5, 6, 4, 9, 6])
    session = np.repeat([0, 1], [20, 20])
    path, values = path_of(states, session), rng.normal(size=(40, 2))
    signal = xr.DataArray(values, dims=("time", "unit"), coords={"unit": ["a", "b"]})
    found = nt.state_triggered_average(signal, path, (-0.3, 0.2))
    np.testing.assert_allclose(found["lag"], np.arange(-3, 3) / 10)
    for k, state in enumerate((0, 1, 2)):
        for m, lag in enumerate(range(-3, 3)):
            taken = [
                values[t + lag]
                for t in range(1, 40)
                if states[t] == state and states[t - 1] != state and session[t] == session[t - 1]
                and 0 <= t + lag < 40 and session[t + lag] == session[t]
            ]  # fmt: skip
            assert int(found["n"][k, m]) == len(taken)
            wanted = np.mean(taken, axis=0) if taken else np.full(2, np.nan)
            np.testing.assert_allclose(found["average"][k, m], wanted)
            if len(taken) > 1:
                error = np.std(taken, axis=0, ddof=1) / np.sqrt(len(taken))
                np.testing.assert_allclose(found["standard_error"][k, m], error)
    left = nt.state_triggered_average(signal.T, path, (0.0, 0.0), edge="leave")
    assert int(left["n"].sum()) == int(found["n"].sel(lag=0).sum())


def test_settings_and_times_that_do_not_fit_are_named(rng):
    path = path_of(np.repeat([0, 1], 5), np.zeros(10, int))
    signal = xr.DataArray(rng.normal(size=10), dims="time")
    with pytest.raises(SettingsError, match="edge is one of"):
        nt.state_triggered_average(signal, path, edge="middle")
    with pytest.raises(SettingsError, match="ends before it begins"):
        nt.state_triggered_average(signal, path, (1.0, 0.0))
    with pytest.raises(SchemaError, match="same times"):
        nt.state_triggered_average(signal[:5], path)
