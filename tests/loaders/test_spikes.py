"""Files of recording systems, written here byte by byte from their public layouts, and phy folders."""

import json
import os
import struct

import numpy as np
import pytest
import xarray as xr

import neurotools as nt
from neurotools.errors import FileError, NeurotoolsError, SchemaError
from neurotools.loaders.spikes.phy import read_params
from neurotools.provenance import open_saved

# unit -> spike times; the clock starts late, as recorders' clocks do.
TRAINS = {
    (1, 0): np.array([100.0, 100.5, 103.25]),
    (1, 1): np.array([100.125, 101.0, 102.0, 109.5]),
    (4, 2): np.array([104.0, 108.0]),
}
TTL = {100.75: 5, 106.5: 65535}


# ---- writers ----------------------------------------------------------------------------------------
def blackrock_nev(path, trains=TRAINS, ttl=TTL, order=None):
    """A .nev of specification 2.3 with spikes and digital input, 30 kHz."""
    packet = 104
    rows = [(t, struct.pack("<HBB", channel, unit, 0)) for (channel, unit), ts in trains.items() for t in ts]
    rows += [(t, struct.pack("<HBBH", 0, 1, 0, value)) for t, value in ttl.items()]
    rows.sort(key=lambda row: row[0])
    rows = rows if order is None else [rows[i] for i in order(len(rows))]
    channels = sorted({channel for channel, _ in trains})
    extended = b"".join(
        struct.pack("<8sHBBHHhhBBH8s", b"NEUEVWAV", c, 1, c, 250, 0, 100, -100, 0, 2, 48, b"")
        + struct.pack("<8sH16s6s", b"NEUEVLBL", c, f"elec{c}".encode(), b"")
        for c in channels
    )
    basic = struct.pack(
        "<8sBBHIIII8H32s256sI", b"NEURALEV", 2, 3, 1, 336 + len(extended), packet, 30_000, 30_000,
        2024, 5, 3, 17, 12, 30, 0, 0, b"test", b"", 2 * len(channels),
    )  # fmt: skip
    data = b"".join(struct.pack("<I", round(t * 30_000)) + rest.ljust(packet - 4, b"\0") for t, rest in rows)
    path.write_bytes(basic + extended + data)
    return path


def blackrock_nsx(path, values, starts=(100.0,), period=30):
    """A .ns2 of specification 2.3: one block of int16 samples per start, 1 kHz, 0.25 uV per step."""
    n_channel = values[0].shape[1]
    extended = b"".join(
        struct.pack(
            "<2sH16sBBhhhh16sIIHIIH", b"CC", c + 1, f"lfp{c + 1}".encode(), 1, 1, -32000, 32000, -8000, 8000,
            b"uV", 0, 0, 0, 0, 0, 0,
        )
        for c in range(n_channel)
    )  # fmt: skip
    basic = struct.pack(
        "<8sBBI16s256sII8HI", b"NEURALCD", 2, 3, 314 + len(extended), b"1 kS/s", b"", period, 30_000,
        2024, 5, 3, 17, 12, 30, 0, 0, n_channel,
    )  # fmt: skip
    blocks = b"".join(
        struct.pack("<BII", 1, round(start * 30_000), len(block)) + block.astype("<i2").tobytes()
        for start, block in zip(starts, values, strict=True)
    )
    path.write_bytes(basic + extended + blocks)
    return path


def nlx_header(kind, channel="-ADChannel 3\r\n", extra=""):
    text = (
        f"######## Neuralynx Data File Header\r\n-FileType {kind}\r\n-FileVersion 3.4\r\n"
        f"-AcqEntName TT3\r\n{channel}-SamplingFrequency 32000\r\n"
        '-ADBitVolts 0.0000000305\r\n-InputRange 1000\r\n-ApplicationName Cheetah "6.4.1"\r\n'
        "-TimeCreated 2024/05/17 12:30:00\r\n-TimeClosed 2024/05/17 12:40:00\r\n" + extra
    )
    return text.encode("latin-1").ljust(16_384, b"\0")


def neuralynx_nse(path, trains=TRAINS, order=None):
    """Single-electrode spikes: 112-byte records with microsecond stamps."""
    record = np.dtype(
        [("time", "<u8"), ("channel", "<u4"), ("unit", "<u4"), ("feature", "<i4", 8), ("samples", "<i2", 32)]
    )
    rows = sorted((t, unit) for (_, unit), ts in trains.items() for t in ts)
    rows = rows if order is None else [rows[i] for i in order(len(rows))]
    data = np.zeros(len(rows), record)
    data["time"] = [round(t * 1e6) for t, _ in rows]
    data["unit"] = [unit for _, unit in rows]
    path.write_bytes(nlx_header("Spike", extra="-WaveformLength 32\r\n") + data.tobytes())
    return path


def neuralynx_nev(path, ttl=TTL):
    record = np.dtype(
        [
            ("reserved", "<i2"), ("system", "<i2"), ("size", "<i2"), ("time", "<u8"), ("id", "<i2"),
            ("ttl", "<i2"), ("crc", "<i2"), ("dummy", "<i2", 2), ("extra", "<i4", 8), ("text", "S128"),
        ]
    )  # fmt: skip
    data = np.zeros(len(ttl), record)
    data["time"] = [round(t * 1e6) for t in ttl]
    data["ttl"] = [value % 30_000 for value in ttl.values()]
    data["text"] = [f"TTL {value}".encode() for value in ttl.values()]
    path.write_bytes(nlx_header("Event", channel="") + data.tobytes())
    return path


def plexon(path, trains=TRAINS, *, ttl=TTL, signal=None, order=None):
    """A .plx of version 106 with spikes (40 kHz), strobed events and one slow channel at 1 kHz."""
    channels = sorted({channel for channel, _ in trains})
    counts = np.zeros((130, 5), "<i4")
    for (channel, unit), ts in trains.items():
        counts[channel, unit] = len(ts)
    header = _plexon_header(len(channels), signal is not None)
    header += counts.tobytes() + bytes(4 * 650) + bytes(4 * 512)
    for c in channels:
        header += _fixed(
            {0: f"sig{c:03d}".encode(), 64: struct.pack("<8i", c, 40_000, 1, 0, 1000, 0, 0, 0)}, 1020
        )
    header += _fixed({0: b"Strobed", 32: struct.pack("<i", 257)}, 296)
    if signal is not None:
        header += _fixed({0: b"FP01", 32: struct.pack("<6i", 0, 1000, 100, 1, 1000, 0)}, 296)
    rows = [(t, struct.pack("<HHHH", c, u, 0, 0), 1) for (c, u), ts in trains.items() for t in ts]
    rows += [(t, struct.pack("<HHHH", 257, value, 0, 0), 4) for t, value in ttl.items()]
    body = b""
    rows.sort()
    for t, rest, kind in rows if order is None else [rows[i] for i in order(len(rows))]:
        body += _stamp(kind, t) + rest
    if signal is not None:
        for start in range(0, len(signal), 50):
            part = signal[start : start + 50].astype("<i2")
            body += _stamp(5, start / 1000) + struct.pack("<HHHH", 0, 0, 1, len(part)) + part.tobytes()
    path.write_bytes(header + body)
    return path


def _stamp(kind, seconds):
    ticks = round(seconds * 40_000)
    return struct.pack("<HHI", kind, ticks >> 32, ticks & 0xFFFFFFFF)


def _fixed(fields, size):
    block = bytearray(size)
    for at, content in fields.items():
        block[at : at + len(content)] = content
    return bytes(block)


def _plexon_header(n_channels, with_signal):
    numbers = struct.pack("<6i", 40_000, n_channels, 1, int(with_signal), 32, 8)
    date = struct.pack("<6i", 2024, 5, 17, 12, 30, 0)
    tail = struct.pack("<iid4B3H", 0, 40_000, 0.0, 1, 1, 12, 12, 3000, 5000, 1000)
    head = b"PLEX" + struct.pack("<i", 106) + b"test".ljust(128, b"\0") + numbers + date + tail
    return head.ljust(256, b"\0")


def open_ephys_binary(path, values, start=4397.0):
    """Record Node / experiment / recording with one continuous stream and its time stamps."""
    folder = path / "Record Node 101" / "experiment1" / "recording1"
    stream = folder / "continuous" / "Probe"
    stream.mkdir(parents=True)
    channels = [
        {"channel_name": f"CH{c + 1}", "description": "", "identifier": "", "history": "", "bit_volts": 0.195,
         "units": "uV"} for c in range(values.shape[1])
    ]  # fmt: skip
    (folder / "structure.oebin").write_text(
        json.dumps(
            {
                "GUI version": "0.6.4",
                "continuous": [
                    {
                        "folder_name": "Probe/", "sample_rate": 1000.0, "stream_name": "Probe",
                        "source_processor_id": 100, "source_processor_name": "P",
                        "recorded_processor": "Record Node", "recorded_processor_id": 101,
                        "num_channels": len(channels), "channels": channels,
                    }
                ],
                "events": [],
                "spikes": [],
            }
        )
    )  # fmt: skip
    values.astype("<i2").tofile(stream / "continuous.dat")
    np.save(stream / "sample_numbers.npy", np.arange(len(values)) + round(start * 1000))
    np.save(stream / "timestamps.npy", start + np.arange(len(values)) / 1000)
    return path


def trains_of(recording):
    from neurotools.schema import spike_trains

    spikes = recording["spikes"].to_dataset()
    return dict(zip(spikes["unit"].to_numpy().tolist(), spike_trains(spikes), strict=True))


# ---- Blackrock ----------------------------------------------------------------------------------------
def test_blackrock_spikes_and_events(tmp_path):
    recording = nt.load(blackrock_nev(tmp_path / "day1.nev"))
    assert recording.attrs["format"] == "blackrock"
    found = trains_of(recording)
    assert list(found) == ["ch1#0", "ch1#1", "ch4#2"]
    for times, expected in zip(found.values(), TRAINS.values(), strict=True):
        np.testing.assert_allclose(times, expected, atol=1 / 60_000)
    spikes = recording["spikes"]
    assert list(spikes["channel"].to_numpy()) == ["1", "1", "4"]
    assert list(spikes["quality"].to_numpy()) == ["unclassified", "sorted", "sorted"]
    assert spikes.attrs["t_start"] == pytest.approx(100.0)  # the clock is not moved to zero
    events = recording["events"]
    np.testing.assert_allclose(events["onset"], list(TTL), atol=1 / 60_000)
    assert list(events["trial_type"].to_numpy()) == ["5", "65535"]
    assert set(events["source"].to_numpy()) == {"digital_input_port"}


def test_blackrock_signals_in_volts(tmp_path, rng):
    values = rng.integers(-500, 500, (3000, 2))
    blackrock_nev(tmp_path / "day1.nev")
    blackrock_nsx(tmp_path / "day1.ns2", [values])
    for name in ("day1.nev", "day1.ns2"):  # either file opens the set
        recording = nt.load(tmp_path / name)
        signal = recording["ephys/signal"]
        assert signal.dims == ("channel", "time")
        assert signal.attrs["units"] == "V"
        np.testing.assert_allclose(signal, values.T * 0.25e-6, rtol=1e-12)
        assert signal.attrs["sfreq"] == 1000.0
        assert signal["time"].to_numpy()[0] == pytest.approx(100.0)
        assert list(signal["channel"].to_numpy()) == ["lfp1", "lfp2"]
        assert recording["spikes"].sizes["spike"] == 9

    assert nt.load(tmp_path / "day1.ns2", kind="ecog")["ecog/signal"].shape == (2, 3000)


def test_a_pause_makes_sessions_and_nothing_crosses_it(tmp_path, rng):
    values = [rng.integers(-500, 500, (2000, 2)), rng.integers(-500, 500, (1000, 2))]
    blackrock_nsx(tmp_path / "day1.ns2", values, starts=(100.0, 107.0))
    signal = nt.load(tmp_path / "day1.ns2")["ephys/signal"]
    assert signal.shape == (2, 3000)
    np.testing.assert_array_equal(signal["session"], np.repeat([0, 1], [2000, 1000]))
    np.testing.assert_allclose(signal["time"][[0, 1999, 2000]], [100.0, 101.999, 107.0])
    np.testing.assert_allclose(signal, np.concatenate(values).T * 0.25e-6, rtol=1e-12)


def test_large_signals_stay_on_disk_and_read_the_same(tmp_path, rng, monkeypatch):
    values = [rng.integers(-500, 500, (700, 3)), rng.integers(-500, 500, (300, 3))]
    blackrock_nsx(tmp_path / "day1.ns2", values, starts=(100.0, 107.0))
    whole = nt.load(tmp_path / "day1.ns2")["ephys/signal"]
    monkeypatch.setattr("neurotools.loaders.spikes.neo_nodes.LAZY_BYTES", 100)
    lazy = nt.load(tmp_path / "day1.ns2")["ephys/signal"]
    assert not isinstance(lazy.variable._data, np.ndarray)
    for part in (
        (slice(None), slice(None)), (0, slice(5, 900)), (slice(1, 3), slice(690, 710)), (2, 701),
        (slice(None), -1),
        (slice(None, None, -1), slice(None, None, -7)), ([2, 0], [5, 800, 3]), (slice(0, 0), slice(3, 3)),
    ):  # fmt: skip
        np.testing.assert_array_equal(lazy[part], whole[part])


def test_blackrock_cut_short(tmp_path):
    whole = blackrock_nev(tmp_path / "day1.nev").read_bytes()
    (tmp_path / "day1.nev").write_bytes(whole[:-50])
    with pytest.raises(FileError, match="cut short") as caught:
        nt.load(tmp_path / "day1.nev")
    assert caught.value.code == "NT-FILE-003"
    assert f"{len(whole) - 50} bytes" in caught.value.found
    assert nt.load(tmp_path / "day1.nev", allow_truncated=True)["spikes"].sizes["spike"] == 8
    for n in (10, 200, 340, 400):  # inside the headers, where neo raises a bare IndexError and others
        (tmp_path / "day1.nev").write_bytes(whole[:n])
        with pytest.raises(FileError) as caught:
            nt.load(tmp_path / "day1.nev")
        assert caught.value.path.endswith("day1.nev")


def test_blackrock_signals_cut_short(tmp_path, rng):
    whole = blackrock_nsx(tmp_path / "day1.ns2", [rng.integers(-500, 500, (3000, 2))]).read_bytes()
    (tmp_path / "day1.ns2").write_bytes(whole[:-400])
    with pytest.raises(FileError):
        nt.load(tmp_path / "day1.ns2")


def backwards(n):
    return range(n - 1, -1, -1)


def swapped(n):
    return [1, 0, *range(2, n)]


def test_spikes_out_of_order_are_sorted_and_noted(tmp_path):
    trains = {(1, 0): np.array([100.0, 100.5, 103.25]), (4, 2): np.array([104.0, 108.0])}
    for path, n_sorted in (
        (blackrock_nev(tmp_path / "day1.nev", trains, order=swapped), 1),
        (neuralynx_nse(tmp_path / "TT3.nse", trains, order=backwards), 2),
        (plexon(tmp_path / "day1.plx", trains, order=backwards), 2),
    ):
        recording = nt.load(path)
        assert recording["spikes"].attrs["n_units_sorted"] == n_sorted
        for times, expected in zip(trains_of(recording).values(), trains.values(), strict=True):
            np.testing.assert_allclose(times, expected, atol=1 / 60_000)


def test_a_clock_that_begins_anew_is_asked_about(tmp_path):
    path = blackrock_nev(tmp_path / "day1.nev", order=lambda n: [*range(n // 2, n), *range(n // 2)])
    with pytest.raises(FileError, match="do not follow each other") as caught:
        nt.load(path)
    assert caught.value.code == "NT-FILE-006"
    first = nt.load(path, array="0/0")["spikes"]
    second = nt.load(path, array="0/1")["spikes"]
    assert first.sizes["spike"] + second.sizes["spike"] == 9
    with pytest.raises(FileError, match="no such segment"):
        nt.load(path, array="0/7")
    with pytest.raises(FileError, match="by their numbers"):
        nt.load(path, array="last")


def test_spikes_of_channels_without_a_header_are_missed(tmp_path):
    """neo drops spikes of channels that the extended header does not list; the count of packets tells."""
    path = blackrock_nev(tmp_path / "day1.nev")
    content = bytearray(path.read_bytes())
    at = content.index(b"NEUEVWAV", 336 + 64)
    content[at + 8 : at + 10] = struct.pack("<H", 9)
    path.write_bytes(bytes(content))
    with pytest.raises(FileError, match="counts more spikes") as caught:
        nt.load(path)
    assert caught.value.found == "7 spikes"
    assert caught.value.expected == "9"


# ---- told by content ----------------------------------------------------------------------------------
@pytest.mark.parametrize("suffix", [".nev", ".plx", ".nse", ".ntt", ".rhd", ".ns5", ".smr", ".abf", ".nex"])
def test_junk_with_a_known_suffix_is_refused_by_its_content(tmp_path, suffix):
    path = tmp_path / f"junk{suffix}"
    path.write_bytes(np.random.default_rng(0).bytes(4096))
    with pytest.raises(FileError, match="no format that neurotools reads") as caught:
        nt.load(path)
    assert caught.value.code == "NT-FILE-002"
    assert suffix in caught.value.found


def test_a_suffix_that_neo_needs_is_asked_for(tmp_path):
    path = blackrock_nev(tmp_path / "day1.nev").rename(tmp_path / "day1.bin")
    with pytest.raises(FileError, match="lacks its suffix") as caught:
        nt.load(path)
    assert ".nev" in caught.value.expected


# ---- Neuralynx ----------------------------------------------------------------------------------------
def test_neuralynx_keeps_every_spike_and_its_own_clock(tmp_path):
    recording = nt.load(neuralynx_nse(tmp_path / "TT3.nse"))
    for times, expected in zip(trains_of(recording).values(), TRAINS.values(), strict=True):
        np.testing.assert_allclose(times, expected, atol=1e-6)
    assert recording["spikes"].attrs["t_start"] == pytest.approx(100.0)


def test_neuralynx_loses_no_spike_to_rounding(tmp_path, rng):
    """neo cuts at limits in seconds that it turns back into microseconds, rounding down."""
    times = np.sort(rng.integers(10**8, 10**12, 500)) / 1e6
    for n in range(2, 60):
        recording = nt.load(neuralynx_nse(tmp_path / "TT3.nse", {(3, 1): times[:n]}))
        assert recording["spikes"].sizes["spike"] == n


def test_a_neuralynx_folder_with_events(tmp_path):
    folder = tmp_path / "2024-05-17"
    folder.mkdir()
    neuralynx_nse(folder / "TT3.nse")
    neuralynx_nev(folder / "Events.nev")
    recording = nt.load(folder)
    assert recording.attrs["format"] == "neuralynx-spikes"
    np.testing.assert_allclose(recording["events/onset"], list(TTL), atol=1e-6)
    assert list(recording["events/trial_type"].to_numpy()) == ["TTL 5", "TTL 65535"]
    assert recording["spikes"].sizes["spike"] == 9
    # The same name, .nev, is another system's by content.
    assert nt.load(folder / "Events.nev")["events"].sizes["event"] == 2


def test_neuralynx_cut_short(tmp_path):
    path = neuralynx_nse(tmp_path / "TT3.nse")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(FileError, match="cut short") as caught:
        nt.load(path)
    assert caught.value.code == "NT-FILE-003"


# ---- Plexon -------------------------------------------------------------------------------------------
def test_plexon_spikes_and_events(tmp_path):
    recording = nt.load(plexon(tmp_path / "day1.plx"))
    found = trains_of(recording)
    for times, expected in zip(found.values(), TRAINS.values(), strict=True):
        np.testing.assert_allclose(times, expected, atol=1 / 80_000)
    np.testing.assert_allclose(recording["events/onset"], list(TTL), atol=1 / 80_000)
    assert list(recording["events/trial_type"].to_numpy()) == ["5", "65535"]


def test_plexon_cut_short_is_told_by_the_counts_of_its_header(tmp_path):
    path = plexon(tmp_path / "day1.plx", ttl={})
    path.write_bytes(path.read_bytes()[: -2 * 16])
    with pytest.raises(FileError, match="counts more spikes") as caught:
        nt.load(path)
    assert (caught.value.found, caught.value.expected) == ("7 spikes", "9")
    assert nt.load(path, allow_truncated=True)["spikes"].sizes["spike"] == 7


def test_plexon_signals(tmp_path, rng):
    values = rng.integers(-500, 500, 220)
    recording = nt.load(plexon(tmp_path / "day1.plx", signal=values))
    signal = recording["ephys/signal"]
    assert signal.shape == (1, 220)
    # 5000 mV full scale over 2^11 steps, gains 100 and 1000
    np.testing.assert_allclose(signal[0], values * 5000 / (2**11 * 100 * 1000) / 1000, rtol=1e-9)
    assert signal.attrs["units"] == "V"


# ---- Open Ephys ---------------------------------------------------------------------------------------
def test_open_ephys_binary(tmp_path, rng):
    values = rng.integers(-500, 500, (900, 4))
    recording = nt.load(open_ephys_binary(tmp_path / "session", values))
    signal = recording["ephys/signal"]
    np.testing.assert_allclose(signal, values.T * 0.195e-6, rtol=1e-12)
    assert signal["time"].to_numpy()[0] == pytest.approx(4397.0)
    assert list(signal["channel"].to_numpy()) == ["CH1", "CH2", "CH3", "CH4"]


# ---- phy ----------------------------------------------------------------------------------------------
def phy_folder(path, rng, *, params="sample_rate = 30000.\ndat_path = 'raw.dat'\nn_channels_dat = 2\n"):
    path.mkdir()
    times = np.sort(rng.integers(0, 30_000 * 20, 1000)).astype("uint64")
    clusters = rng.choice([2, 3, 7, 11], 1000).astype("int32")
    np.save(path / "spike_times.npy", times)
    np.save(path / "spike_clusters.npy", clusters)
    np.save(path / "amplitudes.npy", rng.normal(size=1000))
    (path / "params.py").write_text(params)
    (path / "cluster_group.tsv").write_text("cluster_id\tgroup\n2\tgood\n3\tmua\n7\tnoise\n")
    (path / "cluster_info.tsv").write_text(
        "cluster_id\tamp\tch\tdepth\tgroup\tKSLabel\n2\t31.5\t14\t140.0\tgood\tgood\n"
        "3\t12.0\t3\t30.0\tmua\tmua\n7\t9.5\t3\t30.0\tnoise\tmua\n11\t8.0\t0\t0.0\t\tmua\n"
    )
    return path, times, clusters


def test_phy_folder(tmp_path, rng):
    path, times, clusters = phy_folder(tmp_path / "sorted", rng)
    recording = nt.load(path)
    assert recording.attrs["format"] == "phy"
    assert recording.attrs["not_read"] == "amplitudes.npy"
    for unit, train in trains_of(recording).items():
        np.testing.assert_array_equal(train, times[clusters == unit] / 30_000)
    spikes = recording["spikes"]
    assert list(spikes["unit"].to_numpy()) == [2, 3, 7, 11]
    assert list(spikes["quality"].to_numpy()) == ["good", "mua", "noise", ""]
    assert list(spikes["channel"].to_numpy()) == [14, 3, 3, 0]
    assert list(spikes["kilosort_label"].to_numpy()) == ["good", "mua", "mua", "mua"]
    assert spikes.attrs["t_stop_from"] == "last spike"
    np.zeros((30_000 * 25, 2), "int16").tofile(path / "raw.dat")
    assert nt.load(path)["spikes"].attrs["t_stop"] == 25.0


def test_params_py_is_never_run(tmp_path, rng, monkeypatch):
    monkeypatch.chdir(tmp_path)
    payload = (
        "import os\nos.system('touch RAN')\nopen('RAN2', 'w')\n"
        "sample_rate = [__import__('os').system('touch RAN3'), 1][1]\n"
        "hop = (lambda: open('RAN4', 'w'))()\nsample_rate = 25000.0\ndat_path = r'D:\\data\\raw.dat'\n"
        'n = -3\nname = f\'{open("RAN5", "w")}\'\n'
    )
    path, times, _ = phy_folder(tmp_path / "sorted", rng, params=payload)
    recording = nt.load(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["sorted"]
    assert recording["spikes"].attrs["sfreq"] == 25_000.0
    assert float(recording["spikes/spike_time"].max()) == times.max() / 25_000
    assert read_params(path / "params.py") == {
        "sample_rate": 25_000.0, "dat_path": "D:\\data\\raw.dat", "n": -3
    }  # fmt: skip


@pytest.mark.parametrize(
    "params", ["", "sample_rate = None\n", "sample_rate = 'fast'\n", "sample_rate = -1\n"]
)
def test_phy_without_a_rate_asks_for_it(tmp_path, rng, params):
    path, _, _ = phy_folder(tmp_path / "sorted", rng, params=params)
    with pytest.raises(FileError, match="sfreq") as caught:
        nt.load(path)
    assert caught.value.code == "NT-FILE-006"
    assert nt.load(path, sfreq=30_000)["spikes"].sizes["spike"] == 1000


def test_phy_faults_are_named(tmp_path, rng):
    path, times, clusters = phy_folder(tmp_path / "sorted", rng)
    np.save(path / "spike_clusters.npy", clusters[:-1])
    with pytest.raises(SchemaError, match="differ in number") as caught:
        nt.load(path)
    assert caught.value.code == "NT-DATA-005"
    np.save(path / "spike_clusters.npy", clusters)
    np.save(path / "spike_times.npy", times[::-1])
    with pytest.raises(SchemaError, match="not in order") as caught:
        nt.load(path)
    assert "unit 2" in caught.value.where
    back = nt.load(path, sort=True)
    assert back["spikes"].attrs["n_units_sorted"] == 4
    assert list(back["spikes/row_size"].to_numpy()) == [(clusters == u).sum() for u in (2, 3, 7, 11)]
    (path / "params.py").write_text("sample_rate = = 3\n")
    with pytest.raises(FileError, match=r"params\.py"):
        nt.load(path)
    (path / "params.py").write_text("sample_rate = 30000\n")
    np.save(path / "spike_times.npy", np.array([object()], dtype=object), allow_pickle=True)
    with pytest.raises(FileError) as caught:
        nt.load(path)
    assert caught.value.code == "NT-FILE-007"


def test_negative_samples_are_counted_per_unit(tmp_path, rng):
    path, times, clusters = phy_folder(tmp_path / "sorted", rng)
    wrong = times.astype("int64")
    wrong[:3] = -5
    np.save(path / "spike_times.npy", np.sort(wrong))
    with pytest.raises(SchemaError, match="3 are negative") as caught:
        nt.load(path)
    assert "3 of 1000 spikes" in caught.value.found
    assert all(f"unit {u}" in caught.value.where for u in np.unique(clusters[:3]))


# ---- saving -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_what_loads_survives_the_disk(tmp_path, rng, suffix):
    blackrock_nev(tmp_path / "day1.nev")
    blackrock_nsx(tmp_path / "day1.ns2", [rng.integers(-500, 500, (300, 2))])
    for source in (tmp_path / "day1.nev", phy_folder(tmp_path / "sorted", rng)[0]):
        recording = nt.load(source)
        nt.save(recording, tmp_path / f"saved{suffix}")
        xr.testing.assert_identical(open_saved(tmp_path / f"saved{suffix}"), recording)


# ---- damage -------------------------------------------------------------------------------------------
def test_damaged_files_end_in_a_reading_or_a_named_error(tmp_path, damaged):
    """Flipped bytes and cuts in small files of each system: never another exception, never a hang."""
    rng = np.random.default_rng(7)
    values = rng.integers(-500, 500, (60, 2))
    makers = [
        (lambda p: blackrock_nev(p / "day1.nev"), "day1.nev"),
        (lambda p: blackrock_nsx(p / "day1.ns2", [values]), "day1.ns2"),
        (lambda p: neuralynx_nse(p / "TT3.nse"), "TT3.nse"),
        (lambda p: plexon(p / "day1.plx", signal=values[:, 0]), "day1.plx"),
    ]
    for i, (make, name) in enumerate(makers):
        folder = tmp_path / str(i)
        folder.mkdir()
        damaged(make(folder).read_bytes(), folder / name, n=60, seed=i)
    path, _, _ = phy_folder(tmp_path / "sorted", rng)
    for name in ("spike_times.npy", "spike_clusters.npy", "params.py", "cluster_info.tsv"):
        damaged((path / name).read_bytes(), path / name, n=25, seed=len(name), load=path)
    assert not os.path.exists("RAN")
    assert issubclass(FileError, NeurotoolsError)
