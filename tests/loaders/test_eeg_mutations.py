"""Damaged files end in a correct read or a named error: never a crash, a hang or another exception."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mne
import numpy as np
import pytest

from . import vendor_files

SCRIPT = Path(__file__).with_name("mutate_eeg.py")
EACH = 15  # damaged copies of each file


def run(folder: Path, names: list[str]) -> dict:
    done = subprocess.run(
        [sys.executable, SCRIPT, folder, str(EACH), *names], capture_output=True, text=True, timeout=280,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def check(found: dict) -> None:
    assert not found["bad"], "\n".join(map(str, found["bad"]))
    for name, counts in found["counts"].items():
        assert sum(counts.values()) == EACH
        # Cuts and broken headers must be noticed, and flips inside the samples must not be.
        assert counts["named"] >= 2, name


def test_formats_of_the_zoo(shared, tmp_path):
    files = [
        *shared("data/eeg_format_zoo").glob("test*"), *shared("data/eeg_eeglab_sample").glob("test_raw*"),
        shared("data/eeg_erpcore_p3_evoked/sub-015_ses-P3_task-P3_ave.fif"),
    ]  # fmt: skip
    for file in files:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    table = shared("data/eeg_muse_erp/p300_sub-1_ses-1/data_2017-02-04-15_45_13.csv")
    lines = table.read_text(encoding="utf-8").splitlines(keepends=True)[:1000]
    (tmp_path / "muse.csv").write_text("".join(lines), encoding="utf-8")
    check(run(tmp_path, ["test.edf", "test.bdf", "test.vhdr", "test.vhdr:test.vmrk", "test.vhdr:test.eeg",
                         "test_egi.raw", "test_raw.set", "test_raw.set:test_raw.fdt",
                         "sub-015_ses-P3_task-P3_ave.fif", "muse.csv"]))  # fmt: skip


def test_files_made_here(tmp_path):
    """The same without any real recording at hand: FIF of all three contents, and a BIDS folder."""
    rng = np.random.default_rng(1)
    info = mne.create_info(["Fz", "Cz", "Pz"], 100.0, "eeg")
    raw = mne.io.RawArray(1e-5 * rng.standard_normal((3, 2000)), info, verbose="ERROR")
    raw.set_annotations(mne.Annotations([2.0, 5.0, 9.0], 0.0, "go"))
    raw.save(tmp_path / "a_raw.fif", verbose="ERROR")
    events, ids = mne.events_from_annotations(raw, verbose="ERROR")
    epochs = mne.Epochs(raw, events, ids, -0.2, 0.5, baseline=None, preload=True, verbose="ERROR")
    epochs.save(tmp_path / "a-epo.fif", verbose="ERROR")
    epochs.average().save(tmp_path / "a-ave.fif", verbose="ERROR")
    bids = tmp_path / "set" / "sub-01" / "eeg"
    bids.mkdir(parents=True)
    stem = "set/sub-01/eeg/sub-01_task-x"
    shutil.copy(tmp_path / "a_raw.fif", bids / "sub-01_task-x_meg.fif")
    (tmp_path / "set/dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    (tmp_path / f"{stem}_meg.json").write_text('{"SamplingFrequency": 100.0, "PowerLineFrequency": 50}')
    rows = "".join(f"{name}\tEEG\tuV\tgood\n" for name in ("Fz", "Cz", "Pz"))
    (tmp_path / f"{stem}_channels.tsv").write_text("name\ttype\tunits\tstatus\n" + rows)
    (tmp_path / f"{stem}_events.tsv").write_text(
        "onset\tduration\ttrial_type\n2.0\t0.0\tgo\n5.0\tn/a\tstop\n"
    )
    (tmp_path / f"{stem}_electrodes.tsv").write_text(
        "name\tx\ty\tz\nFz\t0.0\t0.05\t0.09\nCz\t0.0\t0.0\t0.1\n"
    )
    endings = ("_meg.json", "_channels.tsv", "_events.tsv", "_electrodes.tsv")
    beside = [f"{stem}_meg.fif:{stem}{ending}" for ending in endings]
    found = run(tmp_path, ["a_raw.fif", "a-epo.fif", "a-ave.fif", *beside])
    check(found)


def test_folders_that_are_one_recording(tmp_path):
    """MFF and MEF, whose readers are libraries of their own, one of them in C."""
    vendor_files.write_mff(tmp_path / "a.mff")
    vendor_files.write_mef(tmp_path / "a.mefd")
    names = [f"a.mff:a.mff/{name}" for name in ("info.xml", "epochs.xml", "sensorLayout.xml", "signal1.bin")]
    stem = "a.mefd:a.mefd/LA1.timd/LA1-000000.segd/LA1-000000"
    check(run(tmp_path, [*names, *(f"{stem}.{kind}" for kind in ("tmet", "tidx", "tdat"))]))


@pytest.mark.parametrize("size", [0, 1, 7, 8, 100])
def test_stumps_of_every_signature(tmp_path, size):
    """The first bytes of a format and nothing after them."""
    import neurotools as nt
    from neurotools.errors import NeurotoolsError
    from neurotools.loaders.eeg import recordings

    starts = {
        "a.edf": b"0       ", "a.bdf": b"\xffBIOSEMI", "a.gdf": b"GDF 2.10", "a.fif": recordings.FIF_START,
        "a.vhdr": b"Brain Vision Data Exchange Header File Version 1.0", "a.set": b"MATLAB 5.0 MAT-file",
        "a.cnt": b"Version 3.0", "a.eeg": b"EEG-1100C V01.00", "a.lay": b"[FileInfo]\n", "a.nedf": b"<nedf",
        "a.dat": b"BCI2000V= 1.1 HeaderLen=  500", "a.sqd": bytes(64), "b.cnt": b"RIFF\x00\x00\x00\x00CNT ",
    }  # fmt: skip
    for name, start in starts.items():
        path = tmp_path / name
        path.write_bytes(start + bytes(size))
        with pytest.raises(NeurotoolsError):
            nt.load(path)
