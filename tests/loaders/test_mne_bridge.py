"""Objects of MNE become recordings and come back the same."""

from __future__ import annotations

import json

import mne
import numpy as np
import pytest
import xarray as xr

import neurotools as nt
from neurotools.errors import FileError, SchemaError
from neurotools.schema import continuous, events_table

mne.set_log_level("ERROR")


@pytest.fixture
def raw(rng):
    names = ["Fz", "Cz", "Pz", "EOG1", "ECG1", "STI 014", "Aux"]
    info = mne.create_info(names, 250.0, ["eeg", "eeg", "eeg", "eog", "ecg", "stim", "misc"])
    data = 1e-5 * rng.standard_normal((7, 2500))
    data[5] = 0
    data[5, 500:510], data[5, 1500:1510] = 3, 8
    raw = mne.io.RawArray(data, info)
    raw.info["bads"] = ["Cz"]
    raw.info["line_freq"] = 50.0
    places = {"Fz": [0, 0.05, 0.08], "Pz": [0, -0.05, 0.08]}
    raw.set_montage(mne.channels.make_dig_montage(places, coord_frame="head"), on_missing="ignore")
    raw.set_annotations(mne.Annotations([1.5, 4.0], [0.0, 2.0], ["go", "BAD_noise"]))
    return raw


def test_raw_becomes_one_node_per_kind(raw):
    recording = nt.from_mne(raw)
    x = recording["eeg/signal"]
    assert x["channel"].to_numpy().tolist() == ["Fz", "Cz", "Pz"]
    assert x["bad"].to_numpy().tolist() == [False, True, False]
    assert float(x["y"].sel(channel="Pz")) == pytest.approx(-0.05)
    assert np.isnan(float(x["x"].sel(channel="Cz")))
    units = {"eeg": "V", "eog": "V", "ecg": "V", "stim": "1", "misc": "arbitrary"}
    assert {node: recording[f"{node}/signal"].attrs["units"] for node in units} == units
    assert x.attrs["line_freq"] == 50.0
    np.testing.assert_array_equal(recording["stim/signal"].to_numpy()[0], raw.get_data()[5])
    assert json.loads(recording.attrs["channel_types"]) == {
        "eeg": 3,
        "eog": 1,
        "ecg": 1,
        "stim": 1,
        "misc": 1,
    }


def test_events_are_annotations_and_stimulus_codes(raw):
    events = nt.from_mne(raw)["events"]
    assert events["trial_type"].to_numpy().tolist() == ["go", "3", "BAD_noise", "8"]
    assert events["onset"].to_numpy().tolist() == [1.5, 2.0, 4.0, 6.0]
    assert events["source"].to_numpy().tolist() == ["annotation", "STI 014", "annotation", "STI 014"]
    assert events["duration"].to_numpy().tolist() == [0.0, 0.0, 2.0, 0.0]


def test_raw_comes_back(raw):
    again = nt.to_mne(nt.from_mne(raw))
    order = [again.ch_names.index(name) for name in raw.ch_names]
    np.testing.assert_array_equal(again.get_data()[order], raw.get_data())
    assert [again.get_channel_types()[i] for i in order] == raw.get_channel_types()
    assert again.info["bads"] == raw.info["bads"]
    for name in ("sfreq", "highpass", "lowpass", "line_freq"):
        assert again.info[name] == raw.info[name]
    np.testing.assert_allclose(again.annotations.onset, raw.annotations.onset)
    assert list(again.annotations.description) == list(raw.annotations.description)
    place = again.info["chs"][again.ch_names.index("Pz")]["loc"][:3]
    np.testing.assert_allclose(place, [0, -0.05, 0.08], atol=1e-7)


def test_recording_comes_back_through_mne(raw):
    recording = nt.from_mne(raw)
    again = nt.from_mne(nt.to_mne(recording))
    for node in ("eeg", "eog", "ecg", "stim", "misc"):
        np.testing.assert_array_equal(again[f"{node}/signal"], recording[f"{node}/signal"])
    xr.testing.assert_identical(again["events"].to_dataset(), recording["events"].to_dataset())


def test_first_sample_and_date_shift_no_event(raw):
    """In files of Elekta the first sample is not 0 and annotations count from the date."""
    from datetime import UTC, datetime

    shifted = mne.io.RawArray(raw.get_data(), raw.info, first_samp=5000)
    shifted.set_meas_date(datetime(2020, 1, 1, tzinfo=UTC))
    shifted.set_annotations(mne.Annotations([20.0 + 1.5], 0.0, "go", orig_time=shifted.info["meas_date"]))
    recording = nt.from_mne(shifted)
    events = recording["events"]
    assert events["onset"].to_numpy()[events["trial_type"].to_numpy() == "go"].tolist() == pytest.approx(
        [1.5]
    )
    assert events["onset"].to_numpy()[events["trial_type"].to_numpy() == "3"].tolist() == [2.0]
    assert float(recording["eeg/signal"]["time"][0]) == 0.0
    assert recording.attrs["measured"] == "2020-01-01T00:00:00+00:00"


def test_a_raw_on_disk_stays_there(raw, tmp_path):
    raw.save(tmp_path / "a_raw.fif")
    lazy = nt.from_mne(mne.io.read_raw_fif(tmp_path / "a_raw.fif"))["eeg/signal"]
    assert not isinstance(lazy.variable._data, np.ndarray)
    np.testing.assert_allclose(lazy.isel(time=slice(5, 50)), raw.get_data()[:3, 5:50], rtol=1e-6)


def test_meg_sensors_keep_their_units(rng):
    info = mne.create_info(["M1", "M2", "G1", "G2", "E1"], 1000.0, ["mag", "mag", "grad", "grad", "eeg"])
    raw = mne.io.RawArray(1e-13 * rng.standard_normal((5, 500)), info)
    recording = nt.from_mne(raw)
    assert recording["meg/signal"].attrs["units"] == "T"
    assert recording["meg_grad/signal"].attrs["units"] == "T/m"
    assert recording["meg/signal"]["ch_type"].to_numpy().tolist() == ["mag", "mag"]
    with pytest.raises(SchemaError, match="several arrays"):
        nt.signal(recording)  # eeg and meg
    again = nt.to_mne(recording)
    assert sorted(again.get_channel_types()) == ["eeg", "grad", "grad", "mag", "mag"]
    only = nt.from_mne(raw.copy().pick(["G1", "G2"]))
    assert (nt.signal(only).name, only["meg/signal"].attrs["units"]) == ("signal", "T/m")


def test_kind_says_what_mne_could_not_know(rng):
    raw = mne.io.RawArray(1e-5 * rng.standard_normal((2, 500)), mne.create_info(2, 100.0, "eeg"))
    recording = nt.from_mne(raw, kind="seeg")
    assert set(recording["seeg/signal"]["ch_type"].to_numpy()) == {"seeg"}
    with pytest.raises(FileError, match="no meg channels"):
        nt.from_mne(raw, kind="meg")


def test_epochs_there_and_back(raw):
    events, ids = mne.events_from_annotations(raw, regexp=None)
    epochs = mne.Epochs(
        raw, events, ids, -0.2, 0.4, baseline=(None, 0), preload=True, reject_by_annotation=False
    )
    recording = nt.from_mne(epochs)
    x = recording["eeg/epochs"]
    assert x.dims == ("trial", "channel", "time")
    np.testing.assert_array_equal(x, epochs.get_data(picks=["Fz", "Cz", "Pz"]))
    assert x["trial_type"].to_numpy().tolist() == ["go", "BAD_noise"]
    np.testing.assert_allclose(x["time"], epochs.times, atol=1e-12)
    assert x.attrs["baseline"].tolist() == [-0.2, 0.0]
    again = nt.to_mne(recording)
    np.testing.assert_array_equal(again.get_data(picks=["Fz", "Cz", "Pz"]), x)
    assert again.get_data().shape == epochs.get_data().shape
    assert set(again.event_id) == {"go", "BAD_noise"}


def test_averages_there_and_back(raw):
    events = mne.find_events(raw)
    settings = {"baseline": None, "preload": True, "reject_by_annotation": False}
    averages = [mne.Epochs(raw, events, {"a": code}, -0.2, 0.4, **settings).average() for code in (3, 8)]
    recording = nt.from_mne(averages)
    assert recording["eeg/evoked"].sizes["condition"] == 2
    assert len(set(recording["eeg/evoked"]["condition"].to_numpy())) == 2  # one comment, told apart
    again = nt.to_mne(recording)
    for ours, theirs in zip(again, averages, strict=True):
        order = [ours.ch_names.index(name) for name in theirs.ch_names]
        np.testing.assert_array_equal(ours.data[order], theirs.data)
        assert ours.nave == theirs.nave
    other = averages[1].copy().crop(0, 0.2)
    with pytest.raises(FileError, match="differ in channels or times"):
        nt.from_mne([averages[0], other])


def test_epochs_files_load(raw, tmp_path):
    events, ids = mne.events_from_annotations(raw, regexp=None)
    epochs = mne.Epochs(raw, events, ids, -0.2, 0.4, baseline=None, preload=True, reject_by_annotation=False)
    epochs.save(tmp_path / "a-epo.fif")
    recording = nt.load(tmp_path / "a-epo.fif")
    np.testing.assert_allclose(recording["eeg/epochs"], epochs.get_data(picks=["Fz", "Cz", "Pz"]), rtol=1e-6)


def test_arrays_that_mne_cannot_hold(rng):
    x = continuous(rng.standard_normal((3, 500)), dim="channel", labels=list("abc"), sfreq=100.0, units="V")
    assert nt.to_mne(x).get_channel_types() == ["misc"] * 3
    with pytest.raises(SchemaError, match="no object with these dimensions"):
        nt.to_mne(x.expand_dims(subject=["s"]))
    slow = continuous(rng.standard_normal((1, 50)), dim="channel", labels=["r"], sfreq=10.0, units="V")
    tree = xr.DataTree.from_dict(
        {"/eeg": x.to_dataset(name="signal"), "/resp": slow.to_dataset(name="signal")}
    )
    with pytest.raises(SchemaError, match="do not share one clock") as caught:
        nt.to_mne(tree)
    assert "nt.to_mne(recording['eeg/signal'])" in caught.value.fix
    with pytest.raises(SchemaError, match="no array over channel and time"):
        nt.to_mne(xr.DataTree.from_dict({"/events": events_table([1.0])}))
    with pytest.raises(SchemaError, match="an MNE object is needed"):
        nt.from_mne(np.zeros((2, 10)))


def test_projections_are_named_and_not_applied(raw):
    projected = raw.copy().set_eeg_reference(projection=True)
    recording = nt.from_mne(projected)
    assert "Average EEG reference" in recording.attrs["projections_not_applied"]
    np.testing.assert_array_equal(recording["eeg/signal"], raw.get_data()[:3])
    assert nt.from_mne(raw.copy().set_eeg_reference("average"))["eeg/signal"].attrs["reference"] == "custom"


def test_a_gap_in_the_clock_does_not_become_an_mne_object(rng):
    x = continuous(rng.standard_normal((2, 100)), dim="channel", labels=list("ab"), units="V",
                   time=np.concatenate([np.arange(50) / 100, 9 + np.arange(50) / 100]))  # fmt: skip
    with pytest.raises(SchemaError, match="regular clock"):
        nt.to_mne(x)
