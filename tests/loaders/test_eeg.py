"""Real EEG, MEG-format and intracranial files: shapes, rates, units and events are those that are known."""

from __future__ import annotations

import json
from collections import Counter

import mne
import numpy as np
import pytest
import xarray as xr

import neurotools as nt
from neurotools.errors import FileError, SchemaError, SettingsError

mne.set_log_level("ERROR")

# File -> node, channels, samples, rate in Hz, events, all channels of the file.
KNOWN = {
    "eeg_eegmmidb_s001/S001R01.edf": ("eeg", 64, 9600, 160.0, 1, 64),
    "eeg_eegmmidb_s001/S001R02.edf": ("eeg", 64, 9600, 160.0, 1, 64),
    "eeg_eegmmidb_s001/S001R03.edf": ("eeg", 64, 20000, 160.0, 30, 64),
    "eeg_eegmmidb_s001/S001R04.edf": ("eeg", 64, 20000, 160.0, 30, 64),
    "eeg_eegmmidb_s001/S001R08.edf": ("eeg", 64, 20000, 160.0, 30, 64),
    "eeg_eegmmidb_s001/S001R12.edf": ("eeg", 64, 20000, 160.0, 30, 64),
    "eeg_eeglab_sample/test_raw.set": ("eeg", 32, 30504, 128.0, 154, 32),
    "eeg_format_zoo/test.edf": ("eeg", 138, 3072, 512.0, 5, 139),
    "eeg_format_zoo/test.bdf": ("eeg", 72, 2048, 2048.0, 1, 73),
    "eeg_format_zoo/test.vhdr": ("eeg", 26, 7900, 1000.0, 13, 32),
    "eeg_format_zoo/test_egi.raw": ("eeg", 256, 77, 250.0, 2, 262),
    "eeg_sleep_snippets/data_resting_EO_200Hz_raw.fif": ("eeg", 2, 72000, 200.0, 0, 2),
    "ieeg_mne_sample/sample_ecog.edf": ("ecog", 78, 21658, 999.4121105232217, 1, 78),
    "ieeg_mne_sample/sample_seeg.edf": ("seeg", 98, 20000, 1000.0, 3, 98),
}
READERS = {
    ".edf": "edf",
    ".bdf": "bdf",
    ".vhdr": "brainvision",
    ".raw": "egi",
    ".set": "eeglab",
    ".fif": "fif",
}


def by_mne(path):
    return getattr(mne.io, f"read_raw_{READERS[path.suffix]}")(path, preload=True)


@pytest.mark.parametrize("name", KNOWN)
def test_what_is_known_of_the_file(shared, name):
    node, n_channels, n_times, sfreq, n_events, n_all = KNOWN[name]
    recording = nt.load(shared("data") / name)
    x = recording[f"{node}/signal"]
    assert dict(x.sizes) == {"channel": n_channels, "time": n_times}
    assert x.attrs["units"] == "V"
    assert x.attrs["sfreq"] == sfreq
    assert recording["events"].sizes["event"] == n_events
    assert recording.attrs["n_channels"] == n_all
    assert sum(json.loads(recording.attrs["channel_types"]).values()) == n_all
    np.testing.assert_array_equal(x["time"], np.arange(n_times) / sfreq)
    xr.testing.assert_identical(nt.signal(recording), x)
    assert not [f for f in nt.validate(recording) if f.level == "error"]


@pytest.mark.parametrize("name", KNOWN)
def test_every_value_is_that_of_mne(shared, name):
    path = shared("data") / name
    recording, raw = nt.load(path), by_mne(path)
    seen = []
    for node in recording.subtree:
        if "signal" in node.data_vars:
            x = node["signal"]
            names = [str(c) for c in x["channel"].to_numpy()]
            np.testing.assert_array_equal(
                x.to_numpy(), raw.get_data(picks=[raw.ch_names.index(c) for c in names])
            )
            assert names == [c for c in raw.ch_names if c in names]  # in the order of the file
            seen += names
    assert sorted(seen) == sorted(raw.ch_names)


@pytest.mark.parametrize(
    "name",
    ["eeg_eegmmidb_s001/S001R01.edf", "eeg_format_zoo/test.bdf", "eeg_format_zoo/test.vhdr",
     "eeg_format_zoo/test_egi.raw", "eeg_eeglab_sample/test_raw.set", "ieeg_mne_sample/sample_ecog.edf",
     "ieeg_mne_sample/sample_seeg.edf", "eeg_erpcore_p3_evoked/sub-015_ses-P3_task-P3_ave.fif"],
)  # fmt: skip
def test_comes_back_from_disk_identical(shared, name, comes_back):
    comes_back(nt.load(shared("data") / name))


# ---- events -----------------------------------------------------------------------------------------
def test_cues_of_the_motor_runs(shared):
    events = nt.load(shared("data/eeg_eegmmidb_s001/S001R03.edf"))["events"]
    assert Counter(events["trial_type"].to_numpy()) == {"T0": 15, "T1": 8, "T2": 7}
    assert float(events["onset"][1]) == pytest.approx(4.2)
    assert events["onset"].attrs["units"] == "s"


def test_event_that_outlasts_a_cut_recording_keeps_its_duration(shared):
    recording = nt.load(shared("data/eeg_eegmmidb_s001/S001R01.edf"))
    assert float(recording["events/duration"][0]) == 60.2  # MNE shortens it to 60 s
    assert "last beyond the end" in recording.attrs["reader_notes"]
    assert any("last beyond the end" in f.problem for f in nt.validate(recording))


def test_events_of_the_other_formats(shared):
    def kinds(name):
        return Counter(nt.load(shared("data") / name)["events/trial_type"].to_numpy())

    assert kinds("eeg_format_zoo/test.edf") == {"type A": 3, "start": 1, "type B": 1}
    assert kinds("eeg_eeglab_sample/test_raw.set") == {"square": 80, "rt": 74}
    assert kinds("eeg_format_zoo/test_egi.raw") == {"TRSP": 1, "XXX1": 1}
    assert kinds("eeg_format_zoo/test.vhdr")["Stimulus/S255"] == 5
    assert kinds("ieeg_mne_sample/sample_seeg.edf") == {"test annotation": 2, "test mark": 1}


def test_trigger_codes_of_a_stimulus_channel_become_events(shared):
    events = nt.load(shared("data/eeg_format_zoo/test.bdf"))["events"]
    assert events["trial_type"].to_numpy().tolist() == ["128"]
    assert events["source"].to_numpy().tolist() == ["Status"]


def test_seizure_onset(shared):
    events = nt.load(shared("data/ieeg_mne_sample/sample_ecog.edf"))["events"]
    assert events["trial_type"].to_numpy().tolist() == ["eeg sz start"]
    assert float(events["onset"][0]) == pytest.approx(10.2, abs=0.05)


# ---- kinds, units, places ---------------------------------------------------------------------------
def test_channels_of_other_kinds_stand_beside_with_their_own_unit(shared):
    recording = nt.load(shared("data/eeg_format_zoo/test.vhdr"))
    misc = recording["misc/signal"]
    assert misc.attrs["units"] == "mixed"
    units = dict(zip(misc["channel"].to_numpy(), misc["channel_units"].to_numpy(), strict=True))
    assert units == {"CP5": "BS", "CP6": "S", "HL": "ARU", "HR": "S", "Vb": "S", "ReRef": "degC"}
    assert set(recording["eeg/signal"]["ch_type"].to_numpy()) == {"eeg"}
    assert nt.load(shared("data/eeg_format_zoo/test.edf"))["stim/signal"].attrs["units"] == "1"


def test_electrode_positions_in_m(shared):
    x = nt.load(shared("data/ieeg_mne_sample/sample_ecog.edf"), kind="ecog")["ecog/signal"]
    place = {axis: float(x[axis].sel(channel="C1")) for axis in "xyz"}
    assert place == {"x": -0.0132, "y": -0.0654, "z": 0.0702}
    assert x["x"].attrs["units"] == "m"
    assert bool(np.isnan(x["x"].sel(channel="EKGL")))


def test_electrode_positions_in_mm_are_turned_into_m(shared):
    recording = nt.load(shared("data/ieeg_mne_sample/sample_seeg.edf"))
    electrodes = recording["electrodes"]
    assert electrodes.sizes["electrode"] == 127
    assert float(electrodes["x"].sel(electrode="LACN 1")) == pytest.approx(-8.70402730217386e-3, abs=1e-15)
    assert (electrodes.attrs["units_in_file"], electrodes.attrs["unit_told_by"]) == (
        "mm",
        "the size of a head",
    )
    # The table names other electrodes than the recording: kept apart, and told.
    assert "x" not in recording["seeg/signal"].coords
    assert "no channel bears a name" in recording.attrs["reader_notes"]


def test_kind_is_taken_from_the_caller_then_from_the_name(shared):
    path = shared("data/ieeg_mne_sample/sample_ecog.edf")
    assert "kind_told_by" not in nt.load(path, kind="ecog").attrs
    assert nt.load(path).attrs["kind_told_by"] == "file name"
    assert "seeg" in nt.load(path, kind="seeg").children
    with pytest.raises(FileError, match="no meg channels") as caught:
        nt.load(path, kind="meg")
    assert caught.value.found == "78 eeg"


def test_a_rate_that_contradicts_the_header_is_an_error(shared):
    path = shared("data/eeg_eegmmidb_s001/S001R03.edf")
    assert nt.load(path, sfreq=160)["eeg/signal"].attrs["sfreq"] == 160
    with pytest.raises(SettingsError, match="not that of the file"):
        nt.load(path, sfreq=250)


def test_labels_rename_channels(shared):
    path = shared("data/eeg_eeglab_sample/test_raw.set")
    names = [f"E{i}" for i in range(32)]
    assert nt.load(path, labels=names)["eeg/signal"]["channel"].to_numpy().tolist() == names
    with pytest.raises(SettingsError, match="differ in number"):
        nt.load(path, labels=names[:5])


def test_a_settings_file_beside_the_data(shared, tmp_path):
    data = shared("data/ieeg_mne_sample/sample_ecog.edf").read_bytes()
    (tmp_path / "night.edf").write_bytes(data)
    (tmp_path / "recording.yaml").write_text("file: night.edf\nkind: ecog\nattrs: {subject: pt01}\n")
    for source in (tmp_path, tmp_path / "night.edf"):
        recording = nt.load(source)
        assert recording["ecog/signal"].sizes["channel"] == 78
        assert recording.attrs["subject"] == "pt01"


@pytest.mark.parametrize("suffix", [".eeg", ".vmrk"])
def test_any_file_of_a_brainvision_triple_leads_to_the_recording(shared, suffix):
    folder = shared("data/eeg_format_zoo")
    xr.testing.assert_identical(
        nt.load(folder / f"test{suffix}")["eeg/signal"], nt.load(folder / "test.vhdr")["eeg/signal"]
    )


def test_fdt_leads_to_its_set(shared):
    folder = shared("data/eeg_eeglab_sample")
    xr.testing.assert_identical(
        nt.load(folder / "test_raw.fdt")["eeg/signal"], nt.load(folder / "test_raw.set")["eeg/signal"]
    )


# ---- averages, text ---------------------------------------------------------------------------------
@pytest.mark.parametrize("subject", ["015", "016", "017"])
def test_averages(shared, subject):
    path = shared("data/eeg_erpcore_p3_evoked") / f"sub-{subject}_ses-P3_task-P3_ave.fif"
    recording, theirs = nt.load(path), mne.read_evokeds(path)
    x = recording["eeg/evoked"]
    assert dict(x.sizes) == {"condition": 3, "channel": 30, "time": 129}
    assert (x.attrs["units"], x.attrs["sfreq"]) == ("V", 128.0)
    np.testing.assert_array_equal(x.to_numpy(), np.stack([e.data for e in theirs]))
    np.testing.assert_allclose(x["time"], theirs[0].times, atol=1e-12)
    assert x["n_averaged"].to_numpy().tolist() == [e.nave for e in theirs]
    with pytest.raises(SchemaError, match="no main array") as caught:
        nt.signal(recording)
    assert "eeg/evoked" in caught.value.found


def test_the_p3_is_parietal_and_positive(shared):
    """Known of the recordings: target less non-target at Pz, 0.3 to 0.6 s, is 2.2, 6.5 and 3.5 uV."""
    found = []
    for path in sorted(shared("data/eeg_erpcore_p3_evoked").glob("*.fif")):
        x = nt.load(path)["eeg/evoked"].sel(channel="Pz")
        window = x.isel(time=((x["time"] >= 0.3) & (x["time"] <= 0.6)).to_numpy()).mean("time")
        found.append(1e6 * float(window[2]))
    np.testing.assert_allclose(found, [2.2, 6.5, 3.5], atol=0.15)


@pytest.mark.parametrize(
    ("name", "sfreq"),
    [("data_N2_spindles_15sec_200Hz.txt", 200.0), ("data_N3_no-spindles_30sec_100Hz.txt", 100.0)],
)
def test_sleep_texts_once_their_meaning_is_told(shared, name, sfreq):
    path = shared("data/eeg_sleep_snippets") / name
    x = nt.load(path, kind="eeg", dims=("time", "channel"), sfreq=sfreq, units="uV")["eeg/signal"]
    assert dict(x.sizes) == {"channel": 1, "time": 3000}
    assert x.attrs["units"] == "V"
    np.testing.assert_allclose(x.to_numpy()[0], 1e-6 * np.loadtxt(path), rtol=1e-12)


# ---- findings ---------------------------------------------------------------------------------------
def test_padding_with_zeros_is_found_by_the_validator(shared):
    """The motor runs end in half a second of zeros on all channels."""
    findings = nt.validate(nt.load(shared("data/eeg_eegmmidb_s001/S001R03.edf")))
    (flat,) = [f for f in findings if "one and the same value" in f.problem]
    assert flat.level == "note"
    assert "124.5 to 124.994 s" in flat.found
