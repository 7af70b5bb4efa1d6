"""Formats of single makers, from files written here byte by byte after their published layouts."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import mne
import numpy as np
import pytest
import scipy.io

import neurotools as nt
from neurotools.errors import FileError, MissingExtraError
from neurotools.loaders.eeg import opening

from . import vendor_files

mne.set_log_level("ERROR")


def integers(n_channels: int, n_times: int) -> np.ndarray:
    return np.random.default_rng(9).integers(-2000, 2000, (n_times, n_channels)).astype("<i2")


# ---- Persyst ----------------------------------------------------------------------------------------
def persyst(folder: Path, file: str = "a.dat") -> tuple[Path, np.ndarray]:
    stored = integers(3, 1000)
    stored.tofile(folder / "a.dat")
    (folder / "a.lay").write_text(
        f"[FileInfo]\nFile={file}\nFileType=Interleaved\nSamplingRate=200\nHeaderLength=0\nCalibration=0.25\n"
        "WaveformCount=3\nDataType=0\n[ChannelMap]\nFz-Ref=1\nCz-Ref=2\nPz-Ref=3\n[Patient]\nFirst=\nLast=\n"
        "ID=\nSex=\nHand=\nBirthDate=01/02/80\nTestDate=02/03/2001\nTestTime=10:11:12\n"
        "[Comments]\n1.5,0.5,0,100,seizure\n[SampleTimes]\n0=0\n")  # fmt: skip
    return folder / "a.lay", stored


def test_persyst(tmp_path):
    path, stored = persyst(tmp_path)
    recording = nt.load(path)
    x = recording["eeg/signal"]
    assert recording.attrs["format"] == "persyst"
    assert (x["channel"].to_numpy().tolist(), x.attrs["sfreq"]) == (["FZ", "CZ", "PZ"], 200.0)
    np.testing.assert_allclose(x.to_numpy(), 0.25e-6 * stored.T, rtol=1e-12)
    assert recording["events/trial_type"].to_numpy().tolist() == ["seizure"]
    assert float(recording["events/onset"][0]) == 1.5


def test_persyst_cut_or_pointing_elsewhere(tmp_path):
    path, _ = persyst(tmp_path)
    data = tmp_path / "a.dat"
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(FileError, match="ends inside a sample") as caught:
        nt.load(path)
    assert caught.value.code == "NT-FILE-003"
    assert nt.load(path, allow_truncated=True)["eeg/signal"].sizes["time"] == 999
    data.unlink()
    with pytest.raises(FileError, match="missing"):
        nt.load(path)


# ---- Neuralynx --------------------------------------------------------------------------------------
def ncs(folder: Path, name: str, channel: int, sfreq: int = 2000, blocks: int = 8) -> np.ndarray:
    header = (
        "######## Neuralynx Data File Header\r\n-FileType NCS\r\n-FileVersion 3.4\r\n"
        "-TimeCreated 2021/03/04 10:11:12\r\n-TimeClosed 2021/03/04 10:12:12\r\n-RecordSize 1044\r\n"
        '-ApplicationName Cheetah "5.7.4"\r\n-HardwareSubSystemName AcqSystem1\r\n'
        f"-HardwareSubSystemType DigitalLynx\r\n-SamplingFrequency {sfreq}\r\n-ADMaxValue 32767\r\n"
        f"-ADBitVolts 0.0000000305\r\n-AcqEntName {name}\r\n-NumADChannels 1\r\n-ADChannel {channel}\r\n"
        "-InputRange 1000\r\n-InputInverted False\r\n"
        "-DSPLowCutFilterEnabled True\r\n-DspLowCutFrequency 1\r\n"
        "-DSPHighCutFilterEnabled True\r\n-DspHighCutFrequency 500\r\n"
    )
    header = header.encode("latin-1").ljust(16384, b"\x00")
    stored = np.random.default_rng(channel).integers(-3000, 3000, (blocks, 512)).astype("<i2")
    with (folder / f"{name}.ncs").open("wb") as stream:
        stream.write(header)
        for k in range(blocks):
            stream.write(struct.pack("<QIII", 1_000_000 + int(k * 512 * 1e6 / sfreq), channel, sfreq, 512))
            stream.write(stored[k].tobytes())
    return stored.ravel()


def test_neuralynx_folder_and_single_channel(tmp_path):
    stored = {name: ncs(tmp_path, name, i) for i, name in enumerate(["LA1", "LA2"])}
    recording = nt.load(tmp_path)
    x = recording["seeg/signal"]
    assert recording.attrs["format"] == "neuralynx"
    assert (sorted(x["channel"].to_numpy()), x.attrs["sfreq"], x.attrs["units"]) == (
        ["LA1", "LA2"],
        2000.0,
        "V",
    )
    for name, values in stored.items():
        np.testing.assert_allclose(x.sel(channel=name), 3.05e-8 * values, rtol=1e-6)
    one = nt.load(tmp_path / "LA2.ncs")["seeg/signal"]
    assert one["channel"].to_numpy().tolist() == ["LA2"]
    np.testing.assert_allclose(one.to_numpy()[0], 3.05e-8 * stored["LA2"], rtol=1e-6)


# ---- Neuroscan CNT ----------------------------------------------------------------------------------
def cnt(path: Path, n_times: int = 1000) -> np.ndarray:
    names, stored = ["FZ", "CZ", "PZ"], integers(3, n_times)
    setup = bytearray(900)
    setup[:12] = b"Version 3.0\x00"
    setup[225:235], setup[235:247] = b"02/03/01  ", b"10:11:12    "
    struct.pack_into("<H", setup, 370, 3)
    struct.pack_into("<H", setup, 376, 250)
    struct.pack_into("<i", setup, 864, n_times)
    table = 900 + 3 * 75 + stored.nbytes
    struct.pack_into("<i", setup, 886, table)
    body = bytes(setup)
    for name in names:
        electrode = bytearray(75)
        electrode[: len(name)] = name.encode()
        struct.pack_into("<f", electrode, 59, 2.0)
        struct.pack_into("<f", electrode, 71, 1.0)
        body += bytes(electrode)
    events = b"".join(
        struct.pack("<HBcl", code, 0, b"\x00", 900 + 225 + (k + 1) * 6) for code, k in ((5, 100), (7, 600))
    )
    path.write_bytes(body + stored.tobytes() + struct.pack("<Bll", 1, len(events), 0) + events)
    return stored


def test_neuroscan_cnt(tmp_path):
    stored = cnt(tmp_path / "a.cnt")
    recording = nt.load(tmp_path / "a.cnt")
    x = recording["eeg/signal"]
    assert recording.attrs["format"] == "cnt"
    assert (x["channel"].to_numpy().tolist(), x.attrs["sfreq"]) == (["FZ", "CZ", "PZ"], 250.0)
    np.testing.assert_allclose(x.to_numpy(), 2e-6 / 204.8 * stored.T, rtol=1e-6)
    assert recording["events/trial_type"].to_numpy().tolist() == ["5", "7"]
    np.testing.assert_allclose(recording["events/onset"], [0.4, 2.4])


def test_cnt_cut_short(tmp_path):
    path = tmp_path / "a.cnt"
    cnt(path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(FileError) as caught:
        nt.load(path)
    assert caught.value.__cause__ is not None


# ---- Nihon Kohden -----------------------------------------------------------------------------------
def nihon(path: Path, n_times: int = 1000) -> np.ndarray:
    version, channels = b"EEG-1100C V01.00", [0, 1, 42]  # FP1, FP2 and a DC input
    head = bytearray(0x1800)
    head[:16] = head[0x81:0x91] = version
    head[0x17FE] = 1
    head[0x91] = 1
    struct.pack_into("<I", head, 0x92, 0x400)
    head[0x400 + 17] = 1
    struct.pack_into("<I", head, 0x400 + 18, 0x1800)
    block = bytearray(0x27 + 10 * len(channels))
    struct.pack_into("<H", block, 0x1A, 200)
    struct.pack_into("<I", block, 0x1C, n_times * 10 // 200)
    block[0x26] = len(channels)
    for i, code in enumerate(channels):
        block[0x27 + 10 * i] = code
    stored = integers(4, n_times)  # one more than there are channels: the marks
    path.write_bytes(bytes(head) + bytes(block) + (stored.astype("int32") + 32768).astype("<u2").tobytes())
    return stored


def test_nihon_kohden(tmp_path):
    path = tmp_path / "a.eeg"
    stored = nihon(path)
    recording, raw = nt.load(path), mne.io.read_raw_nihon(path, preload=True)
    assert recording.attrs["format"] == "nihon-kohden"
    x = recording["eeg/signal"]
    assert (x["channel"].to_numpy().tolist(), x.attrs["sfreq"]) == (["FP1", "FP2"], 200.0)
    np.testing.assert_array_equal(x, raw.get_data(picks=["FP1", "FP2"]))
    step = 6399.902 / 65535 * 1e-6
    np.testing.assert_allclose(np.diff(x), step * np.diff(stored[:, :2].T.astype(float)), atol=1e-12)
    assert recording["misc/signal"].attrs["units"] == "V"
    assert "LOG" in recording.attrs["reader_notes"]
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(FileError, match="shorter than its header promises"):
        nt.load(path)


# ---- BCI2000, eXimia, Nicolet -----------------------------------------------------------------------
def bci2000(
    path: Path, gain: str = "SourceChGain= 2 0.5 0.25", offset: str = "SourceChOffset= 2 0 10"
) -> np.ndarray:
    stored = integers(2, 800)
    state = np.zeros((800, 1), dtype=np.uint8)
    state[200:210], state[500:510] = 4, 6
    text = (
        "BCI2000V= 1.1 HeaderLen= {:5d} SourceCh= 2 StatevectorLen= 1 DataFormat= int16\r\n"
        "[ State Vector Definition ]\r\nStimulusCode 8 0 0 0\r\n[ Parameter Definition ]\r\n"
        f"Source float SamplingRate= 160 // Hz\r\nSource floatlist {gain} // muV\r\n"
        f"Source floatlist {offset} //\r\n"
        "Source list ChannelNames= 2 Fz Cz //\r\n"
    )  # fmt: skip
    header = text.format(len(text.format(0)) + 1).encode() + b"\n"
    frames = np.concatenate([stored.view(np.uint8).reshape(800, 4), state], axis=1)
    path.write_bytes(header + frames.tobytes())
    return stored


def test_bci2000_counts_become_volts(tmp_path):
    path = tmp_path / "a.dat"
    stored = bci2000(path)
    recording = nt.load(path)
    x = recording["eeg/signal"]
    assert recording.attrs["format"] == "bci2000"
    assert (x["channel"].to_numpy().tolist(), x.attrs["sfreq"]) == (["Fz", "Cz"], 160.0)
    np.testing.assert_allclose(x.to_numpy()[0], 0.5e-6 * stored[:, 0], rtol=1e-12)
    np.testing.assert_allclose(x.to_numpy()[1], 0.25e-6 * (stored[:, 1] - 10.0), rtol=1e-12)
    assert recording["events/trial_type"].to_numpy().tolist() == ["4", "6"]
    np.testing.assert_allclose(recording["events/onset"], [200 / 160, 500 / 160])


def test_bci2000_without_gains_is_a_question(tmp_path):
    path = tmp_path / "a.dat"
    stored = bci2000(path, gain="SourceChGain= 1 auto")
    with pytest.raises(FileError, match="does not state a gain") as caught:
        nt.load(path)
    assert caught.value.code == "NT-FILE-006"
    np.testing.assert_allclose(nt.load(path, units="uV")["eeg/signal"][0], 1e-6 * stored[:, 0], rtol=1e-12)


def test_eximia_is_in_volts(tmp_path):
    path = tmp_path / "a.nxe"
    stored = integers(64, 500)
    stored.tofile(path)
    recording = nt.load(path)
    assert dict(recording["eeg/signal"].sizes) == {"channel": 60, "time": 500}
    np.testing.assert_allclose(
        recording["eeg/signal"].to_numpy(), 0.07629510948348212e-6 * stored.T[4:], rtol=1e-9
    )
    np.testing.assert_allclose(
        recording["eog/signal"].to_numpy()[0], 0.3814755474174106e-6 * stored[:, 3], rtol=1e-9
    )
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(FileError, match="ends inside a sample"):
        nt.load(path)


def test_nicolet(tmp_path):
    stored = integers(2, 600)
    stored.tofile(tmp_path / "a.data")
    (tmp_path / "a.head").write_text(
        "start_ts=2010-01-02 03:04:05.000006\nnum_samples=600\nsample_freq=256\nconversion_factor=0.179\n"
        "num_channels=2\nelec_names=[Fz,Cz]\npat_id=1\nadm_id=1\nrec_id=1\nduration_in_sec=2.34\n"
    )
    x = nt.load(tmp_path / "a.data")["eeg/signal"]
    assert (x["channel"].to_numpy().tolist(), x.attrs["sfreq"]) == (["Fz", "Cz"], 256.0)
    np.testing.assert_allclose(x.to_numpy(), 0.179e-6 * stored.T, rtol=1e-9)
    (tmp_path / "a.data").write_bytes((tmp_path / "a.data").read_bytes()[:-4])
    with pytest.raises(FileError, match="shorter than its header promises") as caught:
        nt.load(tmp_path / "a.data")
    assert caught.value.expected == "600 samples"


# ---- EEGLAB in one file, and cut into epochs --------------------------------------------------------
def eeglab(path: Path, trials: int = 1) -> np.ndarray:
    values = 10 * np.random.default_rng(3).standard_normal((3, 500, trials)).astype("float32")
    locs = np.array(
        [(name, "EEG") for name in ("Fz", "Cz", "Pz")], dtype=[("labels", object), ("type", object)]
    )
    event = np.array(
        [("go", 101.0 + 500 * k, 0.0, k + 1.0) for k in range(trials)],
        dtype=[(name, object) for name in ("type", "latency", "duration", "epoch")],
    )
    epoch = np.array(
        [(k + 1.0, 0.0, "go") for k in range(trials)],
        dtype=[(name, object) for name in ("event", "eventlatency", "eventtype")],
    )
    scipy.io.savemat(path, {"EEG": {
        "setname": "x", "nbchan": 3.0, "pnts": 500.0, "trials": float(trials), "srate": 250.0, "xmin": -0.4,
        "xmax": 1.596, "times": np.arange(500.0), "data": values.squeeze(), "chanlocs": locs, "event": event,
        "epoch": epoch if trials > 1 else [], "ref": "common"}}, appendmat=False)  # fmt: skip
    return values


def test_eeglab_in_one_file(tmp_path):
    values = eeglab(tmp_path / "a.set")
    recording = nt.load(tmp_path / "a.set")
    np.testing.assert_allclose(recording["eeg/signal"], 1e-6 * values[..., 0], rtol=1e-6)
    assert recording["events/trial_type"].to_numpy().tolist() == ["go"]
    assert float(recording["events/onset"][0]) == 0.4


def test_eeglab_cut_into_epochs(tmp_path):
    values = eeglab(tmp_path / "a.set", trials=4)
    x = nt.load(tmp_path / "a.set")["eeg/epochs"]
    assert dict(x.sizes) == {"trial": 4, "channel": 3, "time": 500}
    np.testing.assert_allclose(x, 1e-6 * values.transpose(2, 0, 1), rtol=1e-6)
    assert float(x["time"][0]) == -0.4
    assert set(x["trial_type"].to_numpy()) == {"go"}


# ---- packages that MNE needs beside itself ----------------------------------------------------------
@pytest.mark.parametrize(
    ("unit", "factor", "volts"),
    [("uV", 0.5, 0.5e-6), ("mV", 1.0, 1e-3), ("microvolts", 0.25, 0.25e-6), ("uV", -0.5, -0.5e-6)],
)
def test_mef(tmp_path, unit, factor, volts):
    path = tmp_path / "a.mefd"
    stored = vendor_files.write_mef(path, unit, factor)
    recording = nt.load(path)
    x = recording["seeg/signal"]
    assert (x.shape, x.attrs["sfreq"], x.attrs["units"]) == ((2, vendor_files.N), vendor_files.RATE, "V")
    for name, values in stored.items():
        np.testing.assert_allclose(x.sel(channel=name), values * volts, rtol=1e-12)
    assert recording["events"].sizes["event"] == 0


@pytest.mark.parametrize("unit", ["", "counts", "uA"])
def test_mef_whose_unit_is_not_known_is_a_question(tmp_path, unit):
    """MNE calls such numbers volts."""
    path = tmp_path / "a.mefd"
    stored = vendor_files.write_mef(path, unit, 0.5)
    with pytest.raises(FileError, match="does not state the unit") as caught:
        nt.load(path)
    assert (caught.value.code, caught.value.found) == ("NT-FILE-006", f"LA1 in {unit!r}, LA2 in {unit!r}")
    x = nt.load(path, units="uV")["seeg/signal"]
    np.testing.assert_allclose(x.sel(channel="LA2"), stored["LA2"] * 0.5e-6, rtol=1e-12)


def stumps(folder: Path) -> dict[str, Path]:
    """Beginnings of recordings by the package that reads them."""
    ant = folder / "a.cnt"
    ant.write_bytes(b"RIFF" + struct.pack("<I", 100) + b"CNT " + bytes(200))
    mff = folder / "a.mff"
    mff.mkdir()
    (mff / "info.xml").write_text("<?xml version='1.0'?><fileInfo/>")
    (mff / "signal1.bin").write_bytes(bytes(1000))
    (folder / "a.mefd").mkdir()
    (folder / "a.mefd/x").write_text("x")
    (folder / "a.cdt").write_bytes(bytes(100))
    (folder / "a.cdt.dpa").write_text("SampleFreqHz = 250\nSampleTimeUsec = 4000\n")
    return {"antio": ant, "mffpy": mff, "pymef": folder / "a.mefd", "curryreader": folder / "a.cdt"}


@pytest.mark.parametrize("package", ["antio", "mffpy", "pymef", "curryreader"])
def test_a_reader_that_needs_one_more_package_says_which(tmp_path, monkeypatch, package):
    """The extra brings two of the four; the error for any of them names it and the command."""
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    with pytest.raises(MissingExtraError, match=package) as caught:
        nt.load(stumps(tmp_path)[package])
    assert caught.value.code == "NT-DEP-001"
    brought = package in ("mffpy", "pymef")
    assert (caught.value.fix == "pip install 'neurotools-xr[eeg]'") == brought
    assert brought or caught.value.fix.startswith(f"pip install {package} ")


@pytest.mark.parametrize("package", ["mffpy", "pymef"])
def test_stumps_of_formats_that_the_extra_reads_are_refused_for_what_they_are(tmp_path, package):
    with pytest.raises(FileError):
        nt.load(stumps(tmp_path)[package])


def test_a_reader_that_this_mne_lacks_is_said(tmp_path):
    with pytest.raises(MissingExtraError, match="does not read MEF 9 files yet") as caught:
        opening.plain(tmp_path, "read_raw_mef9", "MEF 9")
    assert caught.value.fix == "pip install --upgrade mne"
