"""How far motifs can be trusted: against chance, over resampled data, between conditions."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError
from neurotools.plot import style
from neurotools.plot.reading import community_order, components, labels_of, needs_dims, variable
from neurotools.plot.strips import seconds_axis
from neurotools.plot.style import Axes, Figure

ALPHA = 0.05
DARK = "#27405f"


def plot_motif_null(null: xr.Dataset, ax: Axes | Figure | None = None) -> Axes:
    """Draw the strength of every motif beside that of surrogates.

    Parameters
    ----------
    null : xarray.Dataset
        Result of ``nt.motif_null``. Grey: surrogates, over their own mean; dots: the recording, filled where
        the corrected p-value is at most 0.05.
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise.

    Returns
    -------
    matplotlib.axes.Axes
    """
    drawn = needs_dims(variable(null, "null_strength", "motifs against chance"), ("surrogate", "component"),
                       "strengths of surrogates").to_numpy()  # fmt: skip
    names = components(null)
    usual = drawn.mean(axis=0)
    usual = np.where(usual > 0, usual, 1.0)
    ratio, chance = null["strength"].to_numpy() / usual, drawn / usual
    p = null["p_corrected"].to_numpy()
    rows = np.arange(names.size)
    with style.context():
        ax = style.panel(ax, (5.6, 0.32 * rows.size + 1.5))
        low, high = chance.min(axis=0), chance.max(axis=0)
        ax.hlines(rows, low, high, color=style.UNASSIGNED, linewidth=7, label="surrogates", zorder=1)
        ax.axvline(1, color=style.MUTED, linewidth=0.9, zorder=0)
        above = p <= ALPHA
        ax.scatter(ratio[above], rows[above], s=40, color=style.ACCENT, zorder=3, label="above chance")
        ax.scatter(ratio[~above], rows[~above], s=40, facecolor="white", edgecolor=style.MUTED, zorder=3,
                   label="not told from chance")  # fmt: skip
        for row, x, value in zip(rows, np.maximum(ratio, high), p, strict=True):
            ax.annotate(f"p = {value:.2g}", (x, row), (8, 0), textcoords="offset points", va="center",
                        fontsize=7.5, color=style.MUTED)  # fmt: skip
        ax.set_yticks(rows, names)
        ax.set(xlabel="strength in time not learned from (mean of surrogates = 1)", ylabel="motif",
               ylim=(rows.size - 0.4, -0.6), title="Which motifs stand above chance?")  # fmt: skip
        ax.margins(x=0.16)
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
        style.plain_spines(ax, "left", "bottom")
        ax.tick_params(axis="y", length=0)
    return ax


def plot_coassignment(
    uncertainty: xr.Dataset,
    component: Any,
    communities: xr.Dataset | None = None,
    ax: Axes | Figure | None = None,
    *,
    show_bar: bool = True,
) -> Axes:
    """Draw how often every two units share a community over resampled data.

    Parameters
    ----------
    uncertainty : xarray.Dataset
        Result of ``nt.community_uncertainty``.
    component : label
        Which motif.
    communities : xarray.Dataset, optional
        Result of ``nt.BlockModel`` on the motifs of all data; units are then sorted by community.
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise.
    show_bar : bool

    Returns
    -------
    matplotlib.axes.Axes
    """
    share = variable(uncertainty, "coassignment", "shares of communities").sel(component=component)
    dim = str(share.dims[0])
    values = share.to_numpy()
    units = share[dim].to_numpy() if dim in share.coords else np.arange(len(values))
    order = np.arange(len(values))
    if communities is not None:
        order = community_order(values, labels_of(communities, component, units))
    with style.context():
        ax = style.panel(ax, (4.6, 4.0))
        image = ax.imshow(values[np.ix_(order, order)], cmap=style.sequential(), vmin=0, vmax=1)
        width, height = style.axes_size(ax)
        for side in ("x", "y"):
            style.name_entries(ax, side, units[order], min(width, height))
        ax.set(xlabel=dim, ylabel=dim if communities is None else f"{dim}, sorted by community",
               title=f"motif {component}")  # fmt: skip
        style.plain_spines(ax, "left", "right", "top", "bottom")
        if show_bar:
            style.colour_bar(image, ax, "share of resampled data\nin one community")
    return ax


def plot_coassignments(
    uncertainty: xr.Dataset, communities: xr.Dataset | None = None, figure: Figure | None = None
) -> np.ndarray:
    """Draw the shares of the largest motifs, at most eight, side by side."""
    shown = components(uncertainty)[:8]
    columns = min(4, shown.size)
    rows = -(-shown.size // columns)
    with style.context():
        size = (2.35 * columns + 0.9, 2.45 * rows + 0.25)
        grid = style.blank_figure(figure, size).subplots(rows, columns, squeeze=False).ravel()
        for place, component in enumerate(shown):
            ax = plot_coassignment(uncertainty, component, communities, grid[place], show_bar=False)
            ax.set_xticks([])
            ax.set_yticks([])
            ax.set_xlabel("")
            ax.set_ylabel(ax.get_ylabel() if place % columns == 0 else "")
        for ax in grid[shown.size :]:
            ax.remove()
        style.colour_bar(
            grid[0].images[0], list(grid[: shown.size]), "share of resampled data in one community",
            fraction=0.03, pad=0.02, aspect=32, shrink=0.8,
        )  # fmt: skip
    return grid[: shown.size]


def plot_active_prob(
    uncertainty: xr.Dataset, connectome: xr.Dataset | None = None, ax: Axes | Figure | None = None
) -> Axes:
    """Draw how sure it is that a motif is active, and where its intervals begin and end.

    Parameters
    ----------
    uncertainty : xarray.Dataset
        Result of ``nt.interval_uncertainty``.
    connectome : xarray.Dataset, optional
        Result of ``nt.dynamic_connectome``: a bar above each row shows the intervals of all data, whiskers
        where 90 % of the replicates begin and end them.
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise.

    Returns
    -------
    matplotlib.axes.Axes
    """
    prob = needs_dims(variable(uncertainty, "active_prob", "activity"), ("component", "time"), "activity")
    values, time, names = prob.to_numpy(), prob["time"].to_numpy(), prob["component"].to_numpy()
    with style.context():
        ax = style.panel(ax, (9.0, 0.46 * names.size + 1.1))
        for row, share in enumerate(values):
            base = names.size - 1 - row
            ax.fill_between(time, base, base + 0.66 * share, color=DARK, alpha=0.75, linewidth=0)
            ax.axhline(base, color=style.RULE, linewidth=0.6, zorder=0)
        if connectome is not None:
            _interval_bars(ax, connectome, uncertainty, names)
        ax.set_yticks(np.arange(names.size) + 0.33, names[::-1])
        ax.tick_params(axis="y", length=0)
        ax.set(ylim=(-0.08, names.size), ylabel="motif", title="How sure is it that a motif is active?")
        seconds_axis(ax, time)
        style.plain_spines(ax, "bottom")
        ax.annotate("height: share of resampled data in which it is active", (1, 0), (0, -22), ha="right",
                    va="top", xycoords="axes fraction", textcoords="offset points", fontsize=7.5,
                    color=style.MUTED)  # fmt: skip
    return ax


def _interval_bars(ax: Axes, connectome: xr.Dataset, uncertainty: xr.Dataset, names: np.ndarray) -> None:
    place = {name: names.size - 1 - row for row, name in enumerate(names.tolist())}
    owner = connectome["interval_component"].to_numpy()
    if uncertainty.sizes.get("interval") != owner.size:
        raise SchemaError("the uncertainty is of another connectome", code="NT-DATA-005")
    sides = [
        uncertainty[f"interval_{side}_range"].transpose("interval", "bound").to_numpy()
        for side in ("start", "stop")
    ]
    for k, component in enumerate(owner.tolist()):
        level = place[component] + 0.8
        start, stop = (float(connectome[f"interval_{side}"][k]) for side in ("start", "stop"))
        firm = float(uncertainty["interval_support"][k])
        ax.plot((start, stop), (level, level), color=style.FLAG, linewidth=2.6, alpha=0.25 + 0.75 * firm,
                solid_capstyle="butt")  # fmt: skip
        for ranges in sides:
            ax.plot(ranges[k], (level, level), color=style.INK, linewidth=0.8)


def plot_conditions(comparison: xr.Dataset, ax: Axes | Figure | None = None) -> Axes:
    """Draw how much every motif is engaged in each condition.

    Parameters
    ----------
    comparison : xarray.Dataset
        Result of ``nt.compare_conditions``. Bars are the standard error of the mean over epochs (subjects);
        a star marks motifs that change (corrected p-value at most 0.05).
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise.

    Returns
    -------
    matplotlib.axes.Axes
    """
    mean = needs_dims(variable(comparison, "mean", "conditions"), ("component", "condition"), "conditions")
    error = comparison["spread"].transpose("component", "condition") / np.sqrt(comparison["n_epochs"])
    names, kinds = mean["component"].to_numpy(), mean["condition"].to_numpy()
    p, place = comparison["p_corrected"].to_numpy(), np.arange(names.size)
    width = 0.7 / kinds.size
    with style.context():
        ax = style.panel(ax, (max(4.2, 0.62 * names.size + 1.8), 3.2))
        for k, kind in enumerate(kinds):
            offset = (k - (kinds.size - 1) / 2) * width
            count, over = int(comparison["n_epochs"][k]), comparison.attrs.get("over", "epoch")
            ax.errorbar(place + offset, mean.to_numpy()[:, k], error.to_numpy()[:, k], fmt="o", markersize=5,
                        color=style.colour(k), elinewidth=1.4, label=f"{kind} ({count} {over}s)")  # fmt: skip
        top = (mean + error).max("condition").to_numpy()
        for x, y, value in zip(place, top, p, strict=True):
            star = "* " if value <= ALPHA else ""
            ax.annotate(f"{star}p = {value:.2g}", (x, y), (0, 6), textcoords="offset points", ha="center",
                        fontsize=7.5, color=style.FLAG if star else style.MUTED)  # fmt: skip
        ax.set_xticks(place, names)
        ax.set(xlabel="motif", ylabel="mean loading (mean over all = 1)", title="Which motifs change?")
        ax.margins(y=0.2)
        ax.set_xlim(-0.6, names.size - 0.4)
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
        style.plain_spines(ax, "left", "bottom")
    return ax
