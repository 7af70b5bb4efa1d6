"""Faulty EEG files: an error that names the place, never a shorter, resampled or rescaled recording."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import mne
import numpy as np
import pytest

import neurotools as nt
from neurotools.errors import FileError, SchemaError

mne.set_log_level("ERROR")

FIELDS = (("label", 16), ("transducer", 80), ("unit", 8), ("pmin", 8), ("pmax", 8), ("dmin", 8), ("dmax", 8),
          ("filter", 80), ("samples", 8), ("reserved", 32))  # fmt: skip


def write_edf(path: Path, signals: list[tuple[str, str, int]], *, records: int = 10, record_s: float = 1.0,
              stated: int | None = None, reserved: str = "", onsets: list[float] | None = None,
              events: tuple[tuple[float, str], ...] = ()) -> dict[str, np.ndarray]:  # fmt: skip
    """Write an EDF file of (label, unit, samples per record), byte by byte; return the stored integers."""
    rng = np.random.default_rng(5)
    plus = onsets is not None or bool(events)
    rows = [*signals, ("EDF Annotations", "", 60)] if plus else list(signals)
    entry = {"transducer": "", "pmin": "-3276.8", "pmax": "3276.7", "dmin": "-32768", "dmax": "32767",
             "filter": "", "reserved": ""}  # fmt: skip
    head = "0".ljust(8) + "X X X X".ljust(80) + "Startdate X X X X".ljust(80) + "01.01.2001.02.03"
    head += str(256 * (len(rows) + 1)).ljust(8) + reserved.ljust(44)
    head += (
        str(records if stated is None else stated).ljust(8)
        + f"{record_s:g}".ljust(8)
        + str(len(rows)).ljust(4)
    )
    for field, width in FIELDS:
        for label, unit, samples in rows:
            head += str({**entry, "label": label, "unit": unit, "samples": samples}[field]).ljust(width)
    stored = {label: rng.integers(-500, 500, (records, n)).astype("<i2") for label, _, n in signals}
    with path.open("wb") as stream:
        stream.write(head.encode("latin-1"))
        for k in range(records):
            for label, _, _ in signals:
                stream.write(stored[label][k].tobytes())
            if plus:
                start = k * record_s if onsets is None else onsets[k]
                tal = f"+{start:g}\x14\x14\x00"
                tal += "".join(f"+{t:g}\x14{name}\x14\x00" for t, name in events) if k == 0 else ""
                stream.write(tal.encode().ljust(120, b"\x00"))
    return {label: values.ravel() for label, values in stored.items()}


@pytest.fixture
def edf(tmp_path):
    path = tmp_path / "a.edf"
    write_edf(path, [("Fz", "uV", 100), ("Cz", "uV", 100)])
    return path


# ---- short and contradictory EDF --------------------------------------------------------------------
def test_edf_cut_in_half_names_expected_and_found_samples(edf):
    data = edf.read_bytes()
    header = 256 * 3
    edf.write_bytes(data[: header + (len(data) - header) // 2])
    with pytest.raises(FileError, match="shorter than its header promises") as caught:
        nt.load(edf)
    error = caught.value
    assert error.code == "NT-FILE-003"
    assert error.path == str(edf)
    assert error.found == "500 samples per channel (5 s)"
    assert error.expected == "1000 samples per channel (10 s)"
    assert error.where == "data record 6 of 10"
    assert "allow_truncated=True" in error.fix

    recording = nt.load(edf, allow_truncated=True)
    assert recording["eeg/signal"].sizes["time"] == 500
    assert recording.attrs["truncated"] == 1
    assert (recording.attrs["samples_stated"], recording.attrs["samples_found"]) == (1000, 500)
    assert "500 of 1000 samples" in recording.attrs["reader_notes"]


def test_real_edf_cut_in_half(shared, tmp_path):
    data = shared("data/eeg_eegmmidb_s001/S001R03.edf").read_bytes()
    path = tmp_path / "cut.edf"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(FileError) as caught:
        nt.load(path)
    assert caught.value.expected == "20000 samples per channel (125 s)"
    # The events of the lost half lie outside what is left; they are counted, not dropped in silence.
    recording = nt.load(path, allow_truncated=True)
    assert recording["eeg/signal"].sizes["time"] == int(caught.value.found.split()[0])


def test_record_count_left_open_is_accepted_and_noted(tmp_path):
    path = tmp_path / "running.edf"
    write_edf(path, [("Fz", "uV", 100)], stated=-1)
    recording = nt.load(path)
    assert recording["eeg/signal"].sizes["time"] == 1000
    assert "-1" in recording.attrs["reader_notes"]


def test_more_records_than_stated(tmp_path):
    path = tmp_path / "long.edf"
    write_edf(path, [("Fz", "uV", 100)], stated=8)
    with pytest.raises(FileError, match="longer than its header promises") as caught:
        nt.load(path)
    assert (caught.value.found, caught.value.expected) == ("10 whole data records", "8 data records")
    assert nt.load(path, allow_truncated=True)["eeg/signal"].sizes["time"] == 1000


@pytest.mark.parametrize("size", [200, 255, 256, 700])
def test_edf_header_cut_short(edf, size):
    edf.write_bytes(edf.read_bytes()[:size])
    whole = 256 if size < 256 else 768
    with pytest.raises(FileError, match=f"EDF header is truncated at byte {size} of {whole}") as caught:
        nt.load(edf)
    assert caught.value.code == "NT-FILE-003"


@pytest.mark.parametrize(
    ("start", "width", "text", "name"),
    [
        (252, 4, "9e9", "number of signals"),
        (252, 4, "-3", "number of signals"),
        (252, 4, "zwei", "number of signals"),
        (184, 8, "12x", "header bytes"),
        (236, 8, "many", "number of data records"),
        (244, 8, "nan", "duration of a data record"),
        (244, 8, "0", "duration of a data record"),
        (244, 8, "1e-300", "duration of a data record"),
        (256 + 2 * (16 + 80 + 8), 8, "abc", "physical minimum"),
        (256 + 2 * 216, 8, "0", "samples per record"),
        (256 + 2 * 216 + 8, 8, "-7", "samples per record"),
    ],
)
def test_impossible_header_field_is_named(edf, start, width, text, name):
    data = bytearray(edf.read_bytes())
    data[start : start + width] = text.ljust(width).encode()
    edf.write_bytes(bytes(data))
    with pytest.raises(FileError, match=name) as caught:
        nt.load(edf)
    assert f"byte {start}" in caught.value.where


def test_absurd_channel_count_contradicts_the_header_size(edf):
    data = bytearray(edf.read_bytes())
    data[252:256] = b"9999"
    edf.write_bytes(bytes(data))
    with pytest.raises(FileError, match="contradict each other") as caught:
        nt.load(edf)
    assert "number of signals" in caught.value.where


def test_events_beyond_the_data_are_listed(tmp_path):
    path = tmp_path / "late.edf"
    write_edf(
        path, [("Fz", "uV", 100)], events=((2.0, "go"), (55.0, "late"), (77.5, "later")), reserved="EDF+C"
    )
    with pytest.raises(SchemaError, match="2 of 3 events lie outside") as caught:
        nt.load(path)
    assert caught.value.code == "NT-DATA-007"
    assert caught.value.found == "'late' at 55 s, 'later' at 77.5 s"
    recording = nt.load(path, allow_truncated=True)
    assert recording["events/trial_type"].to_numpy().tolist() == ["go"]
    assert recording["events"].attrs["n_outside"] == 2
    assert "2 events past the end were left out" in recording.attrs["reader_notes"]


# ---- what MNE would change without a word -----------------------------------------------------------
def test_signals_of_other_rates_are_not_resampled(tmp_path):
    path = tmp_path / "rates.edf"
    signals = [("Fz", "uV", 100), ("Cz", "uV", 100), ("EMG chin", "uV", 200), ("SpO2", "%", 1)]
    stored = write_edf(path, signals, events=((3.0, "go"),), reserved="EDF+C")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert mne.io.read_raw_edf(path).n_times == 2000  # everything at the highest rate
    recording = nt.load(path)
    assert {n: (r["signal"].sizes["time"], r["signal"].attrs["sfreq"], r["signal"].attrs["units"])
            for n, r in recording.children.items() if n != "events"} == {
        "eeg": (1000, 100.0, "V"), "emg": (2000, 200.0, "V"), "misc": (10, 1.0, "percent")}  # fmt: skip
    for node, label, scale in (("eeg", "Fz", 1e-7), ("emg", "EMG chin", 1e-7), ("misc", "SpO2", 0.1)):
        values = recording[f"{node}/signal"].sel(channel=label).to_numpy()
        np.testing.assert_allclose(values, scale * stored[label], rtol=1e-9, atol=1e-15)
    assert recording["events/trial_type"].to_numpy().tolist() == ["go"]


def test_one_kind_at_two_rates_gets_two_nodes(tmp_path):
    path = tmp_path / "two.edf"
    write_edf(path, [("Fz", "uV", 100), ("Cz", "uV", 100), ("Pz", "uV", 50)])
    recording = nt.load(path)
    assert recording["eeg/signal"]["channel"].to_numpy().tolist() == ["Fz", "Cz"]
    assert recording["eeg_50hz/signal"]["channel"].to_numpy().tolist() == ["Pz"]


def test_records_that_lie_apart_keep_their_times(tmp_path):
    path = tmp_path / "gaps.edf"
    onsets = [0.0, 1.0, 2.0, 10.0, 11.0]
    write_edf(path, [("Fz", "uV", 100)], records=5, onsets=onsets, reserved="EDF+D", events=((10.5, "go"),))
    recording = nt.load(path)
    time = recording["eeg/signal"]["time"].to_numpy()
    assert (time[0], time[299], time[300], time[-1]) == (0.0, 2.99, 10.0, 11.99)
    assert "sfreq" not in recording["eeg/signal"].attrs
    assert float(recording["events/onset"][0]) == 10.5
    assert any("not regular" in f.problem for f in nt.validate(recording))
    assert nt.resample(recording, 100)["time"].size == 1200


def test_records_that_follow_each_other_are_regular(tmp_path):
    path = tmp_path / "plus_d.edf"
    write_edf(path, [("Fz", "uV", 100)], records=5, onsets=[0.0, 1.0, 2.0, 3.0, 4.0], reserved="EDF+D")
    assert nt.load(path)["eeg/signal"].attrs["sfreq"] == 100.0


@pytest.mark.parametrize(
    ("unit", "scale"), [("uV", 1e-7), ("mV", 1e-4), ("V", 0.1), ("nV", 1e-10), ("uv", 1e-7)]
)
def test_every_spelling_of_volts(tmp_path, unit, scale):
    path = tmp_path / "volts.edf"
    stored = write_edf(path, [("Fz", unit, 100)])
    x = nt.load(path)["eeg/signal"]
    assert x.attrs["units"] == "V"
    np.testing.assert_allclose(x.to_numpy()[0], scale * stored["Fz"], rtol=1e-9, atol=scale * 1e-8)


def test_what_is_not_volts_is_not_eeg(tmp_path):
    path = tmp_path / "mixed.edf"
    write_edf(
        path, [("Fz", "uV", 100), ("Temp rect", "degC", 100), ("odd", "", 100), ("EOG left", "uV", 100)]
    )
    recording = nt.load(path)
    assert recording["eeg/signal"]["channel"].to_numpy().tolist() == ["Fz"]
    assert recording["eog/signal"]["channel"].to_numpy().tolist() == ["EOG left"]
    units = recording["misc/signal"]["channel_units"].to_numpy().tolist()
    assert units == ["degC", "arbitrary"]
    assert "no unit in the header, so kept as misc: odd" in recording.attrs["reader_notes"]


def test_a_header_without_units_is_a_question(tmp_path):
    path = tmp_path / "blank.edf"
    stored = write_edf(path, [("Fz", "", 100)])
    with pytest.raises(FileError, match="does not state the unit") as caught:
        nt.load(path)
    assert caught.value.code == "NT-FILE-006"
    x = nt.load(path, units="uV")["eeg/signal"]
    np.testing.assert_allclose(x.to_numpy()[0], 1e-7 * stored["Fz"], rtol=1e-9, atol=1e-15)


# ---- FIF --------------------------------------------------------------------------------------------
@pytest.fixture
def fif(tmp_path):
    rng = np.random.default_rng(3)
    info = mne.create_info([f"E{i}" for i in range(8)], 100.0, "eeg")
    path = tmp_path / "a_raw.fif"
    mne.io.RawArray(1e-5 * rng.standard_normal((8, 3000)), info).save(path, buffer_size_sec=1.0)
    return path


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_fif_cut_short_names_file_and_byte(fif, share):
    data = fif.read_bytes()
    fif.write_bytes(data[: int(share * len(data))])
    with pytest.raises(FileError, match="cut short") as caught:
        nt.load(fif)
    assert caught.value.code == "NT-FILE-003"
    assert caught.value.path == str(fif)
    assert "byte" in caught.value.where


def test_fif_with_zeroed_bytes_is_read_and_noted(fif):
    """No reader can tell zeros from data, but 200 bytes of them are a stretch that no amplifier makes."""
    assert nt.validate(nt.load(fif)) == []
    data = bytearray(fif.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = bytes(200)
    fif.write_bytes(bytes(data))
    (finding,) = nt.validate(nt.load(fif))
    assert finding.level == "note"
    assert "one and the same value" in finding.problem
    assert "values of 0 in a row" in finding.found


def test_fif_that_is_no_recording(tmp_path):
    path = tmp_path / "a-cov.fif"
    info = mne.create_info(2, 100.0, "eeg")
    mne.write_cov(path, mne.make_ad_hoc_cov(info))
    with pytest.raises(FileError, match="neither a recording, nor epochs, nor averages"):
        nt.load(path)


def test_gzipped_fif(fif, tmp_path):
    import gzip

    path = tmp_path / "b_raw.fif.gz"
    path.write_bytes(gzip.compress(fif.read_bytes()))
    np.testing.assert_array_equal(nt.load(path)["eeg/signal"], nt.load(fif)["eeg/signal"])
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(FileError, match="cut short") as caught:
        nt.load(path)
    assert caught.value.code == "NT-FILE-003"


# ---- BrainVision, EEGLAB, EGI -----------------------------------------------------------------------
@pytest.fixture
def brainvision(shared, tmp_path):
    for suffix in (".vhdr", ".vmrk", ".eeg"):
        shutil.copy(shared("data/eeg_format_zoo") / f"test{suffix}", tmp_path)
        (tmp_path / f"test{suffix}").chmod(0o644)
    return tmp_path / "test.vhdr"


def test_brainvision_data_cut_inside_a_sample(brainvision):
    data = brainvision.with_suffix(".eeg")
    data.write_bytes(data.read_bytes()[:100_001])
    with pytest.raises(FileError, match="cut short") as caught:
        nt.load(brainvision)
    assert (caught.value.code, caught.value.path) == ("NT-FILE-003", str(data))
    assert caught.value.where == "byte 100001"
    assert caught.value.found == "100001 bytes: 1562 samples of 32 channels and 33 bytes"


def test_brainvision_cut_between_samples_loses_markers_and_says_so(brainvision):
    data = brainvision.with_suffix(".eeg")
    data.write_bytes(data.read_bytes()[: 64 * 5000])
    with pytest.raises(SchemaError, match="events lie outside the recording") as caught:
        nt.load(brainvision)
    assert "Event/254" in caught.value.found


def test_brainvision_stated_number_of_samples(brainvision):
    text = brainvision.read_text(encoding="utf-8").replace(
        "NumberOfChannels=32", "NumberOfChannels=32\nDataPoints=7901"
    )
    brainvision.write_text(text, encoding="utf-8")
    with pytest.raises(FileError) as caught:
        nt.load(brainvision)
    assert caught.value.expected == "7901 samples"


@pytest.mark.parametrize("name", ["../secret.eeg", "/etc/passwd", "..\\secret.eeg", "a/../../secret.eeg"])
def test_header_that_points_outside_its_folder(brainvision, name):
    (brainvision.parent.parent / "secret.eeg").write_bytes(bytes(6400))
    text = brainvision.read_text(encoding="utf-8").replace("DataFile=test.eeg", f"DataFile={name}")
    brainvision.write_text(text, encoding="utf-8")
    with pytest.raises(FileError, match="points outside its folder") as caught:
        nt.load(brainvision)
    assert (caught.value.code, caught.value.where, caught.value.found) == ("NT-FILE-008", "DataFile", name)


def test_missing_data_file(brainvision):
    brainvision.with_suffix(".eeg").unlink()
    with pytest.raises(FileError, match="missing") as caught:
        nt.load(brainvision)
    assert caught.value.code == "NT-FILE-008"
    assert "test.eeg" in caught.value.found


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("NumberOfChannels", "0"),
        ("NumberOfChannels", "many"),
        ("SamplingInterval", "0"),
        ("SamplingInterval", "inf"),
    ],
)
def test_impossible_brainvision_field_is_named(brainvision, key, text):
    lines = brainvision.read_text(encoding="utf-8").splitlines()
    lines = [f"{key}={text}" if line.startswith(key + "=") else line for line in lines]
    brainvision.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(FileError, match=key):
        nt.load(brainvision)


def test_fdt_shorter_than_its_set_promises(shared, tmp_path):
    for suffix in (".set", ".fdt"):
        shutil.copy(shared("data/eeg_eeglab_sample") / f"test_raw{suffix}", tmp_path)
        (tmp_path / f"test_raw{suffix}").chmod(0o644)
    data = tmp_path / "test_raw.fdt"
    data.write_bytes(data.read_bytes()[:2_000_000])
    with pytest.raises(FileError) as caught:
        nt.load(tmp_path / "test_raw.set")
    assert caught.value.code == "NT-FILE-003"
    assert caught.value.found == "15625 samples of 32 channels (2000000 bytes)"
    assert caught.value.expected == "30504 samples (3904512 bytes)"
    data.unlink()
    with pytest.raises(FileError):
        nt.load(tmp_path / "test_raw.set")


def test_egi_cut_in_half(shared, tmp_path):
    path = tmp_path / "test_egi.raw"
    data = shared("data/eeg_format_zoo/test_egi.raw").read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(FileError, match="shorter than its header promises") as caught:
        nt.load(path)
    assert caught.value.code == "NT-FILE-003"
    assert caught.value.expected.startswith("77 samples of 256 channels")
    assert caught.value.found.startswith("38 samples")


# ---- across recordings ------------------------------------------------------------------------------
def test_recordings_of_other_rates_are_not_joined():
    raws = [mne.io.RawArray(np.zeros((2, 500)), mne.create_info(2, rate, "eeg")) for rate in (100.0, 128.0)]
    with pytest.raises(ValueError, match="sfreq"):
        mne.concatenate_raws(raws)
    a, b = (nt.from_mne(raw)["eeg/signal"] for raw in raws)
    with pytest.raises(SchemaError, match=r"increases at every sample|different sampling rates"):
        nt.filter(_end_to_end(a, b), low=1, high=10)


def _end_to_end(a, b):
    import xarray as xr

    later = b.assign_coords(time=b["time"] + 10)
    joined = xr.concat([a, later], "time")
    return joined.assign_coords(session=("time", np.repeat([0, 1], [a.sizes["time"], b.sizes["time"]])))
