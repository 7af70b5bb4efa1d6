"""How the states of a switching model follow one another, and how long they last."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from neurotools.errors import SchemaError
from neurotools.numerics.survival import median_duration
from neurotools.plot import style
from neurotools.plot.reading import needs_dims, variable
from neurotools.plot.style import Axes, Figure

LEAST_MOVE = 1e-4  # moves rarer than this are not drawn as arrows


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
    values, names = _transition(fit)
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


# ---- as a diagram ---------------------------------------------------------------------------------------
def plot_transition_diagram(fit: xr.Dataset, ax: Axes | Figure | None = None) -> Axes:
    """Draw the states as discs and the moves between them as arrows.

    Parameters
    ----------
    fit : xarray.Dataset
        With ``transition`` (state, state_to), and ``occupancy`` (state), to which the area of a disc is
        proportional. An arrow is as wide as its move is probable, and says how probable; under each state
        stands how long a visit lasts on average, in seconds where the samples of the fit are times.
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise.

    Returns
    -------
    matplotlib.axes.Axes
    """
    values, names = _transition(fit)
    n = len(values)
    share = fit["occupancy"].to_numpy() if "occupancy" in fit else np.full(n, 1 / n)
    radius = 0.13 + 0.33 * np.sqrt(share)
    angle = np.pi / 2 - 2 * np.pi * (np.arange(n) - (0.5 if n == 2 else 0)) / n  # two lie side by side
    spot = (1.15 if n > 1 else 0.0) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    with style.context():
        ax = style.panel(ax, (4.4, 2.8 if n == 2 else 4.0))
        most = float((values - np.diag(np.diag(values))).max(initial=0.0)) or 1.0
        for k, to in np.argwhere((values >= LEAST_MOVE) & ~np.eye(n, dtype=bool)):
            _move(ax, spot[[k, to]], radius[[k, to]], float(values[k, to]), most)
        for k in range(n):
            _disc(ax, spot[k], radius[k], k, (f"{names[k]}", f"{100 * share[k]:.0f} %"))
            up = 1 if np.sin(angle[k]) > 0.3 and n > 2 else -1  # away from the arrows
            ax.text(spot[k, 0], spot[k, 1] + up * (radius[k] + 0.07), f"visit {_visit(values[k, k], fit)}",
                    ha="center", va="bottom" if up > 0 else "top", fontsize=7.5, color=style.MUTED,
                    zorder=5)  # fmt: skip
        ax.set_aspect("equal")
        ax.set_axis_off()
        sides, top = np.abs(spot[:, 0]) + radius, spot[:, 1] + radius
        ax.set(xlim=(-sides.max() - 0.25, sides.max() + 0.25),
               ylim=((spot[:, 1] - radius).min() - 0.35, top.max() + 0.3))  # fmt: skip
        ax.set_title("How states follow one another")
    return ax


BACKING: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85}


def _transition(fit: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Matrix of transitions, and names of the states."""
    found = needs_dims(variable(fit, "transition", "transitions"), ("state", "state_to"), "transitions")
    if not found.size:
        raise SchemaError("there are no states to draw", code="NT-DATA-010")
    names = found["state"].to_numpy() if "state" in found.coords else np.arange(len(found))
    return found.to_numpy(), names


def _disc(ax: Axes, spot: np.ndarray, radius: float, place: int, said: tuple[str, str]) -> None:
    from matplotlib.patches import Circle

    tint = style.colour(place)
    ax.add_patch(
        Circle((spot[0], spot[1]), radius, facecolor=tint, edgecolor="white", linewidth=1.2, zorder=3)
    )
    ink = style.text_on(tint)
    for text, up, size, weight in zip(said, (0.04, -0.11), (12, 7.5), ("bold", "normal"), strict=True):
        ax.text(spot[0], spot[1] + up, text, ha="center", va="center", fontsize=size, fontweight=weight,
                color=ink, zorder=4)  # fmt: skip


def _move(ax: Axes, ends: np.ndarray, radius: np.ndarray, chance: float, top: float) -> None:
    """An arrow from disc to disc, bent to its left, with its probability at its middle."""
    from matplotlib.patches import FancyArrowPatch

    along = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
    across = np.array([-along[1], along[0]])
    begin = ends[0] + radius[0] * along + 0.07 * across
    stop = ends[1] - (radius[1] + 0.03) * along + 0.07 * across
    width = 0.6 + 3.2 * chance / top
    ax.add_patch(
        FancyArrowPatch(
            (begin[0], begin[1]), (stop[0], stop[1]), connectionstyle="arc3,rad=-0.18",
            arrowstyle=f"-|>,head_length={3 + 1.2 * width},head_width={1.4 + 0.8 * width}",
            mutation_scale=1.0, linewidth=width, color=style.MUTED, alpha=0.85, zorder=2,
        )
    )  # fmt: skip
    middle = (begin + stop) / 2 + 0.115 * float(np.linalg.norm(stop - begin)) * across
    ax.text(
        middle[0], middle[1], f"{chance:.2g}", ha="center", va="center", fontsize=7.5, zorder=4, bbox=BACKING
    )


def _visit(stay: float, fit: xr.Dataset) -> str:
    """Mean length of a visit, 1 / (1 - staying), in seconds where the clock of the fit says so."""
    if stay >= 1 - 1e-9:
        return "∞"
    n = 1 / (1 - stay)
    if "time" in fit.coords and fit.sizes.get("time", 0) > 1:
        return f"{n * float(np.median(np.diff(fit['time'].to_numpy()))):.3g} s"
    return f"{n:.3g} trials" if "trial" in fit.dims else f"{n:.3g} samples"


# ---- visits ---------------------------------------------------------------------------------------------
def plot_dwell_times(visits: pd.DataFrame, ax: Axes | Figure | None = None) -> Axes:
    """Draw how long visits to each state last: every visit, and their median.

    Parameters
    ----------
    visits : pandas.DataFrame
        From ``nt.dwell_times``. Visits that a session's edge cut short are hollow; in the median they count
        as at least so long.
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise.

    Returns
    -------
    matplotlib.axes.Axes
    """
    if not isinstance(visits, pd.DataFrame) or not {"state", "n_samples", "cut"} <= set(visits):
        raise SchemaError("visits are a table", expected="nt.dwell_times(path)", found=type(visits).__name__)
    from matplotlib.ticker import LogLocator, NullFormatter

    length = "duration_s" if "duration_s" in visits else "n_samples"
    states = np.sort(visits["state"].unique())
    rng = np.random.default_rng(0)  # spreads the dots
    with style.context():
        ax = style.panel(ax, (4.6, 0.9 + 0.5 * max(len(states), 2)))
        for state in states:
            mine = visits[visits["state"] == state]
            row = state + 0.22 * rng.uniform(-1, 1, len(mine))
            cut, tint = mine["cut"].to_numpy(), style.colour(int(state))
            values = mine[length].to_numpy()
            alpha = float(np.clip(25 / max(len(mine), 1), 0.15, 0.8))
            ax.scatter(values[~cut], row[~cut], s=12, color=tint, alpha=alpha, linewidths=0)
            ax.scatter(
                values[cut], row[cut], s=12, facecolors="none", edgecolors=tint, linewidths=0.7, alpha=0.6
            )
            middle = median_duration(values, cut)
            if np.isfinite(middle):
                _median(ax, middle, float(state))
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_yticks(
            states, [f"state {state}\n{(visits['state'] == state).sum()} visits" for state in states]
        )
        ax.set_ylim(states.max(initial=0) + 0.5, -0.5)
        ax.set_xlabel("length of a visit " + ("(s)" if length == "duration_s" else "(samples)"))
        ax.set_title("How long a state lasts")
        style.plain_spines(ax, "bottom")
    return ax


def _median(ax: Axes, value: float, row: float) -> None:
    ax.plot([value, value], [row - 0.3, row + 0.3], color=style.INK, linewidth=1.6, zorder=4)
    ax.annotate(f"{value:.3g}", (value, row - 0.3), (0, 1), textcoords="offset points", fontsize=7.5,
                ha="center", va="bottom", zorder=5)  # fmt: skip
