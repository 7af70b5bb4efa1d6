"""Labels along the axes of a described array, further coordinates, and tables of members."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, SettingsError
from neurotools.loaders.answers import Entry
from neurotools.loaders.described import tables
from neurotools.loaders.described.opened import Opened
from neurotools.loaders.reading.units import converted
from neurotools.schema import MAIN_ARRAYS, SPACE_DIMS, plain_attrs

FOLDED = ("session", "trial")  # laid end to end along time


def with_labels(node: str, array: xr.DataArray, entry: Entry, opened: Opened) -> xr.DataArray:
    """Label the stacked axis, and the unit, channel or region axis; number the latter of a main array."""
    for stacked, names in (entry.stack or {}).items():
        array = array.assign_coords({stacked: as_labels(names, stacked)})
    space = [dim for dim in SPACE_DIMS if dim in array.dims]
    free = [str(d) for d in array.dims if d not in {"time", *FOLDED, *(entry.stack or {})}]
    dim = space[0] if space else (free[0] if len(free) == 1 else None)
    if entry.labels is None:
        if node in MAIN_ARRAYS and space:
            named = _column_names(entry, opened, space[0])
            numbered = np.arange(array.sizes[space[0]])
            return array.assign_coords({space[0]: numbered if named is None else as_labels(named, space[0])})
        return array
    if dim is None:
        raise SettingsError(
            f"it is not clear which axis of {node!r} the labels belong to",
            found=array.dims, fix="give them under 'coords', by the name of the axis",
        )  # fmt: skip
    labels = as_labels(label_values(entry.labels, opened), dim)
    for name in (dim, f"{dim}_to"):
        if name in array.dims:
            if labels.shape != (array.sizes[name],):
                raise SchemaError(
                    f"{node!r} has another number of labels than of {name}s",
                    code="NT-DATA-005", path=opened.path, found=f"{labels.size} labels",
                    expected=f"{array.sizes[name]}",
                )  # fmt: skip
            array = array.assign_coords({name: labels})
    return array


def _column_names(entry: Entry, opened: Opened, dim: str) -> list[str] | None:
    """Names in the first line of a table whose columns lie along ``dim``; None where it has none."""
    if entry.stack or entry.dims is None or len(entry.dims) != 2 or entry.dims[1] != dim:
        return None
    contents = opened.contents(entry.file)
    if contents.only != tables.TABLE or opened.name_of(entry.file, None) != (entry.name or tables.TABLE):
        return None
    names = [name for name in contents.arrays if name != tables.TABLE]
    return None if names == [str(place) for place in range(len(names))] else names


def label_values(labels: Any, opened: Opened) -> Any:
    """Labels as they were given: a list, a reference, or the name of a text file with one label per line."""
    if isinstance(labels, Path):
        labels = str(labels)
    if isinstance(labels, str) and (opened.path.is_dir() or labels not in opened.contents().arrays):
        return tables.words(opened.file(labels) if not Path(labels).is_absolute() else Path(labels))
    return opened.value(labels) if isinstance(labels, (str, Mapping)) else labels


def as_labels(values: Any, dim: str) -> np.ndarray:
    """Make labels text or whole numbers, each its own."""
    labels = np.asarray(values).ravel()
    if labels.dtype.kind == "f" and np.isfinite(labels).all() and (labels == np.round(labels)).all():
        labels = labels.astype("int64")
    if labels.dtype.kind not in "iuU":
        raise SettingsError(
            f"labels along {dim!r} must be text or whole numbers",
            code="NT-DATA-006", found=labels.dtype,
            fix="put words that YAML takes for yes and no, or mixed lists, into quotes",
        )  # fmt: skip
    unique, n = np.unique(labels, return_counts=True)
    if (n > 1).any():
        raise SchemaError(
            f"labels along {dim!r} occur more than once",
            code="NT-DATA-006", found=", ".join(map(str, unique[n > 1][:5])),
            fix=f"give each {dim} its own label",
        )  # fmt: skip
    return labels


def with_coords(array: xr.DataArray, entry: Entry, opened: Opened, folded: list[str]) -> xr.DataArray:
    """Add the coordinates that were described; sessions and trials are numbered where they were not."""
    for dim in folded:
        if dim not in array.coords and dim not in entry.coords:
            array = array.assign_coords({dim: np.arange(array.sizes[dim])})
    space = next((dim for dim in (*SPACE_DIMS, *map(str, array.dims)) if dim in array.dims), None)
    for name, reference in entry.coords.items():
        own, unit, reference = _parts(reference)
        dim = str(own or (name if name in array.dims else space))
        values = opened.value(reference).squeeze()
        attrs: dict[str, Any] = {}
        if unit is not None:
            values, attrs = converted(values, unit)
        if dim not in array.dims or values.shape != (array.sizes[dim],):
            raise SchemaError(
                f"the coordinate {name!r} does not fit its axis",
                code="NT-DATA-005", path=opened.path, found=f"shape {values.shape}",
                expected=f"{array.sizes.get(dim, 0)} values along {dim!r}; axes are {array.dims}",
            )  # fmt: skip
        if name == dim:
            values = values if name == "frequency" or unit else as_labels(values, name)
        array = array.assign_coords({name: (dim, values, attrs)})
    return array


def _parts(reference: Any) -> tuple[str | None, str | None, Any]:
    """Axis, unit, and the rest of a reference."""
    if not isinstance(reference, Mapping):
        return None, None, reference
    rest = {key: value for key, value in reference.items() if key not in {"dim", "units"}}
    return reference.get("dim"), reference.get("units"), rest


# ---- lists of members ------------------------------------------------------------------------------
def member_table(node: str, entry: Entry, opened: Opened, nodes: Mapping[str, Any]) -> xr.DataArray:
    """Turn lists of member indices, which may overlap, into a table of 0 and 1 (group, member)."""
    if entry.dims is None or len(entry.dims) != 2 or "time" in entry.dims:
        raise SettingsError(f"{node!r} needs two dims, the group and its members", found=entry.dims)
    group, member = entry.dims
    like = next((data for data in nodes.values() if member in data.dims), None)
    if like is None:
        raise SettingsError(f"no other array has the axis {member!r}, so its length is not known", found=node)
    rows = _member_rows(entry, opened)
    n, base = like.sizes[member], int(entry.index_base or 0)
    table = np.zeros((len(rows), n), dtype="int8")
    for place, row in enumerate(rows):
        if row.size and not (base <= row.min() and row.max() < base + n):
            raise SchemaError(
                f"a member of {node!r} is not among the {member}s",
                code="NT-DATA-005", path=opened.path, where=f"{group} {place}",
                found=f"{row.min()} to {row.max()}", expected=f"{base} to {base + n - 1}",
            )  # fmt: skip
        table[place, row - base] = 1
    coords = {group: np.arange(len(rows))}
    if member in like.coords:
        coords[member] = like[member].to_numpy()
    attrs = {"units": "1", "index_base_in_file": base, **plain_attrs(entry.attrs)}
    return xr.DataArray(table, dims=entry.dims, coords=coords, attrs=attrs)


def _member_rows(entry: Entry, opened: Opened) -> list[np.ndarray]:
    if entry.name is None:
        return tables.index_rows(opened.file(entry.file))
    names = opened.matching(entry.file, str(entry.name))
    rows = [opened.read(entry.file, name).ravel() for name in names.values()]
    for row in rows:
        if row.dtype.kind not in "iuf" or (row != np.round(row)).any():
            raise SchemaError("a list of members needs whole numbers", path=opened.path, found=row.dtype)
    return [row.astype("int64") for row in rows]
