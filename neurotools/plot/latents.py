"""Latents of clusters over time, the rules they follow, and the rates they make."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, SettingsError
from neurotools.plot import style
from neurotools.plot.reading import blocks, needs_dims, variable
from neurotools.plot.strips import add_strips, mark_events, mark_sessions, seconds_axis, strips_height
from neurotools.plot.style import Axes, Figure
from neurotools.schema.posterior import posterior_group

ROW_IN = 0.78  # inches per cluster
GRID = 13  # arrows along each side of a flow field
RATE = "the rate of a unit"
NORMAL_90 = 1.6449  # standard deviations on either side that hold 90 % of a normal distribution


def plot_cluster_latents(
    latents: xr.Dataset,
    partition: xr.Dataset | None = None,
    events: xr.Dataset | None = None,
    stimulus: Any = None,
    ax: Axes | Figure | None = None,
) -> Axes:
    """Draw the latents of every cluster over time, with bands that hold 90 % of the posterior.

    Parameters
    ----------
    latents : xarray.Dataset
        From ``nt.cluster_latents``. One row per cluster, on one scale: the dark line is what all its units
        share, the others what they weigh in their own ways. Bands are cut where they leave their row.
    partition : xarray.Dataset, optional
        From ``nt.point_partition``: its states are shaded behind, and the number of units is written.
    events, stimulus : optional
        Drawn above, in lanes and strips.
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise. Strips stand above it, so leave room there.

    Returns
    -------
    matplotlib.axes.Axes
    """
    what, dims = "latents of clusters", ("cluster", "component", "time")
    mean, low, high = (
        needs_dims(variable(latents, name, what), dims, what)
        for name in ("latent", "latent_low", "latent_high")
    )
    time, n = mean["time"].to_numpy(), mean.sizes["cluster"]
    top = _reach(mean, low, high)
    with style.context():
        ax = style.panel(ax, (9.0, ROW_IN * n + 0.8 + strips_height(events, stimulus)))
        if partition is not None:
            _shade_states(ax, partition)
        for row in range(n):
            base = n - 1 - row
            ax.axhline(base, color=style.RULE, linewidth=0.6, zorder=0.6)
            for k in reversed(range(mean.sizes["component"])):
                tint = style.INK if k == 0 else style.colour(k + 1)  # the first two are those of states
                line, lower, upper = (
                    base + 0.46 * np.clip(a.isel(cluster=row, component=k).to_numpy() / top, -1.05, 1.05)
                    for a in (mean, low, high)
                )
                label = None if row else ("shared level" if k == 0 else f"latent {k}")
                ax.fill_between(time, lower, upper, color=tint, alpha=0.22, linewidth=0)
                ax.plot(time, line, color=tint, linewidth=1.0 if k == 0 else 0.8, label=label)
        ax.set_yticks(range(n), [_cluster_name(c, partition) for c in reversed(range(n))])
        ax.tick_params(axis="y", length=0)
        ax.set_ylim(-0.55, n - 0.45)
        _scale_bar(ax, top)
        seconds_axis(ax, time)
        ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), handlelength=1.2, reverse=True)
        style.plain_spines(ax, "bottom")
        mark_sessions(ax, mean)
        mark_events(ax, events)
        add_strips(ax, events, stimulus)
    return ax


def _reach(mean: xr.DataArray, low: xr.DataArray, high: xr.DataArray) -> float:
    """Half the height of a row: all means fit in it, and all but the widest hundredth of the bands."""
    if not np.isfinite(mean).any():
        return 1.0
    bands = np.abs(np.stack([low, high]))
    return float(max(np.nanmax(np.abs(mean)), np.nanquantile(bands, 0.99))) or 1.0


def _cluster_name(cluster: int, partition: xr.Dataset | None) -> str:
    if partition is None:
        return f"cluster {cluster}"
    n = int((partition["unit_label"] == cluster).sum())
    return f"cluster {cluster}\n{n} unit{'s' * (n != 1)}"


def _shade_states(ax: Axes, partition: xr.Dataset) -> None:
    labels = variable(partition, "state_label", "latents of clusters").to_numpy()
    time = partition["time"].to_numpy()
    step = float(np.median(np.diff(time))) if time.size > 1 else 1.0
    edges = np.append(time, time[-1] + step) - step / 2
    for label, start, stop in blocks(labels):
        ax.axvspan(edges[start], edges[stop], color=style.colour(label), alpha=0.13, linewidth=0, zorder=0)


def _scale_bar(ax: Axes, top: float) -> None:
    """A bar at the right that says how much of a log rate one row's height is."""
    size = 10.0 ** np.floor(np.log10(top))
    size = max(m * size for m in (1, 2, 5) if m * size <= top * 1.0001)
    x = ax.get_yaxis_transform()
    ax.plot([1.008, 1.008], [-0.45, -0.45 + 0.46 * size / top], transform=x, color=style.INK, linewidth=1.2,
            clip_on=False, solid_capstyle="butt")  # fmt: skip
    ax.text(1.014, -0.45 + 0.23 * size / top, f"{size:g} in log rate", transform=x, fontsize=7.5, va="center")


def plot_flow(latents: xr.Dataset, cluster: int = 0, state: int = 0, ax: Axes | Figure | None = None) -> Axes:
    """Draw where the latents of a cluster go from anywhere in one state: one bin ahead, on average.

    Parameters
    ----------
    latents : xarray.Dataset
        From ``nt.cluster_latents``, of a model with ``dynamics="block"``.
    cluster, state : int
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise.

    Returns
    -------
    matplotlib.axes.Axes
        Axes are latents 1 and 2 (the shared level and latent 1, where there is one latent), with whatever
        else there is at its mean. Lengths of arrows are relative to the longest, which is written above, in
        units per bin. The line is the mean course of the latents.
    """
    what = "the flow of latents"
    matrix = needs_dims(variable(latents, "dynamics_matrix", what),
                        ("state", "cluster", "component", "component_to"), what)  # fmt: skip
    offset = variable(latents, "dynamics_offset", what)
    for name, value in (("cluster", cluster), ("state", state)):
        if not 0 <= value < matrix.sizes[name]:
            raise SettingsError(
                f"there is no {name} {value!r}", code="NT-SET-001", expected=f"0 to {matrix.sizes[name] - 1}"
            )
    rule = (
        matrix.isel(state=state, cluster=cluster).to_numpy().T
    )  # from component to component_to, as columns
    shift = offset.isel(state=state, cluster=cluster).to_numpy()
    if not np.isfinite(rule).all():
        raise SchemaError(f"no draw has cluster {cluster} in state {state}", code="NT-DATA-010")
    plane = [1, 2] if rule.shape[0] > 2 else [0, 1]
    course = latents["latent"].isel(cluster=cluster).to_numpy()[plane]
    names = ["shared level" if k == 0 else f"latent {k}" for k in plane]
    with style.context():
        ax = style.panel(ax, (3.3, 3.3))
        reach = 1.15 * float(np.nanmax(np.abs(latents["latent"].to_numpy()[:, plane]))) or 1.0
        at = np.linspace(-reach, reach, GRID)
        x, y = np.meshgrid(at, at)
        points = np.stack([x, y])
        step = np.einsum("ij,j...->i...", rule[np.ix_(plane, plane)] - np.eye(2), points)
        step = step + shift[plane][:, None, None]
        speed = np.hypot(*step)
        ax.plot(*course, color=style.RULE, linewidth=0.7, zorder=1)
        ax.quiver(x, y, *step, speed, cmap=style.sequential(), clim=(-0.4 * speed.max(), speed.max()),
                  angles="xy", width=0.006, zorder=2)  # fmt: skip
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel=names[0], ylabel=names[1], aspect="equal")
        ax.set_title(f"cluster {cluster}, state {state}", color=style.colour(state))
        ax.text(1, 1.01, f"longest {speed.max():.2g} per bin", transform=ax.transAxes, ha="right",
                va="bottom", fontsize=7, color=style.MUTED)  # fmt: skip
        style.plain_spines(ax, "left", "bottom")
    return ax


def plot_rate(
    post: xr.DataTree,
    unit: Any = None,
    ax: Axes | Figure | None = None,
    *,
    window_s: tuple[float, float] | None = None,
) -> Axes:
    """Draw the counts of a unit with its rate over them, and a band that holds 90 % of the posterior.

    Parameters
    ----------
    post : xarray.DataTree
        From ``nt.BiCluster(...).sample``.
    unit : label, optional
        Which unit; the one with the most spikes when omitted.
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise.
    window_s : tuple of two floats, optional
        Part of the recording to draw, in s.

    Returns
    -------
    matplotlib.axes.Axes
    """
    counts = posterior_group(post, "observed_data", "counts", what=RATE)["counts"]
    unit = counts["unit"].to_numpy()[int(counts.sum("time").to_numpy().argmax())] if unit is None else unit
    if unit not in counts["unit"].to_index():
        raise SettingsError(
            f"there is no unit {unit!r}", code="NT-SET-001",
            expected="one of " + ", ".join(map(str, counts["unit"].to_numpy()[:12])),
        )  # fmt: skip
    window = slice(None) if window_s is None else slice(*window_s)
    y = counts.sel(unit=unit, time=window)
    mean, spread = _log_rate(post, unit, window)
    time, values = y["time"].to_numpy(), y.to_numpy()
    width = float(post.attrs.get("bin_width", 1.0))
    edges = np.append(time, time[-1] + width)
    with style.context():
        ax = style.panel(ax, (9.0, 1.9))
        ax.stairs(values / width, edges, color=style.UNASSIGNED, fill=True, label="counts")
        middle = time + width / 2
        low, high = (np.exp(mean + sign * NORMAL_90 * spread) / width for sign in (-1, 1))
        band: dict[str, Any] = {
            "color": style.ACCENT,
            "alpha": 0.3,
            "linewidth": 0,
            "label": "90 % of the posterior",
        }
        ax.fill_between(middle, low, high, **band)
        ax.plot(middle, np.exp(mean) / width, color=style.ACCENT, linewidth=1.1, label="rate")
        seconds_axis(ax, time + width / 2)
        ax.set_ylabel("rate (Hz)")
        ax.set_ylim(bottom=0)
        ax.set_title(f"unit {unit}")
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), handlelength=1.2)
        style.plain_spines(ax, "left", "bottom")
        mark_sessions(ax, y)
    return ax


def _log_rate(post: xr.DataTree, unit: Any, window: slice) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the log rate over all draws of all chains."""
    moments = posterior_group(post, "moments", "log_rate_mean", "log_rate_sd", what=RATE)
    own = moments.sel(unit=unit, time=window)
    means, spreads = (
        own[name].transpose("chain", "time").to_numpy() for name in ("log_rate_mean", "log_rate_sd")
    )
    return means.mean(axis=0), np.sqrt((spreads**2).mean(axis=0) + means.var(axis=0))
