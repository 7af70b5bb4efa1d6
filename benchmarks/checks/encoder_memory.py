"""Memory of training an encoder on recordings that are longer than memory should have to hold."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.checks.memory import CHANNELS, LENGTHS_S, MIB, RATE, extra
from benchmarks.record import Row

TRAIN = """
import shutil, tempfile, warnings
import neurotools as nt
def read(path):
    windows = nt.windows(nt.load(path), length_s=1.0)
    model = nt.encoders.create("elm-nano", steps=2, batch=4, check_every=2, held_out=0.0, scale="none")
    place = tempfile.mkdtemp()
    model.fit(windows, out=place + "/fit")
    shutil.rmtree(place)
"""


def trained_from_disk() -> list[Row]:
    """EDF of 64 channels at 500 Hz, windows of 1 s, two steps; beside it what the whole file would take."""
    rows, taken = [], []
    with tempfile.TemporaryDirectory() as folder:
        small = write_noise(Path(folder) / "small.edf", 30)
        for seconds in LENGTHS_S:
            path = write_noise(Path(folder) / f"{seconds}.edf", seconds)
            taken.append(extra(TRAIN, small, path) / MIB)
            whole = 8 * seconds * RATE * CHANNELS / MIB
            rows.append(
                Row(f"windows of {seconds} s of EDF, cut and trained on", taken[-1], unit="MiB",
                    note=f"the recording as float64 takes {whole:.0f} MiB")
            )  # fmt: skip
            path.unlink()
    grown = (taken[1] - taken[0]) / (8 * (LENGTHS_S[1] - LENGTHS_S[0]) * RATE * CHANNELS / MIB)
    return [*rows, Row("growth of that, over the growth of the recording", grown, "<= 0.1")]


def write_noise(path: Path, seconds: int) -> Path:
    """EDF whose records hold one noise or another, so that windows are no copies."""
    from benchmarks.checks.memory import write_edf

    write_edf(path, seconds)
    head = path.stat().st_size - 2 * RATE * CHANNELS * seconds
    rng = np.random.default_rng(0)
    with path.open("r+b") as stream:
        stream.seek(head)
        for _ in range(seconds):
            stream.write(rng.integers(-500, 500, RATE * CHANNELS).astype("<i2").tobytes())
    return path
