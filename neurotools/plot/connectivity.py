"""Connectivity: matrices with regions that go together side by side, and how it changes over windows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, expect, lookup
from neurotools.plot import style
from neurotools.plot.reading import variable
from neurotools.plot.style import Axes, Figure

LONG_NAME = 6  # letters; longer names are written once, along the rows
TOP_QUANTILE = 0.995  # entries above no longer change the colour
WORDS = {
    "correlation": "correlation", "partial": "partial correlation", "covariance": "covariance",
    "precision": "precision", "tangent": "displacement",
}  # fmt: skip


def plot_connectivity(
    matrix: xr.DataArray,
    ax: Axes | Figure | None = None,
    *,
    order: str = "similarity",
    vmax: float | None = None,
    title: str | None = None,
) -> Axes:
    """Draw connectivity as a matrix.

    Parameters
    ----------
    matrix : xarray.DataArray
        (region, region_to), from ``nt.connectivity``; with ``subject`` or ``window`` the mean is drawn, and
        the title says of how many.
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise.
    order : {"similarity", "given"}
        ``"similarity"`` puts regions side by side that have like connections (average linkage of rows,
        leaves ordered after Bar-Joseph et al. 2001, Bioinformatics 17, S22-S29). ``"given"`` keeps theirs.
    vmax : float, optional
        Value of the strongest colours; by default the 99.5 % quantile of the absolute entries off the
        diagonal, which itself is left blank.
    title : str, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    square, said = _averaged(matrix)
    dim, values = str(square.dims[0]), square.to_numpy()
    at = lookup("order of regions", order, ORDERS)(values)
    shown = values[np.ix_(at, at)].copy()
    off = ~np.eye(len(values), dtype=bool)
    top = (np.quantile(np.abs(values[off]), TOP_QUANTILE) or 1.0) if vmax is None else vmax
    np.fill_diagonal(shown, np.nan)
    signed = bool((values[off] < 0).any())
    with style.context():
        ax = style.panel(ax, (5.6, 4.7))
        colours = style.diverging() if signed else style.sequential()
        image = ax.imshow(shown, cmap=colours, vmin=-top if signed else 0, vmax=top, aspect="equal")
        style.plain_spines(ax, "left", "right", "top", "bottom")
        width, height = style.axes_size(ax)
        names = square[dim].to_numpy()[at]
        style.name_entries(ax, "y", names, min(width, height))
        long = max(len(str(name)) for name in names) > LONG_NAME
        style.name_entries(ax, "x", [] if long else names, min(width, height))
        ax.set_xlabel(f"{dim}, in the same order" if long else dim)
        ax.set_ylabel(dim if order == "given" else f"{dim}, by likeness of connections")
        kind = WORDS.get(str(matrix.attrs.get("kind")), str(matrix.name or "value").replace("_", " "))
        head = kind.capitalize() if title is None else title
        ax.set_title(f"{head}{said}")
        style.colour_bar(image, ax, style.with_unit(kind, matrix.attrs.get("units", "1")))
    return ax


def plot_window_strength(windows: xr.Dataset, ax: Axes | Figure | None = None) -> Axes:
    """Draw how strong connectivity is in each window, and how far it moves from one to the next.

    Parameters
    ----------
    windows : xarray.Dataset
        Result of ``nt.window_summary``; with ``subject``, the median and the middle half of subjects.

    Returns
    -------
    matplotlib.axes.Axes
    """
    told = {name: variable(windows, name, "strength of windows") for name in ("strength", "distance")}
    with style.context():
        ax = style.panel(ax, (7.2, 2.6))
        time = windows["window"].to_numpy()
        for label, (name, word) in enumerate(
            {"strength": "mean strength", "distance": "change since the last window"}.items()
        ):
            values = told[name].transpose("window", ...).to_numpy().reshape(time.size, -1)
            ax.plot(time, np.median(values, axis=1), color=style.colour(label), label=word)
            if values.shape[1] > 1:
                low, high = np.quantile(values, [0.25, 0.75], axis=1)
                ax.fill_between(time, low, high, color=style.colour(label), alpha=0.2, linewidth=0)
        ax.set_xlabel("middle of the window (s)")
        ax.set_ylabel("over all pairs")
        ax.set_ylim(bottom=0, top=1.25 * ax.get_ylim()[1])  # room for the legend above the curves
        ax.legend(loc="upper left", ncols=2)
        n = windows.sizes.get("subject", 1)
        some = f", median and middle half of {n} subjects" if n > 1 else ""
        ax.set_title(f"Connectivity in windows of {float(windows.attrs['window_s']):g} s{some}")
    return ax


def connectivity_figures(
    static: Mapping[str, xr.DataArray] | xr.Dataset, windows: xr.Dataset | None = None
) -> dict[str, Figure]:
    """Draw every picture that the given results allow, each a figure of its own, by name.

    Parameters
    ----------
    static : mapping of str to xarray.DataArray
        Kind to result of ``nt.connectivity``.
    windows : xarray.Dataset, optional
        Result of ``nt.window_summary``.
    """
    drawn = {str(kind): _on(plot_connectivity, matrix) for kind, matrix in static.items()}
    if windows is not None:
        sd = windows["sd"].assign_attrs(kind="")
        drawn["window_sd"] = _on(plot_connectivity, sd, title="Standard deviation over windows")
        drawn["windows"] = _on(plot_window_strength, windows)
    return drawn


def _on(plot: Any, *data: Any, **options: Any) -> Figure:
    figure: Figure = plot(*data, **options).figure
    return figure


def _averaged(matrix: xr.DataArray) -> tuple[xr.DataArray, str]:
    """The matrix as (region, region_to), and words about what was averaged."""
    expect(matrix, "a matrix of connectivity", xr.DataArray, fix="nt.connectivity(data)")
    dims = [str(dim) for dim in matrix.dims]
    lead, pair = dims[:-2], dims[-2:]
    if len(pair) < 2 or pair[1] != f"{pair[0]}_to":
        raise SchemaError(
            "connectivity has dimensions (region, region_to)", found=matrix.dims,
            fix="pass a result of nt.connectivity, transposed to end in (region, region_to)",
        )  # fmt: skip
    said = "".join(f", mean of {matrix.sizes[dim]} {dim}s" for dim in lead if matrix.sizes[dim] > 1)
    return matrix.mean(lead), said


def _by_likeness(values: np.ndarray) -> np.ndarray:
    from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
    from scipy.spatial.distance import pdist

    if len(values) < 3:
        return np.arange(len(values))
    distance = pdist(values, "euclidean")
    tree = optimal_leaf_ordering(linkage(distance, "average"), distance)
    return np.asarray(leaves_list(tree))


ORDERS = {"similarity": _by_likeness, "given": lambda values: np.arange(len(values))}
