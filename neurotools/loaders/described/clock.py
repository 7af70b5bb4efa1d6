"""The clock of a described array: a rate, a bin width or stored time stamps, and sessions laid end to end."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import FileError, SchemaError, SettingsError
from neurotools.loaders.answers import SETTINGS_FILE, Entry
from neurotools.loaders.described.opened import Opened
from neurotools.schema import check_time, time_axis


def lay_end_to_end(array: xr.DataArray, folded: Sequence[str]) -> xr.DataArray:
    """Lay the axes ``folded`` (sessions, trials) end to end along ``time``; ``session`` on it says which.

    ``folded`` stand directly before ``time``. Coordinates along them are repeated for every sample.
    """
    place = array.dims.index("time")
    dims = tuple(str(dim) for dim in array.dims if dim not in folded)
    n_time = array.sizes["time"]
    n_each = [array.sizes[dim] for dim in folded]
    n_segments = int(np.prod(n_each))
    start = place - len(folded)
    shape = (*array.shape[:start], n_segments * n_time, *array.shape[place + 1 :])
    coords: dict[str, Any] = {}
    for name, coord in array.coords.items():
        if not set(coord.dims) & set(folded):
            coords[str(name)] = coord
            continue
        axis = folded.index(str(coord.dims[0]))
        grid = np.reshape(coord.to_numpy(), [-1 if a == axis else 1 for a in range(len(folded))])
        each = np.broadcast_to(grid, n_each).ravel()
        coords[str(name)] = ("time", np.repeat(each, n_time), coord.attrs)
    if len(folded) == 1:
        coords.setdefault("session", coords[folded[0]])
    else:
        # Two trials of one session are apart too: nothing may cross from one to the next.
        coords["session"] = ("time", np.repeat(np.arange(n_segments), n_time))
    _check_segments(coords["session"], n_time)
    return xr.DataArray(np.reshape(array.to_numpy(), shape), dims=dims, coords=coords, attrs=array.attrs)


def _check_segments(session: Any, n_time: int) -> None:
    labels = np.asarray(session[1])[::n_time]
    if np.unique(labels).size != labels.size:
        raise SchemaError(
            "two sessions or trials have one label", code="NT-DATA-006", fix="number them, one label each"
        )


def clock(node: str, array: xr.DataArray, entry: Entry, opened: Opened) -> xr.DataArray:
    """Give ``time`` its seconds, by a bin width, a rate or stored stamps."""
    if "time" not in array.dims:
        for key in ("sfreq", "bin_width", "time"):
            if getattr(entry, key) is not None:
                raise SettingsError(f"{node!r} has a {key!r} and no axis 'time'", found=array.dims)
        return array
    entry = _with_repetition_time(node, entry)
    stated = [key for key in ("sfreq", "bin_width", "time") if getattr(entry, key) is not None]
    if len(stated) > 1:
        raise SettingsError(f"{node!r} has several clocks", code="NT-SET-003", found=", ".join(stated))
    if not stated or (node == "counts/counts" and stated == ["sfreq"]):
        word, why = ("bin_width", "width of its bins") if node.startswith("counts/") else ("sfreq", "clock")
        raise FileError(
            f"the file does not say the {why} for {node!r}",
            code="NT-FILE-006", path=opened.path, found=f"{array.sizes['time']} samples",
            fix=f"{word}=..., or the same key in {SETTINGS_FILE}; {{name: ARRAY}} where the file stores it",
        )  # fmt: skip
    if stated == ["time"]:
        return _stamped(node, array, entry, opened)
    t0 = 0.0 if entry.t0 is None else _first(opened.value(entry.t0), "t0")
    number = opened.number(getattr(entry, stated[0]), stated[0])
    if not (np.isfinite(number) and number > 0):
        raise SettingsError(f"{stated[0]!r} of {node!r} must be positive", found=number)
    rate = 1.0 / number if stated == ["bin_width"] else number
    array = array.assign_coords(time=("time", time_axis(array.sizes["time"], rate, t0), {"units": "s"}))
    if stated == ["bin_width"]:
        return array.assign_attrs(bin_width=number, closed="left")
    described = {"tr": entry.attrs.get("tr", round(1.0 / number, 9))} if node == "fmri/bold" else {}
    return array.assign_attrs(sfreq=number, t0=t0, **described)


def _with_repetition_time(node: str, entry: Entry) -> Entry:
    """Take the rate of region series from an attribute ``tr`` (s), or see that both say the same."""
    tr = entry.attrs.get("tr")
    if node != "fmri/bold" or tr is None:
        return entry
    if isinstance(tr, bool) or not isinstance(tr, (int, float)) or not 0 < tr < float("inf"):
        raise SettingsError("the repetition time 'tr' must be a positive number of seconds", found=tr)
    if entry.sfreq is None and entry.time is None:
        return dataclasses.replace(entry, sfreq=1.0 / tr)
    if isinstance(entry.sfreq, (int, float)) and abs(entry.sfreq * tr - 1) > 1e-3:
        raise SettingsError(
            "'sfreq' and 'tr' contradict each other",
            code="NT-SET-003", found=f"sfreq {entry.sfreq:g} Hz, tr {tr:g} s", expected="sfreq = 1 / tr",
        )  # fmt: skip
    return entry


def _first(values: np.ndarray, what: str) -> float:
    if values.size == 0 or values.dtype.kind not in "iuf" or not np.isfinite(values.ravel()[0]):
        raise SettingsError(f"{what!r} must be a number in seconds", found=f"{values.dtype} {values.shape}")
    return float(values.ravel()[0])


def _stamped(node: str, array: xr.DataArray, entry: Entry, opened: Opened) -> xr.DataArray:
    if "session" in array.coords and "time" in array["session"].dims:
        raise SettingsError(f"sessions of {node!r} are laid end to end, so its clock is a rate", found="time")
    time = np.asarray(opened.value(entry.time), dtype="float64").ravel()[entry.skip :]
    if time.size != array.sizes["time"]:
        raise SchemaError(
            f"time stamps and samples of {node!r} differ in number",
            code="NT-DATA-005", path=opened.path, found=f"{time.size} stamps",
            expected=f"{array.sizes['time']} samples",
        )  # fmt: skip
    if entry.repeats is not None:
        step = np.diff(time) != 0
        keep = np.r_[True, step] if entry.repeats == "first" else np.r_[step, True]
        array, time = array.isel(time=np.flatnonzero(keep)), time[keep]
        array = array.assign_attrs(repeated_stamps_left_out=int((~keep).sum()))
    try:
        check_time(time, node)
    except SchemaError as error:
        fix = "repeats='first' (or 'last') keeps one sample of each repeated stamp; times that step back"
        raise SchemaError(
            error.problem, code=error.code, path=opened.path, where=error.where, found=error.found,
            fix=f"{fix} must be mended in the file",
        ) from error  # fmt: skip
    if node == "counts/counts":
        raise SettingsError("counts need a bin width, not time stamps", fix="bin_width=..., t0={name: ARRAY}")
    return array.assign_coords(time=("time", time, {"units": "s"}))


def check_clocks(nodes: Mapping[str, Any], entries: Mapping[str, Entry], path: Path) -> None:
    """Refuse arrays on one clock that differ in length: one has samples that the other lacks.

    Arrays of one node share its clock. In different nodes the same rate and start are one clock too,
    unless an array states its own ``t0``.
    """
    seen: dict[Any, tuple[str, int]] = {}
    for name, entry in entries.items():
        array = nodes[name]
        if "time" not in array.dims:
            continue
        time = array["time"].to_numpy()
        keys = [("node", name.partition("/")[0])]
        rate = array.attrs.get("sfreq") or 1 / array.attrs.get("bin_width", np.inf)
        if entry.t0 is None and rate:
            keys.append(("rate", f"{rate:.9g}"))
        for key in keys:
            other, n = seen.setdefault(key, (name, time.size))
            if n != time.size:
                long, short = (name, other) if time.size > n else (other, name)
                raise FileError(
                    f"{long!r} is {abs(time.size - n)} samples longer than {short!r}, on the same clock",
                    code="NT-FILE-008", path=path, found=f"{max(n, time.size)} samples",
                    expected=f"{min(n, time.size)}",
                    fix=f"say which samples belong together: skip: {abs(time.size - n)} for {long!r} leaves "
                    "the first ones out; a t0 of its own says that it starts at another time",
                )  # fmt: skip
