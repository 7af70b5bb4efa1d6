"""Time series of an NWB file: what each one is, its clock, and the node it becomes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, SettingsError
from neurotools.loaders.nwb.tables import Source, columns, node_name
from neurotools.loaders.reading.units import canonical
from neurotools.schema import time_axis

# Class anywhere among the ancestors of an object -> what it is; the first that matches.
ROUTES = (
    ("RoiResponseSeries", "calcium"), ("SpikeEventSeries", "waveforms"), ("ElectricalSeries", "voltage"),
    ("AnnotationSeries", "events"), ("IntervalSeries", "events"), ("ImageSeries", "images"),
    ("EventsTable", "events"), ("Events", "events"), ("IndexSeries", "images"),
    ("TimeSeries", "series"),
)  # fmt: skip
EVENT_COLUMNS = {"timestamp", "duration", "annotation"}
EVENT_HOLDERS = {"BehavioralEvents"}
BEHAVIOUR_HOLDERS = {
    "Position", "CompassDirection", "EyeTracking", "PupilTracking", "BehavioralTimeSeries", "SpatialSeries",
}  # fmt: skip
FAMILY = re.compile(r"^(?P<stem>.*?)(?P<number>\d+)$")
ONE_NEURON = re.compile(r"neuron|\bcell|\broi|calcium|gcamp|fluor|dff|activity", re.IGNORECASE)
NO_UNIT = {"", "none", "na", "n.a.", "n.a", "unknown", "no unit", "unit"}
SENTINEL_S = 86_400.0  # an event more than a day before the session began is no moment of it


@dataclass(frozen=True)
class Leaf:
    """One time series or table: where it lies, the kinds of its containers, and the object."""

    place: str
    within: tuple[str, ...]
    obj: Any

    @property
    def path(self) -> str:
        """Place and name, as the user would write them."""
        return f"{self.place}/{self.obj.name}"


def leaves(nwbfile: Any) -> Iterator[Leaf]:
    """Every time series and free table of the file, containers opened."""
    places = [("acquisition", nwbfile.acquisition), ("stimulus", nwbfile.stimulus)]
    places += [(f"processing/{name}", module.data_interfaces) for name, module in nwbfile.processing.items()]
    places += [("events", getattr(nwbfile, "events", None) or {})]
    places += [("analysis", nwbfile.analysis), ("scratch", nwbfile.scratch or {})]
    for place, objects in places:
        for obj in objects.values():
            yield from _opened(place, (), obj)


def _opened(place: str, within: tuple[str, ...], obj: Any) -> Iterator[Leaf]:
    if _ancestors(obj) & {"TimeSeries", "DynamicTable", "Events"} or not getattr(obj, "children", ()):
        yield Leaf(place, within, obj)
        return
    for child in obj.children:
        yield from _opened(place, (*within, type(obj).__name__), child)


def _ancestors(obj: Any) -> set[str]:
    return {cls.__name__ for cls in type(obj).__mro__}


def route(leaf: Leaf, source: Source) -> str:
    """What a leaf is: calcium, voltage, events, images, behaviour, stimulus, series, or left in the file."""
    names = _ancestors(leaf.obj)
    kind = next((kind for name, kind in ROUTES if name in names), "other")
    if leaf.place in {"analysis", "scratch"} or kind in {"other", "waveforms"}:
        return "other"
    if kind == "images":
        return "images" if leaf.place == "stimulus" else "other"
    if kind != "series":
        return kind
    if EVENT_HOLDERS & set(leaf.within) or _is_code(leaf.obj, source):
        return "events"
    if BEHAVIOUR_HOLDERS & {*leaf.within, *names} or "behav" in leaf.place.lower():
        return "behaviour"
    return "stimulus" if leaf.place == "stimulus" else "series"


def _is_code(series: Any, source: Source) -> bool:
    """Whether a plain series holds event codes: whole numbers at moments that follow no clock."""
    whole = np.dtype(data_type(series.data)).kind in "iu" and len(np.shape(series.data)) == 1
    if series.timestamps is None or not whole:
        return False
    stamps = source.values(series.timestamps)
    step = np.diff(stamps[np.isfinite(stamps)])
    if step.size == 0:
        return True
    # Most steps of a clock are alike even where frames were lost; those between events are not.
    median = np.median(step)
    return bool((np.abs(step - median) > median / 2).mean() > 0.1)


def data_type(data: Any) -> Any:
    """The type of the numbers of a dataset, array or list, without reading a dataset."""
    return data.dtype if hasattr(data, "dtype") else np.asarray(data).dtype


def neuron_families(found: list[Leaf], anyway: bool) -> list[list[Leaf]]:
    """Groups of one-dimensional series that differ only in a number at the end: one series per neuron.

    ``anyway`` takes families that do not say that they are neurons (the user said so).
    """
    families: dict[tuple[str, str], list[Leaf]] = {}
    for leaf in found:
        match = FAMILY.match(leaf.obj.name)
        if match and len(np.shape(leaf.obj.data)) == 1 and np.dtype(data_type(leaf.obj.data)).kind == "f":
            families.setdefault((leaf.place, match["stem"]), []).append(leaf)
    return [
        sorted(group, key=lambda leaf: int(FAMILY.match(leaf.obj.name)["number"]))  # type: ignore[index]
        for (_, stem), group in families.items()
        if len(group) > 1 and (anyway or ONE_NEURON.search(f"{stem} {group[0].obj.description}"))
    ]


# ---- clocks -----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Clock:
    """Seconds of every sample; ``sfreq`` where the file states it; ``order`` where samples were sorted."""

    time: np.ndarray
    sfreq: float | None = None
    order: np.ndarray | None = None
    n_back: int = 0

    def same(self, other: Clock) -> bool:
        """Whether two series were sampled at the same moments."""
        return self.time.shape == other.time.shape and bool((self.time == other.time).all())

    @property
    def attrs(self) -> dict[str, Any]:
        """Attributes for an array on this clock."""
        found: dict[str, Any] = {"n_times_sorted": self.n_back} if self.n_back else {}
        if self.sfreq is not None:
            found |= {"sfreq": self.sfreq, "t0": float(self.time[0]) if self.time.size else 0.0}
        return found


def clock(leaf: Leaf, source: Source) -> Clock:
    """The clock of a series; times that are not finite, step back or repeat are an error with counts."""
    series, n = leaf.obj, int(np.shape(leaf.obj.data)[0])
    if series.rate is not None:
        return Clock(time_axis(n, float(series.rate), float(series.starting_time or 0.0)), float(series.rate))
    time = source.values(series.timestamps).astype("float64")
    if time.shape != (n,):
        raise SchemaError(
            "time stamps and samples differ in number",
            code="NT-DATA-005", path=source.path, where=leaf.path,
            found=f"{time.size} stamps", expected=f"{n} samples",
        )  # fmt: skip
    bad = int((~np.isfinite(time)).sum())
    if bad:
        raise SchemaError(
            "time stamps are not finite",
            code="NT-DATA-004", path=source.path, where=leaf.path, found=f"{bad} of {n}",
        )  # fmt: skip
    back = int((np.diff(time) < 0).sum())
    order = np.argsort(time, kind="stable") if back and source.answers.sort else None
    time = time if order is None else time[order]
    wrong = int((np.diff(time) <= 0).sum())
    if wrong:
        raise SchemaError(
            "time stamps do not increase at every sample",
            code="NT-DATA-004", path=source.path, where=leaf.path,
            found=f"{wrong} of {n - 1} steps, {back} of them backwards",
            fix="nt.load(path, sort=True) puts stamps that step back into order"
            if back else "remove the repeated stamps",
        )  # fmt: skip
    return Clock(time, order=order, n_back=back)


def unit_of(series: Any) -> tuple[dict[str, str], int]:
    """Attributes for the unit of a series, and the power of ten that leads to it from the stated one.

    ``"arbitrary"`` where none is stated; a unit that has no canonical one stays as it is.
    """
    stated = str(getattr(series, "unit", "") or "")
    if stated.strip().lower() in NO_UNIT:
        return {"units": "arbitrary", "units_in_file": stated}, 0
    try:
        unit, power = canonical(stated)
    except SettingsError:
        return {"units": stated}, 0
    return {"units": unit} | ({"units_in_file": stated} if power else {}), power


def scaling(series: Any) -> tuple[float, float]:
    """Factor and offset from stored numbers to the canonical unit."""
    conversion, offset = getattr(series, "conversion", None), getattr(series, "offset", None)
    _, power = unit_of(series)
    factor, shift = 1.0 if conversion is None else float(conversion), 0.0 if offset is None else float(offset)
    return (
        (factor / 10.0**-power, shift / 10.0**-power)
        if power < 0
        else (factor * 10**power, shift * 10**power)
    )


# ---- plain series -----------------------------------------------------------------------------------
def by_clock(base: str, found: list[Leaf], source: Source, taken: set[str]) -> dict[str, xr.Dataset]:
    """Series as nodes, those of one clock together: the first clock under ``base``, others by name."""
    groups: list[tuple[Clock, list[Leaf]]] = []
    for leaf in found:
        if (
            not 1 <= len(np.shape(leaf.obj.data)) <= 2
            or np.dtype(data_type(leaf.obj.data)).kind not in "iufb"
        ):
            source.leave(leaf.path, f"data of shape {np.shape(leaf.obj.data)}")
            continue
        own = clock(leaf, source)
        for shared, members in groups:
            if shared.same(own) and (shared.order is None) == (own.order is None):
                members.append(leaf)
                break
        else:
            groups.append((own, [leaf]))
    nodes = {}
    for shared, members in groups:
        name = base if base not in taken else f"{base}_{node_name(members[0].obj.name)}"
        while name in taken:
            name += "_"
        taken.add(name)
        nodes[name] = _node(shared, members, source)
    return nodes


def _node(shared: Clock, members: list[Leaf], source: Source) -> xr.Dataset:
    dataset = xr.Dataset(coords={"time": ("time", shared.time, {"units": "s"})})
    for leaf in members:
        values = source.values(leaf.obj.data)
        values = values if shared.order is None else values[shared.order]
        factor, offset = scaling(leaf.obj)
        values = values if (factor, offset) == (1.0, 0.0) else values * factor + offset
        name = node_name(leaf.obj.name)
        if name in dataset.variables:
            name = node_name(leaf.path)
        dims: tuple[str, ...] = ("time",)
        if values.ndim == 2:
            dataset, axis = _with_axis(dataset, leaf, values.shape[1], name)
            dims = ("time", axis)
        dataset[name] = xr.Variable(
            dims, values, {**unit_of(leaf.obj)[0], **shared.attrs, "nwb_path": leaf.path}
        )
    return dataset


def _with_axis(dataset: xr.Dataset, leaf: Leaf, n: int, name: str) -> tuple[xr.Dataset, str]:
    """Add the coordinate of the columns of a series: x, y, z for places, else their names or numbers."""
    features = getattr(leaf.obj, "features", None)
    if features is not None and len(features) == n:
        labels = np.array([str(entry) for entry in features], dtype=str)
    elif "SpatialSeries" in _ancestors(leaf.obj) and n <= 3:
        labels = np.array(["x", "y", "z"][:n])
    else:
        labels = np.arange(n)
    axis = "axis"
    if axis in dataset.coords and not np.array_equal(dataset[axis].to_numpy(), labels):
        axis = f"{name}_axis"
    return dataset.assign_coords({axis: (axis, labels)}), axis


# ---- events -----------------------------------------------------------------------------------------
def events(found: list[Leaf], source: Source, base: str = "events") -> dict[str, xr.Dataset]:
    """Event series as tables, in the order of the file; series of the same moments become one table.

    A time more than a day before the session is a sentinel of the writer and no moment: it is left out of
    the table, and ``n_excluded``, ``excluded_onset`` and ``excluded_value`` in its attributes say so.
    """
    tables: dict[str, xr.Dataset] = {}
    moments: dict[str, np.ndarray] = {}
    for leaf in found:
        onset, values = _event_columns(leaf, source)
        _refuse_onsets(onset, leaf, source)
        host = next((name for name, times in moments.items() if np.array_equal(times, onset)), None)
        kept = onset >= -SENTINEL_S
        if host is not None and leaf.obj.name not in tables[host]:
            tables[host][node_name(leaf.obj.name)] = ("event", values["trial_type"][kept])
            continue
        name = base if base not in tables else f"{base}_{node_name(leaf.obj.name)}"
        tables[name] = _event_table(onset, values, kept).assign_attrs(nwb_path=leaf.path)
        moments[name] = onset
    return tables


def _refuse_onsets(onset: np.ndarray, leaf: Leaf, source: Source) -> None:
    bad = int((~np.isfinite(onset)).sum())
    if bad:
        raise SchemaError(
            "event times are not finite",
            code="NT-DATA-003", path=source.path, where=leaf.path, found=f"{bad} of {onset.size}",
        )  # fmt: skip


def _event_columns(leaf: Leaf, source: Source) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Onsets and, for each, ``duration``, ``trial_type`` and where there is a code its ``value``."""
    obj, names = leaf.obj, _ancestors(leaf.obj)
    if "ImageSeries" in names:
        return _image_columns(leaf, source)
    if "DynamicTable" in names:
        onset = source.values(obj["timestamp"].data).astype("float64")
        duration = source.values(obj["duration"].data) if "duration" in obj.colnames else np.zeros(onset.size)
        kind = source.values(obj["annotation"].data) if "annotation" in obj.colnames else None
        own = {"duration": duration, "trial_type": _kinds(kind, obj.name, onset.size)}
        return onset, {**columns(obj, leaf.path, source, EVENT_COLUMNS), **own}
    data = None if getattr(obj, "data", None) is None else source.values(obj.data)
    onset = _onsets(obj, 0 if data is None else len(data), source)
    if data is not None and data.shape != onset.shape:
        raise SchemaError(
            "event times and event values differ in number",
            code="NT-DATA-005", path=source.path, where=leaf.path,
            found=f"{onset.size} times, values {data.shape}",
        )  # fmt: skip
    labels = getattr(obj, "labels", None)
    kind = data if labels is None or data is None else source.values(labels)[data.astype("int64")]
    found = {"duration": np.zeros(onset.size), "trial_type": _kinds(kind, obj.name, onset.size)}
    if data is not None and data.dtype.kind in "iuf":
        found["value"] = data
    return onset, found


def _onsets(obj: Any, n: int, source: Source) -> np.ndarray:
    if getattr(obj, "rate", None) is not None:
        return time_axis(n, float(obj.rate), float(obj.starting_time or 0.0))
    return source.values(obj.timestamps).astype("float64")


def _image_columns(leaf: Leaf, source: Source) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Moments at which images were shown, each with the name of its file where there is one per moment."""
    files: Any = [] if leaf.obj.external_file is None else source.values(leaf.obj.external_file)
    shape = np.shape(leaf.obj.data) if leaf.obj.data is not None else ()
    if leaf.obj.rate is not None and len(files):
        first = np.asarray(leaf.obj.starting_frame, dtype="float64")
        onset = float(leaf.obj.starting_time or 0.0) + first / float(leaf.obj.rate)
    else:
        onset = _onsets(leaf.obj, shape[0] if shape else len(files), source)
    if shape and shape[0] == onset.size:
        source.leave(leaf.path, f"pictures of shape {shape}; their times are in the table")
    kind = files if len(files) == onset.size else None
    return onset, {"duration": np.zeros(onset.size), "trial_type": _kinds(kind, leaf.obj.name, onset.size)}


def _kinds(values: Any, name: str, n: int) -> np.ndarray:
    if values is None:
        return np.full(n, name)
    return np.asarray(values).astype(str)


def _event_table(onset: np.ndarray, rows: dict[str, np.ndarray], kept: np.ndarray) -> xr.Dataset:
    attrs: dict[str, Any] = {"time_reference": "start of recording"}
    if not kept.all():
        attrs["n_excluded"] = int((~kept).sum())
        attrs["excluded_onset"] = " ".join(f"{t:.17g}" for t in onset[~kept])
        attrs["excluded_value"] = " ".join(rows["trial_type"][~kept])
    back = int((np.diff(onset[kept]) < 0).sum())
    if back:
        attrs["n_steps_back"] = back  # codes of two sources, written one after the other
    return xr.Dataset(
        {
            "onset": ("event", onset[kept], {"units": "s"}),
            **{
                name: ("event", values[kept], {"units": "s"} if name == "duration" else {})
                for name, values in rows.items()
            },
        },
        coords={"event": np.arange(int(kept.sum()))},
        attrs=attrs,
    )
