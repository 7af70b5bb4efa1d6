"""Files of spike-recording systems, through the raw readers of neo, told apart by their first bytes.

neo chooses a reader by suffix alone and reads a short file without complaint; here the signature decides,
and the bytes are held against the header first. Waveforms stay in the file.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import FileError, need
from neurotools.loaders import neo_nodes
from neurotools.loaders.answers import Answers
from neurotools.loaders.guard import reading
from neurotools.loaders.sniff import head, is_text
from neurotools.schema import recording_tree

# Pauses of more than this split a recording into segments, which become sessions.
GAP_MS = 1.0
NLX_HEADER = 16_384
NLX_RECORDS = {".nse": 112, ".ntt": 304, ".nev": 184, ".ncs": 1044, ".nst": 176}
NLX_START = b"######## Neuralynx"
BLACKROCK = (b"NEURALEV", b"BREVENTS", b"NEURALSG", b"NEURALCD", b"BRSMPGRP")
PLX_COUNTS = slice(256, 256 + 4 * 650)  # spikes per channel and unit, as the header counts them


@dataclass(frozen=True)
class System:
    """One recording system: the raw reader of neo, how to call it, and what can be checked before."""

    reader: str
    suffixes: tuple[str, ...] | None  # neo finds the files of a set by them; None for folders
    call: Callable[[Path], dict[str, Any]]
    check: Callable[[Path], None] = lambda path: None
    count: Callable[[Path], int] = lambda path: (
        0
    )  # spikes in the file, where its bytes tell; held against neo
    limits: str = "none"  # "segment" or "file" asks for all of time: see neo_nodes.Opened.asked
    unit: str = ""  # of signals, where neo states none


def load_neo(path: Path, answers: Answers) -> xr.DataTree:
    """Read spikes, events and signals of a recording system.

    ``spikes`` holds every unit the system told apart (also unsorted ones, by their names), ``events`` all
    event channels, ``ephys/signal`` the signals in V, left on disk when they are large; ``kind="ecog"`` names
    them ``ecog/signal``. Pauses become intervals of the spikes' support and sessions of the signals. The
    clock is that of the recording: nothing is moved to zero. Spikes out of order are put into order, and
    ``attrs["n_units_sorted"]`` says so.

    Raises
    ------
    FileError
        The file is cut short, damaged, or its name lacks the suffix by which neo finds it.
    """
    rawio = need("neo.rawio", extra="spikes", to="read files of spike-recording systems")
    name = next(name for name, predicate in FORMATS.items() if predicate(path))
    system = SYSTEMS[name]
    if system.suffixes is not None and not path.name.lower().endswith(system.suffixes):
        raise FileError(
            f"the content is {name}, but the name lacks its suffix, by which the files of a set are found",
            code="NT-FILE-008", path=path, expected=" or ".join(system.suffixes), fix="rename the file",
        )  # fmt: skip
    with reading(path, f"the {name} recording"), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        if not answers.allow_truncated:
            system.check(path)
        reader = getattr(rawio, system.reader)(**system.call(path))
        reader.parse_header()
        source = neo_nodes.opened(reader, path, answers, limits=system.limits, unit=system.unit)
        nodes: dict[str, xr.Dataset] = dict(neo_nodes.signals(source))
        for node, found in (("spikes", neo_nodes.spikes(source)), ("events", neo_nodes.events(source))):
            if found is not None:
                nodes[node] = found
        if answers.array is None and not answers.allow_truncated:
            _refuse_fewer(path, nodes, system.count(path))
    if not nodes:
        raise FileError(f"the {name} recording holds no data", code="NT-DATA-010", path=path)
    notes = dict.fromkeys(" ".join(str(entry.message).split()) for entry in said)
    return recording_tree(nodes, **({"reader_notes": "; ".join(notes)} if notes else {}))


# ---- checks -----------------------------------------------------------------------------------------
def _refuse_rest(path: Path, start: int, size: int, what: str) -> None:
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


def _check_blackrock(path: Path) -> None:
    for file in _event_files(path):
        header, packet = (int(n) for n in np.frombuffer(head(file, 20)[12:20], "<u4"))
        _refuse_rest(file, header, packet, "Blackrock event file")


def _event_files(path: Path) -> list[Path]:
    files = [file for file in path.parent.iterdir() if file.stem == path.stem and file.suffix == ".nev"]
    return [
        file for file in files if head(file, 8) in {b"NEURALEV", b"BREVENTS"} and file.stat().st_size > 20
    ]


def _check_neuralynx(path: Path) -> None:
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    for file in files:
        if file.suffix.lower() in NLX_RECORDS and head(file, 18) == NLX_START:
            _refuse_rest(file, NLX_HEADER, NLX_RECORDS[file.suffix.lower()], "Neuralynx file")


def _refuse_fewer(path: Path, nodes: dict[str, xr.Dataset], expected: int) -> None:
    """Hold the spikes that neo returns against those that the file's own bytes count."""
    found = nodes["spikes"].sizes["spike"] if "spikes" in nodes else 0
    if found < expected:
        raise FileError(
            "the file counts more spikes than can be read from it",
            code="NT-FILE-003", path=path, found=f"{found} spikes", expected=f"{expected}",
            fix="copy or download it again; allow_truncated=True reads what there is",
        )  # fmt: skip


def _count_plexon(path: Path) -> int:
    counts = np.frombuffer(head(path, PLX_COUNTS.stop)[PLX_COUNTS], "<i4")
    return int(counts.sum()) if counts.size == 650 and (counts >= 0).all() else 0


def _count_neuralynx(path: Path) -> int:
    files = [file for file in (path.iterdir() if path.is_dir() else [path]) if _nlx(file)]
    spikes = [file for file in files if file.suffix.lower() in {".nse", ".ntt"}]
    return sum((f.stat().st_size - NLX_HEADER) // NLX_RECORDS[f.suffix.lower()] for f in spikes)


def _count_blackrock(path: Path) -> int:
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


# ---- recognising ------------------------------------------------------------------------------------
def _starts(*marks: bytes) -> Callable[[Path], bool]:
    return lambda path: head(path, max(map(len, marks))).startswith(marks)


def _is_neuralynx(path: Path) -> bool:
    """Spikes or events of Neuralynx, or a folder with its spikes; signals alone are read as EEG is."""
    if path.is_dir():
        return any(p.suffix.lower() in {".nse", ".ntt", ".nst"} and _nlx(p) for p in path.iterdir())
    return _nlx(path) and path.suffix.lower() != ".ncs"


def _nlx(path: Path) -> bool:
    return head(path, len(NLX_START)) == NLX_START


def _is_open_ephys(path: Path) -> bool:
    if not path.is_dir():
        return False
    return any(b"Open Ephys Data Format" in head(file, 1024) for file in path.glob("*.continuous"))


def _is_open_ephys_binary(path: Path) -> bool:
    if not path.is_dir():
        return False
    depths = ("structure.oebin", *("/".join(["*"] * n + ["structure.oebin"]) for n in range(1, 4)))
    return any(b'"continuous"' in head(file, 1 << 16) for depth in depths for file in path.glob(depth))


def _is_spikeglx(path: Path) -> bool:
    if not path.is_dir():
        return False
    files = [*path.glob("*.meta"), *path.glob("*/*.meta")]
    return any(is_text(head(file, 512)) and b"nSavedChans=" in head(file, 1 << 16) for file in files)


def _named(path: Path) -> dict[str, Any]:
    return {"filename": str(path)}


def _in_folder(path: Path) -> dict[str, Any]:
    return {"dirname": str(path)}


def _neuralynx(path: Path) -> dict[str, Any]:
    where = (
        _in_folder(path) if path.is_dir() else {"dirname": str(path.parent), "include_filenames": [path.name]}
    )
    return {**where, "keep_original_times": True, "gap_tolerance_ms": GAP_MS}


SYSTEMS = {
    "blackrock": System(
        "BlackrockRawIO", (".nev", *(f".ns{n}" for n in range(1, 7))),
        lambda path: {**_named(path), "gap_tolerance_ms": GAP_MS},
        check=_check_blackrock, count=_count_blackrock, limits="segment",
    ),
    "plexon": System(
        "PlexonRawIO", None, lambda path: {**_named(path), "progress_bar": False},
        count=_count_plexon, limits="file", unit="mV",  # its gains turn steps into "MaxMagnitudeMV"
    ),
    "neuralynx-spikes": System(
        "NeuralynxRawIO", None, _neuralynx, check=_check_neuralynx, count=_count_neuralynx, limits="file"
    ),
    "intan": System("IntanRawIO", (".rhd", ".rhs"), _named),
    "neuroexplorer": System("NeuroExplorerRawIO", None, _named),
    "spike2": System("Spike2RawIO", None, _named),
    "micromed": System("MicromedRawIO", None, _named),
    "axon": System("AxonRawIO", None, _named),
    "open-ephys": System("OpenEphysRawIO", None, _in_folder),
    "open-ephys-binary": System("OpenEphysBinaryRawIO", None, _in_folder),
    "spikeglx": System("SpikeGLXRawIO", None, _in_folder),
}  # fmt: skip

FORMATS: dict[str, Callable[[Path], bool]] = {
    "blackrock": _starts(*BLACKROCK),
    "plexon": _starts(b"PLEX"),
    "neuralynx-spikes": _is_neuralynx,
    "intan": _starts(b"\x02\x27\x91\xc6", b"\xac\x27\x91\xd6"),
    "neuroexplorer": _starts(b"NEX1"),
    "spike2": lambda path: head(path, 12)[2:] == b"(C) CED 87",
    "micromed": lambda path: b"MICROMED" in head(path, 32),
    "axon": _starts(b"ABF ", b"ABF2"),
    "open-ephys": _is_open_ephys,
    "open-ephys-binary": _is_open_ephys_binary,
    "spikeglx": _is_spikeglx,
}
