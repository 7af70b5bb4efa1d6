"""Tables whose columns have a role (spike times, onsets, starts), made from the nameless arrays of a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import FileError, SchemaError, SettingsError
from neurotools.loaders.answers import SETTINGS_FILE, Answers, check_keys
from neurotools.loaders.described.opened import Opened
from neurotools.loaders.described.tables import TABLE
from neurotools.loaders.reading.units import seconds
from neurotools.loaders.spikes.trains import judged_trains
from neurotools.schema import events_table, spike_table, trials_table

SPIKE_KEYS = (
    "time", "unit", "trains", "file", "units", "t_start", "t_stop", "labels", "coords", "sort", "attrs",
)  # fmt: skip
EVENT_KEYS = ("onset", "duration", "trial_type", "units", "columns")
TRIAL_KEYS = ("start", "stop", "units", "columns")


# ---- spikes ----------------------------------------------------------------------------------------
def spikes_of_columns(answers: Answers, opened: Opened) -> dict[str, Any]:
    """Describe a text table of spikes: one column of times, or a column of units and one of times."""
    contents = opened.contents()
    columns = [name for name in contents.arrays if name != TABLE]
    if contents.only != TABLE or len(columns) > 2:
        raise FileError(
            "the file does not say which arrays are spike times and units",
            code="NT-FILE-006", path=opened.path, found=contents.shown(),
            fix='arrays={"spikes": {"time": NAME, "unit": NAME, "units": "s"}}, or '
            '{"trains": "PATTERN*"} for one array per unit',
        )  # fmt: skip
    dims = answers.need("dims", opened.path, contents.shown())
    if sorted(dims) not in (["time"], ["time", "unit"]) or len(dims) != len(columns):
        raise SettingsError(
            "dims name the columns of a table of spikes",
            path=opened.path, found=f"{dims} for {contents.shown()}",
            expected='("time",), or ("unit", "time") in the order of the columns',
        )  # fmt: skip
    found: dict[str, Any] = dict(zip(dims, columns, strict=True))
    found["units"] = answers.need("units", opened.path, "spike times are numbers without a unit")
    return {**found, **({} if answers.labels is None else {"labels": answers.labels})}


def spikes_node(given: Mapping[str, Any], opened: Opened) -> xr.Dataset:
    """Build ragged spikes from ``time`` and ``unit`` arrays, or from one array per unit (``trains``)."""
    check_keys("spikes", given, SPIKE_KEYS)
    if given.get("units") is None:
        raise FileError(
            "the file does not say the unit of its spike times",
            code="NT-FILE-006", path=opened.path,
            fix=f'units: "s" (or ms, us) under spikes, here or in {SETTINGS_FILE}',
        )  # fmt: skip
    if ("time" in given) == ("trains" in given):
        raise SettingsError("spikes need either 'time' (with 'unit') or 'trains'", found=sorted(given))
    trains, labels, attrs = _grouped(given, opened) if "time" in given else _one_each(given, opened)
    if given.get("labels") is not None:
        trains, labels = _under_labels(trains, labels, given["labels"], opened)
    trains, notes = judged_trains(trains, labels, path=opened.path, sort=bool(given.get("sort")))
    start, stop, window = _window(given, trains, opened)
    coords = {name: opened.value(reference).ravel() for name, reference in given.get("coords", {}).items()}
    for name, values in coords.items():
        if values.shape != (len(labels),):
            raise SchemaError(
                f"the coordinate {name!r} does not fit the units",
                code="NT-DATA-005", path=opened.path, found=f"{values.size} values",
                expected=f"{len(labels)}",
            )  # fmt: skip
    attrs = {**attrs, **notes, **window, **given.get("attrs", {})}
    return spike_table(trains, unit=labels, t_start=start, t_stop=stop, coords=coords, attrs=attrs)


def _grouped(given: Mapping[str, Any], opened: Opened) -> tuple[list[np.ndarray], np.ndarray, dict[str, Any]]:
    time = seconds(opened.value(given["time"]).ravel(), given["units"])
    if given.get("unit") is None:
        return [time], np.array([0]), {}
    unit = opened.value(given["unit"]).ravel()
    if unit.shape != time.shape:
        raise SchemaError(
            "spike times and units differ in number",
            code="NT-DATA-005", path=opened.path, found=f"{unit.size} units", expected=f"{time.size}",
        )  # fmt: skip
    if unit.dtype.kind == "f":
        if not np.isfinite(unit).all() or (unit != np.round(unit)).any():
            raise SchemaError("units are numbered by whole numbers", code="NT-DATA-006", path=opened.path)
        unit = unit.astype("int64")
    labels, inverse = np.unique(unit, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    edges = np.cumsum(np.bincount(inverse, minlength=labels.size))[:-1]
    return np.split(time[order], edges), labels, {"units_listed": "those with at least one spike"}


def _one_each(
    given: Mapping[str, Any], opened: Opened
) -> tuple[list[np.ndarray], np.ndarray, dict[str, Any]]:
    names = opened.matching(given.get("file"), str(given["trains"]))
    trains = [
        seconds(opened.read(given.get("file"), name).ravel(), given["units"]) for name in names.values()
    ]
    return trains, np.array(list(names)), {}


def _under_labels(
    trains: list[np.ndarray], found: np.ndarray, labels: Any, opened: Opened
) -> tuple[list[np.ndarray], np.ndarray]:
    """All units in the order of ``labels``, those without a spike too."""
    wanted = np.asarray(opened.value(labels)).ravel()
    by_label = {str(label): train for label, train in zip(found, trains, strict=True)}
    strange = sorted(set(by_label) - set(map(str, wanted)))
    if strange:
        raise SchemaError(
            "spikes belong to units that are not among the labels",
            code="NT-DATA-006", path=opened.path, found=", ".join(strange[:8]),
            expected=f"{wanted.size} labels from {wanted[0]} to {wanted[-1]}" if wanted.size else "no labels",
        )  # fmt: skip
    return [by_label.get(str(label), np.empty(0)) for label in wanted], wanted


def _window(
    given: Mapping[str, Any], trains: list[np.ndarray], opened: Opened
) -> tuple[float, float, dict[str, str]]:
    """When recording began and ended; where that is not stated, the outermost spikes, with a note of it."""
    every = np.concatenate(trains) if trains else np.empty(0)
    if every.size == 0 and not {"t_start", "t_stop"} <= set(given):
        raise FileError("there is no spike in the file", code="NT-DATA-010", path=opened.path)
    edges, unsaid = [], []
    for key, place in (("t_start", 0), ("t_stop", -1)):
        if given.get(key) is None:
            unsaid.append(key)
            edges.append(float(every.min() if place == 0 else every.max()))
        else:
            values = opened.value(given[key]).ravel()
            if values.size not in {1, 2} or values.dtype.kind not in "iuf":
                raise SettingsError(f"{key!r} is a time in seconds", found=f"{values.dtype} {values.shape}")
            edges.append(float(values[place]))
    note = {"window": " and ".join(unsaid) + ": not stated; the outermost spike"} if unsaid else {}
    return edges[0], edges[1], note


# ---- events and trials -----------------------------------------------------------------------------
def _columns(given: Mapping[str, Any], opened: Opened) -> dict[str, np.ndarray]:
    return {name: opened.value(reference).ravel() for name, reference in given.get("columns", {}).items()}


def _check_lengths(what: str, columns: Mapping[str, np.ndarray], opened: Opened) -> None:
    if len({values.shape for values in columns.values()}) > 1:
        found = ", ".join(f"{name} {values.size}" for name, values in columns.items())
        raise SchemaError(
            f"the columns of {what} differ in length", code="NT-DATA-005", path=opened.path, found=found
        )


def events_node(given: Mapping[str, Any], opened: Opened) -> xr.Dataset:
    """Build events from ``onset``, ``duration`` and ``trial_type`` arrays; seconds unless ``units`` says."""
    check_keys("events", given, EVENT_KEYS)
    if "onset" not in given:
        raise SettingsError("events need 'onset'", found=sorted(given))
    unit = str(given.get("units", "s"))
    columns = {"onset": seconds(opened.value(given["onset"]).ravel(), unit), **_columns(given, opened)}
    if not isinstance(given.get("duration", 0), (int, float)):
        columns["duration"] = seconds(opened.value(given["duration"]).ravel(), unit)
    else:
        columns["duration"] = np.full(
            columns["onset"].shape, seconds(np.array(given.get("duration", 0)), unit)
        )
    if isinstance(given.get("trial_type"), Mapping):
        columns["trial_type"] = opened.value(given["trial_type"]).ravel()
    else:
        columns["trial_type"] = np.full(columns["onset"].shape, str(given.get("trial_type", "event")))
    _check_lengths("events", columns, opened)
    return events_table(**columns)


def trials_node(given: Mapping[str, Any], opened: Opened) -> xr.Dataset:
    """Build trials from ``start`` and ``stop`` arrays; seconds unless ``units`` says."""
    check_keys("trials", given, TRIAL_KEYS)
    if not {"start", "stop"} <= set(given):
        raise SettingsError("trials need 'start' and 'stop'", found=sorted(given))
    unit = str(given.get("units", "s"))
    columns = {key: seconds(opened.value(given[key]).ravel(), unit) for key in ("start", "stop")}
    columns |= _columns(given, opened)
    _check_lengths("trials", columns, opened)
    return trials_table(**columns)
