"""Bins that are merged and units that are chosen: sums are kept, and what is left out is named."""

from __future__ import annotations

import numpy as np
import pytest

import neurotools as nt
from neurotools import schema
from neurotools.errors import SchemaError, SettingsError


@pytest.fixture
def counts(rng):
    values = rng.poisson([0.1, 1.0, 5.0], (103, 3))
    return schema.counts_array(values.astype("uint8") * 60, bin_width=0.05, unit=list("abc"), t0=2.0)


def test_neighbours_are_added_and_the_rest_is_told(counts):
    merged = nt.merge_bins(counts.T, 0.2)
    expected = counts.to_numpy().astype(int)[:100].reshape(25, 4, 3).sum(axis=1)
    np.testing.assert_array_equal(merged, expected)  # uint8 would have run over
    np.testing.assert_allclose(merged["time"], 2.0 + 0.2 * np.arange(25))
    assert (merged.attrs["bin_width"], merged.attrs["n_left_out"]) == (pytest.approx(0.2), 3)
    np.testing.assert_array_equal(nt.merge_bins(counts, 0.05), counts)


def test_no_bin_crosses_the_edge_of_a_session(counts):
    session = np.repeat(["one", "two"], [50, 53])
    merged = nt.merge_bins(counts.assign_coords(session=("time", session)), 0.2)
    assert merged["session"].to_numpy().tolist() == ["one"] * 12 + ["two"] * 13
    np.testing.assert_array_equal(merged[12], counts.to_numpy().astype(int)[50:54].sum(axis=0))
    assert merged.attrs["n_left_out"] == 3


@pytest.mark.parametrize("width", [0.07, 0.0, -0.1, np.inf, 0.0251])
def test_other_widths_are_refused(counts, width):
    with pytest.raises(SettingsError, match="a multiple of the bins"):
        nt.merge_bins(counts, width)


def test_a_recording_shorter_than_a_bin_is_refused(counts):
    with pytest.raises(SchemaError, match="shorter than one bin"):
        nt.merge_bins(counts, 10.0)


def test_units_that_hardly_fire_are_named(counts):
    found = nt.active_units(counts, 500.0)
    rate = counts.to_numpy().mean(axis=0) / 0.05
    assert found["unit"].to_numpy().tolist() == [u for u, r in zip("abc", rate, strict=True) if r >= 500]
    assert "a" in found.attrs["units_left_out"]
    with pytest.raises(SchemaError, match="no unit fires that often"):
        nt.active_units(counts, 1e6)
