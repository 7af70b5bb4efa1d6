from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import neurotools as nt
from neurotools.errors import SchemaError
from neurotools.evaluate.calibration import wilson

TYPES = ["inhibitory", "none", "excitatory"]


def drawn(rng, n: int = 20):
    """Probabilities, and types drawn from those very probabilities."""
    prob = rng.dirichlet([0.4, 0.8, 0.4], size=(n, n))
    place = (prob.cumsum(axis=-1) < rng.random((n, n, 1))).sum(axis=-1)
    prob = xr.DataArray(prob, dims=("unit", "unit_to", "type"), coords={"type": TYPES})
    return prob, xr.DataArray(np.array(TYPES)[place], dims=("unit", "unit_to"))


def test_honest_probabilities_are_calibrated_and_sharpened_ones_are_not(rng):
    prob, truth = drawn(rng, 60)
    honest = nt.type_calibration(prob, truth)
    assert honest.attrs["expected_calibration_error"] < 0.02
    low, high = honest["observed_interval"].transpose("bound", "bin").to_numpy()
    inside = (low <= honest["predicted"]) & (honest["predicted"] <= high)
    assert int(inside.sum()) >= 7
    sharp = prob**4 / (prob**4).sum("type")
    assert nt.type_calibration(sharp, truth).attrs["expected_calibration_error"] > 0.1


def test_bins_count_every_statement_once():
    prob = xr.DataArray([[1.0, 0.0, 0.0], [0.25, 0.75, 0.0]], dims=("pair", "type"), coords={"type": TYPES})
    truth = xr.DataArray(["inhibitory", "inhibitory"], dims="pair")
    table = nt.type_calibration(prob, truth, n_bins=4)
    np.testing.assert_array_equal(table["n"], [3, 1, 0, 2])
    np.testing.assert_allclose(table["predicted"], [0, 0.25, np.nan, 0.875])
    np.testing.assert_allclose(table["observed"], [0, 1, np.nan, 0.5])
    assert table.attrs["expected_calibration_error"] == pytest.approx((0.75 + 2 * 0.375) / 6)
    assert table.attrs["balanced_accuracy"] == 0.5


def test_unknown_types_are_left_out_and_counted(rng):
    prob, truth = drawn(rng)
    truth[0, :5] = ""
    table = nt.type_calibration(prob, truth)
    assert table.attrs["n_left_out"] == 5
    assert int(table["n"].sum()) == 3 * 395
    with pytest.raises(SchemaError, match="other couplings"):
        nt.type_calibration(prob, truth[:-1])
    with pytest.raises(SchemaError, match="no coupling has a type"):
        nt.type_calibration(prob, xr.full_like(truth, ""))
    with pytest.raises(SchemaError, match="dimension 'type'"):
        nt.type_calibration(prob.rename(type="sign"), truth)


def test_interval_of_a_share_is_that_of_wilson():
    from scipy.stats import binomtest

    theirs = binomtest(7, 20).proportion_ci(0.9, method="wilson")
    np.testing.assert_allclose(wilson(np.array(0.35), np.array(20)), [theirs.low, theirs.high], rtol=1e-12)
    assert np.isnan(wilson(np.array(np.nan), np.array(0))).all()
