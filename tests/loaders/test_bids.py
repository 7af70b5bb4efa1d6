"""BIDS: one file or a tree, sidecars held against the data file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import mne
import numpy as np
import pytest
import xarray as xr

import neurotools as nt
from neurotools.errors import FileError, SchemaError

mne.set_log_level("ERROR")
DATA = "sub-01/ses-eeg/eeg/sub-01_ses-eeg_task-rest_eeg.vhdr"


@pytest.fixture
def tiny(shared, tmp_path):
    """A copy of the small data set that tests may damage."""
    source, target = shared("data/eeg_bids_tiny"), tmp_path / "tiny"
    for file in source.rglob("*"):
        if file.is_file():
            copy = target / file.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    return target


def sidecar(tiny: Path, ending: str) -> Path:
    return tiny / DATA.replace("_eeg.vhdr", ending)


def edit_json(path: Path, **values) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **values}), encoding="utf-8")


def swap(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


# ---- what is known ----------------------------------------------------------------------------------
def test_the_small_data_set(shared, comes_back):
    recording = nt.load(shared("data/eeg_bids_tiny"))
    x = recording["eeg/signal"]
    assert dict(x.sizes) == {"channel": 64, "time": 10000}
    assert (x.attrs["units"], x.attrs["sfreq"], x.attrs["line_freq"]) == ("V", 5000.0, 60.0)
    assert x.attrs["coordinate_frame"] == "CapTrak"
    assert float(x["y"].sel(channel="Fp1")) == 0.11102138145885607
    assert json.loads(recording.attrs["channel_types"]) == {
        "eeg": 64,
        "ecg": 1,
        "eog": 2,
        "gsr": 1,
        "temperature": 1,
    }
    assert recording.attrs["n_channels"] == 69
    assert recording["gsr/signal"].attrs["units"] == "S"
    assert recording["temperature/signal"].attrs["units"] == "degC"
    assert recording["events/trial_type"].to_numpy().tolist() == ["start_experiment", "show_stimulus"]
    assert recording["events/onset"].to_numpy().tolist() == [0.0, 0.2]
    assert recording["events/sample"].to_numpy().tolist() == [0, 1000]
    assert recording["markers"].sizes["event"] == 1
    for name, value in {"subject": "01", "session": "eeg", "task": "rest"}.items():
        assert recording.attrs[name] == value
    assert json.loads(recording.attrs["participant"])["age"] == "29"
    assert json.loads(recording.attrs["sidecar"])["Manufacturer"] == "Brain Products"
    comes_back(recording)


@pytest.mark.parametrize("part", ["", "sub-01", "sub-01/ses-eeg", "sub-01/ses-eeg/eeg", DATA])
def test_tree_and_file_give_one_recording(shared, part):
    root = shared("data/eeg_bids_tiny")
    xr.testing.assert_identical(nt.load(root / part), nt.load(root))


def test_participant_session_and_scan_come_along(shared, comes_back):
    """Tables further up, and the sidecars that say what their columns mean."""
    recording = nt.load(shared("data/eeg_bids_tiny"))
    said = {name: json.loads(text) for name, text in recording.attrs.items() if str(text).startswith("{")}
    assert said["participant"] == {"participant_id": "sub-01", "age": "29", "sex": "F", "hand": "A"}
    assert said["participant_columns"]["age"]["Units"] == "years"
    assert said["participant_columns"]["hand"]["Levels"]["A"] == "ambidextrous"
    assert said["session_facts"]["pathology"] == "Parkinson's disease"
    assert said["session_facts_columns"]["pathology"]["Description"].startswith("Disease state")
    assert said["scan"]["acq_time"] == "2000-01-01T12:00:00.000000Z"
    assert set(said["data_set"]) >= {"Name", "BIDSVersion"}
    assert "trigger code" in recording["events/value"].attrs["description"]
    comes_back(recording)


def test_rows_of_others_do_not_come_along(tiny):
    path = tiny / "participants.tsv"
    path.write_text("participant_id\tage\nsub-02\t40\n", encoding="utf-8")
    assert "participant" not in nt.load(tiny).attrs
    path.write_text("participant_id\tage\nsub-01\t40\nsub-01\t41\n", encoding="utf-8")
    assert "participant" not in nt.load(tiny).attrs


def test_a_duration_that_disagrees_is_told(shared):
    """The sidecar of this data set states 0.9998 s; the file holds 2 s."""
    recording = nt.load(shared("data/eeg_bids_tiny"))
    assert "the sidecar states 0.9998 s, the file holds 2 s" in recording.attrs["reader_notes"]
    assert any("0.9998" in f.problem for f in nt.validate(recording))


def test_values_types_and_places_are_those_of_mne_bids(shared):
    mne_bids = pytest.importorskip("mne_bids")
    root = shared("data/eeg_bids_tiny")
    path = mne_bids.BIDSPath(root=root, subject="01", session="eeg", task="rest", datatype="eeg")
    raw = mne_bids.read_raw_bids(path, verbose="ERROR")
    recording = nt.load(root)
    for node in recording.subtree:
        if "signal" in node.data_vars:
            x = node["signal"]
            names = [str(c) for c in x["channel"].to_numpy()]
            np.testing.assert_array_equal(
                x.to_numpy(), raw.get_data(picks=[raw.ch_names.index(c) for c in names])
            )
            theirs = [raw.get_channel_types(picks=[c])[0] for c in names]
            assert theirs == x["ch_type"].to_numpy().tolist()
    assert raw.info["line_freq"] == recording["eeg/signal"].attrs["line_freq"]


# ---- several recordings -----------------------------------------------------------------------------
def test_several_recordings_are_listed(tiny):
    for ending in (".vhdr", ".vmrk", ".eeg"):
        old = tiny / DATA.replace(".vhdr", ending)
        new = old.with_name(old.name.replace("task-rest", "task-go"))
        text = old.read_bytes().replace(b"task-rest", b"task-go") if ending != ".eeg" else old.read_bytes()
        new.write_bytes(text)
    with pytest.raises(FileError, match="several recordings") as caught:
        nt.load(tiny)
    assert caught.value.code == "NT-FILE-006"
    assert DATA in caught.value.found
    assert "task-go" in caught.value.found
    assert "nt.load(" in caught.value.fix
    assert nt.load(tiny, array="task-rest").attrs["task"] == "rest"
    with pytest.raises(FileError, match="no recording has 'task-stop'"):
        nt.load(tiny, array="task-stop")


# ---- sidecars against the binary --------------------------------------------------------------------
def test_rate_that_disagrees(tiny):
    edit_json(sidecar(tiny, "_eeg.json"), SamplingFrequency=1000.0)
    with pytest.raises(FileError, match="disagree on SamplingFrequency") as caught:
        nt.load(tiny)
    assert (caught.value.code, caught.value.found) == ("NT-FILE-008", "5000 Hz")
    assert caught.value.expected == "1000 Hz in the sidecar"


def test_channels_that_disagree(tiny):
    swap(sidecar(tiny, "_channels.tsv"), "Fp1\t", "FpX\t")
    with pytest.raises(FileError, match="disagree on the channels") as caught:
        nt.load(tiny)
    assert caught.value.found == "69 in the file; not in channels.tsv: Fp1"
    assert caught.value.expected == "69 in channels.tsv; not in the file: FpX"


def test_rate_of_one_channel_that_disagrees(tiny):
    swap(
        sidecar(tiny, "_channels.tsv"),
        "ElectroEncephaloGram\t5000.0\tgood",
        "ElectroEncephaloGram\t500.0\tgood",
    )
    with pytest.raises(FileError, match="the rate of Fp1"):
        nt.load(tiny)


def test_events_past_the_end(tiny):
    with sidecar(tiny, "_events.tsv").open("a") as stream:
        stream.write("7.5\t0.0\tlate\t3\t37500\n")
    with pytest.raises(SchemaError, match="1 of 3 events lie outside") as caught:
        nt.load(tiny)
    assert caught.value.found == "'late' at 7.5 s"
    assert nt.load(tiny, allow_truncated=True)["events"].attrs["n_outside"] == 1


def test_event_without_onset_or_with_words(tiny):
    events = sidecar(tiny, "_events.tsv")
    swap(events, "0.2\t0.0", "n/a\t0.0")
    with pytest.raises(FileError, match="an event has no onset") as caught:
        nt.load(tiny)
    assert caught.value.where == "row 2"
    swap(events, "n/a\t0.0", "soon\t0.0")
    with pytest.raises(FileError, match="not a number") as caught:
        nt.load(tiny)
    assert "soon" in caught.value.found


def test_unknown_duration_stays_unknown(tiny):
    swap(sidecar(tiny, "_events.tsv"), "0.2\t0.0", "0.2\tn/a")
    assert np.isnan(nt.load(tiny)["events/duration"].to_numpy()[1])


def test_bad_channels(tiny):
    table = sidecar(tiny, "_channels.tsv")
    lines = table.read_text(encoding="utf-8").splitlines()
    lines[2] = lines[2].replace("good", "bad")
    table.write_text("\n".join(lines), encoding="utf-8")
    x = nt.load(tiny)["eeg/signal"]
    assert x["channel"].to_numpy()[x["bad"].to_numpy()].tolist() == ["Fp2", "PO10"]


def test_positions_in_mm(tiny):
    folder = tiny / "sub-01/ses-eeg/eeg"
    before = nt.load(tiny)["eeg/signal"]
    edit_json(folder / "sub-01_ses-eeg_coordsystem.json", EEGCoordinateUnits="mm")
    after = nt.load(tiny)["eeg/signal"]
    np.testing.assert_allclose(after["x"], before["x"] / 1000, rtol=1e-12)
    edit_json(folder / "sub-01_ses-eeg_coordsystem.json", EEGCoordinateUnits="pixels")
    recording = nt.load(tiny)
    assert "x" not in recording["eeg/signal"].coords
    assert "'pixels', which is no length" in recording.attrs["reader_notes"]


@pytest.mark.parametrize(
    "name", ["sub-.._task-rest_eeg.vhdr", "sub-01_ses-..a_task-rest_eeg.vhdr", "sub-01_task-re st_eeg.vhdr"]
)
def test_entities_are_letters_and_digits(tiny, name):
    for ending in (".vhdr", ".vmrk", ".eeg"):
        shutil.copy(
            tiny / DATA.replace(".vhdr", ending), (tiny / DATA).with_name(name.replace(".vhdr", ending))
        )
    with pytest.raises(FileError, match="not made of letters and digits") as caught:
        nt.load((tiny / DATA).with_name(name))
    assert caught.value.code == "NT-FILE-008"


def test_a_link_whose_content_was_not_fetched(tiny):
    data = tiny / "sub-01/ses-eeg/eeg/sub-01_ses-eeg_task-rest_eeg.edf"
    for ending in (".vhdr", ".vmrk", ".eeg"):
        (tiny / DATA.replace(".vhdr", ending)).unlink()
    data.symlink_to(tiny / ".git/annex/objects/gone.edf")
    with pytest.raises(FileError, match="link to content that is not here") as caught:
        nt.load(tiny)
    assert "datalad get" in caught.value.fix


@pytest.mark.parametrize("ending", ["_eeg.json", "_channels.tsv"])
def test_damaged_sidecar_is_named(tiny, ending):
    path = sidecar(tiny, ending)
    path.write_bytes(b"\xff\xfe{")
    with pytest.raises(FileError) as caught:
        nt.load(tiny)
    assert caught.value.path == str(path)


def test_sidecars_are_inherited_from_above(tiny):
    """A JSON at the root holds for all; the one beside the file wins where both speak."""
    (tiny / "task-rest_eeg.json").write_text('{"CapManufacturer": "EasyCap", "PowerLineFrequency": 50}')
    recording = nt.load(tiny)
    assert json.loads(recording.attrs["sidecar"])["CapManufacturer"] == "EasyCap"
    assert recording["eeg/signal"].attrs["line_freq"] == 60.0
    (tiny / "task-other_eeg.json").write_text('{"CapManufacturer": "Other"}')
    assert json.loads(nt.load(tiny).attrs["sidecar"])["CapManufacturer"] == "EasyCap"


def test_intracranial_types_come_from_channels_tsv(tmp_path):
    rng = np.random.default_rng(4)
    info = mne.create_info(["G1", "G2", "D1", "EKG"], 500.0, "eeg")
    folder = tmp_path / "sub-02" / "ieeg"
    folder.mkdir(parents=True)
    raw = mne.io.RawArray(1e-5 * rng.standard_normal((4, 2000)), info)
    mne.export.export_raw(folder / "sub-02_task-x_ieeg.edf", raw)
    (tmp_path / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    rows = "G1\tECOG\tuV\nG2\tECOG\tuV\nD1\tSEEG\tuV\nEKG\tECG\tuV\n"
    (folder / "sub-02_task-x_channels.tsv").write_text("name\ttype\tunits\n" + rows)
    (folder / "sub-02_task-x_ieeg.json").write_text('{"iEEGReference": "mastoid", "SamplingFrequency": 500}')
    (folder / "sub-02_electrodes.tsv").write_text("name\tx\ty\tz\nG1\t10\t50\t40\nD1\tn/a\tn/a\tn/a\n")
    (folder / "sub-02_coordsystem.json").write_text(
        '{"iEEGCoordinateUnits": "mm", "iEEGCoordinateSystem": "ACPC"}'
    )
    recording = nt.load(tmp_path)
    assert {n: r["signal"].sizes["channel"] for n, r in recording.children.items() if "signal" in r} == {
        "ecog": 2, "seeg": 1, "ecg": 1}  # fmt: skip
    x = recording["ecog/signal"]
    assert (x.attrs["reference"], x.attrs["coordinate_frame"]) == ("mastoid", "ACPC")
    assert float(x["y"].sel(channel="G1")) == 0.05
    with pytest.raises(SchemaError, match="several arrays"):
        nt.signal(recording)


def test_folders_without_a_recording_are_left_to_others(tmp_path):
    from neurotools.loaders.eeg.bids import is_bids

    (tmp_path / "sub-01" / "func").mkdir(parents=True)
    (tmp_path / "sub-01" / "func" / "sub-01_task-x_bold.nii.gz").write_bytes(b"")
    assert not is_bids(tmp_path)
