"""Arrays that a file only stores, made into a recording by what its user says of them. Nothing is guessed."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import FileError, SchemaError, SettingsError
from neurotools.loaders.answers import SETTINGS_FILE, Answers, Entry
from neurotools.loaders.behaviour import choices_node
from neurotools.loaders.described import roles
from neurotools.loaders.described.clock import check_clocks, clock, lay_end_to_end
from neurotools.loaders.described.labelling import FOLDED, member_table, with_coords, with_labels
from neurotools.loaders.described.opened import Opened
from neurotools.loaders.reading.disk import LAZY_BYTES, on_disk
from neurotools.loaders.reading.limits import check_size
from neurotools.loaders.reading.units import canonical, scaled
from neurotools.schema import MAIN_ARRAYS, SPACE_DIMS, check_counts, plain_attrs, recording_tree

NODE_OF_KIND = {node.partition("/")[0]: node for node in MAIN_ARRAYS}
ELECTRIC = ("eeg/signal", "meg/signal", "seeg/signal", "ecog/signal")
OTHER_WORDS = {
    "neuron": "unit", "cell": "unit", "roi": "unit or region", "sensor": "channel", "electrode": "channel",
    "frame": "time", "sample": "time", "samples": "time", "times": "time", "bin": "time", "parcel": "region",
    "animal": "subject", "channels": "channel", "units": "unit", "regions": "region", "trials": "trial",
}  # fmt: skip
Node = Callable[[Mapping[str, Any], Opened], xr.Dataset]
TABLES: dict[str, Node] = {
    "spikes": roles.spikes_node,
    "events": roles.events_node,
    "trials": roles.trials_node,
    "behaviour": choices_node,
}


def load_described(path: Path, answers: Answers) -> xr.DataTree:
    """Load a file of nameless arrays (or a folder of such files) as the answers describe it."""
    opened = Opened(path)
    given = answers.arrays or _single(answers, opened)
    nodes: dict[str, xr.Dataset | xr.DataArray] = {}
    members: dict[str, Entry] = {}
    for node, what in given.items():
        _check_node(node, what)
        if node in TABLES:
            nodes[node] = TABLES[node](what, opened)
            continue
        entry = Entry.parse(node, what)
        if entry.index_base is not None:
            members[node] = entry
        else:
            nodes[node] = labelled_array(node, entry, opened)
    for node, entry in members.items():
        nodes[node] = member_table(node, entry, opened, nodes)
    check_clocks(nodes, {node: Entry.parse(node, given[node]) for node in nodes if node not in TABLES}, path)
    left = opened.not_read()
    attrs = {"kind": answers.kind, "not_read": ", ".join(left[:50]) or None, **answers.attrs}
    return joined(nodes, attrs, path)


def joined(nodes: Mapping[str, Any], attrs: Mapping[str, Any], path: Path) -> xr.DataTree:
    """Assemble the recording; arrays of one node that do not fit together are a named error."""
    try:
        return recording_tree(nodes, **attrs)
    except SchemaError:
        raise
    except ValueError as error:
        shapes = [f"{name} {dict(data.sizes)}" for name, data in nodes.items()]
        raise SchemaError(
            "arrays of one node do not fit together: " + " ".join(str(error).split())[:200],
            code="NT-DATA-005", path=path, found="; ".join(shapes),
            fix="give them the same labels and clock, or put one into a node of its own",
        ) from error  # fmt: skip


def _check_node(node: Any, what: Any) -> None:
    if node in TABLES and isinstance(what, Mapping):
        return
    node_name, _, variable = str(node).partition("/")
    if not node_name or not variable or "/" in variable:
        raise SettingsError(
            f"{node!r} is no place in a recording",
            expected="node/variable, such as " + ", ".join(MAIN_ARRAYS[-3:]) + "; or " + ", ".join(TABLES),
        )


# ---- one array, described by the arguments of nt.load ----------------------------------------------
def _single(answers: Answers, opened: Opened) -> dict[str, Any]:
    contents = opened.contents()
    kind = answers.need("kind", opened.path, contents.shown())
    if kind == "spikes":
        return {"spikes": roles.spikes_of_columns(answers, opened)}
    if kind == "behaviour":
        return {"behaviour": {} if answers.labels is None else {"features": answers.labels}}
    name = answers.array
    if name is None:
        name = opened.name_of(None, None)
    node = NODE_OF_KIND[kind]
    entry = {
        "name": name, "dims": answers.dims, "sfreq": answers.sfreq, "bin_width": answers.bin_width,
        "units": answers.units, "labels": answers.labels, "t0": answers.t0 or None,
        "attrs": {"tr": answers.attrs["tr"]} if kind == "fmri" and "tr" in answers.attrs else None,
    }  # fmt: skip
    return {node: {key: value for key, value in entry.items() if value is not None}}


# ---- from an entry to a labelled array -------------------------------------------------------------
def labelled_array(node: str, entry: Entry, opened: Opened) -> xr.DataArray:
    """Read one array and give it its axes, unit, labels and clock."""
    stack = tuple(entry.stack or ())
    shape = _shape(entry, opened)
    for n in shape:
        # Labels and times are made for every axis, also of an array that stays on disk.
        check_size(8 * n, opened.path, f"one axis of {node!r}")
    dims = _dims(node, entry, shape, opened)
    data, dims, attrs = _in_order(node, entry, opened, dims, stack)
    variable = xr.Variable(dims, data)
    if entry.skip:
        _check_skip(node, entry, variable)
        variable = variable.isel(time=slice(entry.skip, None))
        attrs["skipped_samples"] = entry.skip
    if node in MAIN_ARRAYS and not set(dims) & set(SPACE_DIMS):
        # One row of samples, as a table of one channel stores it.
        dims = canonical_order(node, (*dims, _space_of(node)))
        variable = variable.set_dims({_space_of(node): 1, **variable.sizes}).transpose(*dims)
    if node == "counts/counts":
        variable = _whole(variable)
    array = xr.DataArray(variable, attrs={**attrs, **plain_attrs(entry.attrs)})
    array = with_labels(node, array, entry, opened)
    folded = [dim for dim in FOLDED if dim in array.dims and "time" in array.dims]
    array = with_coords(array, entry, opened, folded)
    if folded:
        array = lay_end_to_end(array, folded)
    return clock(node, array, entry, opened)


def _filled(entry: Entry, labels: Mapping[str, Any]) -> tuple[str | None, Any]:
    """File and name with ``{dim}`` replaced by a label of ``stack``."""
    file, name = entry.file, entry.name
    for dim, label in labels.items():
        file = file.replace(f"{{{dim}}}", str(label)) if file else file
        name = name.replace(f"{{{dim}}}", str(label)) if isinstance(name, str) else name
    return file, name


def _stack_labels(entry: Entry) -> list[dict[str, Any]]:
    if not entry.stack:
        return [{}]
    if len(entry.stack) != 1:
        raise SettingsError("'stack' names one new axis", found=sorted(entry.stack))
    [(dim, labels)] = entry.stack.items()
    if not isinstance(labels, Sequence) or isinstance(labels, str) or not labels:
        raise SettingsError(f"'stack' needs a list of labels for {dim!r}", found=labels)
    return [{dim: label} for label in labels]


def _shape(entry: Entry, opened: Opened) -> tuple[int, ...]:
    file, name = _filled(entry, _stack_labels(entry)[0])
    if isinstance(name, (list, tuple)) or (isinstance(name, str) and ":" in name):
        return opened.read(file, name).shape
    return opened.contents(file).stored(opened.name_of(file, name)).shape


def _dims(node: str, entry: Entry, shape: tuple[int, ...], opened: Opened) -> tuple[str, ...]:
    """The stated names of the stored axes, with "" for axes of length 1 that carry no name."""
    if entry.dims is None:
        raise FileError(
            f"the file does not say what the axes of {node!r} are",
            code="NT-FILE-006", path=opened.path, found=f"shape {shape}",
            fix=f'dims=("{_space_of(node)}", "time") in the order of the file, '
            f"or the same key in {SETTINGS_FILE}",
        )  # fmt: skip
    if len(set(entry.dims)) != len(entry.dims):
        raise SettingsError(f"an axis of {node!r} is named twice", found=entry.dims)
    if node.partition("/")[2] in entry.dims:
        raise SettingsError(f"{node!r} has the name of one of its axes", fix="give the array another name")
    if node in MAIN_ARRAYS:
        known = {*SPACE_DIMS, *FOLDED, "time", "subject"}
        for dim in entry.dims:
            if dim not in known:
                word = f"; {dim!r} is called {OTHER_WORDS[dim]!r} here" if dim in OTHER_WORDS else ""
                raise SettingsError(f"{node!r} has no axis {dim!r}{word}", expected=", ".join(sorted(known)))
    names = list(entry.dims)
    if len(names) < len(shape):
        # MATLAB and tables have no one-dimensional arrays; an axis of length 1 holds nothing to lose.
        spare = [axis for axis, n in enumerate(shape) if n == 1][: len(shape) - len(names)]
        for axis in spare:
            names.insert(axis, "")
    if len(names) != len(shape):
        raise SchemaError(
            f"{node!r} has another number of axes than were named",
            path=opened.path, found=f"shape {shape}", expected=f"{len(entry.dims)} axes {entry.dims}",
        )  # fmt: skip
    return tuple(names)


def _in_order(
    node: str, entry: Entry, opened: Opened, names: tuple[str, ...], stack: tuple[str, ...]
) -> tuple[Any, tuple[str, ...], dict[str, Any]]:
    """Values in canonical order and unit (or an array that stays on disk), their dims, their attributes."""
    axes = [axis for axis, name in enumerate(names) if name]
    file_dims = tuple(name for name in names if name)
    order = canonical_order(node, (*stack, *file_dims))
    unit = _unit(node, entry, opened)
    target, power = canonical(unit) if unit is not None else (None, 0)
    attrs = {"units": target, "units_in_file": unit if power else None}
    attrs = {key: value for key, value in attrs.items() if value is not None}
    if not stack:
        file, name = _filled(entry, {})
        lazy = _left_on_disk(node, entry, opened, [axes[file_dims.index(dim)] for dim in order], power)
        if lazy is not None:
            return lazy, order, attrs
    parts = []
    for labels in _stack_labels(entry):
        file, name = _filled(entry, labels)
        values = opened.read(file, name)
        parts.append(np.squeeze(values, axis=tuple(a for a in range(values.ndim) if a not in axes)))
    if len({part.shape for part in parts}) > 1:
        found = [f"{lab} {part.shape}" for lab, part in zip(_stack_labels(entry), parts, strict=True)]
        raise FileError(
            f"the arrays that make up {node!r} differ in shape",
            code="NT-FILE-008", path=opened.path, found="; ".join(found),
        )  # fmt: skip
    values = np.stack(parts) if stack else parts[0]
    values = _plain(values, node, opened.path)
    if unit is not None:
        values = scaled(values, power)
    dims = (*stack, *file_dims)
    return np.transpose(values, [dims.index(dim) for dim in order]), order, attrs


def canonical_order(node: str, dims: tuple[str, ...]) -> tuple[str, ...]:
    """Order of axes: time first for counts, else last; sessions before it; the space axis beside it."""
    if "time" not in dims:
        return dims
    folded = [dim for dim in FOLDED if dim in dims]
    space = [dim for dim in SPACE_DIMS if dim in dims]
    rest = [dim for dim in dims if dim not in {*folded, *space, "time"}]
    if node.startswith("counts/"):
        subject = [dim for dim in rest if dim == "subject"]
        other = [dim for dim in rest if dim != "subject"]
        return (*subject, *folded, "time", *space, *other)
    return (*rest, *space, *folded, "time")


def _left_on_disk(node: str, entry: Entry, opened: Opened, axes: list[int], power: int) -> Any:
    """The array as one that is read part by part, where it is large and the file allows that; else None."""
    if (
        node.startswith("counts/")
        or set(entry.dims or ()) & set(FOLDED)
        or not isinstance(entry.name, str | None)
    ):
        return None
    contents = opened.contents(entry.file)
    name = opened.name_of(entry.file, entry.name)
    stored = contents.arrays.get(name)
    if stored is None or stored.part is None:
        return None
    dtype = np.dtype("float64") if power else np.dtype(stored.part_dtype)
    if np.prod(stored.shape, dtype=float) * dtype.itemsize <= LAZY_BYTES:
        return None
    opened.used.add(name)
    read = functools.partial(_part, stored.part, len(stored.shape), tuple(axes), power)
    return on_disk(read, tuple(stored.shape[axis] for axis in axes), dtype, contents.path)


def _part(
    part: Callable[[tuple[Any, ...]], np.ndarray], n_axes: int, axes: tuple[int, ...], power: int,
    key: tuple[Any, ...],
) -> np.ndarray:  # fmt: skip
    stored_key: list[Any] = [0] * n_axes
    for place, axis in enumerate(axes):
        stored_key[axis] = key[place]
    values = part(tuple(stored_key))
    kept = sorted(axis for axis, wanted in zip(axes, key, strict=True) if isinstance(wanted, slice))
    order = [kept.index(axis) for axis, wanted in zip(axes, key, strict=True) if isinstance(wanted, slice)]
    return scaled(np.transpose(values, order), power)


def _unit(node: str, entry: Entry, opened: Opened) -> str | None:
    if node == "counts/counts":
        if entry.units is not None and canonical(entry.units)[0] != "count":
            raise SchemaError("spike counts have the unit 'count'", code="NT-DATA-002", found=entry.units)
        return "count"
    if node in ELECTRIC and entry.units is None:
        raise FileError(
            f"the file does not say the unit of {node!r}",
            code="NT-FILE-006", path=opened.path,
            fix=f'units="uV" (or "V"), or the same key in {SETTINGS_FILE}',
        )  # fmt: skip
    if node in MAIN_ARRAYS and entry.units is None:
        return "arbitrary"
    return entry.units


def _plain(values: np.ndarray, node: str, path: Path) -> np.ndarray:
    if values.dtype.kind == "c":
        raise SchemaError(f"{node!r} holds complex numbers, which netCDF cannot store", path=path)
    if values.dtype.kind not in "biufU" or (node in MAIN_ARRAYS and values.dtype.kind == "U"):
        raise SchemaError(f"{node!r} needs numbers", path=path, found=str(values.dtype))
    if values.dtype.kind == "f" and values.dtype.itemsize not in {4, 8}:
        return values.astype("float32" if values.dtype.itemsize < 4 else "float64")
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _whole(variable: xr.Variable) -> xr.Variable:
    values = variable.to_numpy()
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = ~np.isfinite(values)
        place = dict(zip(variable.dims, map(int, np.argwhere(bad)[0]), strict=True))
        raise SchemaError(
            "spike counts are missing or infinite",
            code="NT-DATA-003", found=f"{int(bad.sum())} of {bad.size}", where=str(place),
        )  # fmt: skip
    check_counts(values, "spike counts")
    whole = values.astype("int64") if values.dtype.kind in "fb" else values
    return xr.Variable(variable.dims, whole)


def _check_skip(node: str, entry: Entry, variable: xr.Variable) -> None:
    if "time" not in variable.dims or set(FOLDED) & set(variable.dims):
        raise SettingsError(f"'skip' of {node!r} needs one run of time", found=variable.dims)
    if entry.skip >= variable.sizes["time"]:
        raise SettingsError(
            f"'skip' of {node!r} leaves nothing", found=f"{entry.skip} of {variable.sizes['time']}"
        )


def _space_of(node: str) -> str:
    kind = node.partition("/")[0]
    return {"fmri": "region", "calcium": "unit", "counts": "unit"}.get(kind, "channel")
