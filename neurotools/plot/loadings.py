"""Who takes part in a motif: units and subjects as heat maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from neurotools.plot import style
from neurotools.plot.reading import space_of, strength, variable
from neurotools.plot.style import Axes, Figure


def plot_unit_loadings(fit: xr.Dataset, ax: Axes | Figure | None = None, *, sort: bool = True) -> Axes:
    """Draw how much each unit takes part in each motif, as a heat map.

    Each motif is scaled to its largest entry. For the layout ``symcp`` the part is the unit's loading; for
    ``pair`` it is the sum of the unit's row of the motif.

    Parameters
    ----------
    fit : xarray.Dataset
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise.
    sort : bool
        Group units by the motif in which they are strongest; otherwise they keep their order.

    Returns
    -------
    matplotlib.axes.Axes
    """
    part = strength(fit)
    dim = space_of(part, "unit loadings")
    top = part.max(dim)
    values = (part / top.where(top > 0, 1.0)).to_numpy()
    order = np.lexsort((-values.max(axis=0), values.argmax(axis=0))) if sort else np.arange(values.shape[1])
    with style.context():
        longest = max(len(str(name)) for name in part[dim].to_numpy())
        ax = style.panel(ax, (9.0, max(0.34 * len(values), 1.6) + 0.05 * longest + 1.1))
        image = ax.imshow(values[:, order], cmap=style.sequential(), vmin=0, vmax=1, aspect="auto")
        width, height = style.axes_size(ax)
        style.name_entries(ax, "y", part["component"].to_numpy(), height)
        style.name_entries(ax, "x", part[dim].to_numpy()[order], width)
        ax.set_ylabel("motif")
        ax.set_xlabel(f"{dim}, grouped by strongest motif" if sort else dim)
        ax.set_title("Who takes part in which motif")
        style.plain_spines(ax)
        style.colour_bar(image, ax, "part (share of largest)")
    return ax


def plot_subject_loadings(fit: xr.Dataset, ax: Axes | Figure | None = None) -> Axes:
    """Draw how strongly each motif is present in each subject, as a heat map with the numbers in it.

    Raises
    ------
    SchemaError
        The fit is of one recording, so it has no ``subject_loading``.
    """
    loading = variable(fit, "subject_loading", "subject loadings").transpose("component", "subject")
    values = loading.to_numpy()
    with style.context():
        n_motif, n_subject = values.shape
        ax = style.panel(ax, (max(3.6, 0.5 * n_subject + 1.8), 0.34 * n_motif + 1.4))
        image = ax.imshow(values, cmap=style.sequential(), vmin=0, aspect="auto")
        width, height = style.axes_size(ax)
        style.name_entries(ax, "y", loading["component"].to_numpy(), height)
        style.name_entries(ax, "x", loading["subject"].to_numpy(), width)
        if n_subject <= 12 and n_motif <= 16:
            write_values(ax, values, image)
        ax.set(xlabel="subject", ylabel="motif", title="Motifs across subjects")
        style.plain_spines(ax)
        style.colour_bar(image, ax, "subject loading (a.u.)")
    return ax


def write_values(ax: Axes, values: np.ndarray, image: Any) -> None:
    """Write each entry of a heat map into its cell, in the colour that is read best there."""
    from matplotlib.colors import to_hex

    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            ax.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=6.5,
                    color=style.text_on(to_hex(image.to_rgba(value))))  # fmt: skip
