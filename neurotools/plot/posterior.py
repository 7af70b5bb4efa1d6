"""Whether a posterior can be trusted: agreement of chains, and counts against what was foretold."""

from __future__ import annotations

import numpy as np
import xarray as xr

from neurotools.plot import style
from neurotools.plot.reading import variable
from neurotools.plot.style import Axes, Figure

WORDS = {
    "n_clusters": "number of clusters", "n_states": "number of states", "log_likelihood": "log likelihood",
    "log_rate_mean": "mean log rate, each unit", "log_rate_sd": "spread of log rate, each unit",
    "interval_rate": "rate in stretches, each unit", "dispersion": "dispersion, each unit",
}  # fmt: skip


def plot_convergence(convergence: xr.Dataset, ax: Axes | Figure | None = None) -> Axes:
    """Draw the R-hat of every quantity that was looked at, a row per kind, against the limit.

    Parameters
    ----------
    convergence : xarray.Dataset
        From ``nt.convergence``.
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise.

    Returns
    -------
    matplotlib.axes.Axes
    """
    rhat = variable(convergence, "rhat", "convergence").to_numpy()
    kinds = convergence["variable"].to_numpy()
    rows = list(dict.fromkeys(kinds.tolist()))
    limit = float(convergence.attrs.get("max_rhat", 1.05))
    shown = np.where(np.isfinite(rhat), rhat, np.nanmax(np.where(np.isfinite(rhat), rhat, 1.0)) * 1.1)
    with style.context():
        ax = style.panel(ax, (6.2, 0.32 * len(rows) + 1.0))
        ax.axvline(1.0, color=style.RULE, linewidth=0.8)
        ax.axvline(limit, color=style.FLAG, linewidth=1.0)
        for row, kind in enumerate(rows):
            own = shown[kinds == kind]
            spread = np.linspace(-0.22, 0.22, own.size) if own.size > 1 else np.zeros(1)
            tint = np.where(own > limit, style.FLAG, style.ACCENT)
            ax.scatter(own, row + spread, s=9, c=tint, alpha=0.7, linewidths=0)
        ax.set_yticks(range(len(rows)), [WORDS.get(kind, kind) for kind in rows])
        ax.set_ylim(len(rows) - 0.5, -0.5)
        ax.set_xlim(min(0.99, shown.min() - 0.005), max(limit + 0.02, shown.max() * 1.02))
        ax.set_xlabel("R-hat (1: chains agree)")
        ax.annotate(f"limit {limit:g}", (limit, 0), (3, 4), xycoords=ax.get_xaxis_transform(), fontsize=7.5,
                    textcoords="offset points", color=style.FLAG)  # fmt: skip
        passed = "passed" if int(convergence.attrs.get("converged", 0)) else "not passed"
        least = float(convergence.attrs.get("least_ess", np.nan))
        ax.set_title(f"Do the chains agree? {passed}; least effective draws {least:.0f}")
        ax.tick_params(axis="y", length=0)
        style.plain_spines(ax, "bottom")
    return ax


def plot_calibration(check: xr.Dataset, ax: Axes | Figure | None = None) -> Axes:
    """Draw how often counts fall in each twentieth of what was foretold; level when the model is right.

    Parameters
    ----------
    check : xarray.Dataset
        From ``nt.posterior_check``. Counts that were held out, where there are any, are the fair test.
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise.

    Returns
    -------
    matplotlib.axes.Axes
        The grey band holds 99 % of a bar's heights for a law that is right.
    """
    share = variable(check, "pit_share", "calibration").transpose("seen", "pit_bin")
    n_bins = share.sizes["pit_bin"]
    n = int(check["n_counts"].min())
    edges = np.linspace(0, 1, n_bins + 1)
    with style.context():
        ax = style.panel(ax, (3.8, 2.8))
        band = 2.576 * np.sqrt((1 - 1 / n_bins) * n_bins / n)
        ax.axhspan(1 - band, 1 + band, color=style.RULE, alpha=0.5, linewidth=0)
        for place, seen in enumerate(share["seen"].to_numpy()):
            values = share.sel(seen=seen).to_numpy() * n_bins
            tint = (style.ACCENT, style.FLAG)[place % 2]
            inside = float(check["coverage"].sel(seen=seen).sel(level=0.9, method="nearest"))
            level = float(check["level"].sel(level=0.9, method="nearest"))
            label = f"{seen}: {100 * inside:.1f} % in the {100 * level:g} % interval"
            ax.stairs(values, edges, color=tint, linewidth=1.3, label=label, baseline=None)
        ax.set(xlim=(0, 1), xlabel="place in the predictive distribution", ylabel="relative frequency")
        ax.set_ylim(0, max(1.6, 1.08 * n_bins * float(share.max())))
        ax.set_title("Are counts foretold as they fall?")
        ax.legend(loc="lower center", handlelength=1.2)
        style.plain_spines(ax, "left", "bottom")
    return ax
