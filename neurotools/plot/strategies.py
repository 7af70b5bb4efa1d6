"""Strategies of an animal: what guides its choices in each state."""

from __future__ import annotations

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError
from neurotools.plot import style
from neurotools.plot.reading import needs_dims, variable
from neurotools.plot.style import Axes, Figure

ERRORS = ("feature_weight_se", "bias_se")  # standard errors, where a fit has them


def plot_state_weights(fit: xr.Dataset, ax: Axes | Figure | None = None) -> Axes:
    """Draw what each regressor, and the bias, weighs in each state.

    Parameters
    ----------
    fit : xarray.Dataset
        Fit to choices: ``feature_weight`` (state, feature) and ``bias`` (state); with their standard errors,
        ``feature_weight_se`` and ``bias_se``, bars are 90 % intervals.
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise.

    Returns
    -------
    matplotlib.axes.Axes
    """
    weight = needs_dims(
        variable(fit, "feature_weight", "weights of choices"), ("state", "feature"), "weights of choices"
    )
    values = np.column_stack([fit["bias"].to_numpy(), weight.to_numpy()])
    error = None
    if all(name in fit for name in ERRORS):
        wide, bias = (fit[name] for name in ERRORS)
        error = 1.645 * np.column_stack([bias.to_numpy(), wide.transpose("state", "feature").to_numpy()])
    names = ["bias", *(str(name).replace("_", " ") for name in weight["feature"].to_numpy())]
    n = len(values)
    with style.context():
        ax = style.panel(ax, (max(4.2, 0.55 * len(names) + 1.8), 3.2))
        ax.axhline(0, color=style.RULE, linewidth=0.9, zorder=0)
        for place, state in enumerate(weight["state"].to_numpy()):
            x = np.arange(len(names)) + 0.14 * (place - (n - 1) / 2)
            tint = style.colour(place)
            ax.plot(x, values[place], color=tint, linewidth=0.8, alpha=0.45, zorder=1)
            ax.errorbar(x, values[place], None if error is None else error[place], fmt="o", color=tint,
                        markersize=5, elinewidth=1.2, label=_label(fit, place, state), zorder=2)  # fmt: skip
        long = max(map(len, names)) * len(names) > 60
        ax.set_xticks(
            np.arange(len(names)), names, rotation=35 if long else 0, ha="right" if long else "center"
        )
        ax.set_ylabel("weight (log odds per unit\nof the regressor)")
        ax.set_title("What guides a choice in each state" + ("" if error is None else " (bars: 90 %)"))
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), handletextpad=0.2)
        style.plain_spines(ax, "left", "bottom")
    return ax


def _label(fit: xr.Dataset, place: int, state: object) -> str:
    share = f" ({100 * float(fit['occupancy'][place]):.0f} %)" if "occupancy" in fit else ""
    return f"state {state}{share}"


def plot_psychometric(curves: xr.Dataset, ax: Axes | Figure | None = None) -> Axes:
    """Draw the psychometric curve of each state: shares of choices with intervals, and the fit's curve.

    Parameters
    ----------
    curves : xarray.Dataset
        Result of ``nt.psychometric``.
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise.

    Returns
    -------
    matplotlib.axes.Axes
    """
    share = needs_dims(variable(curves, "p_choice", "psychometric curves"), ("state", "bin"), "shares")
    if "stimulus" not in curves:
        raise SchemaError("psychometric curves need the stimulus", expected="nt.psychometric(...)")
    x = curves["stimulus"].to_numpy()
    with style.context():
        ax = style.panel(ax, (4.6, 3.4))
        ax.axhline(0.5, color=style.RULE, linewidth=0.8, zorder=0)
        for place, state in enumerate(share["state"].to_numpy()):
            tint, mine = style.colour(place), curves.isel(state=place)
            ax.plot(curves["level"], mine["curve"], color=tint, linewidth=1.6, label=f"state {state}")
            low, high = mine["p_choice_interval"].transpose("bound", "bin").to_numpy()
            middle = mine["p_choice"].to_numpy()
            bars = np.abs(np.stack([middle - low, high - middle]))
            ax.errorbar(x, middle, bars, fmt="o", color=tint, markersize=4, elinewidth=0.9)
        name = str(curves.attrs.get("stimulus", "stimulus")).replace("_", " ")
        ax.set(xlabel=f"{name} (as in the design)", ylabel="probability of choice 1", ylim=(-0.03, 1.03),
               yticks=(0, 0.5, 1))  # fmt: skip
        ax.set_title("How the stimulus decides in each state")
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), title="dots: choices (90 %)\nlines: the fit",
                  title_fontsize=7.5, alignment="left")  # fmt: skip
        style.plain_spines(ax, "left", "bottom")
    return ax
