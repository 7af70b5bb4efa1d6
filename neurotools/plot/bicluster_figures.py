"""All pictures of a bi-clustering at once, by name: for a report, a results folder, a slide deck."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import xarray as xr

from neurotools.plot import style
from neurotools.plot.biclusters import (
    plot_number,
    plot_state_sequence,
    plot_state_similarity,
    plot_unit_similarity,
)
from neurotools.plot.figures import marks_of
from neurotools.plot.latents import plot_cluster_latents, plot_flow, plot_rate
from neurotools.plot.posterior import plot_calibration, plot_convergence
from neurotools.plot.style import Axes, Figure

MOST_FLOWS = (4, 4)  # clusters and states that are drawn
N_RATES = 3
MOST_KINDS = 12  # of a label of units that is drawn beside their clusters


def bicluster_figures(
    post: xr.DataTree,
    partition: xr.Dataset,
    *,
    latents: xr.Dataset | None = None,
    similarity: xr.DataArray | None = None,
    convergence: xr.Dataset | None = None,
    check: xr.Dataset | None = None,
    recording: xr.DataTree | xr.DataArray | None = None,
) -> dict[str, Figure]:
    """Draw every picture that the given results allow.

    Parameters
    ----------
    post : xarray.DataTree
        From ``nt.BiCluster(...).sample``.
    partition, latents, similarity, convergence, check : xarray.Dataset, xarray.DataArray
        From ``nt.point_partition``, ``nt.cluster_latents``, ``nt.state_similarity``, ``nt.convergence`` and
        ``nt.posterior_check``.
    recording : xarray.DataTree or xarray.DataArray, optional
        What was analysed; its events, stimulus and behaviour are marked over time.

    Returns
    -------
    dict of str to matplotlib.figure.Figure
        In the order in which a reader wants them: ``states``, ``latents``, ``units``, ``state_similarity``,
        ``flow``, ``numbers``, ``rates``, ``convergence``, ``calibration``. A name is absent where its
        data is.
    """
    events, stimulus = marks_of(recording)
    drawn: dict[str, Figure] = {}

    def add(name: str, plot: Any, *args: Any, **options: Any) -> None:
        drawn[name] = _blank()
        plot(*args, **options, **{"figure" if plot in PANELS else "ax": drawn[name]})

    add("states", plot_state_sequence, partition, events, stimulus)
    if latents is not None:
        add("latents", plot_cluster_latents, latents, partition, events, stimulus)
    add("units", plot_unit_similarity, partition, group=_group(partition))
    if similarity is not None:
        add("state_similarity", plot_state_similarity, similarity, partition)
    if latents is not None and "dynamics_matrix" in latents:
        add("flow", plot_flows, latents)
    add("numbers", plot_numbers, post)
    if "moments" in post.children:
        add("rates", plot_rates, post, partition)
    if convergence is not None:
        add("convergence", plot_convergence, convergence)
    if check is not None:
        add("calibration", plot_calibration, check)
    return drawn


def _blank() -> Figure:
    from matplotlib.figure import Figure as Blank

    with style.context():
        return Blank()


def _group(partition: xr.Dataset) -> str | None:
    """The first label of units that divides them into a few kinds."""
    for name, coord in partition.coords.items():
        text = coord.dims == ("unit",) and name != "unit" and coord.dtype.kind in "OUST"
        if text and 1 < len(set(coord.to_numpy().tolist())) <= MOST_KINDS:
            return str(name)
    return None


def plot_flows(latents: xr.Dataset, figure: Figure | None = None) -> np.ndarray:
    """Draw the rules of each cluster (down) in each state (across) as flow fields; see ``plot_flow``.

    Returns
    -------
    numpy.ndarray of matplotlib.axes.Axes
        (cluster, state), at most four of each; those that no draw has stay empty.
    """
    matrix = latents["dynamics_matrix"].transpose("cluster", "state", ...)
    rows, columns = (min(n, most) for n, most in zip(matrix.shape[:2], MOST_FLOWS, strict=True))
    with style.context():
        figure = style.blank_figure(figure, (2.6 * columns + 0.2, 2.7 * rows + 0.1))
        grid = figure.subplots(rows, columns, squeeze=False)
    for row, column in np.ndindex(rows, columns):
        if np.isfinite(matrix[row, column].to_numpy()).all():
            plot_flow(latents, row, column, cast("Axes", grid[row, column]))
        else:
            cast("Axes", grid[row, column]).remove()
    return grid


def plot_numbers(post: xr.DataTree, figure: Figure | None = None) -> np.ndarray:
    """Draw how probable each number of clusters and of states is, side by side; see ``plot_number``."""
    with style.context():
        figure = style.blank_figure(figure, (6.4, 2.6))
        axes = figure.subplots(1, 2)
    for ax, of in zip(axes, ("clusters", "states"), strict=True):
        plot_number(post, of, ax)
    return axes


def plot_rates(post: xr.DataTree, partition: xr.Dataset, figure: Figure | None = None) -> np.ndarray:
    """Draw the rates of the most active unit of each of the largest clusters; see ``plot_rate``."""
    spikes = post["observed_data/counts"].sum("time").to_numpy()
    labels = partition["unit_label"].to_numpy()
    units = partition["unit"].to_numpy()
    clusters = range(min(int(labels.max()) + 1, N_RATES))
    chosen = [units[np.argmax(np.where(labels == cluster, spikes, -1))] for cluster in clusters]
    with style.context():
        figure = style.blank_figure(figure, (9.0, 1.75 * len(chosen)))
        axes = figure.subplots(len(chosen), 1, squeeze=False, sharex=True)[:, 0]
    for place, (ax, unit) in enumerate(zip(axes, chosen, strict=True)):
        plot_rate(post, unit, ax)
        ax.set_title(f"unit {unit}, of cluster {place}", loc="left")
        if place < len(chosen) - 1:
            ax.set_xlabel("")
        if place and ax.get_legend() is not None:
            ax.get_legend().remove()
    return axes


PANELS = (plot_flows, plot_numbers, plot_rates)
