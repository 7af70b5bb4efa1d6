"""Large EEG files stay on disk: what is asked for is read, and memory is bounded by it."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

import neurotools as nt
from neurotools import provenance
from neurotools.errors import FileError
from neurotools.loaders.eeg import mne_samples
from neurotools.loaders.reading.disk import on_disk
from neurotools.schema import events_table

CHANNELS, RATE, RECORDS = 64, 500, 800  # 51 MB of int16 on disk, 205 MB of float64
FACTOR = 4  # the promise: peak memory is at most this many times the chunk, over what is loaded anyway


def write_edf(path, channels=CHANNELS, rate=RATE, records=RECORDS):
    fields = {"label": 16, "transducer": 80, "unit": 8, "pmin": 8, "pmax": 8, "dmin": 8, "dmax": 8,
              "filter": 80, "samples": 8, "reserved": 32}  # fmt: skip
    row = {
        "unit": "uV",
        "pmin": "-3276.8",
        "pmax": "3276.7",
        "dmin": "-32768",
        "dmax": "32767",
        "samples": str(rate),
    }
    head = "0".ljust(8) + "X".ljust(80) + "X".ljust(80) + "01.01.2001.02.03"
    head += (
        str(256 * (channels + 1)).ljust(8)
        + " " * 44
        + str(records).ljust(8)
        + "1".ljust(8)
        + str(channels).ljust(4)
    )
    for field, width in fields.items():
        head += "".join(
            (f"E{i}" if field == "label" else row.get(field, "")).ljust(width) for i in range(channels)
        )
    rng = np.random.default_rng(0)
    block = rng.integers(-900, 900, (channels * rate,)).astype("<i2")
    with path.open("wb") as stream:
        stream.write(head.encode())
        for k in range(records):
            stream.write((block + np.int16(k % 7)).tobytes())
    return path


MEASURE = """
import json, re, sys, time
import neurotools as nt
import numpy as np
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
small, large, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
float(nt.load(small)["eeg/signal"].isel(time=slice(0, 100)).std())  # libraries are loaded, as for any file
before = peak()
x = nt.load(large)["eeg/signal"]
n = int(seconds * x.attrs["sfreq"])
total = 0.0
for start in range(0, x.sizes["time"], n):
    total += float((x.isel(time=slice(start, start + n)).to_numpy() ** 2).sum())
chunk = n * x.sizes["channel"] * 8
print(json.dumps({"extra": peak() - before, "chunk": chunk, "whole": x.size * 8, "total": total,
                  "in_memory": isinstance(x.variable._data, np.ndarray)}))
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    write_edf(folder / "small.edf", records=2)
    return write_edf(folder / "large.edf")


def test_peak_memory_is_bounded_by_the_chunk(large):
    """Peak resident memory (VmHWM) of a fresh process that walks the file in chunks of 20 s."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, large.with_name("small.edf"), large, "20"],
        capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=200,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    assert not found["in_memory"]
    assert found["whole"] == CHANNELS * RATE * RECORDS * 8
    assert found["chunk"] == 5_120_000
    # The time axis (8 bytes a sample) and MNE's table of the file come on top of the chunks.
    assert found["extra"] <= FACTOR * found["chunk"] + 8 * 4 * RATE * RECORDS
    assert found["extra"] < found["whole"] / 4


def test_a_lazy_recording_holds_the_values_of_an_eager_one(large, monkeypatch):
    lazy = nt.load(large)["eeg/signal"]
    assert not isinstance(lazy.variable._data, np.ndarray)
    monkeypatch.setattr(mne_samples, "LAZY_BYTES", 1 << 40)
    eager = nt.load(large)["eeg/signal"]
    assert isinstance(eager.variable._data, np.ndarray)
    for pick in (
        {"time": slice(1000, 1100)}, {"time": slice(399_990, None)}, {"time": slice(10, 5000, 7)},
        {"time": slice(5000, 10, -13)}, {"channel": 3, "time": slice(0, 50)},
        {"channel": [5, 2, 2], "time": 17},
        {"channel": slice(10, 20, 3), "time": [9, 3, 100_000]}, {"channel": -1, "time": -1},
        {"time": slice(0, 0)}, {"channel": slice(2, 4), "time": slice(0, None, 10_000)},
    ):  # fmt: skip
        xr.testing.assert_identical(lazy.isel(pick).compute(), eager.isel(pick))
    assert not isinstance(lazy.variable._data, np.ndarray)  # nothing is kept


def test_a_lazy_recording_saves_and_travels(large, tmp_path, monkeypatch):
    part = large.with_name("small.edf")
    monkeypatch.setattr(mne_samples, "LAZY_BYTES", 1000)
    recording = nt.load(part)
    assert not isinstance(recording["eeg/signal"].variable._data, np.ndarray)
    monkeypatch.undo()
    eager = nt.load(part)
    for suffix in (".nc", ".zarr"):
        xr.testing.assert_identical(nt.load(nt.save(recording, tmp_path / f"a{suffix}")), eager)
    again = pickle.loads(pickle.dumps(recording["eeg/signal"]))
    np.testing.assert_array_equal(again.isel(time=slice(5, 9)), eager["eeg/signal"].isel(time=slice(5, 9)))
    chunked = recording["eeg/signal"].chunk(time=250)
    np.testing.assert_allclose(chunked.std("time").compute(), eager["eeg/signal"].std("time"), rtol=1e-12)


SAVE = """
import json, re, sys
import neurotools as nt
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
small, large, to = sys.argv[1:]
nt.load(nt.save(nt.load(small), small + to))
recording = nt.load(large)
before = peak()
again = nt.load(nt.save(recording, large + to))
print(json.dumps({"extra": peak() - before, "in_memory": again["eeg/signal"].variable._in_memory}))
"""


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_large_recording_is_saved_and_opened_part_by_part(large, suffix):
    """Peak resident memory of a fresh process that saves 205 MB and opens what it wrote."""
    done = subprocess.run(
        [sys.executable, "-c", SAVE, large.with_name("small.edf"), large, suffix],
        capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=200,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    assert not found["in_memory"]
    assert found["extra"] <= FACTOR * provenance.PART_BYTES
    saved, recording = nt.load(large.with_name(large.name + suffix)), nt.load(large)
    xr.testing.assert_identical(saved.isel(time=slice(0, 50)), recording.isel(time=slice(0, 50)))
    for stretch in (slice(32_700, 32_800), slice(-50, None)):  # across the edge of two parts, and the end
        xr.testing.assert_identical(
            saved["eeg/signal"].isel(time=stretch).compute(),
            recording["eeg/signal"].isel(time=stretch).compute(),
        )


HASH = """
import json, re, sys
import neurotools as nt
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
small, large = sys.argv[1:]
nt.content_hash(nt.load(small))
recording = nt.load(large)
before = peak()
found = nt.content_hash(recording)
print(json.dumps({"extra": peak() - before, "hash": found}))
"""


def test_a_large_recording_is_hashed_part_by_part(large):
    """Peak resident memory of a fresh process that hashes 205 MB; the hash is that of values in memory."""
    done = subprocess.run(
        [sys.executable, "-c", HASH, large.with_name("small.edf"), large],
        capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=200,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["extra"] <= 3 * provenance.HASH_BYTES
    assert found["extra"] < CHANNELS * RATE * RECORDS * 8 / 2
    assert found["hash"] == nt.content_hash(nt.load(large).load())


@pytest.mark.parametrize("part", [8, 24, 100, 1000])
def test_a_hash_does_not_depend_on_its_parts(tmp_path, monkeypatch, part):
    monkeypatch.setattr(provenance, "HASH_BYTES", part)
    rng = np.random.default_rng(0)
    for shape, dtype in (
        ((3, 41, 4), "f8"),
        ((7, 5), "i2"),
        ((40,), "f4"),
        ((2, 3, 4, 5), "u1"),
        ((3, 0), "f8"),
    ):
        values = rng.integers(100, size=shape).astype(dtype)
        lazy = xr.Variable(
            [f"d{i}" for i in range(len(shape))], on_disk(values.__getitem__, shape, dtype, tmp_path)
        )
        eager = xr.Variable(lazy.dims, values)
        assert not lazy._in_memory
        assert nt.content_hash(xr.Dataset({"x": lazy})) == nt.content_hash(xr.Dataset({"x": eager}))
        assert not lazy._in_memory


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_parts_of_every_kind_of_array_come_back_identical(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(provenance, "PART_BYTES", 100)
    rng = np.random.default_rng(0)
    values = {
        "a": (("trial", "time", "row"), rng.normal(size=(3, 41, 4))),
        "b": (("row", "time"), rng.integers(9, size=(4, 41))),
        "c": (("row", "other"), rng.normal(size=(4, 30)).astype("float32")),
        "short": (("row",), np.arange(4)),
    }
    attrs = {"units": "V", "list": np.arange(3)}
    arrays = {
        name: xr.Variable(dims, on_disk(x.__getitem__, x.shape, x.dtype, tmp_path), attrs)
        for name, (dims, x) in values.items()
    }
    lazy = xr.Dataset(arrays, {"time": np.arange(41) / 10, "place": ("row", list("wxyz"))})
    assert not lazy["b"].variable._in_memory
    for saved in (lazy, xr.DataTree.from_dict({"/node": lazy, "/empty": xr.Dataset()})):
        opened = provenance.open_saved(nt.save(saved, tmp_path / f"x{suffix}"))
        assert opened.identical(saved)
        assert nt.content_hash(opened) == nt.content_hash(saved)
    assert not lazy["b"].variable._in_memory  # what was given is left as it was


def test_epochs_of_a_lazy_recording_read_only_what_they_need(large, monkeypatch):
    x = nt.load(large)["eeg/signal"]
    read = []
    stretch = mne_samples._stretch
    monkeypatch.setattr(
        mne_samples, "_stretch", lambda raw, picks, span: read.append(len(span)) or stretch(raw, picks, span)
    )
    y = nt.epochs(x, events_table([100.0, 300.0]), tmin=-0.5, tmax=0.5)
    assert y.shape == (2, CHANNELS, 501)
    assert sum(read) < 2000


def test_a_file_that_shrinks_after_opening_is_an_error(large, tmp_path, monkeypatch):
    monkeypatch.setattr(mne_samples, "LAZY_BYTES", 1000)
    path = tmp_path / "gone.edf"
    path.write_bytes(large.with_name("small.edf").read_bytes())
    x = nt.load(path)["eeg/signal"]
    path.unlink()
    with pytest.raises(FileError, match="a part of the recording"):
        x.isel(time=slice(0, 10)).to_numpy()
