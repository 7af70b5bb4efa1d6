"""Small files of formats that other packages write: EGI MFF, MEF 3, and NEDF byte by byte."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

RATE = 250
N = 500  # samples per channel


def mff_values() -> np.ndarray:
    """33 channels in microvolts; the last is the reference."""
    return np.random.default_rng(0).normal(scale=10, size=(33, N)).astype("float32")


def write_mff(path: Path) -> None:
    from mffpy import Writer
    from mffpy.bin_writer import BinWriter

    signal = BinWriter(RATE, data_type="EEG")
    signal.add_block(mff_values())
    writer = Writer(str(path))
    writer.addxml("fileInfo", recordTime=datetime(2001, 2, 3, 4, 5, 6, 789000, tzinfo=UTC))
    writer.add_coordinates_and_sensor_layout("HydroCel GSN 32 1.0")
    writer.addbin(signal)
    writer.write()


def write_mef(path: Path, unit: str = "uV", factor: float = 0.5) -> dict[str, np.ndarray]:
    """Two channels of whole numbers, each worth ``factor`` of ``unit``."""
    from pymef.mef_session import MefSession

    rng = np.random.default_rng(0)
    session = MefSession(str(path), "", new_session=True)
    begin, span = 1_000_000_000_000_000, N * 1_000_000 // RATE
    about = {"sampling_frequency": float(RATE), "units_conversion_factor": factor, "units_description": unit,
             "start_sample": 0, "number_of_samples": N, "recording_duration": span}  # fmt: skip
    stored = {name: rng.integers(-900, 900, N).astype("int32") for name in ("LA1", "LA2")}
    for name, values in stored.items():
        session.write_mef_ts_segment_metadata(name, 0, None, None, begin, begin + span, about, {})
        session.write_mef_ts_segment_data(name, 0, None, None, RATE, values)
    session.close()
    return stored


def write_nedf(path: Path, before: str = "") -> np.ndarray:
    """Four channels of 24-bit numbers, each sample with a trigger; accelerometers before every fifth."""
    counts = np.random.default_rng(0).integers(-(2**22), 2**22, (4, N))
    names = ("P7", "P4", "Cz", "Pz")
    montage = "".join(f"<C{i}>{name}</C{i}>" for i, name in enumerate(names))
    header = (
        f"{before}<nedf><NEDFversion>1.3</NEDFversion><NumberOfChannelsOfAccelerometer>3"
        f"</NumberOfChannelsOfAccelerometer><EEGSettings><TotalNumberOfChannels>4"
        f"</TotalNumberOfChannels><EEGSamplingRate>{RATE}</EEGSamplingRate><EEGMontage>{montage}</EEGMontage>"
        f"<NumberOfRecordsOfEEG>{N}</NumberOfRecordsOfEEG></EEGSettings></nedf>"
    )
    eeg = np.ascontiguousarray(counts.T & 0xFFFFFF, dtype=">u4").view("u1").reshape(N, 4, 4)[:, :, 1:]
    rows = np.concatenate([eeg.reshape(N, 12), np.zeros((N, 4), dtype="u1")], axis=1)
    blocks = np.concatenate([np.zeros((N // 5, 6), dtype="u1"), rows.reshape(N // 5, 80)], axis=1)
    path.write_bytes(header.encode().ljust(10_240, b"\0")[:10_240] + blocks.tobytes())
    return counts
