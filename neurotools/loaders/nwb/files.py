"""Neurodata Without Borders files (HDF5), through pynwb, and NWB objects in memory.

``spikes`` from the units, ``trials`` and one node per further interval table, ``events``, ``stimulus``,
``calcium/activity``, ``behaviour``, and everything else under the name of its place in the file. What is not
part of the recording is listed in ``attrs["not_read"]``. Arrays of more than 64 MiB stay on disk.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import FileError, SchemaError, did_you_mean, need
from neurotools.loaders.answers import Answers
from neurotools.loaders.nwb.arrays import calcium, voltage
from neurotools.loaders.nwb.series import by_clock, events, leaves, neuron_families, route
from neurotools.loaders.nwb.tables import Source, node_name, spikes, trials
from neurotools.loaders.reading.guard import reading
from neurotools.loaders.reading.sniff import hdf5_root, head, is_hdf5
from neurotools.schema import recording_tree

NAMED_TABLES = {"trials": "trials", "epochs": "epochs", "invalid_times": "invalid_times"}


def load_nwb(path: Path, answers: Answers) -> xr.DataTree:
    """Read an NWB file as a recording.

    ``answers.sort`` puts spike times and stamps that step back into order, ``answers.array`` names the series
    to take as the main array where there are several, ``answers.kind`` says what a voltage or a numbered
    family of series is.

    Raises
    ------
    FileError
        The file is cut short, damaged, or holds several series that could be the main one.
    SchemaError
        Spike times or stamps that cannot be, or trials that stop before they start, with counts.
    """
    pynwb = need("pynwb", extra="spikes", to="read NWB files")
    _refuse_cut(path)
    with reading(path, "the NWB file"), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with pynwb.NWBHDF5IO(str(path), "r", load_namespaces=True) as io:
            recording = _recording(io.read(), Source(path, answers, lazy=True))
    notes = dict.fromkeys(" ".join(str(entry.message).split()) for entry in said)
    if notes:
        recording.attrs["reader_notes"] = "; ".join(notes)
    return recording


def from_nwb(
    nwbfile: Any, *, kind: str | None = None, array: str | None = None, sort: bool = False
) -> xr.DataTree:
    """Turn a ``pynwb.NWBFile`` in memory into a recording, all values in memory.

    Parameters
    ----------
    nwbfile : pynwb.NWBFile
    kind, array, sort
        As in ``neurotools.load``.

    Returns
    -------
    xarray.DataTree
        As ``neurotools.load`` returns for the file written from it.

    Raises
    ------
    SchemaError
        The object is of another class, or its contents cannot be.
    """
    if type(nwbfile).__name__ != "NWBFile":
        raise SchemaError(
            "a pynwb.NWBFile is needed",
            found=type(nwbfile).__name__, fix="for a file on disk: nt.load(path)",
        )  # fmt: skip
    return _recording(nwbfile, Source(None, Answers(kind=kind, array=array, sort=sort)))


def _recording(nwbfile: Any, source: Source) -> xr.DataTree:
    nodes: dict[str, xr.Dataset] = {}
    tables = dict((nwbfile.intervals or {}).items())
    for table in (nwbfile.trials, nwbfile.epochs, nwbfile.invalid_times):
        if table is not None:
            tables.setdefault(table.name, table)
    for name, table in tables.items():
        nodes[NAMED_TABLES.get(name, f"trials_{node_name(name)}")] = trials(table, source)
    routed = _routed(nwbfile, source)
    nodes |= events(routed["events"], source)
    nodes |= events(routed["images"], source, base="stimulus")
    nodes |= calcium(routed["calcium"], routed["families"], source)
    nodes |= voltage(routed["voltage"], source)
    taken = set(nodes) | {"spikes"}
    for base in ("behaviour", "stimulus", "series"):
        nodes |= by_clock(base, routed[base], source, taken)
    for leaf in routed["other"]:
        source.leave(leaf.path, type(leaf.obj).__name__)
    units = nwbfile.units
    if units is not None and "spike_times" in units.colnames:
        nodes["spikes"] = spikes(units, lambda trains: _span(trains, nodes.values()), source)
    elif units is not None:
        source.leave("units", "no spike_times")
    if not nodes:
        raise FileError(
            "the NWB file holds nothing that neurotools reads", code="NT-DATA-010",
            path=source.path, found="; ".join(source.not_read) or "no data at all",
        )  # fmt: skip
    return recording_tree(nodes, **_about(nwbfile, source))


def _routed(nwbfile: Any, source: Source) -> dict[str, list[Any]]:
    names = ("calcium", "voltage", "events", "images", "behaviour", "stimulus", "series", "other")
    routed: dict[str, list[Any]] = {name: [] for name in names}
    wanted, everything = source.answers.array, list(leaves(nwbfile))
    for leaf in everything:
        kind = route(leaf, source)
        if wanted in (leaf.path, leaf.obj.name) and kind in {"series", "behaviour", "stimulus"}:
            kind = "voltage" if source.answers.kind in {"eeg", "meg", "seeg", "ecog"} else "calcium"
        routed[kind].append(leaf)
    if wanted is not None and not any(wanted in (leaf.path, leaf.obj.name) for leaf in everything):
        paths = [leaf.path for leaf in everything]
        raise FileError(
            f"the NWB file has no series named {wanted!r}.{did_you_mean(wanted, paths)}",
            code="NT-FILE-008", path=source.path, found=", ".join(paths),
        )  # fmt: skip
    routed["families"] = neuron_families(routed["series"], source.answers.kind == "calcium")
    ours = {leaf.path for family in routed["families"] for leaf in family}
    routed["series"] = [leaf for leaf in routed["series"] if leaf.path not in ours]
    return routed


def _span(trains: list[np.ndarray], nodes: Iterable[xr.Dataset]) -> tuple[float, float]:
    """First and last moment that anything in the file speaks of."""
    moments = [train[[0, -1]] for train in trains if train.size]
    for node in nodes:
        for name in ("time", "onset", "start", "stop"):
            if name in node.variables and node[name].size:
                values = node[name].to_numpy()
                moments.append(np.array([values.min(), values.max()]))
    return (float(min(m[0] for m in moments)), float(max(m[1] for m in moments))) if moments else (0.0, 0.0)


def _about(nwbfile: Any, source: Source) -> dict[str, Any]:
    """What the file says of itself and of the animal, as plain text."""
    found = {
        name: getattr(nwbfile, name, None) for name in ("identifier", "session_id", "institution", "lab")
    }
    found["description"] = nwbfile.session_description
    found["session_start"] = nwbfile.session_start_time.isoformat() if nwbfile.session_start_time else None
    for name in ("subject_id", "species", "sex", "age"):
        found[name] = getattr(nwbfile.subject, name, None)
    found["not_read"] = "; ".join(source.not_read) or None
    return {name: str(value) for name, value in found.items() if value is not None}


# ---- recognising ------------------------------------------------------------------------------------
def _refuse_cut(path: Path) -> None:
    """Compare the end of the file that the HDF5 superblock states with the bytes that are there."""
    start = head(path, 64)
    version, at, width = (
        start[8],
        {0: 40, 1: 44, 2: 28, 3: 28}.get(start[8]),
        start[13 if start[8] < 2 else 9],
    )
    if at is None or width != 8 or not start.startswith(b"\x89HDF"):
        return
    stated, found = int.from_bytes(start[at : at + 8], "little"), path.stat().st_size
    if found < stated:
        raise FileError(
            "the NWB file was cut short",
            code="NT-FILE-003", path=path, where=f"HDF5 superblock version {version}",
            found=f"{found} bytes", expected=f"{stated} bytes", fix="copy or download it again",
        )  # fmt: skip


def is_nwb(path: Path) -> bool:
    """Whether an HDF5 file says that it is NWB; one that cannot be opened counts when its bytes say so."""
    if not is_hdf5(path):
        return False
    attributes, names = hdf5_root(path)
    if attributes or names:
        return "nwb_version" in attributes or attributes.get("neurodata_type") == "NWBFile"
    return b"neurodata_type" in head(path, 1 << 20)


FORMATS = {"nwb": is_nwb}
