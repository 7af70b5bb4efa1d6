"""What the bytes of a recording say, held against what neo makes of them.

The raw readers of neo take a short file for a short recording, fill gaps with zeros and join what a pause
divided. Each check here reads the layout that the vendor publishes and refuses what neo would pass over.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import FileError
from neurotools.loaders.reading.guard import reading
from neurotools.loaders.reading.sniff import head

NLX_HEADER = 16_384
NLX_RECORDS = {".nse": 112, ".ntt": 304, ".nev": 184, ".ncs": 1044, ".nst": 176}
NLX_START = b"######## Neuralynx"
PLX_COUNTS = slice(256, 256 + 4 * 650)  # spikes per channel and unit, as the header counts them
OPEN_EPHYS_HEADER = 1024
OPEN_EPHYS_RECORD = 2070


def is_neuralynx(path: Path) -> bool:
    """Whether a file begins as all files of Neuralynx do."""
    return head(path, len(NLX_START)) == NLX_START


def refuse_rest(path: Path, start: int, size: int, what: str) -> None:
    """Refuse a file whose bytes after the header are no whole number of records."""
    found = path.stat().st_size
    rest = (found - start) % size if size > 0 else 0
    if found < start or rest:
        raise FileError(
            f"the {what} was cut short",
            code="NT-FILE-003", path=path, where=f"after {max(0, (found - start) // max(size, 1))} records",
            found=f"{found} bytes", expected=f"{start} bytes of header and whole records of {size} bytes",
            fix="copy or download it again; allow_truncated=True reads the whole records",
        )  # fmt: skip


def check_blackrock(path: Path) -> None:
    """Refuse event files of the set that end inside a packet."""
    for file in _event_files(path):
        header, packet = (int(n) for n in np.frombuffer(head(file, 20)[12:20], "<u4"))
        refuse_rest(file, header, packet, "Blackrock event file")


def _event_files(path: Path) -> list[Path]:
    files = [file for file in path.parent.iterdir() if file.stem == path.stem and file.suffix == ".nev"]
    return [
        file for file in files if head(file, 8) in {b"NEURALEV", b"BREVENTS"} and file.stat().st_size > 20
    ]


def check_neuralynx(path: Path) -> None:
    """Refuse files that end inside a record."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    for file in files:
        if file.suffix.lower() in NLX_RECORDS and head(file, 18) == NLX_START:
            refuse_rest(file, NLX_HEADER, NLX_RECORDS[file.suffix.lower()], "Neuralynx file")


def refuse_fewer(path: Path, nodes: dict[str, xr.Dataset], expected: int) -> None:
    """Hold the spikes that neo returns against those that the file's own bytes count."""
    found = nodes["spikes"].sizes["spike"] if "spikes" in nodes else 0
    if found < expected:
        raise FileError(
            "the file counts more spikes than can be read from it",
            code="NT-FILE-003", path=path, found=f"{found} spikes", expected=f"{expected}",
            fix="copy or download it again; allow_truncated=True reads what there is",
        )  # fmt: skip


def count_plexon(path: Path) -> int:
    """Spikes as the header counts them, per channel and unit; 0 where it does not."""
    counts = np.frombuffer(head(path, PLX_COUNTS.stop)[PLX_COUNTS], "<i4")
    return int(counts.sum()) if counts.size == 650 and (counts >= 0).all() else 0


def count_neuralynx(path: Path) -> int:
    """Records in the files of spikes."""
    files = [file for file in (path.iterdir() if path.is_dir() else [path]) if is_neuralynx(file)]
    spikes = [file for file in files if file.suffix.lower() in {".nse", ".ntt"}]
    return sum((f.stat().st_size - NLX_HEADER) // NLX_RECORDS[f.suffix.lower()] for f in spikes)


def count_blackrock(path: Path) -> int:
    """Packets of spikes in the event files of the set, by their numbers."""
    total = 0
    for file in _event_files(path):
        start = head(file, 20)
        header, packet = (int(n) for n in np.frombuffer(start[12:20], "<u4"))
        stamp = 8 if start[8] >= 3 else 4
        record = np.dtype([("time", f"V{stamp}"), ("number", "<u2"), ("rest", f"V{packet - stamp - 2}")])
        n = (file.stat().st_size - header) // packet
        if n > 0:
            number = np.memmap(file, dtype=record, mode="r", offset=header, shape=(n,))["number"]
            last = 255 if start[8:10] in {b"\x02\x01", b"\x02\x02"} else 2048
            total += int(((number >= 1) & (number <= last)).sum())
    return total


# ---- Open Ephys, SpikeGLX, NeuroExplorer ------------------------------------------------------------
def check_open_ephys(path: Path) -> None:
    """Refuse files of continuous samples that end inside a record."""
    for file in sorted(path.rglob("*.continuous")):
        refuse_rest(file, OPEN_EPHYS_HEADER, OPEN_EPHYS_RECORD, "Open Ephys file")


def count_open_ephys(path: Path) -> int:
    """Records in the files of spikes; their size follows from channels and samples in the first."""
    total = 0
    for file in path.rglob("*.spikes"):
        start = head(file, OPEN_EPHYS_HEADER + 23)[OPEN_EPHYS_HEADER + 19 :]
        if len(start) == 4:
            channels, samples = (int(n) for n in np.frombuffer(start, "<u2"))
            record = 44 + 2 * channels * samples + 6 * channels
            total += (file.stat().st_size - OPEN_EPHYS_HEADER) // record
    return total


def refuse_filled_gaps(reader: Any, path: Path) -> None:
    """Refuse lost samples, which neo fills with zeros."""
    if getattr(reader, "_gap_mode", False):
        raise FileError(
            "samples were lost during the recording, and the reader would fill them with zeros",
            code="NT-DATA-004", path=path, fix="cut the recording at its gaps, or convert it, first",
        )  # fmt: skip


def check_open_ephys_binary(path: Path) -> None:
    """Hold samples on disk against the numbers that Open Ephys gave them: as many, and without a jump."""
    for oebin in sorted(path.rglob("structure.oebin")):
        with reading(oebin, "structure.oebin"):
            streams = json.loads(oebin.read_text(encoding="utf-8"))["continuous"]
            places = [
                (oebin.parent / "continuous" / s["folder_name"], int(s["num_channels"])) for s in streams
            ]
        for folder, n_channels in places:
            numbers, data = folder / "sample_numbers.npy", folder / "continuous.dat"
            if not (numbers.is_file() and data.is_file()):
                continue
            refuse_rest(data, 0, 2 * n_channels, "Open Ephys stream")
            with reading(numbers, "the sample numbers"):
                stamps = np.load(numbers, mmap_mode="r", allow_pickle=False)
            n = data.stat().st_size // (2 * n_channels)
            jumps = int((np.diff(stamps) != 1).sum())
            if n != stamps.size or jumps:
                raise FileError(
                    "samples of an Open Ephys stream are missing",
                    code="NT-FILE-003" if n != stamps.size else "NT-DATA-004", path=data,
                    found=f"{n} samples, {jumps} jumps in their numbers", expected=f"{stamps.size} in a row",
                    fix="copy it again, or cut it at its gaps; allow_truncated=True reads on regardless",
                )  # fmt: skip


def check_spikeglx(path: Path) -> None:
    """Hold each ``.bin`` against the size that its ``.meta`` states."""
    for meta in sorted([*path.glob("*.meta"), *path.glob("*/*.meta")]):
        data = meta.with_suffix(".bin")
        stated = [line.partition("=")[2] for line in _lines(meta) if line.startswith("fileSizeBytes=")]
        if data.is_file() and stated and stated[0].isdigit() and data.stat().st_size != int(stated[0]):
            raise FileError(
                "the SpikeGLX file has another size than its .meta states", code="NT-FILE-003", path=data,
                found=f"{data.stat().st_size} bytes", expected=f"{stated[0]} bytes",
                fix="copy or download it again; allow_truncated=True reads what there is",
            )  # fmt: skip


def _lines(path: Path) -> list[str]:
    return head(path, 1 << 20).decode("utf-8", "replace").splitlines()


def refuse_fragments(reader: Any, path: Path) -> None:
    """Refuse signals in several fragments, whose pauses neo leaves out of the time axis."""
    for entry in getattr(reader, "_entity_headers", []):
        if int(entry["type"]) == 5 and int(entry["n"]) > 1:
            raise FileError(
                "a signal was recorded with pauses, which the reader would join",
                code="NT-DATA-004", path=path, where=str(entry["name"]), found=f"{int(entry['n'])} fragments",
                fix="export the fragments one by one",
            )  # fmt: skip
