"""What a differential affinity looks like when it travels from ``signals`` to models and scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError
from neurotools.schema.ask import SPACE_DIMS, Schema, space_dim

MADE = ("smooth_s", "normalise", "floor", "lag_s")  # attrs that say how, handed on to a fit
SYMMETRY_TOLERANCE = 1e-6  # of the largest value: enough for float32, far below any real asymmetry


@dataclass(frozen=True)
class AffinityParts:
    """An affinity as plain arrays, subjects first (one where the data has no ``subject``: not ``several``).

    Either ``up`` and ``down`` (subject, time, unit) with the ``kernel`` that joins them, or ``dense``
    (subject, time, unit, unit) for affinities that were made elsewhere.
    """

    dim: str
    several: bool
    observed: np.ndarray
    coords: Mapping[str, xr.DataArray]
    kernel: str
    up: np.ndarray | None = None
    down: np.ndarray | None = None
    dense: np.ndarray | None = None
    window: int = 0
    edges: tuple[int, ...] = ()
    sent: tuple[np.ndarray, np.ndarray] | None = None  # drives a lag earlier (subject, time, unit)
    ordered: bool = False  # (i, j) and (j, i) are two pairs
    listed: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None  # value, row and pair above zero
    on_disk: xr.Dataset | None = None  # holds the drives where these are read when they are needed
    made: Mapping[str, Any] = field(default_factory=dict)  # how: smooth_s, normalise, floor

    @property
    def n_time(self) -> int:
        """Number of time points."""
        if self.on_disk is not None:
            return int(self.on_disk.sizes["time"])
        if self.listed is not None:
            return int(self.coords["time"].size)
        return int((self.up if self.dense is None else self.dense).shape[1])  # type: ignore[union-attr]

    def rows(self, name: str, start: int, stop: int) -> np.ndarray:
        """A drive at some rows (subject * time) of one subject, (row, unit), read from where it lies."""
        assert self.on_disk is not None
        subject, first = divmod(start, self.n_time)
        array = self.on_disk[name].isel(time=slice(first, first + stop - start))
        array = array.isel(subject=subject) if self.several else array
        values = array.transpose("time", self.dim).to_numpy()
        if not (values >= 0).all():
            raise SchemaError("drives of an affinity are finite and never negative", code="NT-DATA-003")
        return values

    @property
    def to_coord(self) -> dict[str, xr.DataArray]:
        """Labels along the second of a pair, the same as along the first."""
        to = f"{self.dim}_to"
        return (
            {to: xr.DataArray(self.coords[self.dim].to_numpy(), dims=to)} if self.dim in self.coords else {}
        )


def affinity_parts(data: Any, *, leave_on_disk: bool = False) -> AffinityParts:
    """Check an affinity, factored (Dataset) or dense (DataArray), and take it apart.

    With ``leave_on_disk`` the drives of a factored one are neither read nor checked here.

    Raises
    ------
    SchemaError
        It is neither; a variable lacks; a dense one is not symmetric, negative or not finite.
    """
    if isinstance(data, xr.DataArray):
        return _listed_parts(data) if data.dims == ("entry",) else _dense_parts(data)
    wanted = ("drive_up", "drive_down", "observed")
    if not isinstance(data, xr.Dataset) or any(name not in data for name in wanted):
        found = sorted(map(str, data.data_vars)) if isinstance(data, xr.Dataset) else type(data).__name__
        raise SchemaError(
            "an affinity is needed: a Dataset with drive_up, drive_down and observed",
            found=found,
            fix="make one with nt.differential_affinity(recording)",
        )
    if "kernel" not in data.attrs:
        raise SchemaError("the affinity does not say its kernel (attrs['kernel'])", code="NT-SET-001")
    dim = space_dim(data["drive_up"])
    if leave_on_disk:
        return _unread_parts(data, dim)
    drives = [
        Schema(f"an affinity ({name})", dims=("subject?", "time", dim)).require(data[name])
        for name in wanted[:2]
    ]
    if any(float(drive.min()) < 0 for drive in drives):
        raise SchemaError("drives of an affinity are never negative", code="NT-DATA-003")
    up, down = (_with_subject(drive) for drive in drives)
    sent = _sent(data, dim)
    observed = data["observed"].transpose(*[d for d in ("subject", dim) if d in data["observed"].dims])
    return AffinityParts(
        dim=dim,
        several="subject" in drives[0].dims,
        observed=np.broadcast_to(observed.to_numpy().astype(bool), (up.shape[0], up.shape[2])),
        coords=_kept(data, dim),
        kernel=str(data.attrs["kernel"]),
        made={name: data.attrs[name] for name in MADE if name in data.attrs},
        up=up,
        down=down,
        window=int(data.attrs.get("window_samples", 0)),
        edges=session_edges(data["drive_up"]),
        sent=sent,
        ordered=sent is not None,
    )


def _unread_parts(data: xr.Dataset, dim: str) -> AffinityParts:
    several = "subject" in data["drive_up"].dims
    observed = data["observed"].transpose(*[d for d in ("subject", dim) if d in data["observed"].dims])
    shape = (data.sizes["subject"] if several else 1, data.sizes[dim])
    return AffinityParts(
        dim=dim,
        several=several,
        observed=np.broadcast_to(observed.to_numpy().astype(bool), shape),
        coords=_kept(data, dim),
        kernel=str(data.attrs["kernel"]),
        made={name: data.attrs[name] for name in MADE if name in data.attrs},
        edges=session_edges(data["drive_up"]),
        ordered="sent_up" in data,
        on_disk=data,
    )


def _sent(data: xr.Dataset, dim: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Drives of the unit that leads, where pairs are ordered."""
    names = ("sent_up", "sent_down")
    if not all(name in data for name in names):
        return None
    schema = Schema("an affinity of ordered pairs", dims=("subject?", "time", dim))
    first, second = (_with_subject(schema.require(data[name])) for name in names)
    if min(float(first.min()), float(second.min())) < 0:
        raise SchemaError("drives of an affinity are never negative", code="NT-DATA-003")
    return first, second


def session_edges(array: xr.DataArray) -> tuple[int, ...]:
    """Positions where sessions begin and end along ``time``: ``(0, n)`` when there is one session."""
    n = array.sizes["time"]
    if "session" not in array.coords or array["session"].dims != ("time",):
        return (0, n)
    labels = array["session"].to_numpy()
    return (0, *(np.flatnonzero(labels[1:] != labels[:-1]) + 1).tolist(), n)


def _with_subject(array: xr.DataArray) -> np.ndarray:
    # Products round alike only if the data lie alike, whatever order the dimensions came in.
    values = np.ascontiguousarray(array.to_numpy())
    return values if "subject" in array.dims else values[None]


def _kept(data: xr.Dataset | xr.DataArray, dim: str) -> dict[str, xr.DataArray]:
    """Coordinates that ride on subject, unit or time, for the result."""
    allowed = {"subject", dim, "time"}
    return {
        str(name): coord.reset_coords(drop=True)
        for name, coord in data.coords.items()
        if coord.dims and set(coord.dims) <= allowed
    }


def _listed_parts(data: xr.DataArray) -> AffinityParts:
    """A sparse affinity: values above zero along ``entry``, with coordinates that say where each lies."""
    dim = next((name for name in SPACE_DIMS if {name, f"{name}_to", "time"} <= set(data.coords)), None)
    if dim is None:
        raise SchemaError(
            "a sparse affinity needs coordinates unit, unit_to and time along entry",
            found=sorted(map(str, data.coords)),
        )
    value = data.to_numpy().astype("float64")
    if not (np.isfinite(value) & (value >= 0)).all():
        raise SchemaError("a sparse affinity is finite and never negative", code="NT-DATA-003")
    ends = [data[name].to_numpy() for name in (dim, f"{dim}_to")]
    names, place = np.unique(np.concatenate(ends), return_inverse=True)
    first, second = np.split(place, 2)
    time, moment = np.unique(data["time"].to_numpy().astype("float64"), return_inverse=True)
    several = "subject" in data.coords
    who = data["subject"].to_numpy() if several else np.zeros(value.size, dtype=int)
    subject, animal = np.unique(who, return_inverse=True)
    ordered, n = bool(data.attrs.get("ordered", 0)), names.size
    low, high = (first, second) if ordered else (np.minimum(first, second), np.maximum(first, second))
    if ordered:
        pair = low * (n - 1) + high - (high > low)
    else:
        pair = low * n - low * (low + 1) // 2 + high - low - 1
    row, off = animal * time.size + moment, first != second
    keys = np.unique(np.stack([row[off], pair[off]]), axis=1)
    if keys.shape[1] < int(off.sum()):
        raise SchemaError(
            "a pair is listed more than once at one moment", code="NT-DATA-006",
            fix="list every pair once" if not ordered else None,
        )  # fmt: skip
    coords = {"time": xr.DataArray(time, dims="time"), dim: xr.DataArray(names, dims=dim)}
    if several:
        coords["subject"] = xr.DataArray(subject, dims="subject")
    return AffinityParts(
        dim=dim,
        several=several,
        observed=np.ones((subject.size, n), dtype=bool),
        coords=coords,
        kernel=str(data.attrs.get("kernel", "sparse")),
        ordered=ordered,
        edges=(0, time.size),
        listed=(value[off], row[off], pair[off]),
    )


def _dense_parts(data: xr.DataArray) -> AffinityParts:
    dim = next((name for name in SPACE_DIMS if {name, f"{name}_to"} <= set(data.dims)), None)
    if dim is None:
        raise SchemaError(
            "a dense affinity needs dimensions (subject?, unit, unit_to, time)",
            found=tuple(map(str, data.dims)),
            fix="rename with data.rename(...), or pass traces to nt.differential_affinity",
        )
    what = "a dense affinity"
    several = "subject" in data.dims
    schema = Schema(what, dims=("subject?", "time", dim, f"{dim}_to"), allow_nan=several)
    array = schema.require(data)
    values = _with_subject(array).astype("float64", copy=False)
    n = values.shape[-1]
    if values.shape[-2] != n:
        raise SchemaError(f"{what} must be square", code="NT-DATA-005", found=dict(array.sizes))
    values, observed = _observed_pairs(np.where(np.eye(n, dtype=bool), 0.0, values), what)
    if (values < 0).any():
        raise SchemaError(
            f"{what} must not be negative",
            code="NT-DATA-003",
            found=f"{int((values < 0).sum())} negative values",
            fix="rectify it, or choose a kernel that is not negative",
        )
    ordered = bool(data.attrs.get("ordered", 0))
    worst = 0.0 if ordered else float(np.abs(values - np.swapaxes(values, -1, -2)).max())
    if worst > SYMMETRY_TOLERANCE * float(values.max() or 1.0):
        raise SchemaError(
            f"{what} must be symmetric",
            code="NT-DATA-005",
            found=f"largest difference between {dim} and {dim}_to {worst:g}",
            fix="average it with its transpose if the direction does not matter; if it does, "
            "data.attrs['ordered'] = 1",
        )
    return AffinityParts(
        dim=dim,
        several=several,
        observed=observed,
        coords=_kept(data, dim),
        kernel=str(data.attrs.get("kernel", "dense")),
        dense=values,
        ordered=ordered,
        edges=session_edges(array),
    )


def _observed_pairs(values: np.ndarray, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Values with zeros where a subject lacks a unit (its rows are NaN), and which units it has."""
    n = values.shape[-1]
    missing = np.isnan(values)
    observed = ~(missing | np.eye(n, dtype=bool)).all(axis=(1, 3))
    lacking = ~(observed[:, :, None] & observed[:, None, :])[:, None] & ~np.eye(n, dtype=bool)
    if (missing != lacking).any() or np.isinf(values).any():
        raise SchemaError(
            f"{what} has values that are not finite",
            code="NT-DATA-003",
            found=f"{int((~np.isfinite(values)).sum())} of {values.size}",
            fix="a unit that a subject lacks is NaN at all times in its row and column; nothing else may be",
        )
    return np.where(missing, 0.0, values), observed
