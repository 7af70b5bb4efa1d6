"""Files of spike-recording systems, through the raw readers of neo, told apart by their first bytes.

neo chooses a reader by suffix alone and reads a short file without complaint; here the signature decides,
and the bytes are held against the header first. Waveforms stay in the file.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from neurotools.errors import FileError, need
from neurotools.loaders.answers import Answers
from neurotools.loaders.reading.guard import reading
from neurotools.loaders.reading.sniff import head, is_text, starts
from neurotools.loaders.spikes import neo_checks as checks
from neurotools.loaders.spikes import neo_nodes
from neurotools.loaders.spikes.neo_checks import is_neuralynx
from neurotools.schema import recording_tree

# Pauses of more than this split a recording into segments, which become sessions.
GAP_MS = 1.0
BLACKROCK = (b"NEURALEV", b"BREVENTS", b"NEURALSG", b"NEURALCD", b"BRSMPGRP")


@dataclass(frozen=True)
class System:
    """One recording system: the raw reader of neo, how to call it, and what can be checked before."""

    reader: str
    suffixes: tuple[str, ...] | None  # neo finds the files of a set by them; None for folders
    call: Callable[[Path], dict[str, Any]]
    check: Callable[[Path], None] = lambda path: None
    # What neo has found once the header was parsed, and spikes as the bytes of the file count them.
    judge: Callable[[Any, Path], None] = lambda reader, path: None
    count: Callable[[Path], int] = lambda path: 0
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
    with reading(path, f"the {name} recording"), _listening() as said:
        if not answers.allow_truncated:
            system.check(path)
        reader = getattr(rawio, system.reader)(**system.call(path))
        reader.parse_header()
        system.judge(reader, path)
        source = neo_nodes.opened(reader, path, answers, limits=system.limits, unit=system.unit)
        nodes: dict[str, xr.Dataset] = dict(neo_nodes.signals(source))
        for node, found in (("spikes", neo_nodes.spikes(source)), ("events", neo_nodes.events(source))):
            if found is not None:
                nodes[node] = found
        if answers.array is None and not answers.allow_truncated:
            checks.refuse_fewer(path, nodes, system.count(path))
    if not nodes:
        raise FileError(f"the {name} recording holds no data", code="NT-DATA-010", path=path)
    return recording_tree(nodes, **({"reader_notes": "; ".join(dict.fromkeys(said))} if said else {}))


class _Notes(logging.Handler):
    """Collects what is logged."""

    def __init__(self, said: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.said = said

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(" ".join(record.getMessage().split()))


@contextlib.contextmanager
def _listening() -> Iterator[list[str]]:
    """Collect what neo warns and logs within this block, in place of letting it reach the screen."""
    said: list[str] = []
    logger, handler = logging.getLogger("neo"), _Notes(said)
    before, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            yield said
        said += [" ".join(str(entry.message).split()) for entry in warned]
    finally:
        logger.propagate = before
        logger.removeHandler(handler)


# ---- recognising ------------------------------------------------------------------------------------
def _is_neuralynx(path: Path) -> bool:
    """Spikes or events of Neuralynx, or a folder with its spikes; signals alone are read as EEG is."""
    if path.is_dir():
        return any(p.suffix.lower() in {".nse", ".ntt", ".nst"} and is_neuralynx(p) for p in path.iterdir())
    return is_neuralynx(path) and path.suffix.lower() != ".ncs"


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
        check=checks.check_blackrock, count=checks.count_blackrock, limits="segment",
    ),
    "plexon": System(
        "PlexonRawIO", None, lambda path: {**_named(path), "progress_bar": False},
        count=checks.count_plexon, limits="file", unit="mV",  # its gains turn steps into "MaxMagnitudeMV"
    ),
    "neuralynx-spikes": System(
        "NeuralynxRawIO", None, _neuralynx,
        check=checks.check_neuralynx, count=checks.count_neuralynx, limits="file",
    ),
    "intan": System("IntanRawIO", (".rhd", ".rhs"), _named),
    "neuroexplorer": System("NeuroExplorerRawIO", None, _named, judge=checks.refuse_fragments),
    "spike2": System("Spike2RawIO", None, _named),
    "micromed": System("MicromedRawIO", None, _named),
    "axon": System("AxonRawIO", None, _named),
    "open-ephys": System(
        "OpenEphysRawIO", None, _in_folder,
        check=checks.check_open_ephys, count=checks.count_open_ephys, limits="segment",
        judge=checks.refuse_filled_gaps,
    ),
    "open-ephys-binary": System(
        "OpenEphysBinaryRawIO", None, _in_folder, check=checks.check_open_ephys_binary
    ),
    "spikeglx": System("SpikeGLXRawIO", None, _in_folder, check=checks.check_spikeglx),
}  # fmt: skip

FORMATS: dict[str, Callable[[Path], bool]] = {
    "blackrock": starts(*BLACKROCK),
    "plexon": starts(b"PLEX"),
    "neuralynx-spikes": _is_neuralynx,
    "intan": starts(b"\x02\x27\x91\xc6", b"\xac\x27\x91\xd6"),
    "neuroexplorer": starts(b"NEX1"),
    "spike2": lambda path: head(path, 12)[2:] == b"(C) CED 87",
    "micromed": lambda path: b"MICROMED" in head(path, 32),
    "axon": starts(b"ABF ", b"ABF2"),
    "open-ephys": _is_open_ephys,
    "open-ephys-binary": _is_open_ephys_binary,
    "spikeglx": _is_spikeglx,
}
