"""Circular-shift tests: calibrated on noise, sensitive to what was planted, equal to slow computations."""

from itertools import combinations

import numpy as np
import pytest
import xarray as xr
from scipy.stats import kstest, spearmanr

from neurotools import schema
from neurotools.errors import SchemaError, SettingsError
from neurotools.evaluate.nulls import (
    association_test,
    draw_shifts,
    fisher_combined,
    p_value,
    roll_rows,
    sequence_test,
    standard_ranks,
)
from neurotools.numerics.sequences import concordance


def slow_concordance(peaks):
    agreed = compared = 0.0
    for a, b in combinations(range(len(peaks)), 2):
        for u, v in combinations(range(peaks.shape[1]), 2):
            s = np.sign(peaks[a, u] - peaks[a, v]) * np.sign(peaks[b, u] - peaks[b, v])
            if np.isfinite(s):
                agreed, compared = agreed + s, compared + abs(s)
    return agreed / compared


def test_concordance_equals_a_loop_over_pairs(rng):
    peaks = rng.integers(0, 6, size=(5, 7)).astype(float)
    peaks[rng.random(peaks.shape) < 0.2] = np.nan
    assert concordance(peaks) == pytest.approx(slow_concordance(peaks), abs=1e-12)


def test_concordance_of_equal_and_of_reversed_order():
    order = np.arange(5.0)
    assert concordance(np.stack([order, order])) == 1
    assert concordance(np.stack([order, -order])) == -1
    assert np.isnan(concordance(np.full((3, 4), np.nan)))


def planted(rng, order_repeats, n_unit=8, n_time=2000):
    onset = np.arange(100, 1900, 150)
    x = np.zeros((n_unit, n_time))
    for start in onset:
        order = np.arange(n_unit) if order_repeats else rng.permutation(n_unit)
        x[order, start + 4 * np.arange(n_unit)] = 1
    x += 0.05 * rng.random(x.shape)
    return schema.continuous(x, dim="unit", sfreq=100.0, units="1"), onset / 100


def test_a_planted_sequence_is_found_and_shuffled_orders_are_not(rng):
    x, onset = planted(rng, order_repeats=True)
    found = sequence_test(x, onset, window_s=0.4, n_shifts=199)
    assert float(found["p_value"]) == 1 / 200
    assert float(found["statistic"]) == 1
    x, onset = planted(rng, order_repeats=False)
    assert abs(float(sequence_test(x, onset, window_s=0.4, n_shifts=99)["statistic"])) < 0.2


def test_the_sequence_test_repeats_by_seed_and_names_its_order(rng):
    x, onset = planted(rng, order_repeats=True)
    a, b = (
        sequence_test(x.transpose(*dims), onset, n_shifts=20) for dims in (("unit", "time"), ("time", "unit"))
    )
    xr.testing.assert_identical(a, b)
    np.testing.assert_allclose(a["peak_time"].isel(event=0), 0.04 * np.arange(8))


def test_repeats_outside_the_recording_are_counted_and_too_few_refused(rng):
    x, onset = planted(rng, order_repeats=True)
    assert sequence_test(x, [*onset, 500.0], n_shifts=5).attrs["n_outside"] == 1
    with pytest.raises(SchemaError, match="at least two repeats"):
        sequence_test(x, [500.0, 1.0], n_shifts=5)
    with pytest.raises(SettingsError, match="too short"):
        sequence_test(x, onset, min_shift_s=15.0)


def slow_noise(rng, n_row, n_time):
    return np.cumsum(rng.normal(size=(n_row, n_time)), axis=1)


def test_association_p_values_are_uniform_on_stationary_noise(rng):
    p = []
    for _ in range(150):
        noise = np.stack([np.convolve(rng.normal(size=440), np.ones(40), "valid") for _ in range(5)])
        loading = xr.DataArray(noise[:4], dims=("component", "time"), coords={"time": np.arange(401.0)})
        behaviour = xr.Dataset({"speed": ("time", noise[4])})
        p.append(float(association_test(loading, behaviour, n_shifts=99, seed=len(p))["p_value"]))
    assert kstest(p, "uniform").pvalue > 0.01


def test_association_equals_scipy_and_finds_what_was_planted(rng):
    loading = xr.DataArray(
        rng.random((3, 300)), dims=("component", "time"), coords={"time": np.arange(300.0)}
    )
    behaviour = xr.Dataset(
        {
            "speed": ("time", rng.random(300)),
            "turn": ("time", loading[1].to_numpy() ** 3 + 0.1 * rng.random(300)),
        }
    )
    found = association_test(loading, behaviour, n_shifts=99)
    wanted = spearmanr(loading[2], behaviour["speed"]).statistic
    assert float(found["correlation"].sel(behaviour="speed")[2]) == pytest.approx(wanted, abs=1e-12)
    assert float(found["p_value"]) == 1 / 100
    assert int(np.abs(found["correlation"].sel(behaviour="turn").to_numpy()).argmax()) == 1
    with pytest.raises(SchemaError, match="same samples"):
        association_test(loading, behaviour.isel(time=slice(5)))


def test_pieces(rng):
    shifts = draw_shifts(rng, (1000,), 100, 20)
    assert shifts.min() >= 20
    assert shifts.max() <= 80
    x = rng.random((3, 10))
    rolled = roll_rows(x, np.array([0, 3, 9]))
    for row, shift in enumerate((0, 3, 9)):
        np.testing.assert_array_equal(rolled[row], np.roll(x[row], shift))
    assert p_value(1.0, np.zeros(9)) == 0.1
    assert p_value(0.0, np.full(9, np.nan)) == 1.0
    assert (standard_ranks(np.ones((1, 5))) == 0).all()
    assert fisher_combined(np.array([0.01, 0.02])) == pytest.approx(0.00190, abs=5e-5)
