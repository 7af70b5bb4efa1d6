"""Recordings as they came: traces, spectrograms, and which rows of a recording are dead or broken."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, lookup
from neurotools.plot import style
from neurotools.plot.reading import space_of
from neurotools.plot.strips import image_over_time, mark_sessions, seconds_axis
from neurotools.plot.style import Axes, Figure
from neurotools.schema import signal


def by_peak(values: np.ndarray) -> np.ndarray:
    """Order of rows by the time of their largest value; rows that never change come last."""
    filled = np.where(np.isfinite(values), values, -np.inf)
    flat = filled.max(axis=1) == filled.min(axis=1)
    return np.lexsort((filled.argmax(axis=1), flat))


def as_given(values: np.ndarray) -> np.ndarray:
    """Order of rows as they are."""
    return np.arange(len(values))


SORTS = {"none": as_given, "peak": by_peak}


def plot_traces(
    recording: xr.DataTree | xr.DataArray,
    ax: Axes | Figure | None = None,
    *,
    sort: str = "none",
) -> Axes:
    """Draw every unit, channel or region over time as a heat map.

    Parameters
    ----------
    recording : xarray.DataTree or xarray.DataArray
        A recording with one main array, or that array: (unit | channel | region, time) in any order.
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise.
    sort : {"none", "peak"}
        ``"peak"`` orders rows by the time of their largest value.

    Returns
    -------
    matplotlib.axes.Axes
        Signed data are drawn around 0 in two colours, others from white to ink; the darkest colour stands
        for the 99.5 % quantile, which the arrow of the colour bar shows.
    """
    order_of = lookup("sort", sort, SORTS)
    array = signal(recording)
    dim = space_of(array, "traces")
    _needs_time(array, "traces", dim)
    array = array.transpose(dim, "time")
    array = array.isel({dim: order_of(array.to_numpy().astype(float))})
    values = array.to_numpy().astype(float)
    with style.context():
        height = float(np.clip(0.05 * len(values), 2.2, 6.0))
        ax = style.panel(ax, (9.0, height + 0.8))
        image = image_over_time(ax, _by_row(array, dim), **_scale(values))
        ax.set_ylim(len(values) - 0.5, -0.5)
        style.name_entries(ax, "y", array[dim].to_numpy(), style.axes_size(ax)[1])
        seconds_axis(ax, array["time"].to_numpy())
        ax.set_ylabel(dim if sort == "none" else f"{dim}, sorted by time of {sort}")
        style.plain_spines(ax, "bottom")
        mark_sessions(ax, array)
        style.colour_bar(image, ax, style.with_unit(_quantity(array), array.attrs.get("units")))
    return ax


def _by_row(array: xr.DataArray, dim: str) -> xr.DataArray:
    """The same values with rows by number, so that a numeric label is not taken for a place."""
    return array.drop_vars([str(name) for name, c in array.coords.items() if dim in c.dims])


def _needs_time(array: xr.DataArray, what: str, *dims: str) -> None:
    if set(array.dims) != {*dims, "time"} or "time" not in array.coords:
        raise SchemaError(
            f"{what} need the dimensions {(*dims, 'time')} with 'time' in seconds",
            found=tuple(map(str, array.dims)),
        )


def _scale(values: np.ndarray) -> dict[str, Any]:
    finite = values[np.isfinite(values)]
    if finite.size and finite.min() < 0:
        top = float(np.quantile(np.abs(finite), 0.995)) or 1.0
        return {"cmap": style.diverging(), "vmin": -top, "vmax": top}
    top = float(np.quantile(finite, 0.995)) if finite.size else 1.0
    return {"cmap": style.sequential(), "vmin": 0, "vmax": top or float(finite.max(initial=0)) or 1.0}


def _quantity(array: xr.DataArray) -> str:
    return str(array.attrs.get("long_name", array.name or "signal")).replace("_", " ")


def plot_spectrogram(stimulus: xr.DataArray, ax: Axes | Figure | None = None) -> Axes:
    """Draw power (or amplitude) over time and frequency.

    Parameters
    ----------
    stimulus : xarray.DataArray
        (``frequency``, ``time``) in any order, for example ``recording["stimulus/song"]``. Where
        ``frequency`` has no unit the axis says so.
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise.

    Returns
    -------
    matplotlib.axes.Axes
    """
    if not isinstance(stimulus, xr.DataArray):
        raise SchemaError("a spectrogram needs a labelled array", found=type(stimulus).__name__)
    _needs_time(stimulus, "spectrograms", "frequency")
    array = stimulus.transpose("frequency", "time")
    with style.context():
        ax = style.panel(ax, (9.0, 2.4))
        image = image_over_time(ax, array, **_scale(array.to_numpy()))
        seconds_axis(ax, array["time"].to_numpy())
        has_axis = "frequency" in array.coords
        unit = array["frequency"].attrs.get("units") if has_axis else None
        ax.set_ylabel(style.with_unit("frequency", unit) if unit else "frequency (bin; Hz not stated)")
        style.plain_spines(ax, "left", "bottom")
        mark_sessions(ax, array)
        style.colour_bar(image, ax, style.with_unit(_quantity(array), array.attrs.get("units")))
    return ax


def plot_quality(recording: xr.DataTree | xr.DataArray, ax: Axes | Figure | None = None) -> Axes:
    """Draw how much each unit, channel or region varies, and flag those that are flat or have gaps.

    Parameters
    ----------
    recording : xarray.DataTree or xarray.DataArray
        A recording with one main array, or that array.
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise.

    Returns
    -------
    matplotlib.axes.Axes
        Standard deviation over time of each row, sorted, in the unit of the data. Rows that never change
        and rows with missing values stand out and are named.
    """
    array = signal(recording)
    dim = space_of(array, "quality")
    _needs_time(array, "quality", dim)
    values = array.transpose(dim, "time").to_numpy().astype(float)
    finite = np.isfinite(values)
    spread = np.array([row[ok].std() if ok.any() else 0.0 for row, ok in zip(values, finite, strict=True)])
    order = np.argsort(-spread, kind="stable")
    names, spread, gaps = array[dim].to_numpy()[order], spread[order], ~finite.all(axis=1)[order]
    place = np.arange(1, spread.size + 1)
    with style.context():
        ax = style.panel(ax, (5.4, 3.0))
        for chosen, tint, marker, label in (
            ((spread > 0) & ~gaps, style.ACCENT, "o", "varies, complete"),
            (gaps, style.colour(3), "D", "has missing values"),
            ((spread == 0) & ~gaps, style.FLAG, "X", "never changes"),
        ):
            if chosen.any():
                ax.scatter(place[chosen], spread[chosen], s=16 if marker == "o" else 40, marker=marker,
                           color=tint, linewidths=0,
                           label=f"{label}: {_named(names[chosen], marker)}")  # fmt: skip
        ax.set(
            xlabel=f"{dim}, most variable first", title="Which rows carry signal?", xlim=(0, spread.size + 1)
        )
        ax.set_ylabel(style.with_unit("standard deviation", array.attrs.get("units")))
        ax.set_ylim(bottom=-0.03 * float(spread.max(initial=0) or 1))
        ax.legend(loc="upper right")
        style.plain_spines(ax, "left", "bottom")
    return ax


def _named(names: np.ndarray, marker: str) -> str:
    if marker == "o" or names.size > 4:
        return str(names.size)
    return f"{names.size} ({', '.join(map(str, names))})"
