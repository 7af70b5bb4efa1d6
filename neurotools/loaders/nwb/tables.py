"""Tables of an NWB file: sorted units become ``spikes``, interval tables become trials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import FileError, SchemaError
from neurotools.loaders.answers import Answers
from neurotools.loaders.described.arrays import check_inside
from neurotools.loaders.reading.limits import check_hdf5
from neurotools.loaders.spikes.trains import judged_trains
from neurotools.schema import spike_table, trials_table


@dataclass
class Source:
    """Where values come from, what the user said, and what was left in the file."""

    path: Path | None
    answers: Answers
    lazy: bool = False
    not_read: list[str] = field(default_factory=list)

    def values(self, data: Any) -> np.ndarray:
        """Values of an HDF5 dataset, list or array, once its declared size was checked; text as ``str``."""
        data = getattr(data, "data", data) if type(data).__name__ == "H5DataIO" else data
        if hasattr(data, "id") and hasattr(data, "is_virtual"):
            check_inside(data, self.shown)
            check_hdf5(data, self.shown)
        elif not isinstance(data, np.ndarray) and not hasattr(data, "__len__"):
            raise FileError(
                "the NWB object has data that cannot be read before it is written",
                path=self.path, found=type(data).__name__, fix="write the file first, then load it",
            )  # fmt: skip
        values = np.asarray(data[()] if hasattr(data, "is_virtual") else data)
        return as_text(values) if values.dtype.kind in "OSU" else values

    @property
    def shown(self) -> Path:
        """The path for messages, also of an object in memory."""
        return self.path or Path("NWB file in memory")

    def leave(self, name: str, why: str) -> None:
        """Note that something of the file is not part of the recording."""
        self.not_read.append(f"{name} ({why})")


def as_text(values: np.ndarray) -> np.ndarray:
    """Turn an array of bytes, text or objects into text; anything but text among objects is an error."""
    flat = [
        entry.decode("utf-8", "replace") if isinstance(entry, bytes) else entry for entry in values.ravel()
    ]
    if any(not isinstance(entry, str) for entry in flat):
        raise TypeError("objects that are not text")
    return np.array(flat, dtype=str).reshape(values.shape)


def node_name(name: str) -> str:
    """A name that can stand in a path of nodes."""
    return name.replace("/", "_").strip() or "unnamed"


# ---- columns ----------------------------------------------------------------------------------------
def columns(table: Any, where: str, source: Source, skip: set[str]) -> dict[str, np.ndarray]:
    """Columns with one number or text per row; tags are joined, other columns are noted as not read."""
    found: dict[str, np.ndarray] = {}
    n_rows = len(table.id)
    for name in table.colnames:
        if name in skip:
            continue
        values = _column(table[name], source)
        if values is None or values.shape != (n_rows,):
            shape = "ragged or objects" if values is None else f"shape {values.shape}"
            source.leave(f"{where}/{name}", shape)
        else:
            found[node_name(name)] = values
    return found


def _column(column: Any, source: Source) -> np.ndarray | None:
    if type(column).__name__ == "VectorIndex":
        if column.target.name != "tags":
            return None
        parts = np.split(source.values(column.target.data), _row_ends(column, source)[:-1])
        return np.array([", ".join(part) for part in parts], dtype=str)
    try:
        values = source.values(column.data)
    except TypeError:  # references to other objects of the file
        return None
    elements = getattr(column, "elements", None)
    return values if elements is None else source.values(elements.data)[values]


def _row_ends(index: Any, source: Source) -> np.ndarray:
    """Where each row of a ragged column ends, checked against the column itself."""
    ends = source.values(index.data).astype("int64")
    n = len(index.target.data)
    if ends.size and ((np.diff(ends) < 0).any() or ends[0] < 0 or ends[-1] != n):
        raise FileError(
            f"the rows of column {index.target.name!r} do not add up to its values",
            code="NT-FILE-008", path=source.path, where=index.name,
            found=f"rows that end at {int(ends.min())} to {int(ends.max())}", expected=f"the last at {n}",
        )  # fmt: skip
    return ends


# ---- units ------------------------------------------------------------------------------------------
SPIKE_COLUMNS = {"spike_times", "obs_intervals", "electrodes", "electrode_group"}


def spikes(units: Any, span: Callable[[list[np.ndarray]], tuple[float, float]], source: Source) -> xr.Dataset:
    """Sorted units as ragged spikes, with every per-unit column as a coordinate.

    ``span`` gives the beginning and end of the recording from all spike trains.
    """
    ids = source.values(units.id.data)
    index = units["spike_times"]
    parts = np.split(source.values(index.target.data), _row_ends(index, source)[:-1]) if ids.size else []
    trains, notes = judged_trains(parts, ids, path=source.path, sort=source.answers.sort)
    coords = columns(units, "units", source, SPIKE_COLUMNS)
    coords |= _places(units, source)
    start, stop = _observed(units, source) or span(trains)
    start, stop = _around(trains, start, stop)
    return spike_table(trains, unit=ids, t_start=start, t_stop=stop, coords=coords, attrs=notes)


def _observed(units: Any, source: Source) -> tuple[float, float] | None:
    if "obs_intervals" not in units.colnames or not len(units["obs_intervals"].target.data):
        return None
    times = source.values(units["obs_intervals"].target.data).astype("float64")
    if not np.isfinite(times).all():
        raise SchemaError(
            "observed intervals are not finite",
            code="NT-DATA-003", path=source.path, where="units/obs_intervals",
            found=f"{int((~np.isfinite(times)).sum())} of {times.size}",
        )  # fmt: skip
    source.leave("units/obs_intervals", f"{len(times)} intervals; t_start and t_stop span them all")
    return float(times.min()), float(times.max())


def _around(trains: list[np.ndarray], start: float, stop: float) -> tuple[float, float]:
    used = [train for train in trains if train.size]
    return min([start, *(t[0] for t in used)]), max([stop, *(t[-1] for t in used)])


def _places(units: Any, source: Source) -> dict[str, np.ndarray]:
    """Coordinates ``channel`` (electrode ids) and ``region`` (their locations, each named once)."""
    if "electrodes" in units.colnames:
        column = units["electrodes"]
        ragged = type(column).__name__ == "VectorIndex"
        region = column.target if ragged else column
        rows = source.values(region.data).astype("int64")
        each = np.split(rows, _row_ends(column, source)[:-1]) if ragged else list(rows[:, None])
        table = region.table
        names = source.values(table.id.data)
        if rows.size and (rows.min() < 0 or rows.max() >= names.size):
            raise FileError(
                "units point to electrodes that the file does not have", code="NT-FILE-008",
                path=source.path, found=f"row {int(rows.max())}", expected=f"rows 0 to {names.size - 1}",
            )  # fmt: skip
        single = all(part.size == 1 for part in each)
        channel = [names[part[0]] if single else ",".join(map(str, names[part])) for part in each]
        found = {"channel": np.array(channel)}
        if "location" in table.colnames:
            location = source.values(table["location"].data)
            found["region"] = np.array([",".join(dict.fromkeys(location[part])) for part in each], dtype=str)
        return found
    if "electrode_group" in units.colnames:
        groups = list(units["electrode_group"].data)
        return {
            "channel": np.array([group.name for group in groups], dtype=str),
            "region": np.array([group.location for group in groups], dtype=str),
        }
    return {}


def _undeclared(table: Any) -> list[str]:
    """Datasets that lie in the group of a table but that its list of columns leaves out."""
    group = getattr(table["start_time"].data, "parent", None)
    if group is None or not hasattr(group, "keys"):
        return []
    declared = {"id", *table.colnames, *(f"{name}_index" for name in table.colnames)}
    return sorted(set(map(str, group.keys())) - declared)


# ---- intervals --------------------------------------------------------------------------------------
def trials(table: Any, source: Source) -> xr.Dataset:
    """One interval table: ``start``, ``stop`` and its columns along ``trial``, in the order of the file."""
    where = f"intervals/{table.name}"
    start = source.values(table["start_time"].data).astype("float64")
    stop = source.values(table["stop_time"].data).astype("float64")
    bad = np.flatnonzero(~(stop > start))
    if bad.size:
        raise SchemaError(
            "trials must stop after they start",
            code="NT-DATA-009",
            path=source.path,
            where=f"{where}, rows " + ", ".join(map(str, bad[:8])) + (" ..." if bad.size > 8 else ""),
            found=f"{bad.size} of {start.size} rows; row {bad[0]} has start {start[bad[0]]:g} s, "
            f"stop {stop[bad[0]]:g} s",
            fix="correct these rows in the file",
        )
    values = columns(table, where, source, {"start_time", "stop_time"})
    for name in _undeclared(table):
        source.leave(f"{where}/{name}", "not among the table's columns")
    ids = source.values(table.id.data)
    if not np.array_equal(ids, np.arange(ids.size)):
        values["id"] = ids
    values = {f"{name}_" if name in {"start", "stop", "trial"} else name: v for name, v in values.items()}
    found = trials_table(start, stop, **values)
    described = {name: table[name].description for name in table.colnames if node_name(name) in found}
    for name, text in described.items():
        found[node_name(name)].attrs["description"] = str(text)
    return found.assign_attrs(nwb_name=table.name, description=str(table.description or ""))
