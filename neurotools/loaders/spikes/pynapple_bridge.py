"""Objects of pynapple in memory to recordings, and recordings to objects of pynapple.

``TsGroup`` is ``spikes``, ``IntervalSet`` is ``trials``, ``Ts`` is ``events``; ``Tsd``, ``TsdFrame`` and
``TsdTensor`` are ``behaviour`` unless the user says what was recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, expect, need
from neurotools.loaders.spikes.pynapple_pieces import SERIES, TYPES, Piece, judged, nodes
from neurotools.schema import recording_tree, spike_trains


def from_pynapple(
    obj: Any, *, kind: str | None = None, name: str = "value", units: str | None = None
) -> xr.DataTree:
    """Turn a pynapple object, or a mapping of names to objects, into a recording.

    Parameters
    ----------
    obj : Ts, Tsd, TsdFrame, TsdTensor, TsGroup, IntervalSet or mapping
        Of a mapping, the keys are the names of the arrays (``"behaviour/x"`` or ``"x"``).
    kind : str, optional
        What a ``Tsd`` or ``TsdFrame`` is: ``"calcium"`` makes ``calcium/activity`` (unit, time), ``"eeg"``
        ``eeg/signal``. Without it, it is ``behaviour/<name>`` with ``time`` first.
    name : str
        Name of the array of a series that is behaviour.
    units : str, optional
        Unit of its values; ``"arbitrary"`` when omitted.

    Returns
    -------
    xarray.DataTree
        ``nt.to_pynapple`` gives the same objects back.

    Raises
    ------
    SchemaError
        The object is of another library, or its times are not finite.
    """
    objects = dict(obj) if isinstance(obj, Mapping) and not hasattr(obj, "time_support") else {name: obj}
    tree: dict[str, xr.Dataset] = {}
    for key, entry in objects.items():
        node, _, short = str(key).rpartition("/")
        own_kind = kind or (node if node in SERIES else None)
        for place, data in nodes(judged(_piece(entry), None), short, own_kind, units, None).items():
            _place(tree, place, data, short)
    return recording_tree(tree)


def _place(tree: dict[str, xr.Dataset], place: str, data: xr.Dataset, name: str) -> None:
    """Put a node beside those there are; series on one clock share a node, others get their own."""
    if place not in tree:
        tree[place] = data
    elif "time" in data.dims and tree[place].indexes["time"].equals(data.indexes["time"]):
        tree[place] = tree[place].merge(data, join="exact", combine_attrs="override")
    else:
        tree[f"{place}_{name}"] = data


def _piece(obj: Any) -> Piece:
    kind = next((cls.__name__ for cls in type(obj).__mro__ if cls.__name__ in TYPES), None)
    if kind is None or not hasattr(obj, "nap_class"):
        raise SchemaError(
            "an object of pynapple is needed",
            found=f"{type(obj).__module__}.{type(obj).__name__}", expected="one of " + ", ".join(TYPES),
        )  # fmt: skip
    support = obj if kind == "IntervalSet" else obj.time_support
    piece = Piece(
        type=kind, start=np.array(support.start), end=np.array(support.end), metadata=_metadata(obj)
    )
    if kind == "IntervalSet":
        return piece
    if kind == "TsGroup":
        members = [obj[key] for key in obj.index]
        t = np.concatenate([np.array(m.index.values) for m in members]) if members else np.empty(0)
        values = [np.array(m.values) for m in members if hasattr(m, "values")]
        index = np.repeat(np.array(obj.index), [len(m) for m in members])
        d = np.concatenate(values) if values and sum(map(len, values)) == t.size else None
        return replace(piece, t=t, d=d, index=index, keys=np.array(obj.index))
    piece = replace(piece, t=np.array(obj.index.values))
    if kind == "Ts":
        return piece
    columns = np.array(list(obj.columns)) if kind == "TsdFrame" else None
    return replace(piece, d=np.asarray(obj.values), columns=columns)


def _metadata(obj: Any) -> dict[str, np.ndarray]:
    names = [name for name in getattr(obj, "metadata_columns", []) if name != "rate"]
    found = {str(name): np.array(list(obj.get_info(name))) for name in names}
    for name, values in found.items():
        if values.dtype.kind not in "biufUS" or values.ndim != 1:
            raise SchemaError(
                f"metadata column {name!r} cannot be stored in every format",
                found=f"dtype {values.dtype}", fix="turn it into numbers or text before the bridge",
            )  # fmt: skip
    return found


# ---- the way back -----------------------------------------------------------------------------------
def to_pynapple(data: xr.DataTree | xr.Dataset | xr.DataArray) -> Any:
    """Turn a recording, one of its nodes or one array into objects of pynapple.

    Parameters
    ----------
    data : xarray.DataTree, xarray.Dataset or xarray.DataArray
        Spikes become a ``TsGroup``, trials an ``IntervalSet``, events a ``Ts`` (one per ``trial_type`` where
        there are several), an array over time a ``Tsd``, ``TsdFrame`` or ``TsdTensor``. Counts are stamped
        at the middle of their bins, as pynapple does.

    Returns
    -------
    object or dict
        One object, or where the recording holds several a dict from node or array to object.

    Raises
    ------
    SchemaError
        pynapple cannot hold it without changing it: trials that overlap or are out of order, or an array
        without time.
    """
    nap = need("pynapple", extra="spikes", to="make pynapple objects")
    expect(data, "a recording, a node or an array", xr.DataTree, xr.Dataset, xr.DataArray)
    if isinstance(data, xr.DataArray):
        return _series_object(nap, data, data.coords.to_dataset())
    if isinstance(data, xr.Dataset):
        found = _objects(nap, data)
    else:
        found = {}
        for node in data.subtree:
            place = node.path.strip("/")
            for name, entry in _objects(nap, node.to_dataset(inherit=False)).items():
                found[f"{place}/{name}".rstrip("/")] = entry
    if not found:
        raise SchemaError("there is nothing here that pynapple can hold", code="NT-DATA-010")
    return next(iter(found.values())) if len(found) == 1 else found


def _objects(nap: Any, node: xr.Dataset) -> dict[str, Any]:
    """Objects of one node, by what follows the node's name: nothing where the node is one object."""
    if {"spike_time", "row_size"} <= set(node.data_vars):
        return {"": _group(nap, node)}
    if {"start", "stop"} <= set(node.data_vars) and "trial" in node.dims:
        return {"": _intervals(nap, node)}
    if "onset" in node.data_vars:
        return _moments(nap, node)
    arrays = {str(name): array for name, array in node.data_vars.items() if "time" in array.dims}
    return {name: _series_object(nap, array, node) for name, array in arrays.items()}


def _group(nap: Any, node: xr.Dataset) -> Any:
    trains = spike_trains(node)
    labels = node["unit"].to_numpy()
    metadata = {
        str(name): coord.to_numpy() for name, coord in node.coords.items()
        if coord.dims == ("unit",) and name not in {"unit", "key"}
    }  # fmt: skip
    if labels.dtype.kind in "iu":
        keys = labels
    else:
        keys = node["key"].to_numpy() if "key" in node.coords else np.arange(labels.size)
        metadata = {"unit": labels, **metadata}
    support = _support(nap, node, node.attrs["t_start"], node.attrs["t_stop"])
    if "spike_value" in node:
        edges = np.cumsum(node["row_size"].to_numpy())[:-1]
        values = np.split(node["spike_value"].to_numpy(), edges)
        members = [nap.Tsd(t=t, d=d, time_support=support) for t, d in zip(trains, values, strict=True)]
    else:
        members = [nap.Ts(t=train, time_support=support) for train in trains]
    group = dict(zip(map(int, keys), members, strict=True))
    return nap.TsGroup(group, time_support=support, metadata=metadata or None)


def _intervals(nap: Any, node: xr.Dataset) -> Any:
    start, stop = node["start"].to_numpy(), node["stop"].to_numpy()
    metadata = {
        str(name): array.to_numpy() for name, array in node.data_vars.items()
        if name not in {"start", "stop"} and array.dims == ("trial",)
    }  # fmt: skip
    if (np.diff(start) < 0).any() or (start[1:] <= stop[:-1]).any():
        wrong = int(((np.diff(start) < 0) | (start[1:] <= stop[:-1])).sum())
        raise SchemaError(
            "pynapple holds intervals that are in order and do not touch; it would join or shorten these",
            code="NT-DATA-005", where="trials",
            found=f"{wrong} of {start.size} begin before the one before ends",
            fix="select trials that do not overlap, or shorten them, first",
        )  # fmt: skip
    return nap.IntervalSet(start, stop, metadata=metadata or None)


def _moments(nap: Any, node: xr.Dataset) -> dict[str, Any]:
    """A ``Ts`` per kind of event, in order of time."""
    onset, kinds = node["onset"].to_numpy(), node["trial_type"].to_numpy()
    start, stop = (float(onset.min()), float(onset.max())) if onset.size else (0.0, 0.0)
    support = _support(nap, node, start, stop)
    names = list(dict.fromkeys(kinds.tolist())) or ["event"]
    parts = {str(name): np.sort(onset[kinds == name], kind="stable") for name in names}
    if len(parts) == 1:
        return {"": nap.Ts(t=next(iter(parts.values())), time_support=support)}
    return {name: nap.Ts(t=times, time_support=support) for name, times in parts.items()}


def _series_object(nap: Any, array: xr.DataArray, node: xr.Dataset) -> Any:
    if "time" not in array.dims or "time" not in array.coords:
        raise SchemaError("pynapple needs an array with times", found=f"dimensions {array.dims}")
    array = array.transpose("time", ...)
    time = array["time"].to_numpy().astype("float64")
    if "bin_width" in array.attrs:
        time = time + float(array.attrs["bin_width"]) / 2
    support = _support(nap, node, float(time[0]), float(time[-1])) if time.size else None
    stated = str(array.attrs.get("pynapple", ""))
    values = array.to_numpy()
    if stated == "Tsd" and values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 1:
        return nap.Tsd(t=time, d=values, time_support=support)
    if values.ndim > 2 or stated == "TsdTensor":
        return nap.TsdTensor(t=time, d=values, time_support=support)
    dim = array.dims[1]
    columns = array[dim].to_numpy() if dim in array.coords else None
    metadata = {
        str(name): coord.to_numpy() for name, coord in array.coords.items()
        if coord.dims == (dim,) and name != dim
    }  # fmt: skip
    return nap.TsdFrame(t=time, d=values, columns=columns, time_support=support, metadata=metadata or None)


def _support(nap: Any, node: xr.Dataset, start: float, stop: float) -> Any:
    if "support_start" in node:
        return nap.IntervalSet(node["support_start"].to_numpy(), node["support_stop"].to_numpy())
    if not stop > start:
        # An interval needs some length; pynapple does the same for a series of one sample.
        return None
    return nap.IntervalSet(start, stop)
