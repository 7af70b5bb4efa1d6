"""Fits of switching models: when each state holds, what it does to couplings, and what follows it."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, SettingsError
from neurotools.plot import style
from neurotools.plot.reading import needs_dims, variable
from neurotools.plot.strips import add_strips, mark_events, mark_sessions
from neurotools.plot.style import Axes, Figure


def plot_state_prob(
    fit: xr.Dataset, ax: Axes | Figure | None = None, *, events: xr.Dataset | None = None
) -> Axes:
    """Draw the probability of every state over time, stacked so that they fill the height.

    Parameters
    ----------
    fit : xarray.Dataset
        With ``state_prob`` (time, state) or (trial, state): a fit, or a prediction. Edges of sessions are
        marked. Where there are more samples than pixels, each step is the mean of those it covers.
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise.
    events : xarray.Dataset, optional
        With ``onset`` (and ``duration``) in seconds, drawn above.

    Returns
    -------
    matplotlib.axes.Axes
    """
    prob = variable(fit, "state_prob", "probabilities of states")
    dim = "trial" if "trial" in prob.dims else "time"
    prob = needs_dims(prob, (dim, "state"), "probabilities of states")
    at, values = _thinned(prob, dim)
    with style.context():
        ax = style.panel(ax, (7.2, 2.4))
        stacked = np.cumsum(values, axis=1)
        below = np.zeros(len(values))
        for place, state in enumerate(
            prob["state"].to_numpy() if "state" in prob.coords else range(values.shape[1])
        ):
            ax.fill_between(at, below, stacked[:, place], step="post", color=style.colour(place), linewidth=0,
                            label=f"state {state}")  # fmt: skip
            below = stacked[:, place]
        ax.set(xlim=(at[0], at[-1]), ylim=(0, 1), yticks=(0, 0.5, 1), ylabel="probability of state")
        ax.set_xlabel("time (s)" if dim == "time" and dim in prob.coords else dim)
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), handlelength=1.0)
        style.plain_spines(ax, "left", "bottom")
        if dim == "time":
            mark_sessions(ax, prob)
            if events is not None:
                mark_events(ax, events)
                add_strips(ax, events, None)
    return ax


MOST_STEPS = 2000  # drawn along time


def _thinned(prob: xr.DataArray, dim: str) -> tuple[np.ndarray, np.ndarray]:
    """Left edges and probabilities of at most ``MOST_STEPS`` steps, the last edge being the end."""
    values = prob.to_numpy()
    at = (
        prob[dim].to_numpy().astype("float64")
        if dim in prob.coords
        else np.arange(len(values), dtype="float64")
    )
    first = np.unique(np.linspace(0, len(values), min(MOST_STEPS, len(values)), endpoint=False).astype(int))
    means = np.add.reduceat(values, first, axis=0) / np.diff(np.append(first, len(values)))[:, None]
    width = float(np.median(np.diff(at))) if at.size > 1 else 1.0
    return np.append(at[first], at[-1] + width), np.concatenate([means, means[-1:]])


def plot_couplings(
    fit: xr.Dataset, ax: Axes | Figure | None = None, *, state: int = 0, basis: int | None = None
) -> Axes:
    """Draw the couplings of one state as a matrix: each row is driven by the units along the columns.

    Parameters
    ----------
    fit : xarray.Dataset
        With ``weight`` (state, unit, unit_to, basis). One scale of colour for all states, so that panels of
        several states compare.
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise.
    state : int
        Which state.
    basis : int, optional
        Which function of the lag; their sum when omitted, which is the whole effect of a spike.

    Returns
    -------
    matplotlib.axes.Axes
    """
    weight = variable(fit, "weight", "couplings")
    weight = needs_dims(weight, ("state", "unit", "unit_to", "basis"), "couplings")
    for dim, label in (("state", state), ("basis", basis)):
        if label is not None and label not in weight[dim].to_numpy():
            raise SettingsError(
                f"there is no {dim} {label!r} in this fit", code="NT-SET-001",
                expected="one of " + ", ".join(map(str, weight[dim].to_numpy())),
            )  # fmt: skip
    weight = weight.sum("basis") if basis is None else weight.sel(basis=basis)
    top = float(np.abs(weight).max()) or 1.0
    matrix = weight.sel(state=state).transpose("unit_to", "unit")
    with style.context():
        ax = style.panel(ax, (4.6, 3.9))
        image = ax.imshow(matrix, cmap=style.diverging(), vmin=-top, vmax=top, aspect="equal")
        width, height = style.axes_size(ax)
        style.name_entries(ax, "x", matrix["unit"].to_numpy(), width)
        style.name_entries(ax, "y", matrix["unit_to"].to_numpy(), height)
        held = f", held {100 * float(fit['occupancy'].sel(state=state)):.0f} % of the time"
        ax.set_title(f"state {state}" + (held if "occupancy" in fit else ""))
        ax.set(xlabel="unit that sends", ylabel="unit that receives")
        style.plain_spines(ax)
        style.colour_bar(image, ax, "weight (predictor per spike)")
    return ax


def plot_transition(fit: xr.Dataset, ax: Axes | Figure | None = None) -> Axes:
    """Draw how probable each state is after each other one, and how long a visit lasts on average.

    Parameters
    ----------
    fit : xarray.Dataset
        With ``transition`` (state, state_to). The diagonal, near one, is written and left uncoloured, so that
        moves show; the expected visit in samples, 1 / (1 - staying), stands at the right.
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise.

    Returns
    -------
    matplotlib.axes.Axes
    """
    transition = needs_dims(variable(fit, "transition", "transitions"), ("state", "state_to"), "transitions")
    values = transition.to_numpy()
    if len(values) < 1:
        raise SchemaError("there are no states to draw", code="NT-DATA-010")
    names = transition["state"].to_numpy() if "state" in transition.coords else np.arange(len(values))
    moves = np.where(np.eye(len(values), dtype=bool), np.nan, values)
    top = float(np.nanmax(moves)) if len(values) > 1 else 1.0
    with style.context():
        ax = style.panel(ax, (4.4, 3.6))
        image: Any = ax.imshow(moves, cmap=style.sequential(), vmin=0, vmax=top or 1.0, aspect="equal")
        for k, stay in enumerate(np.diag(values)):
            ax.text(k, k, f"{stay:.3f}", ha="center", va="center", fontsize=7.5, color=style.MUTED)
            visit = f"{1 / (1 - stay):.0f}" if stay < 1 - 1e-9 else "∞"
            ax.text(len(values) - 0.35, k, visit, ha="left", va="center", fontsize=8, color=style.INK)
        ax.text(
            len(values) - 0.35,
            -0.62,
            "visit\n(samples)",
            ha="left",
            va="bottom",
            fontsize=7.5,
            color=style.MUTED,
        )
        if len(values) <= 12:
            _write_moves(ax, moves, top)
        ax.set_xticks(np.arange(len(values)), [str(name) for name in names])
        ax.set_yticks(np.arange(len(values)), [str(name) for name in names])
        ax.set(xlabel="next state", ylabel="state")
        ax.set_title("How states follow one another", pad=22)
        style.plain_spines(ax)
        style.colour_bar(image, ax, "probability of the move", pad=0.14)
    return ax


def _write_moves(ax: Axes, moves: np.ndarray, top: float) -> None:
    for (row, column), value in np.ndenumerate(moves):
        if np.isfinite(value):
            shade = style.sequential()(value / (top or 1.0))
            ink = "white" if sum(shade[:3]) < 1.5 else style.INK
            ax.text(column, row, f"{value:.3f}", ha="center", va="center", fontsize=7.5, color=ink)
