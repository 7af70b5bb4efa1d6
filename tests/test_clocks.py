"""Two arrays meet only on one clock: samples are never dropped where times differ in the last digit."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import neurotools as nt
from neurotools.errors import SchemaError
from neurotools.schema import recording_tree

N = 100
TIME = np.arange(N) / 250
CLOCKS = {
    "times that differ in the last digit": TIME + np.spacing(TIME) * (np.arange(N) % 7 == 3),
    "another rate": np.arange(N) / 128,
    "a later start": TIME + 1.0,
}


def traces(time, dim="unit") -> xr.DataArray:
    values = np.random.default_rng(0).gamma(2.0, size=(4, N)) + 1
    return xr.DataArray(values, {dim: np.arange(4), "time": time}, (dim, "time"), "x", {"units": "1"})


# Every function that takes two arrays over time.
MEETINGS = {
    "recording": lambda a, b: recording_tree({"calcium/activity": a, "calcium/raw": b}),
    "tuning_curve": lambda a, b: nt.tuning_curve(a, b.isel(unit=0, drop=True), bins=3),
    "dff": lambda a, b: nt.dff(a, window_s=0.1, neuropil=b),
    "clean": lambda a, b: nt.clean(a, b.rename(unit="feature")),
    "association_test": lambda a, b: nt.association_test(
        a.rename(unit="component"), b.isel(unit=0, drop=True).to_dataset(), min_shift_s=0.01, n_shifts=9
    ),
}


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("meeting", MEETINGS)
def test_other_clocks_are_refused(meeting, clock):
    MEETINGS[meeting](traces(TIME), traces(TIME))
    with pytest.raises(SchemaError):
        MEETINGS[meeting](traces(TIME), traces(CLOCKS[clock]))


def test_a_clock_that_steps_back_is_no_recording():
    """A slice along it would return samples that do not lie in the range."""
    for time in (TIME[::-1], np.r_[TIME[:50], TIME[:50]], np.r_[TIME[:-1], np.nan]):
        with pytest.raises(SchemaError, match="time"):
            recording_tree({"calcium/activity": traces(time)})
