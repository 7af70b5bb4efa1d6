"""All pictures of a switching model at once, by name: for a report, a results folder, a slide deck."""

from __future__ import annotations

from typing import Any

import pandas as pd
import xarray as xr

from neurotools.plot import style
from neurotools.plot.couplings import plot_all_couplings
from neurotools.plot.figures import marks_of
from neurotools.plot.scans import plot_state_scan
from neurotools.plot.states import plot_state_prob
from neurotools.plot.strategies import plot_psychometric, plot_state_weights
from neurotools.plot.style import Figure
from neurotools.plot.transitions import plot_dwell_times, plot_transition, plot_transition_diagram

FEW_UNITS = 40  # up to which a graph of couplings can be read
MOST_MOVES = 6  # states, up to which a diagram of transitions can be read


def choice_state_figures(
    fit: xr.Dataset,
    states: xr.Dataset,
    curves: xr.Dataset | None = None,
    visits: pd.DataFrame | None = None,
    scan: xr.Dataset | None = None,
) -> dict[str, Figure]:
    """Draw every picture of an animal's strategies that the given results allow.

    Parameters
    ----------
    fit, states : xarray.Dataset
        Fit of ``nt.SwitchingGLM`` to choices, and its prediction of the same trials.
    curves : xarray.Dataset, optional
        Result of ``nt.psychometric``.
    visits : pandas.DataFrame, optional
        Result of ``nt.dwell_times``.
    scan : xarray.Dataset, optional
        Result of ``nt.select_states``.

    Returns
    -------
    dict of str to matplotlib.figure.Figure
        ``weights``, ``psychometric``, ``state_prob``, ``transitions``, ``dwell_times``, ``heldout``, in this
        order; a name is absent where its data is. The figures belong to no window.
    """
    drawn = {"weights": _on(plot_state_weights, fit)}
    if curves is not None:
        drawn["psychometric"] = _on(plot_psychometric, curves)
    lasting = _lasting(fit, visits)
    if "dwell_times" in lasting:
        lasting["dwell_times"].axes[0].set_xlabel("length of a visit (trials)")
    return {**drawn, **_over_time(fit, states, None), **lasting, **_scanned(scan)}


def brain_state_figures(
    fit: xr.Dataset,
    states: xr.Dataset,
    visits: pd.DataFrame | None = None,
    scan: xr.Dataset | None = None,
    recording: xr.DataTree | None = None,
) -> dict[str, Figure]:
    """Draw every picture of the states of a population that the given results allow.

    Parameters
    ----------
    fit, states : xarray.Dataset
        Fit of ``nt.SwitchingGLM`` to counts, and its prediction of the same counts.
    visits : pandas.DataFrame, optional
        Result of ``nt.dwell_times``.
    scan : xarray.Dataset, optional
        Result of ``nt.select_states``.
    recording : xarray.DataTree, optional
        Its events and trials are marked over time.

    Returns
    -------
    dict of str to matplotlib.figure.Figure
        ``state_prob``, ``couplings``, ``coupling_graphs``, ``coupling_changes``, ``transitions``,
        ``dwell_times``, ``heldout``, in this order; a name is absent where its data is. Graphs are drawn for
        up to 40 units. The figures belong to no window.
    """
    drawn = _over_time(fit, states, recording)
    if "weight" in fit:
        drawn["couplings"] = _spread(plot_all_couplings, fit)
        if fit.sizes["unit"] <= FEW_UNITS:
            drawn["coupling_graphs"] = _spread(plot_all_couplings, fit, kind="graph")
        if fit.sizes["state"] > 1:
            drawn["coupling_changes"] = _spread(plot_all_couplings, fit, relative=True)
    return {**drawn, **_lasting(fit, visits), **_scanned(scan)}


def _over_time(fit: xr.Dataset, states: xr.Dataset, recording: xr.DataTree | None) -> dict[str, Figure]:
    events, _ = marks_of(recording)
    return {"state_prob": _on(plot_state_prob, states, events=events)} if fit.sizes["state"] > 1 else {}


def _lasting(fit: xr.Dataset, visits: pd.DataFrame | None) -> dict[str, Figure]:
    if fit.sizes["state"] < 2:
        return {}
    plot = plot_transition_diagram if fit.sizes["state"] <= MOST_MOVES else plot_transition
    drawn = {"transitions": _on(plot, fit)}
    return drawn if visits is None else {**drawn, "dwell_times": _on(plot_dwell_times, visits)}


def _scanned(scan: xr.Dataset | None) -> dict[str, Figure]:
    if scan is None or scan.sizes["n_states"] < 2:
        return {}
    return {"heldout": _on(plot_state_scan, scan)}


def _on(plot: Any, *data: Any, **options: Any) -> Figure:
    figure = _blank()
    plot(*data, ax=figure, **options)
    return figure


def _spread(plot: Any, *data: Any, **options: Any) -> Figure:
    figure = _blank()
    plot(*data, figure=figure, **options)
    return figure


def _blank() -> Figure:
    from matplotlib.figure import Figure as Blank

    with style.context():
        return Blank()
