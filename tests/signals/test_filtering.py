"""Filtering, resampling and re-referencing equal the libraries they front, and keep their promises."""

from __future__ import annotations

import json

import mne
import numpy as np
import pytest
import scipy.signal
import xarray as xr

import neurotools as nt
from neurotools.errors import SchemaError, SettingsError
from neurotools.schema import continuous, time_axis

SFREQ = 250.0


def recording(
    rng: np.random.Generator, n: int = 5000, n_channels: int = 4, sfreq: float = SFREQ
) -> xr.DataArray:
    names = [f"E{i}" for i in range(n_channels)]
    values = 1e-5 * rng.standard_normal((n_channels, n))
    return continuous(values, dim="channel", labels=names, sfreq=sfreq, units="V",
                      coords={"bad": np.zeros(n_channels, dtype=bool)}).rename("signal")  # fmt: skip


def two_sessions(rng: np.random.Generator) -> xr.DataArray:
    x = recording(rng, 4000)
    time = np.concatenate([time_axis(2500, SFREQ), 1000 + time_axis(1500, SFREQ)])
    return x.assign_coords(time=("time", time), session=("time", np.repeat(["a", "b"], [2500, 1500])))


# ---- filter -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("band", [(1.0, 40.0), (1.0, None), (None, 40.0)])
def test_fir_equals_mne(rng, band):
    x = recording(rng)
    ours = nt.filter(x, low=band[0], high=band[1])
    theirs = mne.filter.filter_data(x.to_numpy().copy(), SFREQ, *band, verbose="ERROR")
    np.testing.assert_array_equal(ours.to_numpy(), theirs)
    assert ours.dims == x.dims
    assert ours.attrs["units"] == "V"
    assert ours.sizes == x.sizes


def test_notch_equals_mne(rng):
    x = recording(rng)
    theirs = mne.filter.notch_filter(x.to_numpy().copy(), SFREQ, [50.0, 100.0], verbose="ERROR")
    np.testing.assert_array_equal(nt.filter(x, notch=(50, 100)).to_numpy(), theirs)


@pytest.mark.parametrize("band", [(1.0, 40.0), (1.0, None), (None, 40.0)])
def test_butterworth_equals_scipy(rng, band):
    x = recording(rng)
    low, high = band
    kind = "bandpass" if low and high else "highpass" if low else "lowpass"
    edges = [f for f in band if f]
    sos = scipy.signal.butter(4, edges if len(edges) == 2 else edges[0], kind, fs=SFREQ, output="sos")
    theirs = scipy.signal.sosfiltfilt(sos, x.to_numpy(), axis=-1)
    np.testing.assert_array_equal(nt.filter(x, low=low, high=high, method="butterworth").to_numpy(), theirs)


@pytest.mark.parametrize("method", ["fir", "butterworth"])
def test_filter_does_not_cross_sessions(rng, method):
    x = two_sessions(rng)
    whole = nt.filter(x, low=2, high=40, method=method)
    for label in ("a", "b"):
        alone = nt.filter(x.isel(time=(x["session"] == label).to_numpy()), low=2, high=40, method=method)
        np.testing.assert_array_equal(whole.sel(time=alone["time"]).to_numpy(), alone.to_numpy())


def test_filter_order_of_dims_is_free_and_input_is_untouched(rng):
    x = recording(rng)
    before = x.copy(deep=True)
    xr.testing.assert_identical(nt.filter(x, low=1, high=40), nt.filter(x.T, low=1, high=40))
    xr.testing.assert_identical(x, before)


def test_filter_records_what_it_did(rng):
    x = recording(rng)
    y = nt.filter(nt.filter(x, low=1), high=40, method="butterworth")
    steps = json.loads(y.attrs["history"])
    assert [(s["step"], s["low"], s["high"], s["method"]) for s in steps] == [
        ("filter", 1, None, "fir"), ("filter", None, 40, "butterworth")]  # fmt: skip
    assert steps[0]["samples"] == [5000, 5000]
    assert steps[0]["units"] == ["V", "V"]
    assert steps[0]["library"]["mne"] == mne.__version__
    assert (y.attrs["highpass"], y.attrs["lowpass"]) == (1.0, 40.0)


def test_one_nan_stops_the_filter(rng):
    x = recording(rng)
    x[2, 100] = np.nan
    with pytest.raises(SchemaError, match="not finite") as caught:
        nt.filter(x, low=1, high=40)
    assert caught.value.code == "NT-DATA-003"
    assert "1 of 20000" in caught.value.found
    assert "channel=2, time=100" in caught.value.found
    assert "interpolate" in caught.value.fix


def test_filter_longer_than_the_signal_is_an_error(rng):
    # MNE filters on and warns that the result is distorted.
    with pytest.raises(SchemaError, match="shorter than the filter"):
        nt.filter(recording(rng, 500), low=0.1, high=40)
    with pytest.raises(SchemaError, match="shorter than the filter"):
        nt.filter(recording(rng, 20), low=1, high=40, method="butterworth")


@pytest.mark.parametrize(
    "band", [{"low": 40, "high": 1}, {"high": 200}, {"low": 0}, {"low": -1, "high": 4}, {"notch": 125.0}, {}]
)
def test_bands_that_do_not_fit(rng, band):
    with pytest.raises(SettingsError):
        nt.filter(recording(rng), **band)


def test_unknown_filter_is_named(rng):
    with pytest.raises(SettingsError, match="Did you mean 'butterworth'"):
        nt.filter(recording(rng), low=1, method="buterworth")


def test_irregular_clock_is_refused(rng):
    x = recording(rng)
    stamps = x["time"].to_numpy().copy()
    stamps[3000:] += 0.5
    with pytest.raises(SchemaError, match="regular clock") as caught:
        nt.filter(x.assign_coords(time=stamps), low=1, high=40)
    assert "nt.resample" in caught.value.fix


def test_stacks_of_trials_are_filtered_by_trial(rng):
    x = recording(rng, 2000)
    stack = xr.concat([x, 2 * x], "trial")
    y = nt.filter(stack, low=2, high=40)
    np.testing.assert_array_equal(y.isel(trial=0).to_numpy(), nt.filter(x, low=2, high=40).to_numpy())


# ---- resample ---------------------------------------------------------------------------------------
def test_fft_equals_mne(rng):
    x = recording(rng)
    y = nt.resample(x, 100)
    theirs = mne.filter.resample(x.to_numpy().copy(), up=100.0, down=SFREQ, verbose="ERROR")
    np.testing.assert_array_equal(y.to_numpy(), theirs)
    assert y.sizes["time"] == 2000
    np.testing.assert_array_equal(y["time"], time_axis(2000, 100.0))
    assert (y.attrs["sfreq"], y.attrs["units"]) == (100.0, "V")
    assert json.loads(y.attrs["history"])[0]["samples"] == [5000, 2000]


def test_polyphase_equals_scipy(rng):
    x = recording(rng)
    theirs = scipy.signal.resample_poly(x.to_numpy(), 2, 5, axis=-1)
    np.testing.assert_array_equal(nt.resample(x, 100, method="polyphase").to_numpy(), theirs)
    with pytest.raises(SettingsError, match="ratio of whole numbers"):
        nt.resample(x, 100 * np.pi, method="polyphase")


def test_resampling_keeps_a_slow_wave(rng):
    n = 2500
    x = recording(rng, n).copy(data=np.tile(np.sin(2 * np.pi * 3 * time_axis(n, SFREQ)), (4, 1)))
    for method in ("fft", "polyphase", "linear", "cubic"):
        y = nt.resample(x, 500, method=method)
        truth = np.sin(2 * np.pi * 3 * y["time"].to_numpy())
        middle = slice(200, -200)
        assert np.abs(y.to_numpy()[0, middle] - truth[middle]).max() < (2e-3 if method != "linear" else 1e-2)


def test_irregular_clock_is_put_on_a_regular_one(rng):
    x = recording(rng, 1000)
    stamps = np.sort(rng.uniform(0, 4, 1000))
    stamps[0] = 0.0
    x = x.assign_coords(time=stamps).copy(data=np.stack([k * stamps + 1 for k in range(4)]))
    y = nt.resample(x, 50)
    for k in range(4):  # straight lines come through linear interpolation unchanged
        np.testing.assert_allclose(y.to_numpy()[k], k * y["time"].to_numpy() + 1, atol=1e-12)
    assert json.loads(y.attrs["history"])[0]["method"] == "linear"
    assert float(y["time"][-1]) <= stamps[-1]
    assert nt.filter(y, low=None, high=10, method="butterworth").sizes == y.sizes
    with pytest.raises(SchemaError, match="regular clock"):
        nt.resample(x, 50, method="fft")


def test_interpolation_reaches_the_last_sample(rng):
    x = recording(rng, 11, sfreq=10.0)
    y = nt.resample(x, 20.0, method="linear")
    assert y.sizes["time"] == 21
    np.testing.assert_allclose(y.to_numpy()[:, ::2], x.to_numpy(), rtol=1e-12)


def test_resampling_keeps_sessions_apart(rng):
    x = two_sessions(rng)
    y = nt.resample(x, 125)
    assert (y["session"] == "a").sum() == 1250
    assert (y["session"] == "b").sum() == 750
    alone = nt.resample(x.isel(time=(x["session"] == "b").to_numpy()), 125)
    np.testing.assert_array_equal(y.isel(time=slice(1250, None)).to_numpy(), alone.to_numpy())
    assert float(y["time"][1250]) == 1000.0


def test_counts_are_not_resampled():
    counts = xr.DataArray(np.ones((50, 3), dtype=int), dims=("time", "unit"),
                          coords={"time": time_axis(50, 10.0)}, attrs={"units": "count"})  # fmt: skip
    with pytest.raises(SchemaError, match="counts cannot be resampled") as caught:
        nt.resample(counts, 5)
    assert "nt.bin_spikes" in caught.value.fix


# ---- rereference ------------------------------------------------------------------------------------
def raw_of(x: xr.DataArray) -> mne.io.RawArray:
    info = mne.create_info([str(c) for c in x["channel"].to_numpy()], SFREQ, "eeg")
    raw = mne.io.RawArray(x.to_numpy().copy(), info, verbose="ERROR")
    raw.info["bads"] = [str(c) for c in x["channel"].to_numpy()[x["bad"].to_numpy()]]
    return raw


@pytest.mark.parametrize("bad", [False, True])
@pytest.mark.parametrize("to", ["average", "E1", ["E0", "E3"]])
def test_rereference_equals_mne(rng, to, bad):
    x = recording(rng)
    x = x.assign_coords(bad=("channel", np.array([bad, False, False, False])))
    theirs, _ = mne.set_eeg_reference(raw_of(x), to if to == "average" or isinstance(to, list) else [to],
                                      copy=True, verbose="ERROR")  # fmt: skip
    y = nt.rereference(x, to)
    good = [i for i in range(4) if not bad or i > 0]  # MNE leaves bad channels as they were
    np.testing.assert_allclose(y.to_numpy()[good], theirs.get_data(picks=good), rtol=0, atol=1e-20)
    change = (x - y).to_numpy()
    np.testing.assert_allclose(change[0], change[1], rtol=0, atol=1e-19)
    assert y.attrs["reference"] == (to if isinstance(to, str) else "E0, E3")
    assert y.attrs["units"] == "V"


def test_rereference_names_what_is_missing(rng):
    x = recording(rng)
    with pytest.raises(SettingsError, match="no channel named 'E9'"):
        nt.rereference(x, ["E9"])
    with pytest.raises(SchemaError, match="unit 'V'"):
        nt.rereference(x.assign_attrs(units="T"))
    with pytest.raises(SchemaError, match="no channel is left"):
        nt.rereference(x.assign_coords(bad=("channel", np.ones(4, dtype=bool))))


# ---- arithmetic never loses samples -----------------------------------------------------------------
def test_arithmetic_of_other_clocks_is_an_error_in_our_steps(rng):
    """Times that differ in the last digit, or two rates, would lose samples without a word in plain sums."""
    a = recording(rng, 100)
    b = a.assign_coords(time=np.arange(100) * (1 / SFREQ + 1e-18) + np.spacing(a["time"].to_numpy()))
    c = recording(rng, 100, sfreq=128.0)
    assert (a + b).sizes["time"] < 100  # what xarray does by itself
    with xr.set_options(arithmetic_join="exact"):
        for other in (b, c):
            with pytest.raises(ValueError, match="exact"):
                a + other
    # One formula for time: two recordings of one rate always line up.
    assert (a + recording(rng, 100)).sizes["time"] == 100


def test_a_recording_stands_for_its_main_array(rng):
    tree = nt.from_mne(raw_of(recording(rng)))
    x = tree["eeg/signal"]
    xr.testing.assert_identical(nt.filter(tree, low=1, high=40), nt.filter(x, low=1, high=40))
    xr.testing.assert_identical(nt.resample(tree, 100), nt.resample(x, 100))
    xr.testing.assert_identical(nt.rereference(tree), nt.rereference(x))
