"""One object of pynapple as plain arrays: judged, then laid out as nodes of a recording."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import FileError, SchemaError, SettingsError
from neurotools.loaders.reading.units import converted
from neurotools.loaders.spikes.trains import judged_trains
from neurotools.schema import events_table, spike_table, trials_table
from neurotools.schema.ask import MAIN_ARRAYS

TYPES = ("TsGroup", "TsdFrame", "TsdTensor", "Tsd", "Ts", "IntervalSet")
# Main arrays that a series can be, and their first dimension; counts come from spikes, by nt.bin_spikes.
SERIES = {
    path.partition("/")[0]: (
        path,
        {"calcium": "unit", "fmri": "region"}.get(path.partition("/")[0], "channel"),
    )
    for path in MAIN_ARRAYS
    if path != "counts/counts"
}
AXES = ("axis", "axis_2", "axis_3", "axis_4", "axis_5")


@dataclass(frozen=True)
class Piece:
    """One object of pynapple as plain arrays; ``index`` gives the unit of every spike."""

    type: str
    start: np.ndarray
    end: np.ndarray
    t: np.ndarray = field(default_factory=lambda: np.empty(0))
    d: np.ndarray | None = None
    index: np.ndarray | None = None
    keys: np.ndarray | None = None
    columns: np.ndarray | None = None
    metadata: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)


def judged(piece: Piece, path: Path | None) -> Piece:
    """Refuse times that cannot be; put samples into order of time and note how many steps back."""
    for name, times in (("time", piece.t), ("time support", np.concatenate([piece.start, piece.end]))):
        bad = int((~np.isfinite(times)).sum())
        if bad:
            raise SchemaError(
                f"the {name} holds values that are not finite",
                code="NT-DATA-004", path=path, where=piece.type, found=f"{bad} of {times.size}",
                fix="drop these samples in pynapple first",
            )  # fmt: skip
    if piece.start.shape != piece.end.shape:
        raise SchemaError(
            "starts and ends of intervals differ in number",
            code="NT-DATA-005", path=path, found=f"{piece.start.size} and {piece.end.size}",
        )  # fmt: skip
    _refuse_lengths(piece, path)
    back = int((np.diff(piece.t) < 0).sum()) if piece.type != "TsGroup" else 0
    if back:
        order = np.argsort(piece.t, kind="stable")
        d = None if piece.d is None else piece.d[order]
        piece = replace(piece, t=piece.t[order], d=d, notes={"n_times_sorted": back})
    _refuse_outside(piece, path)
    return piece


def _refuse_lengths(piece: Piece, path: Path | None) -> None:
    for name in ("d", "index"):
        values = getattr(piece, name)
        if values is not None and (values.ndim == 0 or len(values) != piece.t.size):
            raise SchemaError(
                f"times and {'values' if name == 'd' else 'unit numbers'} differ in number",
                code="NT-DATA-005", path=path,
                found=f"shape {values.shape}", expected=f"{piece.t.size} times",
            )  # fmt: skip


def _refuse_outside(piece: Piece, path: Path | None) -> None:
    if piece.type == "IntervalSet":
        return
    order = np.argsort(piece.start)
    start, end = piece.start[order], piece.end[order]
    slot = np.searchsorted(start, piece.t, side="right") - 1
    inside = (
        (slot >= 0) & (piece.t <= end[np.maximum(slot, 0)]) if start.size else np.zeros(piece.t.size, bool)
    )
    if not inside.all():
        raise SchemaError(
            "times lie outside the time support",
            code="NT-DATA-007", path=path, where=piece.type,
            found=f"{int((~inside).sum())} of {piece.t.size}, the first at {piece.t[~inside][0]:g} s",
            fix="pynapple would drop them; restrict the object, or widen its support, first",
        )  # fmt: skip


def nodes(
    piece: Piece, name: str, kind: str | None, units: str | None, path: Path | None
) -> dict[str, xr.Dataset]:
    """The node that an object becomes: ``spikes``, ``trials``, ``events``, a main array or ``behaviour``."""
    if piece.type == "TsGroup":
        return {"spikes": _supported(_spikes(piece, path), piece)}
    if piece.type == "IntervalSet":
        found = {f"{k}_" if k in {"start", "stop", "trial"} else k: v for k, v in piece.metadata.items()}
        return {"trials": trials_table(piece.start, piece.end, **found).assign_attrs(pynapple=piece.type)}
    if piece.type == "Ts":
        return {"events": _supported(events_table(piece.t).assign_attrs(pynapple="Ts", **piece.notes), piece)}
    if kind in SERIES:
        node, series = _main_array(piece, kind, units, path)
    elif kind in {None, "behaviour"}:
        node, series = "behaviour", _behaviour(piece, name, units)
    else:
        raise SettingsError(
            f"a {piece.type} cannot be {kind!r}",
            code="NT-SET-001", expected="one of " + ", ".join([*SERIES, "behaviour"]),
            fix="counts: nt.bin_spikes(recording, width_s=...) of a TsGroup" if kind == "counts" else None,
        )  # fmt: skip
    return {node: _supported(series, piece)}


def _spikes(piece: Piece, path: Path | None) -> xr.Dataset:
    assert piece.index is not None
    keys = np.unique(piece.index) if piece.keys is None else piece.keys
    rank = np.argsort(keys, kind="stable")
    keys, metadata = keys[rank], {name: values[rank] for name, values in piece.metadata.items()}
    slot = np.minimum(np.searchsorted(keys, piece.index), max(keys.size - 1, 0))
    strangers = np.unique(piece.index[keys[slot] != piece.index]) if keys.size else np.unique(piece.index)
    if strangers.size:
        raise FileError(
            "spikes belong to units that the file does not list",
            code="NT-FILE-008", path=path, found=", ".join(map(str, strangers[:8])),
        )  # fmt: skip
    ends = np.cumsum(np.bincount(slot, minlength=keys.size))[:-1]
    trains = np.split(piece.t[np.argsort(slot, kind="stable")], ends) if keys.size else []
    trains, notes = judged_trains(trains, keys, path=path, sort=True, negative=True)
    labels = metadata.pop("unit", keys)
    found = spike_table(
        trains, unit=labels, t_start=float(piece.start.min() if piece.start.size else 0.0),
        t_stop=float(piece.end.max() if piece.end.size else 0.0), coords=metadata,
        attrs={"pynapple": "TsGroup", **notes},
    )  # fmt: skip
    if labels is not keys:
        found = found.assign_coords(key=("unit", keys))
    if piece.d is not None:
        found["spike_value"] = ("spike", piece.d[np.lexsort((piece.t, slot))])
    return found


def _behaviour(piece: Piece, name: str, units: str | None) -> xr.Dataset:
    values, attrs = _values(piece, units)
    coords: dict[str, Any] = {} if piece.columns is None else {"axis": piece.columns}
    coords |= _column_coords(piece, "axis")
    coords["time"] = ("time", piece.t, {"units": "s"})
    return xr.Dataset({name: (("time", *AXES[: values.ndim - 1]), values, attrs)}, coords=coords)


def _main_array(piece: Piece, kind: str, units: str | None, path: Path | None) -> tuple[str, xr.Dataset]:
    target, dim = SERIES[kind]
    node, _, variable = target.partition("/")
    values, attrs = _values(piece, units)
    if values.ndim > 2:
        raise SchemaError(
            f"{target} needs one row per {dim}",
            path=path, found=f"{piece.type} of shape {values.shape}",
        )  # fmt: skip
    rows = values.reshape(values.shape[0], -1).T
    coords: dict[str, Any] = {dim: np.arange(len(rows)) if piece.columns is None else piece.columns}
    coords |= _column_coords(piece, dim)
    coords["time"] = ("time", piece.t, {"units": "s"})
    return node, xr.Dataset({variable: ((dim, "time"), rows, attrs)}, coords=coords)


def _column_coords(piece: Piece, dim: str) -> dict[str, Any]:
    taken = {dim, "time"} & set(piece.metadata)
    if taken:
        raise SchemaError(
            f"a metadata column has the name of a dimension: {', '.join(taken)}",
            code="NT-DATA-006", where=piece.type, fix="rename it in pynapple first",
        )  # fmt: skip
    return {name: (dim, column) for name, column in piece.metadata.items()}


def _values(piece: Piece, units: str | None) -> tuple[np.ndarray, dict[str, Any]]:
    assert piece.d is not None
    values, attrs = converted(piece.d, units or "arbitrary")
    return values, {**attrs, "pynapple": piece.type, **piece.notes}


def _supported(dataset: xr.Dataset, piece: Piece) -> xr.Dataset:
    """Add the time support where the samples alone would not tell it."""
    if piece.type == "TsGroup":
        plain = piece.start.size == 1
    else:
        plain = piece.start.size == 1 and piece.t.size > 0
        plain = plain and piece.start[0] == piece.t[0] and piece.end[0] == piece.t[-1]
    if plain:
        return dataset
    return dataset.assign(
        support_start=("interval", piece.start, {"units": "s"}),
        support_stop=("interval", piece.end, {"units": "s"}),
    )
