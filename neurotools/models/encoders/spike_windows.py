"""Windows of spike counts for an encoder of spikes: history, the bins to be told, and what goes with them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, SettingsError
from neurotools.schema import SPIKE_COUNTS, sampling_rate, time_axis

NEAR = 1e-6  # of a bin


def spike_windows(
    counts: xr.DataArray | xr.DataTree,
    *,
    window_s: float,
    history_s: float,
    hop_s: float | None = None,
    behaviour: Mapping[str, xr.DataArray] | None = None,
    stimulus: xr.DataArray | None = None,
    targets: Mapping[str, xr.DataArray] | None = None,
) -> xr.DataArray:
    """Cut spike counts into windows, each with the history before it, and lay behaviour and stimulus beside.

    Parameters
    ----------
    counts : xarray.DataArray or xarray.DataTree
        Spike counts (time, unit), of ``nt.bin_spikes(recording, width_s=0.01)`` or of a recording that has
        them; the width of a bin is the resolution of time that the encoder sees.
    window_s, history_s : float
        The stretch that is told, and the stretch before it that is seen: whole numbers of bins.
    hop_s : float, optional
        From one window to the next; the length of the told stretch when left out, so that each spike is told
        once.
    behaviour : mapping of str to DataArray, optional
        Name -> values (time) on a clock of their own: rows that the encoder sees, or tells. A bin holds their
        mean over it; where it holds none, they are interpolated at its middle, between neighbours.
    stimulus : DataArray, optional
        (time, ...) on a clock of its own; every further dimension is laid along rows. A bin holds what was
        shown last.
    targets : mapping of str to DataArray, optional
        Like ``behaviour``, but not seen: a coordinate along ``window`` with the mean over the told stretch,
        for ``finetune``.

    Returns
    -------
    xarray.DataArray
        (window, unit, time): units, then ``behaviour/NAME`` in alphabetical order, then ``stimulus/K``;
        ``source`` along ``unit`` says which. ``window`` is the start of the history in s, ``told_s`` that of
        the told stretch. Without behaviour and stimulus, and with one session, values are a view of the
        counts, however much windows overlap. attrs ``window_bins`` and ``history_bins``.

    Raises
    ------
    SchemaError
        These are no counts, no session is long enough, or behaviour or stimulus does not cover the counts or
        has missing values.
    SettingsError
        A length is no whole number of bins.
    """
    array = SPIKE_COUNTS.require(counts)
    rate = sampling_rate(array, "cutting windows of spikes")
    told, past = bins_of(window_s, rate, "window_s"), bins_of(history_s, rate, "history_s")
    hop = told if hop_s is None else bins_of(hop_s, rate, "hop_s")
    start = array["time"].to_numpy()
    rows = {f"behaviour/{k}": binned(v, start, rate, k) for k, v in sorted((behaviour or {}).items())}
    rows |= shown(stimulus, start, rate)
    values = np.ascontiguousarray(array.to_numpy().T)
    values = np.vstack([values.astype("float32"), *rows.values()]) if rows else narrow(values)
    first = starts(array, past + told, hop)
    coords = coords_of(array, rows, first, past, rate)
    for name, target in (targets or {}).items():
        per_bin = binned(target, start, rate, name)
        running = np.concatenate([[0.0], np.cumsum(per_bin)])
        coords[name] = ("window", (running[first + past + told] - running[first + past]) / told)
    return xr.DataArray(
        cut(values, first, past + told), dims=("window", "unit", "time"), name="spikes",
        coords={**coords, "time": time_axis(past + told, rate)},
        attrs={"units": "count", "sfreq": rate, "window_bins": told, "history_bins": past},
    )  # fmt: skip


def bins_of(seconds: float, rate: float, name: str) -> int:
    """A length in bins.

    Raises
    ------
    SettingsError
        It is no whole number of them, or none.
    """
    number = seconds * rate
    if not np.isfinite(number) or round(number) < 1 or abs(number - round(number)) > NEAR * max(number, 1.0):
        raise SettingsError(
            f"{name} is a whole number of bins, at least one", found=f"{seconds:g} s",
            expected=f"a multiple of {1 / rate:g} s",
        )  # fmt: skip
    return round(number)


def narrow(values: np.ndarray) -> np.ndarray:
    """Counts in a byte where they fit: windows are read again and again."""
    return values.astype("uint8") if values.max(initial=0) < 256 else values.astype("int32")


def starts(array: xr.DataArray, length: int, hop: int) -> np.ndarray:
    """First bin of each window; none crosses the edge of a session."""
    n = array.sizes["time"]
    edges = [0, n]
    if "session" in array.coords and array["session"].dims == ("time",):
        label = array["session"].to_numpy()
        edges = [0, *(np.flatnonzero(label[1:] != label[:-1]) + 1).tolist(), n]
    parts = [np.arange(a, b - length + 1, hop) for a, b in pairwise(edges)]
    first = np.concatenate(parts)
    if not first.size:
        raise SchemaError(
            "no session is as long as a window with its history", code="NT-DATA-010",
            found=f"{max(np.diff(edges))} bins", expected=f"{length} bins",
        )  # fmt: skip
    return first


def cut(values: np.ndarray, first: np.ndarray, length: int) -> np.ndarray:
    """(window, row, time), a view where windows are evenly spaced."""
    every = np.moveaxis(np.lib.stride_tricks.sliding_window_view(values, length, axis=1), 1, 0)
    hop = int(first[1] - first[0]) if len(first) > 1 else 1
    if (np.diff(first) == hop).all():
        return every[first[0] : first[-1] + 1 : hop]
    return every[first]


def coords_of(
    array: xr.DataArray, rows: Mapping[str, Any], first: np.ndarray, past: int, rate: float
) -> dict[str, Any]:
    """Where each window lies, and what each row is."""
    time = array["time"].to_numpy()
    unit = array["unit"].to_numpy() if "unit" in array.coords else np.arange(array.sizes["unit"])
    labels = np.array([*map(str, unit.tolist()), *rows])
    found: dict[str, Any] = {
        "window": ("window", time[first], {"units": "s"}),
        "told_s": ("window", time[first + past], {"units": "s"}),
        "unit": labels,
        "source": ("unit", np.array(["spikes"] * len(unit) + [name.split("/")[0] for name in rows])),
    }
    if "session" in array.coords and array["session"].dims == ("time",):
        found["session"] = ("window", array["session"].to_numpy()[first])
    return found


# ---- values on clocks of their own -------------------------------------------------------------------------
def binned(values: xr.DataArray, start: np.ndarray, rate: float, name: str) -> np.ndarray:
    """Mean of the samples of each bin, (bin,) in float32; interpolated at its middle where it has none."""
    clock, numbers = clocked(values, start, rate, name)
    if numbers.ndim != 1:
        raise SchemaError(
            f"{name} is one value at a time", found=values.dims, expected="('time',)",
            fix="give each of its columns a name of its own",
        )  # fmt: skip
    # a sample that rounding put a hair below an edge belongs to the bin that begins there
    place = np.searchsorted(start, clock + NEAR / rate, side="right") - 1
    inside = (place >= 0) & (clock < start[np.clip(place, 0, None)] + (1 - NEAR) / rate)
    number = np.bincount(place[inside], minlength=len(start))
    total = np.bincount(place[inside], weights=numbers[inside], minlength=len(start))
    between = np.interp(start + 0.5 / rate, clock, numbers)
    return np.where(number > 0, total / np.maximum(number, 1), between).astype("float32")


def shown(stimulus: xr.DataArray | None, start: np.ndarray, rate: float) -> dict[str, np.ndarray]:
    """What was shown last in each bin, one row for each pixel."""
    if stimulus is None:
        return {}
    clock, numbers = clocked(stimulus, start, rate, "the stimulus")
    last = np.searchsorted(clock, start + (1 - NEAR) / rate, side="right") - 1
    pixels = numbers.reshape(len(numbers), -1)[np.clip(last, 0, None)].T.astype("float32")
    return {f"stimulus/{k}": row for k, row in enumerate(pixels)}


def clocked(values: xr.DataArray, start: np.ndarray, rate: float, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Time and values, time first.

    Raises
    ------
    SchemaError
        There is no clock, it does not cover the counts, or a value is missing.
    """
    if not isinstance(values, xr.DataArray) or "time" not in values.coords:
        raise SchemaError(
            f"{name} needs a clock: a DataArray with the coordinate 'time'", found=type(values).__name__
        )
    ordered = values.transpose("time", ...)
    clock, numbers = ordered["time"].to_numpy().astype("float64"), ordered.to_numpy()
    if len(clock) < 2 or (np.diff(clock) <= 0).any():
        raise SchemaError(f"the clock of {name} does not increase", code="NT-DATA-004")
    if not np.isfinite(numbers).all():
        raise SchemaError(
            f"{name} has missing values", code="NT-DATA-003", found=f"{int((~np.isfinite(numbers)).sum())}"
        )
    step = max(float(np.median(np.diff(clock))), 1 / rate)
    if clock[0] > start[0] + step or clock[-1] < start[-1] - step:
        raise SchemaError(
            f"{name} does not cover the counts", code="NT-DATA-005",
            found=f"{clock[0]:g} to {clock[-1]:g} s", expected=f"{start[0]:g} to {start[-1]:g} s",
            fix="counts.sel(time=slice(a, b)) takes the stretch that both have",
        )  # fmt: skip
    return clock, numbers
