"""More recording systems, written byte by byte: what neo would pass over is refused."""

import struct

import numpy as np
import pytest

import neurotools as nt
from neurotools.errors import FileError
from neurotools.schema import spike_trains

TRAINS = {"sig001a": [100.0, 100.5, 103.25], "sig001b": [100.125, 109.5], "sig002a": []}


def nex(path, *, trains=TRAINS, events=(100.75, 106.5), lever=((101.0, 102.0),), signal=None, pauses=0):
    """NeuroExplorer 104: units, events, intervals and a continuous variable, at 40 kHz ticks."""
    ticks = lambda values: np.round(np.asarray(values, dtype=float) * 40_000).astype("<i4").tobytes()  # noqa: E731
    entries = [(0, name, ticks(times), len(times), 0) for name, times in trains.items()]
    entries.append((1, "reward", ticks(events), len(events), 0))
    starts, stops = zip(*lever, strict=True)
    entries.append((2, "lever", ticks(starts) + ticks(stops), len(starts), 0))
    if signal is not None:
        firsts = [100.0 + i * 10 for i in range(pauses + 1)]
        index = np.arange(pauses + 1, dtype="<i4") * (len(signal) // (pauses + 1))
        content = ticks(firsts) + index.tobytes() + signal.astype("<i2").tobytes()
        entries.append((5, "FP01", content, pauses + 1, len(signal)))
    at = 544 + 208 * len(entries)
    headers, body = b"", b""
    for kind, name, content, n, n_points in entries:
        headers += _nex_entry(kind, name, at + len(body), n, n_points)
        body += content
    top = struct.pack("<4si256sdiii", b"NEX1", 104, b"test", 40_000.0, 4_000_000, 4_400_000, len(entries))
    path.write_bytes(top.ljust(544, b"\0") + headers + body)
    return path


def _nex_entry(kind, name, at, n, n_points):
    front = struct.pack("<ii64sIiiiii", kind, 100, name.encode(), at, n, 0, 0, 0, 0)
    # x, y of the electrode; sampling rate; mV per step
    back = struct.pack("<dddd", 0.0, 0.0, 1000.0, 0.001) + struct.pack("<i", n_points)
    return (front + back).ljust(208, b"\0")


def spikeglx(path, values, *, stated=None):
    path.mkdir()
    data = values.astype("<i2").tobytes()
    (path / "run_g0_t0.nidq.bin").write_bytes(data)
    names = "".join(f"(XA{i};{i}:{i})" for i in range(values.shape[1]))
    (path / "run_g0_t0.nidq.meta").write_text(
        "typeThis=nidq\nfileName=D:/run_g0_t0.nidq.bin\n"
        f"fileSizeBytes={len(data) if stated is None else stated}\n"
        f"nSavedChans={values.shape[1]}\nsnsMnMaXaDw=0,0,{values.shape[1]},0\nniMNGain=200\nniMAGain=1\n"
        "niAiRangeMax=5\nniSampRate=25000\nfirstSample=0\n"
        f"~snsChanMap=({values.shape[1]},0,0,0,1){names}\n"
    )
    return path


def open_ephys(path, values, *, first=4_397_000, lose=None):
    """The old Open Ephys layout: one file per channel, records of 1024 samples and an event file."""
    path.mkdir()
    for channel in range(values.shape[1]):
        header = (
            "header.format = 'Open Ephys Data Format';\nheader.version = 0.4;\nheader.header_bytes = 1024;\n"
            "header.description = '-';\nheader.date_created = '17-May-2024 123000';\n"
            f"header.channel = 'CH{channel + 1}';\nheader.channelType = 'Continuous';\n"
            "header.sampleRate = 1000;\n"
            "header.blockLength = 1024;\nheader.bufferSize = 1024;\nheader.bitVolts = 0.195;\n"
        ).encode().ljust(1024)  # fmt: skip
        records = b""
        for i, block in enumerate(values[:, channel].reshape(-1, 1024)):
            stamp = first + 1024 * (i + (lose is not None and i >= lose))
            records += struct.pack("<qHH", stamp, 1024, 0) + block.astype(">i2").tobytes() + bytes(range(10))
        (path / f"100_CH{channel + 1}.continuous").write_bytes(header + records)
    return path


def open_ephys_spikes(path, samples, first=4_397_000):
    """Spikes of one electrode, sorted into unit 1, one channel of 4 samples each."""
    header = (
        b"header.format = 'Open Ephys Data Format';\nheader.version = 0.4;\nheader.header_bytes = 1024;\n"
        b"header.description = '-';\nheader.date_created = '17-May-2024 123000';\nheader.electrode = 'E1';\n"
        b"header.num_channels = 1;\nheader.sampleRate = 1000;\n"
    ).ljust(1024)  # fmt: skip
    record = np.dtype(
        [
            ("kind", "u1"), ("time", "<i8"), ("soft", "<i8"), ("source", "<u2"), ("n_channel", "<u2"),
            ("n_sample", "<u2"), ("unit", "<u2"), ("electrode", "<u2"), ("channel", "<u2"), ("rgb", "u1", 3),
            ("pca", "<f4", 2), ("rate", "<u2"), ("samples", "<u2", 4), ("gain", "<f4", 1),
            ("threshold", "<u2", 1),
            ("number", "<u2"),
        ]
    )  # fmt: skip
    data = np.zeros(len(samples), record)
    data["time"], data["n_channel"], data["n_sample"] = first + np.asarray(samples), 1, 4
    data["unit"], data["gain"] = 1, 1000.0
    (path / "SE0.spikes").write_bytes(header + data.tobytes())


def intan(path, values, version=(1, 2)):
    """An .rhd of version 1.2 with amplifier channels in blocks of 60 samples, 20 kHz, 0.195 uV per step."""
    text = lambda word: struct.pack("<I", 2 * len(word)) + word.encode("utf-16-le")  # noqa: E731
    top = (
        b"\x02\x27\x91\xc6"
        + struct.pack("<hh", *version)
        + struct.pack("<fh6fhff", 20_000.0, 0, *[0.0] * 6, 0, 0, 0)
    )
    top += text("") * 3 + struct.pack("<h", 0) + struct.pack("<h", 1)
    top += text("Port A") + text("A") + struct.pack("<hhh", 1, values.shape[1], values.shape[1])
    for i in range(values.shape[1]):
        top += (
            text(f"A-{i:03d}")
            + text(f"A-{i:03d}")
            + struct.pack("<10h2f", i, i, 0, 1, i, 0, 0, 0, 0, 0, 0.0, 0.0)
        )
    blocks = b""
    for i, block in enumerate(values.reshape(-1, 60, values.shape[1])):
        blocks += np.arange(60 * i, 60 * i + 60, dtype="<i4").tobytes()
        blocks += (block.T + 32_768).astype("<u2").tobytes()
    path.write_bytes(top + blocks)
    return path


# ---- NeuroExplorer ------------------------------------------------------------------------------------
def test_neuroexplorer(tmp_path, rng):
    signal = rng.integers(-500, 500, 300)
    recording = nt.load(nex(tmp_path / "day1.nex", signal=signal))
    assert recording.attrs["format"] == "neuroexplorer"
    spikes = recording["spikes"].to_dataset()
    assert spikes["unit"].to_numpy().tolist() == list(TRAINS)
    for train, expected in zip(spike_trains(spikes), TRAINS.values(), strict=True):
        np.testing.assert_allclose(train, expected)
    assert (spikes.attrs["t_start"], spikes.attrs["t_stop"]) == (100.0, 110.0)
    events = recording["events"].to_dataset()
    assert events["trial_type"].to_numpy().tolist() == ["reward", "lever", "reward"]
    np.testing.assert_allclose(events["onset"], [100.75, 101.0, 106.5])
    np.testing.assert_allclose(events["duration"], [0.0, 1.0, 0.0])
    voltage = recording["ephys/signal"]
    np.testing.assert_allclose(voltage[0], signal * 0.001 / 1000, rtol=1e-9)
    assert float(voltage["time"][0]) == 100.0


def test_a_signal_with_pauses_is_not_joined(tmp_path, rng):
    path = nex(tmp_path / "day1.nex", signal=rng.integers(-500, 500, 300), pauses=1)
    with pytest.raises(FileError, match="with pauses") as caught:
        nt.load(path)
    assert (caught.value.code, caught.value.where) == ("NT-DATA-004", "FP01")


# ---- SpikeGLX -----------------------------------------------------------------------------------------
def test_spikeglx(tmp_path, rng):
    values = rng.integers(-500, 500, (800, 3))
    signal = nt.load(spikeglx(tmp_path / "run_g0", values))["ephys/signal"]
    np.testing.assert_allclose(signal, values.T * 5 / 32_768, rtol=1e-6)
    assert signal.attrs["sfreq"] == 25_000.0
    assert signal["channel"].to_numpy().tolist() == ["XA0", "XA1", "XA2"]


def test_spikeglx_of_another_size_than_stated(tmp_path, rng):
    path = spikeglx(tmp_path / "run_g0", rng.integers(-500, 500, (800, 3)), stated=6000)
    with pytest.raises(FileError, match="another size") as caught:
        nt.load(path)
    assert (caught.value.found, caught.value.expected) == ("4800 bytes", "6000 bytes")
    assert nt.load(path, allow_truncated=True)["ephys/signal"].shape == (3, 800)


# ---- Open Ephys ---------------------------------------------------------------------------------------
def test_open_ephys_signals_and_spikes(tmp_path, rng):
    values = rng.integers(-500, 500, (3072, 2))
    path = open_ephys(tmp_path / "2024-05-17", values)
    open_ephys_spikes(path, [10, 500, 2000, 3071])
    recording = nt.load(path)
    signal = recording["ephys/signal"]
    np.testing.assert_allclose(signal, values.T * 0.195e-6, rtol=1e-9)
    assert float(signal["time"][0]) == 4397.0
    # neo by itself returns none of these: it takes the first stamp for seconds.
    np.testing.assert_allclose(
        spike_trains(recording["spikes"].to_dataset())[0], 4397 + np.array([10, 500, 2000, 3071]) / 1000
    )


def test_samples_lost_by_open_ephys_are_not_filled(tmp_path, rng):
    path = open_ephys(tmp_path / "gap", rng.integers(-500, 500, (4096, 2)), lose=2)
    with pytest.raises(FileError, match="fill them with zeros") as caught:
        nt.load(path)
    assert caught.value.code == "NT-DATA-004"


def test_an_open_ephys_file_cut_short(tmp_path, rng):
    path = open_ephys(tmp_path / "cut", rng.integers(-500, 500, (3072, 2)))
    file = path / "100_CH2.continuous"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(FileError, match="cut short") as caught:
        nt.load(path)
    assert caught.value.path == str(file)


@pytest.mark.parametrize("fault", ["cut", "jump"])
def test_missing_samples_of_open_ephys_binary(tmp_path, rng, fault):
    import json

    folder = tmp_path / "session" / "Record Node 101" / "experiment1" / "recording1"
    stream = folder / "continuous" / "Probe"
    stream.mkdir(parents=True)
    channel = {"channel_name": "CH1", "bit_volts": 0.195, "units": "uV"}
    entry = {
        "folder_name": "Probe/", "sample_rate": 1000.0, "stream_name": "Probe", "source_processor_id": 100,
        "source_processor_name": "P", "recorded_processor": "Record Node", "recorded_processor_id": 101,
        "num_channels": 1, "channels": [channel],
    }  # fmt: skip
    (folder / "structure.oebin").write_text(
        json.dumps({"GUI version": "0.6.4", "continuous": [entry], "events": [], "spikes": []})
    )
    numbers = np.arange(900)
    n = 800 if fault == "cut" else 900
    if fault == "jump":
        numbers[500:] += 64
    rng.integers(-500, 500, n).astype("<i2").tofile(stream / "continuous.dat")
    np.save(stream / "sample_numbers.npy", numbers)
    np.save(stream / "timestamps.npy", numbers / 1000)
    with pytest.raises(FileError, match="missing") as caught:
        nt.load(tmp_path / "session")
    assert caught.value.code == ("NT-FILE-003" if fault == "cut" else "NT-DATA-004")
    assert nt.load(tmp_path / "session", allow_truncated=True)["ephys/signal"].shape == (1, n)


# ---- Intan --------------------------------------------------------------------------------------------
def test_intan(tmp_path, rng):
    values = rng.integers(-500, 500, (240, 3))
    path = intan(tmp_path / "day1.rhd", values)
    signal = nt.load(path)["ephys/signal"]
    np.testing.assert_allclose(signal, values.T * 0.195e-6, atol=1e-15)
    assert (signal.attrs["sfreq"], signal.attrs["units"]) == (20_000.0, "V")
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(FileError):
        nt.load(path)


def test_what_readers_say_is_kept(tmp_path, rng):
    """Messages that neo logs or warns become ``reader_notes``, and do not reach the screen."""
    values = rng.integers(-500, 500, (3072, 2))
    path = open_ephys(tmp_path / "unequal", values)
    file = path / "100_CH2.continuous"
    file.write_bytes(file.read_bytes()[: 1024 + 2 * 2070])
    recording = nt.load(path)
    assert "clipping" in recording.attrs["reader_notes"]
    assert recording["ephys/signal"].shape == (2, 2048)
