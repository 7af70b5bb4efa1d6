"""All pictures of a dynamic connectome at once, by name: for a report, a results folder, a slide deck."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError
from neurotools.plot import style
from neurotools.plot.fits import (
    plot_description_length,
    plot_error,
    plot_rank_scan,
    plot_restart_similarity,
)
from neurotools.plot.loadings import plot_subject_loadings, plot_unit_loadings
from neurotools.plot.motif_tests import (
    plot_active_prob,
    plot_coassignments,
    plot_conditions,
    plot_motif_null,
)
from neurotools.plot.motifs import plot_circuit, plot_motifs
from neurotools.plot.reading import components
from neurotools.plot.recordings import plot_quality, plot_traces
from neurotools.plot.style import Figure
from neurotools.plot.timeline import plot_communities_over_time, plot_time_loadings
from neurotools.schema import signal

MARK_NODES = ("stimulus", "behaviour")
MAX_TRACKS = 4


def connectome_figures(
    fit: xr.Dataset,
    communities: xr.Dataset | None = None,
    connectome: xr.Dataset | None = None,
    recording: xr.DataTree | xr.DataArray | None = None,
    rank_scan: xr.Dataset | None = None,
    *,
    null: xr.Dataset | None = None,
    uncertainty: xr.Dataset | None = None,
    conditions: xr.Dataset | None = None,
) -> dict[str, Figure]:
    """Draw every picture that the given results allow.

    Parameters
    ----------
    fit : xarray.Dataset
        Fit of ``nt.NTF``.
    communities, connectome : xarray.Dataset, optional
        Results of ``nt.BlockModel`` and ``nt.dynamic_connectome``.
    recording : xarray.DataTree or xarray.DataArray, optional
        What was analysed; its events, stimulus and behaviour are marked over time.
    rank_scan : xarray.Dataset, optional
    null, conditions : xarray.Dataset, optional
        Results of ``nt.motif_null`` and ``nt.compare_conditions``.
    uncertainty : xarray.Dataset, optional
        Results of ``nt.interval_uncertainty`` and ``nt.community_uncertainty``, merged, or one of them.

    Returns
    -------
    dict of str to matplotlib.figure.Figure
        In the order in which a reader wants them: ``time_loadings``, ``motifs``, ``circuits``,
        ``communities_over_time``, ``unit_loadings``, ``subject_loadings``, ``restart_similarity``, ``error``,
        ``rank_scan``, ``motif_null``, ``active_prob``, ``coassignment``, ``conditions``,
        ``description_length``, ``traces``, ``quality``. A name is absent where its data is.
        The figures belong to no window; save them with ``figure.savefig(path)``.
    """
    events, stimulus = marks_of(recording)
    drawn: dict[str, Figure] = {}

    def add(name: str, plot: Any, *args: Any, **options: Any) -> None:
        place = "figure" if plot in (plot_motifs, _circuits, plot_coassignments) else "ax"
        drawn[name] = _new_figure()
        plot(*args, **options, **{place: drawn[name]})

    add("time_loadings", plot_time_loadings, fit, events, stimulus, connectome)
    add("motifs", plot_motifs, fit, communities)
    add("circuits", _circuits, fit, communities)
    if connectome is not None:
        add("communities_over_time", plot_communities_over_time, connectome, fit, events, stimulus)
    add("unit_loadings", plot_unit_loadings, fit)
    if "subject_loading" in fit:
        add("subject_loadings", plot_subject_loadings, fit)
    if fit.sizes.get("restart", 1) > 1:
        add("restart_similarity", plot_restart_similarity, fit)
    if "error" in fit:
        add("error", plot_error, fit)
    if rank_scan is not None:
        add("rank_scan", plot_rank_scan, rank_scan)
    for name, plot, given in _tests(communities, connectome, null, uncertainty, conditions):
        add(name, plot, *given)
    if communities is not None and "null_description_length" in communities:
        add("description_length", plot_description_length, communities)
    if recording is not None and _main(recording) is not None:
        add("traces", plot_traces, _main(recording), sort="peak")
        add("quality", plot_quality, _main(recording))
    return drawn


def _tests(
    communities: xr.Dataset | None,
    connectome: xr.Dataset | None,
    null: xr.Dataset | None,
    uncertainty: xr.Dataset | None,
    conditions: xr.Dataset | None,
) -> list[tuple[str, Any, tuple[Any, ...]]]:
    """Pictures of how far motifs can be trusted: name, plot and what it draws."""
    drawn: list[tuple[str, Any, tuple[Any, ...]]] = []
    if null is not None:
        drawn.append(("motif_null", plot_motif_null, (null,)))
    if uncertainty is not None and "active_prob" in uncertainty:
        drawn.append(("active_prob", plot_active_prob, (uncertainty, connectome)))
    if uncertainty is not None and "coassignment" in uncertainty:
        drawn.append(("coassignment", plot_coassignments, (uncertainty, communities)))
    if conditions is not None:
        drawn.append(("conditions", plot_conditions, (conditions,)))
    return drawn


def _new_figure() -> Figure:
    from matplotlib.figure import Figure as Blank

    with style.context():
        return Blank()


def _circuits(fit: xr.Dataset, communities: xr.Dataset | None, figure: Figure) -> np.ndarray:
    """The four largest motifs as circuits, two in a row."""
    known = components(fit)[:4]
    columns = min(len(known), 2)
    rows = -(-len(known) // columns)
    with style.context():
        grid = style.blank_figure(figure, (4.4 * columns, 4.6 * rows)).subplots(rows, columns, squeeze=False)
    for ax, component in zip(grid.ravel(), known, strict=False):
        plot_circuit(fit, component, communities, ax)
    for ax in grid.ravel()[len(known) :]:
        ax.remove()
    return grid


def _main(recording: xr.DataTree | xr.DataArray) -> xr.DataArray | None:
    """The main array where there is exactly one that can be drawn over time."""
    try:
        array = signal(recording)
    except SchemaError:
        return None
    return array if array.ndim == 2 and "time" in array.dims else None


def marks_of(recording: xr.DataTree | xr.DataArray | None) -> tuple[xr.Dataset | None, xr.Dataset | None]:
    """Events (or trials) of a recording, and up to four arrays of stimulus and behaviour over time.

    Arrays with their own clocks come as one Dataset only where they share it; else the first node that has
    any is taken. Images (spectrograms) and lines both count.
    """
    if not isinstance(recording, xr.DataTree):
        return None, None
    nodes = {name: node.to_dataset(inherit=False) for name, node in recording.children.items()}
    tables = [nodes[name] for name in ("events", "trials") if name in nodes]
    events = next((t for t in tables if "onset" in t or {"start", "stop"} <= set(t.data_vars)), None)
    for name in MARK_NODES:
        if name not in nodes:
            continue
        dataset = nodes[name]
        fit_for_strips = [
            key for key, array in dataset.data_vars.items()
            if "time" in array.dims and array.ndim <= 2 and array.dtype.kind in "biuf" and array.size
        ]  # fmt: skip
        if fit_for_strips:
            return events, dataset[fit_for_strips[:MAX_TRACKS]]
    return events, None
