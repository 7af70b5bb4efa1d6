"""Designs: histories equal a slow sum, nothing crosses a session, and disagreements are named."""

import numpy as np
import pytest
import xarray as xr

import neurotools as nt
from neurotools import schema
from neurotools.errors import NeurotoolsWarning, SchemaError, SettingsError


def counts_of(rng, n_time=40, n_unit=3, sessions=(0, 15, 40)):
    values = rng.poisson(1.0, size=(n_time, n_unit))
    counts = schema.counts_array(values, bin_width=0.02, unit=["a", "b", "c"][:n_unit])
    labels = np.repeat(np.arange(len(sessions) - 1), np.diff(sessions))
    return counts.assign_coords(session=("time", labels))


@pytest.mark.parametrize("basis", [nt.ExponentialHistory(0.7, 4), nt.RaisedCosine(3, 0.14)])
def test_a_history_is_the_weighted_sum_of_the_past_of_its_own_session(basis, rng):
    counts = counts_of(rng)
    design = nt.glm_design(counts, basis)
    weights = basis.weights(0.02)
    first = {0: 0, 1: 15}
    for feature in design["feature"].to_numpy():
        column = design.sel(feature=feature)
        train = counts.sel(unit=column["source"].item()).to_numpy()
        for t in range(40):
            begin = first[int(counts["session"][t])]
            wanted = sum(
                w * train[t - lag]
                for lag, w in enumerate(weights[int(column["basis"])], start=1)
                if t - lag >= begin
            )
            assert float(column[t]) == pytest.approx(wanted, abs=1e-12)
    assert set(design["kind"].to_numpy()) == {"history"}
    xr.testing.assert_identical(design, nt.glm_design(counts.transpose("unit", "time"), basis))


def test_the_exponential_history_is_the_published_one():
    weights = nt.ExponentialHistory().weights(None)
    np.testing.assert_allclose(weights[0], [0.6364, 0.2341, 0.0861, 0.0317, 0.0117], atol=5e-5)


def test_raised_cosines_are_bumps_that_widen():
    weights = nt.RaisedCosine(n=5, last_s=0.4).weights(0.01)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert (weights >= 0).all()
    peaks = weights.argmax(axis=1)
    assert (np.diff(peaks) > 0).all()
    assert (np.diff((weights > weights.max(axis=1, keepdims=True) / 2).sum(axis=1)) >= 0).all()
    assert peaks[0] == 0
    assert np.linalg.matrix_rank(weights) == 5


def test_a_stimulus_stands_beside_the_history(rng):
    counts = counts_of(rng)
    shown = xr.Dataset({"light": ("time", rng.normal(size=40)), "sound": ("time", rng.normal(size=40))})
    design = nt.glm_design(counts, nt.ExponentialHistory(), shown)
    np.testing.assert_array_equal(design.sel(feature="sound"), shown["sound"])
    assert design["kind"].to_numpy().tolist() == ["history"] * 3 + ["stimulus"] * 2
    only = nt.glm_design(counts, stimulus=shown["light"])
    assert only["feature"].to_numpy().tolist() == ["light"]


def test_what_does_not_fit_is_named(rng):
    counts = counts_of(rng)
    with pytest.raises(SchemaError, match="nothing to put"):
        nt.glm_design(counts)
    with pytest.raises(SchemaError, match="another clock"):
        nt.glm_design(counts, stimulus=xr.DataArray(np.zeros(39), dims="time"))
    late = xr.DataArray(np.zeros(40), dims="time", coords={"time": counts["time"].to_numpy() + 0.01})
    with pytest.raises(SchemaError, match="another clock"):
        nt.glm_design(counts, stimulus=late)
    with pytest.raises(SchemaError, match="not finite"):
        nt.glm_design(counts, stimulus=xr.DataArray(np.full(40, np.nan), dims="time"))
    with pytest.raises(SchemaError, match="whole numbers"):
        nt.glm_design((counts - 9).assign_attrs(counts.attrs), nt.ExponentialHistory())
    with pytest.raises(SettingsError, match="more bumps than lags"):
        nt.glm_design(counts, nt.RaisedCosine(8, 0.1))
    with pytest.raises(SettingsError, match="n_lags"):
        nt.ExponentialHistory(n_lags=0)
    with pytest.raises(SchemaError, match="width of a bin"):
        nt.RaisedCosine(2, 0.1).weights(None)


def test_a_session_shorter_than_the_history_is_told(rng):
    counts = counts_of(rng, sessions=(0, 3, 40))
    with pytest.warns(NeurotoolsWarning, match="1 of 2 sessions are shorter"):
        nt.glm_design(counts, nt.ExponentialHistory(n_lags=5))


# ---- choices --------------------------------------------------------------------------------------------
def behaviour(rng, n=30):
    table = xr.Dataset(
        {
            "choice": ("trial", rng.integers(0, 2, size=n)),
            "design": (("trial", "feature"), np.stack([np.ones(n), rng.normal(size=n)], axis=1)),
        },
        coords={
            "trial": np.arange(n), "session": ("trial", np.repeat([0, 1], [12, n - 12])),
            "feature": ["bias", "contrast"],
        },
    )  # fmt: skip
    return xr.DataTree.from_dict({"/behaviour": table})


def test_earlier_choices_stay_in_their_session(rng):
    recording = behaviour(rng)
    design = nt.choice_design(recording, n_back=2)
    assert design["feature"].to_numpy().tolist() == ["contrast", "choice_back_1", "choice_back_2"]
    signed = 2 * recording["behaviour/choice"].to_numpy() - 1
    back = design.sel(feature="choice_back_2").to_numpy()
    assert back[[0, 1, 12, 13]].tolist() == [0, 0, 0, 0]
    np.testing.assert_array_equal(back[2:12], signed[:10])
    np.testing.assert_array_equal(back[14:], signed[12:-2])
    assert design.attrs["left_out"] == '["bias"]'


def test_a_choice_that_is_in_the_design_already_is_refused(rng):
    recording = behaviour(rng)
    first = nt.choice_design(recording, n_back=1).sel(feature="choice_back_1")
    table = recording["behaviour"].to_dataset()
    table["design"] = table["design"].where(table["feature"] != "contrast", 0.5 * first.to_numpy()[:, None])
    with pytest.raises(SchemaError, match="already holds choice_back_1 as 'contrast'"):
        nt.choice_design(table)
    assert nt.choice_design(table, n_back=0).sizes["feature"] == 1


def test_choices_that_have_no_design_are_named(rng):
    with pytest.raises(SchemaError, match="has no choices"):
        nt.choice_design(xr.DataTree())
    table = behaviour(rng)["behaviour"].to_dataset().drop_vars("design")
    with pytest.raises(SchemaError, match="nothing to put"):
        nt.choice_design(table.drop_vars("feature"), n_back=0)
    with pytest.raises(SchemaError, match="more than two"):
        nt.choice_design(table.assign(choice=table["choice"] + 1))
