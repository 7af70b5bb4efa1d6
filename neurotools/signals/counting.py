"""Counts made ready for a model: wider bins, and units that fire often enough to say anything."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, SettingsError
from neurotools.schema import SPIKE_COUNTS, sampling_rate
from neurotools.signals.steps import sessions

SAME_WIDTH = 1e-6  # relative; a width that is a multiple of the bins up to this is one


def merge_bins(counts: xr.DataArray | xr.DataTree, width_s: float) -> xr.DataArray:
    """Add up neighbouring bins of spike counts, so that bins are ``width_s`` wide.

    Parameters
    ----------
    counts : xarray.DataArray or xarray.DataTree
        Spike counts (time, unit), or a recording with one such array.
    width_s : float
        Width of the new bins, in s: a multiple of the width there is.

    Returns
    -------
    xarray.DataArray
        Whole numbers (time, unit); ``time`` is the left edge of each bin. No bin crosses the edge of a
        session; bins at the end of a session that do not fill one are left out, and attrs ``n_left_out``
        says how many.

    Raises
    ------
    SettingsError
        The width is no multiple of that of the bins.
    SchemaError
        A session is shorter than one new bin.
    """
    array = SPIKE_COUNTS.require(counts)
    have = bin_width(array)
    factor = round(width_s / have) if np.isfinite(width_s) else 0
    if factor < 1 or abs(factor * have / width_s - 1) > SAME_WIDTH:
        raise SettingsError(
            "the width of new bins has to be a multiple of the bins there are", found=f"{width_s:g} s",
            expected=f"{have:g} s, {2 * have:g} s, {3 * have:g} s, ...",
        )  # fmt: skip
    first = np.concatenate([_whole(part, factor) for part in sessions(array)])
    if not first.size:
        raise SchemaError(
            "the recording is shorter than one bin", code="NT-DATA-010", found=f"{array.sizes['time']} bins"
        )
    values = array.to_numpy().astype("int64")
    merged = sum(values[first + k] for k in range(factor))
    found = array.isel(time=first).copy(data=merged)
    left_out = array.sizes["time"] - first.size * factor
    return found.assign_attrs(bin_width=factor * have, n_left_out=left_out)


def _whole(part: slice, factor: int) -> np.ndarray:
    n = (part.stop - part.start) // factor
    return part.start + factor * np.arange(n)


def bin_width(counts: xr.DataArray) -> float:
    """Width of the bins of counts in s, as stated, or as their clock has it."""
    stated = counts.attrs.get("bin_width")
    return float(stated) if stated else 1.0 / sampling_rate(counts, "the width of bins")


def active_units(counts: xr.DataArray | xr.DataTree, min_rate_hz: float) -> xr.DataArray:
    """Keep the units that fire at least ``min_rate_hz`` on average, and name the others.

    Parameters
    ----------
    counts : xarray.DataArray or xarray.DataTree
        Spike counts (time, unit).
    min_rate_hz : float
        In spikes per second, over the whole array.

    Returns
    -------
    xarray.DataArray
        (time, unit). attrs ``min_rate_hz``, and ``units_left_out``, their labels.

    Raises
    ------
    SchemaError
        No unit fires that often.
    """
    array = SPIKE_COUNTS.require(counts)
    rate = array.to_numpy().mean(axis=0) / bin_width(array)
    keep = rate >= min_rate_hz
    if not keep.any():
        raise SchemaError(
            "no unit fires that often", code="NT-DATA-010", found=f"at most {rate.max():.3g} Hz",
            expected=f"at least {min_rate_hz:g} Hz",
        )  # fmt: skip
    labels: Any = array["unit"].to_numpy() if "unit" in array.coords else np.arange(keep.size)
    return array.isel(unit=np.flatnonzero(keep)).assign_attrs(
        min_rate_hz=float(min_rate_hz), units_left_out=", ".join(map(str, labels[~keep]))
    )
