"""The pieces of a recording: one formula for time, one spelling of units, one layout per kind of table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError
from neurotools.schema.ask import check_counts, check_time


def time_axis(n: int, sfreq: float, t0: float = 0.0) -> np.ndarray:
    """Seconds of ``n`` regular samples: the one formula for time, since two routes differ by rounding."""
    if not (math.isfinite(sfreq) and sfreq > 0):
        raise SchemaError("the sampling rate must be a positive number in Hz", code="NT-SET-002", found=sfreq)
    return t0 + np.arange(n) / sfreq


def continuous(
    values: Any,
    *,
    dim: str,
    labels: Sequence[Any] | np.ndarray | None = None,
    sfreq: float | None = None,
    time: np.ndarray | None = None,
    t0: float = 0.0,
    units: str,
    coords: Mapping[str, Any] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> xr.DataArray:
    """Build a labelled (``dim``, ``time``) array, in memory or lazy, with either ``sfreq`` or ``time``.

    ``coords`` are further coordinates along ``dim`` (``ch_type``, ``bad``, ``x`` ...). Without ``labels``
    the entries are numbered from 0.
    """
    if (sfreq is None) == (time is None):
        raise SchemaError("give the sampling rate or the time stamps, and not both", code="NT-SET-003")
    n_space, n_time = values.shape
    if time is None:
        assert sfreq is not None
        time = time_axis(n_time, sfreq, t0)
    else:
        time = np.asarray(time, dtype="float64")
        check_time(time, "the recording")
        if time.size != n_time:
            raise SchemaError(
                "time stamps and samples differ in number",
                code="NT-DATA-005", found=f"{time.size} stamps", expected=f"{n_time} samples",
            )  # fmt: skip
    labels = np.arange(n_space) if labels is None else np.asarray(labels)
    if labels.shape != (n_space,):
        raise SchemaError(
            f"labels and {dim}s differ in number",
            code="NT-DATA-005", found=f"{labels.size} labels", expected=f"{n_space} rows",
        )  # fmt: skip
    array = xr.DataArray(
        values,
        dims=(dim, "time"),
        coords={
            dim: labels,
            "time": ("time", time, {"units": "s"}),
            **{name: (dim, np.asarray(entry)) for name, entry in (coords or {}).items()},
        },
        attrs={"units": units, **plain_attrs(attrs or {})},
    )
    if sfreq is not None:
        array.attrs.update(sfreq=float(sfreq), t0=float(t0))
    return array


def counts_array(
    values: np.ndarray,
    *,
    bin_width: float,
    unit: Sequence[Any] | np.ndarray | None = None,
    t0: float = 0.0,
    coords: Mapping[str, Any] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> xr.DataArray:
    """Build spike counts (``time``, ``unit``); ``time`` is the left edge of each bin, in seconds."""
    values = np.asarray(values)
    check_counts(values, "spike counts")
    n_time, n_unit = values.shape
    return xr.DataArray(
        values.astype(np.int64) if values.dtype.kind == "f" else values,
        dims=("time", "unit"),
        coords={
            "time": ("time", time_axis(n_time, 1.0 / bin_width, t0), {"units": "s"}),
            "unit": np.arange(n_unit) if unit is None else np.asarray(unit),
            **(coords or {}),
        },
        attrs={"units": "count", "bin_width": float(bin_width), "closed": "left", **plain_attrs(attrs or {})},
    )


def spike_table(
    trains: Sequence[np.ndarray],
    *,
    unit: Sequence[Any] | np.ndarray | None = None,
    t_start: float,
    t_stop: float,
    coords: Mapping[str, Any] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Build ragged spikes: ``spike_time(spike)`` in seconds, laid end to end, and ``row_size(unit)``.

    Times inside a unit must be finite and sorted; a unit without spikes is legal. CF contiguous ragged
    array representation.
    """
    labels = np.arange(len(trains)) if unit is None else np.asarray(unit)
    for name, train in zip(labels, trains, strict=True):
        check_train(np.asarray(train), name, t_start, t_stop)
    spike_time = (
        np.concatenate([np.asarray(t, dtype="float64") for t in trains]) if len(trains) else np.empty(0)
    )
    return xr.Dataset(
        {
            "spike_time": ("spike", spike_time, {"units": "s"}),
            "row_size": (
                "unit",
                np.array([len(t) for t in trains], dtype="int64"),
                {"sample_dimension": "spike"},
            ),
        },
        coords={"unit": labels, **{k: ("unit", np.asarray(v)) for k, v in (coords or {}).items()}},
        attrs={"t_start": float(t_start), "t_stop": float(t_stop), **plain_attrs(attrs or {})},
    )


def check_train(train: np.ndarray, name: Any, t_start: float, t_stop: float) -> None:
    """Raise unless the spike times of one unit are finite, sorted and inside the recording."""
    place = f"unit {name}"
    if not np.isfinite(train).all():
        raise SchemaError(
            "spike times are not finite",
            code="NT-DATA-003", where=place, found=f"{int((~np.isfinite(train)).sum())} of {train.size}",
        )  # fmt: skip
    if (np.diff(train) < 0).any():
        raise SchemaError("spike times are not sorted", code="NT-DATA-004", where=place, fix="sort them")
    if train.size and (train[0] < t_start or train[-1] > t_stop):
        raise SchemaError(
            "spikes lie outside the recording",
            code="NT-DATA-007",
            where=place,
            found=f"{train[0]:g} to {train[-1]:g} s",
            expected=f"{t_start:g} to {t_stop:g} s",
        )


def spike_trains(spikes: xr.Dataset) -> list[np.ndarray]:
    """Return one array of spike times per unit, in the order of ``unit``."""
    edges = np.cumsum(spikes["row_size"].to_numpy())[:-1]
    return np.split(spikes["spike_time"].to_numpy(), edges)


def events_table(
    onset: Sequence[float] | np.ndarray,
    duration: Sequence[float] | np.ndarray | float = 0.0,
    trial_type: Sequence[Any] | np.ndarray | str = "event",
    **columns: Any,
) -> xr.Dataset:
    """Build events (BIDS names): ``onset`` and ``duration`` in seconds, ``trial_type``, along ``event``."""
    onset = np.asarray(onset, dtype="float64")
    n = onset.size
    duration = np.broadcast_to(np.asarray(duration, dtype="float64"), (n,)).copy()
    if not np.isfinite(onset).all() or (duration < 0).any():
        raise SchemaError("events need finite onsets and durations of at least 0 s", code="NT-DATA-009")
    kinds = np.broadcast_to(np.asarray(trial_type, dtype=object), (n,)).astype(str)
    return xr.Dataset(
        {
            "onset": ("event", onset, {"units": "s"}),
            "duration": ("event", duration, {"units": "s"}),
            "trial_type": ("event", kinds),
            **{name: ("event", np.asarray(values)) for name, values in columns.items()},
        },
        coords={"event": np.arange(n)},
        attrs={"time_reference": "start of recording"},
    )


def trials_table(start: np.ndarray, stop: np.ndarray, **columns: Any) -> xr.Dataset:
    """Build trials: ``start`` and ``stop`` in seconds along ``trial``; one variable per further column."""
    start, stop = np.asarray(start, dtype="float64"), np.asarray(stop, dtype="float64")
    bad = np.flatnonzero(~(stop > start))
    if bad.size:
        raise SchemaError(
            "trials must stop after they start",
            code="NT-DATA-009",
            where=f"trial {bad[0]}",
            found=f"start {start[bad[0]]:g} s, stop {stop[bad[0]]:g} s ({bad.size} such trials)",
        )
    return xr.Dataset(
        {
            "start": ("trial", start, {"units": "s"}),
            "stop": ("trial", stop, {"units": "s"}),
            **{name: ("trial", np.asarray(values)) for name, values in columns.items()},
        },
        coords={"trial": np.arange(start.size)},
    )


def plain_attrs(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Keep only attributes that every file format stores: text, numbers and lists of numbers.

    None is left out and a bool becomes 0 or 1; anything richer is an error, since it would be lost on disk.
    """
    plain: dict[str, Any] = {}
    for name, value in attrs.items():
        if value is None:
            continue
        if isinstance(value, (bool, np.bool_)):
            value = int(value)
        elif isinstance(value, np.generic):
            value = value.item()
        if not isinstance(value, (str, int, float)):
            value = np.asarray(value)
            if value.ndim != 1 or value.dtype.kind not in "iuf":
                raise SchemaError(
                    f"attribute {name!r} cannot be stored in every format",
                    found=type(attrs[name]).__name__,
                    fix="store text, a number or a list of numbers (json.dumps for anything richer)",
                )
        plain[name] = value
    return plain
