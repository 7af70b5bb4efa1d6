"""Windows of several recordings as one array, each marked with where it is from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from neurotools.errors import SchemaError


def join(windows: Mapping[str, xr.DataArray], name: str = "recording") -> xr.DataArray:
    """Windows of several recordings one after the other, each marked with where it is from.

    Parameters
    ----------
    windows : mapping of str to xarray.DataArray
        Label -> windows from ``nt.windows``, with the same channels, rate and unit. What lies on disk stays
        there.
    name : str
        The coordinate along ``window`` that says which: ``"recording"``, ``"subject"``, ``"session"``.

    Raises
    ------
    SchemaError
        They differ in channels, rate, unit or length.
    """
    if not windows:
        raise SchemaError("there are no windows to join", code="NT-DATA-010")
    first_label, first = next(iter(windows.items()))
    for label, one in windows.items():
        for what, mine, theirs in compared(one, first):
            if mine != theirs:
                raise SchemaError(
                    f"windows differ in {what}, so they cannot be joined", code="NT-DATA-005",
                    found=f"{label}: {mine}", expected=f"{first_label}: {theirs}",
                )  # fmt: skip
    parts = [
        one.assign_coords({name: ("window", np.full(one.sizes["window"], str(label)))}).rename(first.name)
        for label, one in windows.items()
    ]
    if all(isinstance(part.variable._data, np.ndarray) for part in parts):
        return end_to_end(parts)
    labels = end_to_end([without_values(part) for part in parts])
    values = indexing.LazilyIndexedArray(Joined([part.variable for part in parts]))
    clock = {name: coord for name, coord in parts[0].coords.items() if "time" in coord.dims}
    variable = xr.Variable(labels.dims, values, labels.attrs)
    return xr.DataArray(variable, coords={**labels.coords, **clock}, name=labels.name)


def without_values(part: xr.DataArray) -> xr.DataArray:
    """Labels and attributes of windows that lie on disk."""
    kept = {name: coord for name, coord in part.coords.items() if "time" not in coord.dims}
    return xr.DataArray(
        np.empty((*part.shape[:-1], 0), part.dtype), coords=kept, dims=part.dims, name=part.name,
        attrs=part.attrs,
    )  # fmt: skip


def end_to_end(parts: Sequence[xr.DataArray]) -> xr.DataArray:
    """One after the other along ``window``."""
    return xr.concat(parts, dim="window", combine_attrs="override", coords="minimal", compat="override",
                     join="override")  # fmt: skip


class Joined(BackendArray):
    """Windows of several arrays, each read from its own."""

    def __init__(self, parts: Sequence[xr.Variable]) -> None:
        self.parts = [*parts]
        self.ends = np.cumsum([len(part) for part in parts])
        self.shape = (int(self.ends[-1]), *parts[0].shape[1:])
        self.dtype = np.result_type(*(part.dtype for part in parts))

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self.read)

    def read(self, key: tuple[Any, ...]) -> np.ndarray:
        """Some windows, in the order in which they are asked for."""
        windows, channels, time = key
        chosen = np.atleast_1d(np.arange(self.shape[0])[windows])
        found = np.empty((chosen.size, *self.shape[1:]), self.dtype)
        for number, (part, end) in enumerate(zip(self.parts, self.ends, strict=True)):
            mine = np.flatnonzero(np.searchsorted(self.ends, chosen, side="right") == number)
            if mine.size:
                found[mine] = part[chosen[mine] - (end - len(part))].to_numpy()
        found = found[:, channels][..., time]
        return found if np.ndim(windows) or isinstance(windows, slice) else found[0]


def compared(one: xr.DataArray, other: xr.DataArray) -> tuple[tuple[str, Any, Any], ...]:
    """(what, of this, of that) for everything that must be the same."""
    return (
        ("dimensions", one.dims, other.dims),
        ("channels", one[one.dims[1]].to_numpy().tolist(), other[other.dims[1]].to_numpy().tolist()),
        ("length", one.sizes["time"], other.sizes["time"]),
        ("sampling rate", one.attrs.get("sfreq"), other.attrs.get("sfreq")),
        ("unit", one.attrs.get("units"), other.attrs.get("units")),
    )
