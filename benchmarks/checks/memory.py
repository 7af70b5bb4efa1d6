"""Peak memory of readers that do not take a whole file, beside the libraries that do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.record import Row
from neurotools.loaders.fmri.nifti import BLOCK_BYTES

CHANNELS, RATE = 64, 500
CHUNKS_S = (20, 200)
LENGTHS_S = (1000, 4000)
GRID, REGION = (64, 64, 36), 800
MIB = 2**20

# Peak resident memory (VmHWM) of a fresh process, beyond what it took once a small file had been read.
MEASURE = """
import re, sys, warnings
warnings.simplefilter("ignore")
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
{prepare}
read(sys.argv[1])
before = peak()
read(sys.argv[2])
print(peak() - before)
"""
OPEN_EEG = """
import neurotools as nt
def read(path):
    return nt.load(path)["eeg/signal"]
"""
WALK_EEG = """
import neurotools as nt
def read(path):
    x = nt.load(path)["eeg/signal"]
    n = int(sys.argv[3])
    return sum(float((x[:, k : k + n].to_numpy() ** 2).sum()) for k in range(0, x.sizes["time"], n))
"""
SAVE_EEG = """
import neurotools as nt
def read(path):
    return nt.save(nt.load(path), path + sys.argv[3])
"""
MNE_EEG = """
import mne
def read(path):
    return mne.io.read_raw_edf(path, preload=True, verbose="ERROR")
"""
OURS_FMRI = """
import neurotools as nt
def read(path):
    return nt.load(path, labels=sys.argv[3])["fmri/bold"]
"""
NILEARN_FMRI = """
from nilearn.maskers import NiftiLabelsMasker
def read(path):
    return NiftiLabelsMasker(sys.argv[3], standardize=None).fit_transform(path)
"""


def readers() -> list[Row]:
    """Files of two lengths each, so that growth with the file shows."""
    with tempfile.TemporaryDirectory() as folder:
        return [*eeg_rows(Path(folder)), *fmri_rows(Path(folder))]


def eeg_rows(folder: Path) -> list[Row]:
    """EDF of 64 channels at 500 Hz; a chunk is that of float64 samples.

    Opening takes memory for the time axis, which is made whole; walking takes it for the chunks and for the
    axis that is left. The peak is the larger of the two.
    """
    rows, small = [], write_edf(folder / "small.edf", 2)
    for seconds in LENGTHS_S:
        path = write_edf(folder / f"{seconds}.edf", seconds)
        n_samples = seconds * RATE
        whole = f"the file as float64 takes {8 * n_samples * CHANNELS / MIB:.0f} MiB"
        opening = extra(OPEN_EEG, small, path)
        each = f"{opening / n_samples:.0f} bytes a sample; the axis itself is 8; {whole}"
        rows.append(Row(f"EDF of {seconds} s, opened", opening / MIB, unit="MiB", note=each))
        for chunk_s in CHUNKS_S:
            chunk, taken = chunk_s * RATE * CHANNELS * 8, extra(WALK_EEG, small, path, str(chunk_s * RATE))
            words, note = f"EDF of {seconds} s, by chunks of {chunk_s} s", f"{taken / chunk:.1f} chunks"
            rows.append(Row(words, taken / MIB, unit="MiB", note=note))
        taken = extra(MNE_EEG, small, path)
        rows.append(Row(f"EDF of {seconds} s, MNE with preload", taken / MIB, unit="MiB"))
        if seconds == LENGTHS_S[0]:
            for suffix in (".nc", ".zarr"):
                taken = extra(SAVE_EEG, small, path, suffix)
                rows.append(Row(f"EDF of {seconds} s, saved as {suffix}", taken / MIB, unit="MiB"))
        path.unlink()
    return rows


def fmri_rows(folder: Path) -> list[Row]:
    """NIfTI of 64 x 64 x 36 int16 voxels averaged in 184 regions; the chunk is a block of volumes."""
    rows = []
    atlas, small = write_atlas(folder / "atlas.nii"), write_nifti(folder / "small.nii", 2)
    for n_volumes in (250, 1000):
        path = write_nifti(folder / f"{n_volumes}.nii", n_volumes)
        taken = {
            name: extra(code, small, path, atlas)
            for name, code in (("ours", OURS_FMRI), ("nilearn", NILEARN_FMRI))
        }
        blocks = taken["ours"] / BLOCK_BYTES
        note = f"{blocks:.1f} blocks of volumes; the file takes {path.stat().st_size / MIB:.0f} MiB"
        rows += [
            Row(f"NIfTI of {n_volumes} volumes to region means", taken["ours"] / MIB, unit="MiB", note=note),
            Row(f"NIfTI of {n_volumes} volumes, nilearn", taken["nilearn"] / MIB, unit="MiB"),
        ]  # fmt: skip
        path.unlink()
    return rows


def extra(prepare: str, *arguments: Path | str) -> int:
    """Bytes at the peak beyond those before."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE.format(prepare=prepare), *map(str, arguments)],
        capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


# ---- files, mostly holes, so that they cost little disk ---------------------------------------------------
def write_edf(path: Path, seconds: int) -> Path:
    """EDF of zeros, one record a second."""
    fields = (
        ("label", 16, None), ("transducer", 80, ""), ("unit", 8, "uV"), ("pmin", 8, "-3276.8"),
        ("pmax", 8, "3276.7"), ("dmin", 8, "-32768"), ("dmax", 8, "32767"), ("filter", 80, ""),
        ("samples", 8, str(RATE)), ("reserved", 32, ""),
    )  # fmt: skip
    head = "0".ljust(8) + "X".ljust(80) + "X".ljust(80) + "01.01.2001.02.03"
    head += str(256 * (CHANNELS + 1)).ljust(8) + " " * 44 + str(seconds).ljust(8) + "1".ljust(8)
    head += str(CHANNELS).ljust(4)
    for _, width, value in fields:
        head += "".join((f"E{i}" if value is None else value).ljust(width) for i in range(CHANNELS))
    with path.open("wb") as stream:
        stream.write(head.encode())
        stream.truncate(len(head) + 2 * RATE * CHANNELS * seconds)
    return path


def _header(shape: tuple[int, ...], dtype: str):
    import nibabel as nib

    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(dtype)
    header.set_xyzt_units("mm", "sec")
    header.set_sform(np.diag([3.0, 3.0, 4.0, 1.0]), code=1)
    header["pixdim"][1:5] = [3, 3, 4, 2]
    header["magic"], header["vox_offset"] = b"n+1", 352
    return header


def write_nifti(path: Path, n_volumes: int) -> Path:
    """Volumes of zeros."""
    with path.open("wb") as stream:
        stream.write(_header((*GRID, n_volumes), "int16").binaryblock + b"\0\0\0\0")
        stream.truncate(352 + 2 * int(np.prod(GRID)) * n_volumes)
    return path


def write_atlas(path: Path) -> Path:
    """Regions of 800 voxels each."""
    labels = (np.arange(np.prod(GRID)) // REGION + 1).astype("<i2")
    path.write_bytes(_header(GRID, "int16").binaryblock + b"\0\0\0\0" + labels.tobytes())
    return path
