"""The large arrays of an NWB file: calcium traces of many neurons, voltages of many electrodes."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import FileError, SchemaError
from neurotools.loaders.nwb.series import Clock, Leaf, clock, data_type, scaling, unit_of
from neurotools.loaders.nwb.tables import Source, columns, node_name
from neurotools.loaders.reading.disk import LAZY_BYTES, on_disk, rows_of_hdf5, scaled_rows
from neurotools.loaders.reading.limits import array_bytes
from neurotools.schema import continuous

NOT_ACTIVITY = re.compile(r"neuropil|deconv|background|spike|surround", re.IGNORECASE)


def calcium(series: list[Leaf], families: list[list[Leaf]], source: Source) -> dict[str, xr.Dataset]:
    """Traces as ``calcium/activity``; further series (neuropil, deconvolved) beside it or in their own node.

    Of several series the one in a DfOverF container is the activity, else the one fluorescence that is
    neither neuropil nor deconvolved; where that leaves a choice, the user has to name it.
    """
    if not series and not families:
        return {}
    if not series or _wanted_family(families, source):
        nodes = {"calcium": _family(families[0], source)}
        rest = [*families[1:], *([leaf] for leaf in series)]
    else:
        main = _main(series, source)
        nodes = {"calcium": traces(main, "activity", source)}
        rest = [[leaf] for leaf in series if leaf is not main] + families
    for group in rest:
        name = node_name(group[0].obj.name)
        extra = _family(group, source, name) if len(group) > 1 else traces(group[0], name, source)
        if _fits(nodes["calcium"], extra):
            nodes["calcium"] = nodes["calcium"].assign({name: extra[name].variable})
        else:
            nodes[f"calcium_{name}"] = extra
    return nodes


def _wanted_family(families: list[list[Leaf]], source: Source) -> bool:
    named = source.answers.array
    return any(named in (leaf.path, leaf.obj.name) for family in families for leaf in family)


def _fits(node: xr.Dataset, extra: xr.Dataset) -> bool:
    same = (node.sizes == extra.sizes) and bool((node["time"].to_numpy() == extra["time"].to_numpy()).all())
    return same and bool((node["unit"].to_numpy() == extra["unit"].to_numpy()).all())


def _main(series: list[Leaf], source: Source) -> Leaf:
    named = [leaf for leaf in series if source.answers.array in (leaf.path, leaf.obj.name)]
    ratio = [leaf for leaf in series if "DfOverF" in leaf.within]
    plain = [leaf for leaf in series if not NOT_ACTIVITY.search(leaf.path + " ".join(leaf.within))]
    for pool in (named, ratio, plain, series):
        if len(pool) == 1:
            return pool[0]
        if pool:
            raise FileError(
                "the NWB file has several fluorescence series, so the one to analyse must be named",
                code="NT-FILE-006", path=source.path, found=", ".join(leaf.path for leaf in pool),
                fix=f"nt.load(path, array={pool[0].path!r})",
            )  # fmt: skip
    raise AssertionError("series is not empty")


def traces(leaf: Leaf, name: str, source: Source) -> xr.Dataset:
    """One series stored (time, row) as an array (unit, time), with what the ROI table says of each row."""
    array = rows(leaf, "unit", source)
    region = getattr(leaf.obj, "rois", None)
    if region is not None:
        array = _with_table(array, region, "unit", source)
        plane = getattr(region.table, "imaging_plane", None)
        for key in ("location", "indicator"):
            if getattr(plane, key, None):
                array.attrs[key] = str(getattr(plane, key))
    return array.to_dataset(name=name)


def _family(family: list[Leaf], source: Source, name: str = "activity") -> xr.Dataset:
    """One series per neuron, which must share their clock, as one array; units are named as in the file."""
    clocks = [clock(leaf, source) for leaf in family]
    for leaf, own in zip(family, clocks, strict=True):
        if not own.same(clocks[0]):
            raise SchemaError(
                "the series of single neurons do not share their clock", code="NT-DATA-005",
                path=source.path, where=leaf.path, expected=f"the time stamps of {family[0].path}",
            )  # fmt: skip
    values = np.stack([_scaled(leaf, own, source) for leaf, own in zip(family, clocks, strict=True)])
    attrs = {"nwb_path": f"{family[0].path} to {family[-1].obj.name}", **unit_of(family[0].obj)[0]}
    units = attrs.pop("units")
    labels = np.array([leaf.obj.name for leaf in family], dtype=str)
    array = continuous(
        values, dim="unit", labels=labels, time=clocks[0].time, units=units,
        attrs={**attrs, **clocks[0].attrs},
    )  # fmt: skip
    return array.to_dataset(name=name)


def _scaled(leaf: Leaf, own: Clock, source: Source) -> np.ndarray:
    values = source.values(leaf.obj.data)
    factor, offset = scaling(leaf.obj)
    values = values if (factor, offset) == (1.0, 0.0) else values * factor + offset
    return values if own.order is None else values[own.order]


# ---- voltages ---------------------------------------------------------------------------------------
def voltage(found: list[Leaf], source: Source) -> dict[str, xr.Dataset]:
    """Electrical series as ``signal`` (channel, time) in V, under the user's kind or ``ephys``."""
    base = source.answers.kind if source.answers.kind in {"eeg", "meg", "seeg", "ecog"} else "ephys"
    named = [leaf for leaf in found if source.answers.array in (leaf.path, leaf.obj.name)]
    main = named[0] if named else (found[0] if len(found) == 1 else None)
    nodes = {}
    for leaf in found:
        array = rows(leaf, "channel", source)
        region = getattr(leaf.obj, "electrodes", None)
        if region is not None:
            array = _with_table(array, region, "channel", source)
        name = str(base) if leaf is main else f"{base}_{node_name(leaf.obj.name)}"
        nodes[name] = array.to_dataset(name="signal")
    return nodes


# ---- both -------------------------------------------------------------------------------------------
def rows(leaf: Leaf, dim: str, source: Source) -> xr.DataArray:
    """A series stored (time, row) as (``dim``, time), left on disk when it is large."""
    series, shape = leaf.obj, np.shape(leaf.obj.data)
    if not 1 <= len(shape) <= 2:
        raise SchemaError(
            "a series of traces needs the axes (time, row)",
            path=source.path, where=leaf.path, found=f"shape {shape}",
        )  # fmt: skip
    own = clock(leaf, source)
    scale, offset = _row_scaling(series, shape, leaf, source)
    dtype = np.dtype(data_type(series.data))
    plain = np.ndim(scale) == 0 and (scale, offset) == (1.0, 0.0)
    out = dtype if plain else np.dtype("float64")
    n_rows = shape[1] if len(shape) == 2 else 1
    path, name = source.path, getattr(series.data, "name", None)
    if source.lazy and path and name and own.order is None and array_bytes(shape, out.itemsize) > LAZY_BYTES:
        values: Any = on_disk(rows_of_hdf5(path, name, scale, offset), (n_rows, shape[0]), out, path)
    else:
        stored = source.values(series.data).reshape(shape[0], n_rows)
        stored = stored if own.order is None else stored[own.order]
        values = scaled_rows(np.ascontiguousarray(stored.T), scale, offset, slice(None))
    attrs = {"nwb_path": leaf.path, **unit_of(series)[0]}
    units = attrs.pop("units")
    return continuous(values, dim=dim, time=own.time, units=units, attrs={**attrs, **own.attrs})


def _row_scaling(series: Any, shape: Any, leaf: Leaf, source: Source) -> tuple[np.ndarray | float, float]:
    factor, offset = scaling(series)
    each = getattr(series, "channel_conversion", None)
    if each is None:
        return factor, offset
    each = source.values(each).astype("float64")
    if len(shape) != 2 or each.shape != (shape[1],):
        raise SchemaError(
            "channel_conversion needs one factor per channel", code="NT-DATA-005",
            path=source.path, where=leaf.path, found=f"{each.size} factors", expected=f"{shape[1:]} channels",
        )  # fmt: skip
    return each * factor, offset


def _with_table(array: xr.DataArray, region: Any, dim: str, source: Source) -> xr.DataArray:
    """Label the rows with the ids of the table they point to, and add its columns as coordinates."""
    table = region.table
    chosen = source.values(region.data).astype("int64")
    ids = source.values(table.id.data)
    if chosen.size != array.sizes[dim] or (chosen.size and not 0 <= chosen.min() <= chosen.max() < ids.size):
        raise SchemaError(
            f"the rows of the series and those of table {table.name!r} do not agree", code="NT-DATA-005",
            path=source.path, where=str(array.attrs["nwb_path"]),
            found=f"{array.sizes[dim]} rows, {chosen.size} entries into {ids.size}",
        )  # fmt: skip
    labels = ids[chosen].astype(str) if dim == "channel" else ids[chosen]
    found = columns(table, table.name, source, {"group", "id"})
    coords = {("region" if name == "location" else name): values[chosen] for name, values in found.items()}
    coords = {name: (dim, values) for name, values in coords.items() if name not in array.coords}
    return array.assign_coords({dim: labels, **coords})
