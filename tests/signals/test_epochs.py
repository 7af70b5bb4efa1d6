"""Epochs equal those of MNE; neither epochs nor windows cross an edge or lose an event silently."""

from __future__ import annotations

import json

import mne
import numpy as np
import pytest
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

import neurotools as nt
from neurotools.errors import SchemaError, SettingsError
from neurotools.schema import continuous, events_table, time_axis

SFREQ = 250.0


def signal(rng: np.random.Generator, n: int = 5000) -> xr.DataArray:
    return continuous(1e-5 * rng.standard_normal((3, n)), dim="channel", labels=["Fz", "Cz", "Pz"],
                      sfreq=SFREQ, units="V").rename("signal")  # fmt: skip


EVENTS = events_table([2.0, 4.4999, 9.502, 15.0], 0.0, ["go", "stop", "go", "go"], rating=[3, 1, 2, 5])


def test_epochs_equal_mne(rng):
    x = signal(rng)
    y = nt.epochs(x, EVENTS, tmin=-0.2, tmax=0.8)
    raw = mne.io.RawArray(
        x.to_numpy().copy(), mne.create_info(["Fz", "Cz", "Pz"], SFREQ, "eeg"), verbose="ERROR"
    )
    raw.set_annotations(mne.Annotations(EVENTS["onset"], 0.0, EVENTS["trial_type"].to_numpy()))
    found, ids = mne.events_from_annotations(raw, verbose="ERROR")
    theirs = mne.Epochs(raw, found, ids, -0.2, 0.8, baseline=None, preload=True, verbose="ERROR")
    np.testing.assert_array_equal(y.to_numpy(), theirs.get_data())
    np.testing.assert_allclose(y["time"], theirs.times, atol=1e-12)
    assert y.dims == ("trial", "channel", "time")
    assert y["trial_type"].to_numpy().tolist() == ["go", "stop", "go", "go"]
    assert y["rating"].to_numpy().tolist() == [3, 1, 2, 5]
    assert y["onset"].attrs["units"] == "s"
    assert y.attrs["units"] == "V"

    ours = nt.epochs(x, EVENTS, tmin=-0.2, tmax=0.8, baseline=(None, 0))
    corrected = mne.Epochs(raw, found, ids, -0.2, 0.8, baseline=(None, 0), preload=True, verbose="ERROR")
    np.testing.assert_allclose(ours.to_numpy(), corrected.get_data(), rtol=0, atol=1e-19)


def test_events_near_the_edge_are_listed(rng):
    events = events_table([0.1, 5.0, 19.5], 0.0, ["early", "fine", "late"])
    with pytest.raises(SchemaError, match="2 of 3 trials reach beyond") as caught:
        nt.epochs(signal(rng), events, tmin=-0.2, tmax=0.8)
    assert caught.value.code == "NT-DATA-007"
    assert caught.value.found == "early at 0.1 s, late at 19.5 s"
    assert 'edge="drop"' in caught.value.fix


def test_dropped_events_are_counted(rng):
    events = events_table([0.1, 5.0, 19.5, 99.0], 0.0, ["early", "fine", "late", "outside"])
    y = nt.epochs(signal(rng), events, tmin=-0.2, tmax=0.8, edge="drop")
    assert y["trial_type"].to_numpy().tolist() == ["fine"]
    assert y.attrs["n_dropped"] == 3
    assert json.loads(y.attrs["history"])[0]["n_dropped"] == 3


def test_the_last_possible_trial_is_kept(rng):
    x = signal(rng, 251)  # 0 to 1 s, both ends included
    assert nt.epochs(x, events_table([0.2]), tmin=-0.2, tmax=0.8).sizes["time"] == 251
    with pytest.raises(SchemaError):
        nt.epochs(x, events_table([0.204]), tmin=-0.2, tmax=0.8)


def test_trials_do_not_cross_sessions(rng):
    x = signal(rng, 1000)
    time = np.concatenate([time_axis(500, SFREQ), 100 + time_axis(500, SFREQ)])
    x = x.assign_coords(time=("time", time), session=("time", np.repeat([1, 2], 500)))
    events = events_table([1.0, 1.9, 100.1, 101.0, 50.0])
    y = nt.epochs(x, events, tmin=-0.2, tmax=0.2, edge="drop")
    assert y["onset"].to_numpy().tolist() == [1.0, 101.0]
    np.testing.assert_array_equal(y.to_numpy()[1], x.to_numpy()[:, 700:801])


def test_a_nan_in_a_trial_is_refused_and_elsewhere_is_not(rng):
    x = signal(rng)
    x[1, 4000] = np.nan  # 16 s: in no trial but the last
    with pytest.raises(SchemaError, match="not finite"):
        nt.epochs(x, EVENTS, tmin=-0.2, tmax=1.2)
    with pytest.raises(SchemaError, match="not finite"):
        nt.windows(x, length_s=1)


def test_epochs_of_a_recording_take_its_events(rng):
    x = signal(rng)
    tree = xr.DataTree.from_dict({"/eeg": x.to_dataset(), "/events": EVENTS})
    xr.testing.assert_identical(nt.epochs(tree, tmin=0, tmax=1), nt.epochs(x, EVENTS, tmin=0, tmax=1))
    with pytest.raises(SchemaError, match="epochs need events"):
        nt.epochs(x, tmin=0, tmax=1)


def test_columns_that_bear_the_name_of_a_dimension_are_renamed(rng):
    y = nt.epochs(signal(rng), EVENTS.assign(channel=("event", list("abcd"))), tmin=0, tmax=1)
    assert y["event_channel"].to_numpy().tolist() == list("abcd")


@pytest.mark.parametrize("baseline", [(-0.5, 0), (0, 3.0)])
def test_baseline_outside_the_trial(rng, baseline):
    with pytest.raises(SettingsError, match="baseline lies outside"):
        nt.epochs(signal(rng), EVENTS, tmin=-0.2, tmax=0.8, baseline=baseline)


def test_impossible_settings(rng):
    with pytest.raises(SettingsError, match="ends after it starts"):
        nt.epochs(signal(rng), EVENTS, tmin=0.8, tmax=0.2)
    with pytest.raises(SettingsError, match="treatment of edges"):
        nt.epochs(signal(rng), EVENTS, tmin=0, tmax=1, edge="clip")


# ---- windows ----------------------------------------------------------------------------------------
def test_windows_equal_mne(rng):
    x = signal(rng)
    raw = mne.io.RawArray(
        x.to_numpy().copy(), mne.create_info(["Fz", "Cz", "Pz"], SFREQ, "eeg"), verbose="ERROR"
    )
    for overlap in (0.0, 0.5):
        theirs = mne.make_fixed_length_epochs(raw, 2.0, overlap=2.0 * overlap, preload=True, verbose="ERROR")
        y = nt.windows(x, length_s=2.0, overlap=overlap)
        np.testing.assert_array_equal(y.to_numpy(), theirs.get_data())
    assert y.dims == ("window", "channel", "time")
    np.testing.assert_allclose(y["window"], np.arange(19.0))


def test_windows_tile_the_signal_and_count_what_is_left(rng):
    x = signal(rng, 1030)
    y = nt.windows(x, length_s=1.0)
    assert y.sizes == {"window": 4, "channel": 3, "time": 250}
    np.testing.assert_array_equal(np.concatenate(list(y.to_numpy()), axis=-1), x.to_numpy()[:, :1000])
    assert y.attrs["n_samples_left_out"] == 30


def test_windows_do_not_cross_sessions(rng):
    x = signal(rng, 1000)
    time = np.concatenate([time_axis(600, SFREQ), 50 + time_axis(400, SFREQ)])
    x = x.assign_coords(time=("time", time), session=("time", np.repeat(["a", "b"], [600, 400])))
    y = nt.windows(x, length_s=1.0)
    assert y["window"].to_numpy().tolist() == [0.0, 1.0, 50.0]
    assert y["session"].to_numpy().tolist() == ["a", "a", "b"]
    assert y.attrs["n_samples_left_out"] == 250


@pytest.mark.parametrize(
    "settings", [{"length_s": 1e-9}, {"length_s": 1, "overlap": 1.0}, {"length_s": 1, "overlap": -0.1}]
)
def test_impossible_windows(rng, settings):
    with pytest.raises(SettingsError):
        nt.windows(signal(rng), **settings)


def test_a_signal_shorter_than_a_window(rng):
    with pytest.raises(SchemaError, match="no session is as long"):
        nt.windows(signal(rng, 100), length_s=1.0)


class Watched(BackendArray):
    """An array that counts the samples that are read from it."""

    def __init__(self, values):
        self.values, self.shape, self.dtype, self.read = values, values.shape, values.dtype, []

    def __getitem__(self, key):
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._part)

    def _part(self, key):
        found = self.values[key]
        self.read.append(found.shape[-1])
        return found


def on_disk(array):
    watched = Watched(array.to_numpy())
    lazy = xr.Variable(array.dims, indexing.LazilyIndexedArray(watched), array.attrs)
    return watched, xr.DataArray(lazy, coords=array.coords, name=array.name)


def test_windows_of_what_lies_on_disk_are_read_when_asked_for(rng):
    inside = signal(rng, 1000)
    watched, lazy = on_disk(inside)
    wanted = nt.windows(inside, length_s=0.2, overlap=0.5)
    found = nt.windows(lazy, length_s=0.2, overlap=0.5)
    assert watched.read == [2]  # the first samples, to ask for dimensions and unit
    assert not found.variable._in_memory
    length, some = wanted.sizes["time"], [30, 2, 3, 17]
    for chosen in (some, slice(5, 9), slice(None, None, 4), 7):
        np.testing.assert_array_equal(found.isel(window=chosen), wanted.isel(window=chosen))
    np.testing.assert_array_equal(
        found.isel(window=some, channel=[2, 0], time=slice(3, 9)),
        wanted.isel(window=some, channel=[2, 0], time=slice(3, 9)),
    )
    watched.read.clear()
    found.isel(window=some).to_numpy()
    assert watched.read == [length + length // 2, length, length]  # windows 2 and 3 in one piece
    xr.testing.assert_identical(found.compute(), wanted)


def test_a_nan_on_disk_is_refused_when_its_window_is_read(rng):
    whole = signal(rng, 1000)
    holed = whole.where((whole["time"] != whole["time"][555]) | (whole["channel"] != "Cz"))
    found = nt.windows(on_disk(holed.assign_attrs(whole.attrs))[1], length_s=0.2)
    first = found.isel(window=0).to_numpy()
    assert np.isfinite(first).all()
    with pytest.raises(SchemaError, match=r"the window from 2.2 s, channel Cz"):
        found.to_numpy()
