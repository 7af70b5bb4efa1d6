"""Motifs over time: stacked loadings and communities, with stimulus, behaviour and events marked on top."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError
from neurotools.plot import style
from neurotools.plot.reading import blocks, needs_dims, space_of, strength, variable
from neurotools.plot.strips import (
    add_strips,
    mark_events,
    mark_sessions,
    seconds_axis,
    smoothing,
    strip_above,
    strips_height,
)
from neurotools.plot.style import Axes, Figure

TRACE = "#27405f"
ACTIVE = "#E69F00"
LANE = 0.11  # inches per motif above the picture of communities


def plot_time_loadings(
    fit: xr.Dataset,
    events: xr.Dataset | None = None,
    stimulus: Any = None,
    active: xr.DataArray | xr.Dataset | None = None,
    ax: Axes | Figure | None = None,
) -> Axes:
    """Draw when each motif is engaged: one trace per motif, over seconds.

    Parameters
    ----------
    fit : xarray.Dataset
        Fit of ``nt.NTF``. Each trace is scaled to its own largest value.
    events : xarray.Dataset, optional
        Events (``onset``, ``duration``, ``trial_type``) or trials (``start``, ``stop``), in seconds: one lane
        per kind above the traces.
    stimulus : xarray.DataArray, xarray.Dataset or xarray.DataTree, optional
        Anything over ``time``, on its own clock: lines for stimulus or behaviour, an image where there is a
        second dimension (a spectrogram). One strip each, above the traces.
    active : xarray.DataArray or xarray.Dataset, optional
        ``active(component, time)``, or the result of ``nt.dynamic_connectome``; shaded behind the traces.
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise. Strips stand above it, so leave room there.

    Returns
    -------
    matplotlib.axes.Axes
        The Axes of the traces; those of the strips are its ``child_axes``.
    """
    loading = needs_dims(
        variable(fit, "time_loading", "time loadings"), ("component", "time"), "time loadings"
    )
    time, values = loading["time"].to_numpy(), loading.to_numpy()
    top = np.nanmax(values, axis=1, keepdims=True)
    scaled = np.divide(values, top, out=np.zeros_like(values), where=top > 0)
    n = len(values)
    with style.context():
        ax = style.panel(ax, (9.0, 0.42 * n + 0.9 + strips_height(events, stimulus)))
        for row in range(n):
            base = n - 1 - row
            ax.fill_between(time, base, base + 0.86 * scaled[row], color=TRACE, alpha=0.25, linewidth=0)
            ax.plot(time, base + 0.86 * scaled[row], color=TRACE, linewidth=0.9)
        if active is not None:
            _shade_active(ax, active, loading)
        ax.set_yticks(np.arange(n) + 0.3, loading["component"].to_numpy()[::-1])
        ax.tick_params(axis="y", length=0)
        ax.set_ylim(-0.08, n)
        ax.set_ylabel("motif loading (a.u.),\neach scaled to its largest", labelpad=10)
        seconds_axis(ax, time)
        style.plain_spines(ax, "bottom")
        mark_sessions(ax, loading)
        mark_events(ax, events)
        add_strips(ax, events, stimulus)
    return ax


def _shade_active(ax: Axes, active: xr.DataArray | xr.Dataset, loading: xr.DataArray) -> None:
    """Shade, in each motif's row, the stretches of samples where it is active."""
    if isinstance(active, xr.Dataset):
        active = variable(active, "active", "active motifs")
    active = needs_dims(active, ("component", "time"), "active motifs")
    known = active["component"].to_index()
    n = loading.sizes["component"]
    for row, component in enumerate(loading["component"].to_numpy()):
        if component not in known:
            raise SchemaError(
                "the active motifs are not those of the fit",
                code="NT-DATA-005", found=f"no component {component!r}",
            )  # fmt: skip
        spans = _spans(active, active.sel(component=component).to_numpy())
        ax.broken_barh(spans, (n - 1 - row - 0.04, 0.95), facecolors=ACTIVE, alpha=0.3, linewidth=0, zorder=0)
    ax.annotate("shaded: motif active", (1, 0), (0, -20), xycoords="axes fraction", ha="right", va="top",
                textcoords="offset points", fontsize=8, color="#9a6a00")  # fmt: skip


def plot_communities_over_time(
    connectome: xr.Dataset,
    fit: xr.Dataset | None = None,
    events: xr.Dataset | None = None,
    stimulus: Any = None,
    ax: Axes | Figure | None = None,
) -> Axes:
    """Draw which community each unit belongs to while a motif is active: units over time, in colour.

    Where several motifs are active at once, the one that carries most at that moment is drawn (weight times
    time loading, when ``fit`` is given), else the one with the lowest number. Communities are numbered
    within their motif: number 1 of one motif is not number 1 of another; the lanes above the picture say
    which motif is drawn.

    Parameters
    ----------
    connectome : xarray.Dataset
        Result of ``nt.dynamic_connectome``.
    fit : xarray.Dataset, optional
        The fit it was made from. Colour is then the fuller the more a unit takes part in the motif.
    events, stimulus
        As for ``plot_time_loadings``.
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise.

    Returns
    -------
    matplotlib.axes.Axes
    """
    active = needs_dims(
        variable(connectome, "active", "communities over time"), ("component", "time"), "active"
    )
    label = variable(connectome, "label", "communities over time")
    dim = space_of(label, "communities over time")
    label = label.isel(level=0) if "level" in label.dims else label
    labels = label.transpose("component", dim).sel(component=active["component"]).to_numpy().astype(int)
    shown = _shown_motif(active, fit)
    part = _part(fit, labels, active, dim)
    order = _unit_order(part if fit is not None else labels)
    picture = _paint(labels[:, order], part[:, order], shown)
    time = active["time"].to_numpy()
    with style.context():
        height = min(max(0.045 * labels.shape[1], 2.4), 6.0)
        ax = style.panel(ax, (9.0, height + 1.2 + LANE * len(labels) + strips_height(events, stimulus)))
        left, right = seconds_axis(ax, time)
        n = labels.shape[1]
        ax.imshow(
            picture, extent=(left, right, n - 0.5, -0.5), aspect="auto", interpolation=smoothing(time.size)
        )
        style.name_entries(ax, "y", label[dim].to_numpy()[order], style.axes_size(ax)[1])
        ax.set_ylabel(f"{dim}, grouped by motif" if fit is not None else dim)
        style.plain_spines(ax, "bottom")
        above_in = _motif_lanes(ax, active, shown)
        mark_sessions(ax, active)
        mark_events(ax, events)
        add_strips(ax, events, stimulus, above_in=above_in)
        _legend(ax, labels)
    return ax


def _shown_motif(active: xr.DataArray, fit: xr.Dataset | None) -> np.ndarray:
    """Row of the motif drawn at each time, or -1 where none is active."""
    on = active.to_numpy().astype(bool)
    carries = np.broadcast_to(np.arange(len(on), 0, -1.0)[:, None], on.shape)
    if fit is not None:
        loading = variable(fit, "time_loading", "communities over time").transpose("component", "time")
        if loading.shape != on.shape:
            raise SchemaError(
                "the connectome was not made from this fit",
                code="NT-DATA-005", found=f"active {on.shape}", expected=f"time_loading {loading.shape}",
            )  # fmt: skip
        carries = loading.to_numpy() * (fit["weight"].to_numpy()[:, None] if "weight" in fit else 1.0)
    return np.where(on.any(axis=0), np.where(on, carries, -np.inf).argmax(axis=0), -1)


def _part(fit: xr.Dataset | None, labels: np.ndarray, active: xr.DataArray, dim: str) -> np.ndarray:
    if fit is None:
        return np.ones(labels.shape)
    part = strength(fit).sel(component=active["component"]).transpose("component", dim).to_numpy()
    top = part.max(axis=1, keepdims=True)
    return np.divide(part, top, out=np.zeros_like(part), where=top > 0)


def _unit_order(part: np.ndarray) -> np.ndarray:
    """Units grouped by the motif (or, without a fit, by the community) where they are strongest."""
    if part.dtype.kind == "i":
        return np.lexsort(part[::-1])
    return np.lexsort((-part.max(axis=0), part.argmax(axis=0)))


def _paint(labels: np.ndarray, part: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Picture (unit, time, red-green-blue-opacity)."""
    from matplotlib.colors import to_rgb

    palette = np.array([[*to_rgb(style.colour(int(k)))] for k in np.unique(labels)])
    colours = palette[np.searchsorted(np.unique(labels), labels)]
    picture = np.zeros((labels.shape[1], shown.size, 4))
    on = shown >= 0
    picture[:, on, :3] = colours[shown[on]].swapaxes(0, 1)
    # The root keeps units of middling strength visible beside the strongest.
    picture[:, on, 3] = np.sqrt(part[shown[on]]).T
    return picture


def _motif_lanes(ax: Axes, active: xr.DataArray, shown: np.ndarray) -> float:
    """Lanes above the picture: pale where a motif is active, dark where it is the one drawn."""
    height = LANE * active.sizes["component"]
    lanes = strip_above(ax, 0.08, height)
    on = active.to_numpy().astype(bool)
    for row in range(len(on)):
        for where, tint in ((on[row], "#b9c6d6"), (on[row] & (shown == row), TRACE)):
            lanes.broken_barh(_spans(active, where), (row - 0.4, 0.8), facecolors=tint, linewidth=0)
    lanes.set_ylim(len(on) - 0.4, -0.6)
    style.name_entries(lanes, "y", active["component"].to_numpy(), height)
    lanes.set_ylabel("motif", rotation=0, ha="right", va="center", fontsize=8)
    style.plain_spines(lanes)
    return height + 0.08


def _spans(array: xr.DataArray, on: np.ndarray) -> list[tuple[float, float]]:
    """Start and duration of each stretch of samples that are ``on``."""
    time = array["time"].to_numpy()
    half = float(np.median(np.diff(time))) / 2 if time.size > 1 else 0.5
    runs = [(a, b - 1) for value, a, b in blocks(on.astype(int)) if value]
    return [(time[first] - half, time[last] - time[first] + 2 * half) for first, last in runs]


def _legend(ax: Axes, labels: np.ndarray) -> None:
    from matplotlib.patches import Patch

    names = np.unique(labels)
    patches = [Patch(color=style.colour(int(k)), label="none" if k < 0 else str(k)) for k in names]
    ax.legend(
        handles=patches[:24], title="community\nwithin its motif", title_fontsize=8, loc="upper left",
        bbox_to_anchor=(1.005, 1.0), handlelength=1.0, handleheight=1.0, borderaxespad=0,
        ncols=1 + len(patches) // 13, alignment="left",
    )  # fmt: skip
