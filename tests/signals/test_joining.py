"""Animals side by side: units by name, what one lacks as NaN, clocks that agree."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import neurotools as nt
from neurotools import schema
from neurotools.errors import SchemaError, SettingsError


def animal(units, n_time=60, sfreq=10.0, seed=0, t0=0.0) -> xr.DataArray:
    values = np.random.default_rng(seed).normal(size=(len(units), n_time))
    return schema.continuous(values, dim="unit", labels=units, sfreq=sfreq, units="1").assign_coords(
        time=t0 + np.arange(n_time) / sfreq
    )


def test_units_are_matched_by_name_and_what_lacks_is_nan():
    first, second = animal(["a", "b", "c"]), animal(["c", "d", "a"], seed=1)
    tree = schema.recording_tree({"calcium/activity": second}, kind="calcium")
    joined = nt.join_subjects({"one": first, "two": tree})
    assert joined.dims == ("subject", "unit", "time")
    assert joined["unit"].values.tolist() == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(joined["observed"], [[1, 1, 1, 0], [1, 0, 1, 1]])
    for name, one in (("one", first), ("two", second)):
        for unit in one["unit"].values:
            np.testing.assert_array_equal(joined.sel(subject=name, unit=unit), one.sel(unit=unit))
    affinity = nt.differential_affinity(joined)
    np.testing.assert_array_equal(affinity["observed"], joined["observed"])


def test_longer_recordings_are_cut_only_when_asked():
    long, short = animal(["a", "b"], 80), animal(["a", "b"], 60, seed=1)
    with pytest.raises(SchemaError, match="differ in length"):
        nt.join_subjects({"one": long, "two": short})
    joined = nt.join_subjects({"one": long, "two": short}, cut=True)
    np.testing.assert_array_equal(joined.sel(subject="one"), long.isel(time=slice(0, 60)))


def test_what_cannot_be_joined_is_said():
    one = animal(["a", "b"])
    with pytest.raises(SettingsError, match="at least two subjects"):
        nt.join_subjects({"one": one})
    with pytest.raises(SchemaError, match="clocks differ"):
        nt.join_subjects({"one": one, "two": animal(["a", "b"], t0=1.0)})
    with pytest.raises(SchemaError, match="same label in two subjects"):
        nt.join_subjects({"one": one, "two": animal(["c", "d"])})
    with pytest.raises(SchemaError, match="need labels"):
        nt.join_subjects({"one": one, "two": one.drop_vars("unit")})
    with pytest.raises(SchemaError, match="different units"):
        nt.join_subjects({"one": one, "two": one.assign_attrs(units="V")})
