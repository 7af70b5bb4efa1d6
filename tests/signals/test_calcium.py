"""dF/F equals a slow sum over windows, keeps to its sessions, and refuses what has no baseline."""

import json

import numpy as np
import pytest
import xarray as xr

import neurotools as nt
from neurotools.errors import SchemaError, SettingsError
from neurotools.schema import continuous


@pytest.fixture
def fluorescence(rng) -> xr.DataArray:
    return continuous(100 + 10 * rng.random((3, 60)), dim="unit", sfreq=10.0, units="arbitrary")


def slow_dff(row, size, percentile):
    padded = np.pad(row, size, mode="symmetric")
    out = []
    for k, value in enumerate(row):
        start = k + size - size // 2
        window = np.sort(padded[start : start + size])
        base = window[int(size * percentile / 100.0)]
        out.append((value - base) / base)
    return np.array(out)


@pytest.mark.parametrize(("window_s", "percentile"), [(0.7, 8), (2.0, 20), (0.1, 50)])
def test_equals_a_sort_of_every_window(fluorescence, window_s, percentile):
    found = nt.dff(fluorescence, window_s=window_s, percentile=percentile)
    size = round(window_s * 10)
    expected = np.stack([slow_dff(row, size, percentile) for row in fluorescence.values])
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert found.attrs["units"] == "1"
    step = json.loads(found.attrs["history"])[-1]
    assert (step["step"], step["window_s"], step["samples"]) == ("dff", window_s, [60, 60])


def test_whole_session_and_neuropil(fluorescence):
    around = fluorescence.copy(data=np.full(fluorescence.shape, 20.0))
    found = nt.dff(fluorescence, window_s=None, percentile=10, neuropil=around, neuropil_weight=0.5)
    values = fluorescence.values - 10
    base = np.percentile(values, 10, axis=1, keepdims=True)
    np.testing.assert_allclose(found, (values - base) / base)
    shifted = around.assign_coords(unit=[1, 2, 3])
    with pytest.raises(SchemaError, match="differ along 'unit'"):
        nt.dff(fluorescence, neuropil=shifted, window_s=None)


def test_scale_does_not_matter_and_order_of_axes_neither(fluorescence):
    found = nt.dff(fluorescence, window_s=1)
    np.testing.assert_allclose(nt.dff(7 * fluorescence, window_s=1), found, rtol=1e-12)
    xr.testing.assert_identical(nt.dff(fluorescence.T, window_s=1), found)


def test_sessions_do_not_touch(fluorescence):
    two = fluorescence.assign_coords(session=("time", np.repeat([0, 1], 30)))
    found = nt.dff(two, window_s=1)
    alone = nt.dff(fluorescence.isel(time=slice(30)), window_s=1)
    np.testing.assert_array_equal(found.isel(time=slice(30)), alone)


def test_without_a_baseline_there_is_none(fluorescence, rng):
    scored = fluorescence - fluorescence.mean("time")
    with pytest.raises(SchemaError, match="not positive") as told:
        nt.dff(scored, window_s=1)
    assert told.value.where == "unit 0"
    with pytest.raises(SchemaError, match="not positive"):
        nt.dff(nt.load("songbird-hvc"), window_s=5)
    with pytest.raises(SettingsError, match="window of the baseline"):
        nt.dff(fluorescence, window_s=60)
    with pytest.raises(SettingsError, match="percentile"):
        nt.dff(fluorescence, percentile=101)
    gap = fluorescence.copy()
    gap[1, 3] = np.nan
    with pytest.raises(SchemaError, match="not finite"):
        nt.dff(gap, window_s=1)


def test_on_what_suite2p_left(shared):
    recording = nt.load(shared("data/calcium_suite2p_mini"), sfreq=30)
    found = nt.dff(recording["calcium/activity"].isel(unit=recording["calcium/iscell"].values), window_s=20)
    assert found.shape == (20, 2000)
    assert np.isfinite(found).all()
    # A baseline at the eighth percentile leaves about that share of the samples below it.
    assert float((found < 0).mean()) == pytest.approx(0.08, abs=0.02)
