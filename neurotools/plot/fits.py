"""How good and how repeatable a fit is: error, restarts, ranks and description lengths."""

from __future__ import annotations

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, expect
from neurotools.plot import style
from neurotools.plot.loadings import write_values
from neurotools.plot.reading import components, needs_dims, variable
from neurotools.plot.strips import strip_above
from neurotools.plot.style import Axes, Figure


def plot_error(fit: xr.Dataset, ax: Axes | Figure | None = None) -> Axes:
    """Draw how the relative error falls over iterations, with the final error of every restart inset.

    Parameters
    ----------
    fit : xarray.Dataset
        With ``error(iteration)`` of the restart that was kept and, where there were several,
        ``restart_error(restart)``.
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise.

    Returns
    -------
    matplotlib.axes.Axes
        The inset, where there is one, is its only ``child_axes``.
    """
    error = variable(fit, "error", "the error of a fit").to_numpy()
    with style.context():
        ax = style.panel(ax, (5.4, 3.3))
        ax.plot(np.arange(1, error.size + 1), error, color=style.ACCENT)
        ax.plot(error.size, error[-1], "o", color=style.ACCENT, markersize=5)
        ax.annotate(f"{error[-1]:.4f}", (error.size, error[-1]), (0, 7), textcoords="offset points",
                    ha="right", va="bottom", color=style.ACCENT, fontsize=8.5, fontweight="bold")  # fmt: skip
        ax.set(xlabel="iteration (sweeps over all modes)", ylabel="relative error (share of the data's norm)")
        ax.set_title("Fit to the affinities", pad=9)
        ax.margins(x=0.02)
        style.plain_spines(ax, "left", "bottom")
        if "restart_error" in fit and fit["restart_error"].size > 1:
            _restart_inset(ax, fit["restart_error"].to_numpy())
    return ax


def _restart_inset(ax: Axes, errors: np.ndarray) -> None:
    """Final errors of all restarts, best first, on their own scale (their spread is small)."""
    inset = style.dressed(ax.inset_axes((0.52, 0.48, 0.46, 0.46)))
    ranked = np.sort(errors)
    inset.plot(np.arange(1, ranked.size + 1), ranked, color=style.RULE, linewidth=1, zorder=1)
    inset.scatter(np.arange(1, ranked.size + 1), ranked, s=18, color=style.MUTED, zorder=2)
    inset.scatter(1, ranked[0], s=26, color=style.ACCENT, zorder=3)
    inset.set_xlabel("restart, best first", fontsize=7.5, labelpad=2)
    inset.set_ylabel("final relative error", fontsize=7.5, labelpad=2)
    inset.tick_params(labelsize=7)
    inset.ticklabel_format(axis="y", useOffset=False)
    inset.margins(y=0.18)
    inset.locator_params(axis="y", nbins=4)
    inset.set_xticks([1, ranked.size])
    style.plain_spines(inset, "left", "bottom")


def plot_restart_similarity(fit: xr.Dataset, ax: Axes | Figure | None = None) -> Axes:
    """Draw how alike the solutions of all restarts are, best restart first.

    1 means that two restarts found the same motifs up to their order; low values mean that the motifs
    depend on the random start, so that single motifs should not be read as facts.

    Parameters
    ----------
    fit : xarray.Dataset
        With ``restart_similarity(restart, restart_to)``.
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise.

    Returns
    -------
    matplotlib.axes.Axes
    """
    similarity = needs_dims(
        variable(fit, "restart_similarity", "restart similarity"), ("restart", "restart_to"), "similarity"
    )
    values = similarity.to_numpy()
    order = np.argsort(fit["restart_error"].to_numpy(), kind="stable") if "restart_error" in fit else None
    order = np.arange(len(values)) if order is None else order
    values = values[np.ix_(order, order)]
    names = similarity["restart"].to_numpy()[order]
    with style.context():
        ax = style.panel(ax, (4.6, 3.9))
        image = ax.imshow(values, cmap=style.sequential(), vmin=min(0.0, float(values.min())), vmax=1,
                          aspect="equal")  # fmt: skip
        size = min(style.axes_size(ax))
        style.name_entries(ax, "y", names, size)
        style.name_entries(ax, "x", names, size)
        if len(values) <= 12:
            write_values(ax, values, image)
        others = values[np.triu_indices(len(values), 1)]
        median = f" (median {np.median(others):.2f})" if others.size else ""
        ax.set(xlabel="restart", ylabel="restart, lowest error first")
        ax.set_title(f"Same motifs from every start?{median}")
        style.plain_spines(ax)
        style.colour_bar(image, ax, "similarity of motifs (1 = the same)")
    return ax


# Variables of a rank scan that are errors: (name, what the legend says, colour number).
SCANNED = (("heldout_error", "held-out data", 1), ("relative_error", "data fitted", 0))


def plot_rank_scan(scan: xr.Dataset, ax: Axes | Figure | None = None) -> Axes:
    """Draw the error of fitted and held-out data against the number of motifs.

    Parameters
    ----------
    scan : xarray.Dataset
        Result of ``nt.rank_scan``: ``relative_error(rank)``, ``heldout_error(rank, fold)``, drawn as dots
        around its mean, ``restart_similarity(rank)``, in a strip above, and ``static_error(fold)``, the level
        that a rank has to beat.
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise.

    Returns
    -------
    matplotlib.axes.Axes
    """
    expect(scan, "a rank scan", xr.Dataset, fix="scan = nt.rank_scan(model, affinity, ranks)")
    if "rank" not in scan.dims:
        raise SchemaError("a rank scan needs the dimension 'rank'", found=tuple(map(str, scan.dims)))
    curves = [entry for entry in SCANNED if entry[0] in scan]
    if not curves:
        raise SchemaError(
            "a rank scan needs one of the variables " + ", ".join(name for name, _, _ in SCANNED),
            found=", ".join(map(str, scan.data_vars)),
        )
    rank = scan["rank"].to_numpy()
    similar = scan.get("restart_similarity")
    with style.context():
        ax = style.panel(ax, (5.4, 3.3 + (0.8 if similar is not None else 0)))
        for name, legend, number in curves:
            _curve(ax, scan[name], rank, legend, style.colour(number))
        if "static_error" in scan:
            level = float(scan["static_error"].mean())
            ax.axhline(level, color=style.MUTED, linewidth=1, zorder=0, label="held out, nothing changes")
        _mark_selected(ax, scan)
        ax.set(xlabel="rank (number of motifs)", ylabel="relative error (share of the data's norm)")
        ax.set_xticks(rank if rank.size <= 16 else rank[:: -(-rank.size // 12)])
        ax.legend(loc="best")
        style.plain_spines(ax, "left", "bottom")
        if similar is not None:
            strip = strip_above(ax, 0.12, 0.6)
            _curve(strip, similar, rank, "", style.colour(2))
            strip.set(ylim=(0, 1.05), yticks=(0, 0.5, 1))
            strip.set_ylabel("restart similarity\n(1 = the same)", rotation=0, ha="right", va="center")
            style.plain_spines(strip, "left")
    return ax


def _curve(ax: Axes, array: xr.DataArray, rank: np.ndarray, legend: str, tint: str) -> None:
    others = [dim for dim in array.dims if dim != "rank"]
    each = array.transpose("rank", *others).to_numpy().reshape(rank.size, -1)
    if each.shape[1] > 1:
        ax.plot(rank, each, "o", color=tint, alpha=0.3, markersize=3, markeredgewidth=0)
    ax.plot(rank, np.nanmean(each, axis=1), "o-", color=tint, markersize=5, label=legend)


def _mark_selected(ax: Axes, scan: xr.Dataset) -> None:
    """Mark the rank that the scan chose; 0 means that none predicts held-out data."""
    chosen = int(scan.attrs.get("selected_rank", -1))
    if chosen > 0:
        ax.axvline(chosen, color=style.MUTED, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
        ax.annotate(f"chosen: {chosen}", (chosen, 1), (4, -2), xycoords=ax.get_xaxis_transform(), va="top",
                    textcoords="offset points", fontsize=8, color=style.MUTED)  # fmt: skip
    elif chosen == 0:
        reason = str(scan.attrs.get("reason", "no rank predicts held-out data"))
        ax.set_title(f"none: {reason}", fontsize=9, color=style.FLAG)


def plot_description_length(communities: xr.Dataset, ax: Axes | Figure | None = None) -> Axes:
    """Draw how many nats the communities save over no communities, for each variant of the block model.

    The saving is the description length of the null model (one block) less that of the fit: above 0 the
    motif is better described with communities, and the variant that saves most was kept.

    Parameters
    ----------
    communities : xarray.Dataset
        Result of ``nt.BlockModel``: ``description_length(component, variant)`` and
        ``null_description_length(component)``.
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise.

    Returns
    -------
    matplotlib.axes.Axes
    """
    length = variable(communities, "description_length", "description lengths")
    null = variable(communities, "null_description_length", "description lengths")
    saving = null - length
    if "component" not in saving.dims:
        saving = saving.expand_dims(component=["–"])
    if "variant" not in saving.dims:
        saving = saving.expand_dims(variant=["block model"])
    saving = saving.transpose("component", "variant")
    names, rows = components(saving.to_dataset(name="saving")), np.arange(saving.sizes["component"])
    with style.context():
        ax = style.panel(ax, (5.4, 0.3 * rows.size + 1.4))
        values = saving.to_numpy()
        best = np.nanmax(values, axis=1)
        ax.hlines(
            rows, np.fmin(0, np.nanmin(values, axis=1)), np.fmax(0, best), color=style.RULE, linewidth=2
        )
        for place, variant in enumerate(saving["variant"].to_numpy()):
            ax.scatter(values[:, place], rows, s=34, color=style.colour(place), zorder=3,
                       marker="osD^v"[place % 5], label=str(variant).replace("_", " "))  # fmt: skip
        ax.axvline(0, color=style.MUTED, linewidth=0.9)
        ax.set_yticks(rows, names)
        ax.set(xlabel="saved over one block (nats)", ylabel="motif", ylim=(rows.size - 0.4, -0.6))
        ax.set_title("Are there communities at all?")
        ax.legend(
            title="block model",
            title_fontsize=8,
            loc="upper left",
            bbox_to_anchor=(1.0, 1.0),
            alignment="left",
        )
        style.plain_spines(ax, "left", "bottom")
        ax.tick_params(axis="y", length=0)
    return ax
