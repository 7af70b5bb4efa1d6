from __future__ import annotations

import connectome_cases as cases
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from neurotools import schema
from neurotools.errors import SchemaError, SettingsError
from neurotools.plot import plot_quality, plot_spectrogram, plot_traces


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_traces_are_the_recording():
    recording = cases.recording()
    ax = plot_traces(recording)
    np.testing.assert_array_equal(ax.images[0].get_array(), recording["calcium/activity"])
    assert ax.get_xlabel() == "time (s)"
    assert ax.images[0].colorbar.ax.get_ylabel() == "activity (dimensionless)"
    np.testing.assert_allclose(ax.get_xlim(), (-0.05, 3.95))
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first row on top


def test_any_order_of_dimensions_gives_the_same_picture():
    array = cases.recording()["calcium/activity"]
    left, right = plot_traces(array), plot_traces(array.transpose())
    np.testing.assert_array_equal(left.images[0].get_array(), right.images[0].get_array())


def test_sorting_by_peak_puts_flat_rows_last():
    array = cases.recording()["calcium/activity"]
    ax = plot_traces(array, sort="peak")
    shown = np.asarray(ax.images[0].get_array())
    assert (np.diff(shown[:-1].argmax(axis=1)) >= 0).all()
    assert shown[-1].max() == 0
    assert "sorted by time of peak" in ax.get_ylabel()
    with pytest.raises(SettingsError, match="Did you mean 'peak'"):
        plot_traces(array, sort="peek")


def test_signed_data_have_zero_in_the_middle():
    array = cases.recording()["calcium/activity"]
    low, high = plot_traces(array - array.mean("time")).images[0].get_clim()
    assert low == -high


def test_counts_say_their_unit():
    counts = schema.counts_array(np.arange(12).reshape(6, 2), bin_width=0.1)
    assert "(count)" in plot_traces(counts).images[0].colorbar.ax.get_ylabel()


def test_an_irregular_clock_is_drawn_where_its_samples_are():
    time = np.array([0.0, 0.1, 0.2, 1.0, 1.1])
    array = schema.continuous(np.arange(10.0).reshape(2, 5), dim="unit", time=time, units="V")
    mesh = plot_traces(array).collections[0]
    edges = mesh.get_coordinates()[0, :, 0]
    np.testing.assert_allclose(edges, [-0.05, 0.05, 0.15, 0.6, 1.05, 1.15])


def test_spectrogram_has_its_axes():
    song = cases.recording()["stimulus/song"]
    ax = plot_spectrogram(song.transpose())
    np.testing.assert_array_equal(ax.images[0].get_array(), song)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time (s)", "frequency (Hz)")
    assert "(dB)" in ax.images[0].colorbar.ax.get_ylabel()
    np.testing.assert_allclose(ax.images[0].get_extent(), (-0.025, 3.975, 50.0, 850.0))
    assert "Hz not stated" in plot_spectrogram(song.drop_vars("frequency")).get_ylabel()
    with pytest.raises(SchemaError, match="need the dimensions"):
        plot_spectrogram(song.isel(frequency=0, drop=True))


def test_quality_names_flat_and_broken_rows():
    array = cases.recording()["calcium/activity"].copy(deep=True)
    array[5, 2] = np.nan
    ax = plot_quality(array)
    told = {text.get_text() for text in ax.get_legend().get_texts()}
    assert told == {"varies, complete: 10", "has missing values: 1 (105)", "never changes: 1 (103)"}
    shown = np.sort(np.concatenate([c.get_offsets()[:, 1] for c in ax.collections]))
    np.testing.assert_allclose(shown, np.sort(np.nanstd(array.to_numpy(), axis=1)))
    assert ax.get_ylabel() == "standard deviation (dimensionless)"


def test_a_recording_without_one_main_array_is_an_error():
    with pytest.raises(SchemaError, match="no main array"):
        plot_traces(xr.DataTree())
