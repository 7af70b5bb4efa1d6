"""Band power: equal to SciPy, sums to the variance, squares the unit, feeds the affinity."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.signal
import xarray as xr

import neurotools as nt
from neurotools.errors import SchemaError, SettingsError
from neurotools.schema import continuous, time_axis

SFREQ = 200.0
BANDS = {"theta": (4, 8), "alpha": (8, 12), "beta": (13, 30)}


def signal(rng: np.random.Generator, n: int = 4000) -> xr.DataArray:
    return continuous(1e-5 * rng.standard_normal((3, n)), dim="channel", labels=["Fz", "Cz", "Pz"],
                      sfreq=SFREQ, units="V").rename("signal")  # fmt: skip


def sine(amplitude: float, hz: float, n: int = 4000) -> xr.DataArray:
    wave = amplitude * np.sin(2 * np.pi * hz * time_axis(n, SFREQ))
    return continuous(wave[None], dim="channel", labels=["Oz"], sfreq=SFREQ, units="V")


def test_equals_scipy(rng):
    x = signal(rng)
    y = nt.band_power(x, BANDS, window_s=1.0, overlap=0.5)
    f, t, density = scipy.signal.spectrogram(x.to_numpy(), SFREQ, "hann", 200, 100, detrend="constant")
    for name, (low, high) in BANDS.items():
        theirs = density[:, (f >= low) & (f <= high)].sum(axis=1) * (f[1] - f[0])
        ours = y.isel(frequency=(y["band"] == name).to_numpy()).squeeze("frequency")
        np.testing.assert_allclose(ours.to_numpy(), theirs, rtol=1e-12)
    np.testing.assert_allclose(y["time"], t, rtol=0, atol=1e-12)
    assert y.dims == ("channel", "frequency", "time")
    assert y["frequency"].to_numpy().tolist() == [6.0, 10.0, 21.5]


@pytest.mark.parametrize("method", ["hann", "hilbert"])
def test_power_of_a_sine_is_half_its_squared_amplitude(method):
    y = nt.band_power(sine(3e-5, 10.0), (7, 13), window_s=2.0, method=method)
    middle = y.isel(time=slice(2, -2)).to_numpy()
    np.testing.assert_allclose(middle, 0.5 * (3e-5) ** 2, rtol=0.02)
    assert (y.attrs["units"], y.dims) == ("V^2", ("channel", "time"))


def test_all_frequencies_sum_to_the_variance(rng):
    """Parseval: the whole band holds the variance of the tapered window."""
    x = signal(rng, 200)
    y = nt.band_power(x, (0, 100), window_s=1.0, overlap=0.0)
    values = x.to_numpy() - x.to_numpy().mean(axis=1, keepdims=True)
    taper = scipy.signal.get_window("hann", 200)
    np.testing.assert_allclose(
        y.to_numpy()[:, 0], ((values * taper) ** 2).sum(axis=1) / (taper**2).sum(), rtol=1e-12
    )


def test_power_scales_with_the_square(rng):
    x = signal(rng)
    for method in ("hann", "hilbert"):
        one, three = (nt.band_power(k * x.assign_attrs(x.attrs), (8, 12), method=method) for k in (1, 3))
        np.testing.assert_allclose(three.to_numpy(), 9 * one.to_numpy(), rtol=1e-10)


def test_windows_do_not_cross_sessions(rng):
    x = signal(rng, 1000)
    time = np.concatenate([time_axis(500, SFREQ), 30 + time_axis(500, SFREQ)])
    x = x.assign_coords(time=("time", time), session=("time", np.repeat(["a", "b"], 500)))
    y = nt.band_power(x, (8, 12))
    for label in ("a", "b"):
        part = x.isel(time=(x["session"] == label).to_numpy())
        alone = nt.band_power(part, (8, 12))
        mine = y.isel(time=(y["session"] == label).to_numpy())
        np.testing.assert_allclose(mine.to_numpy(), alone.to_numpy(), rtol=1e-12)
        np.testing.assert_allclose(mine["time"], alone["time"], atol=1e-9)


def test_feeds_the_differential_affinity(rng):
    y = nt.band_power(signal(rng), (8, 12))
    affinity = nt.differential_affinity(y)
    assert dict(affinity["drive_up"].sizes) == {"channel": 3, "time": y.sizes["time"]}


def test_records_what_it_did_and_accepts_any_order(rng):
    x = signal(rng)
    y = nt.band_power(x.T, (8, 12), window_s=2.0, overlap=0.75)
    xr.testing.assert_identical(y, nt.band_power(x, (8, 12), window_s=2.0, overlap=0.75))
    step = json.loads(y.attrs["history"])[-1]
    assert (step["step"], step["units"], step["window_s"]) == ("band_power", ["V", "V^2"], 2.0)
    assert y.attrs["sfreq"] == 2.0
    np.testing.assert_array_equal(y["time"], time_axis(y.sizes["time"], 2.0, 1.0))


def test_refuses_nan_and_what_cannot_be_resolved(rng):
    x = signal(rng)
    bad = x.copy(deep=True)
    bad[0, 5] = np.nan
    with pytest.raises(SchemaError, match="not finite"):
        nt.band_power(bad, (8, 12))
    with pytest.raises(SettingsError, match="does not fit"):
        nt.band_power(x, (8, 120))
    with pytest.raises(SettingsError, match="longer window_s"):
        nt.band_power(x, {"narrow": (8.2, 8.6)}, window_s=0.5)
    with pytest.raises(SettingsError, match="inside 0 to half"):
        nt.band_power(x, (0, 12), method="hilbert")
    with pytest.raises(SchemaError, match="no session is as long"):
        nt.band_power(x.isel(time=slice(0, 100)), (8, 12), window_s=1.0)


def test_eyes_closed_raise_occipital_alpha(shared):
    """Known of the recording: relative alpha power over occipital sites rises about threefold."""
    folder = shared("data/eeg_eegmmidb_s001")
    shares = []
    for run in ("S001R01.edf", "S001R02.edf"):
        power = nt.band_power(nt.load(folder / run), {"alpha": (8, 12), "all": (1, 40)}, window_s=2.0)
        occipital = power.sel(channel=["O1..", "Oz..", "O2.."]).mean(["channel", "time"])
        shares.append(float(occipital[0] / occipital[1]))
    assert 2.0 < shares[1] / shares[0] < 6.0
