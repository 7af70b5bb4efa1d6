"""Loud syllables of a spectrogram."""

import numpy as np
import pytest
import xarray as xr

from neurotools.errors import SchemaError, SettingsError
from neurotools.signals.sound import loud_syllables


def spectrogram(bursts):
    values = np.full((5, 1000), 0.01)
    for start, stop in bursts:
        values[:, start:stop] = 1.0
    return xr.DataArray(values, dims=("frequency", "time"), coords={"time": np.arange(1000) / 200})


def test_bursts_are_found_merged_and_filtered():
    found = loud_syllables(spectrogram([(100, 140), (143, 160), (400, 404), (600, 650)]))
    np.testing.assert_allclose(found["onset"], [0.5, 3.0])
    np.testing.assert_allclose(found["duration"], [0.3, 0.25])


def test_the_edges_of_the_recording_are_edges_of_sound():
    found = loud_syllables(spectrogram([(0, 50), (950, 1000)]))
    np.testing.assert_allclose(found["onset"], [0.0, 4.75])


def test_bad_settings_are_named():
    with pytest.raises(SettingsError, match="fraction between 0 and 1"):
        loud_syllables(spectrogram([(0, 50)]), level=2)
    with pytest.raises(SchemaError, match="no sound exceeds"):
        loud_syllables(spectrogram([(0, 5)]))
