"""How many states, and whether probabilities of connection types mean what they say."""

from __future__ import annotations

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError
from neurotools.plot import style
from neurotools.plot.reading import needs_dims, variable
from neurotools.plot.strips import strip_above
from neurotools.plot.style import Axes, Figure


def plot_state_scan(scan: xr.Dataset, ax: Axes | Figure | None = None) -> Axes:
    """Draw what more states gain on data that the model has not seen.

    Folds differ from one another by far more than models do on one fold, so gains are paired: each fold's
    score less the score of the fewest states on that fold. Bars are one standard error over folds.

    Parameters
    ----------
    scan : xarray.Dataset
        Result of ``nt.select_states``: ``heldout_score`` (n_states, fold), attrs ``selected_n_states``.
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise.

    Returns
    -------
    matplotlib.axes.Axes
    """
    score = needs_dims(variable(scan, "heldout_score", "held-out scores"), ("n_states", "fold"), "scores")
    numbers, values = score["n_states"].to_numpy(), score.to_numpy()
    order = np.argsort(numbers)
    numbers, values = numbers[order], values[order]
    gain = values - values[0]
    n_fold = gain.shape[1]
    error = gain.std(axis=1, ddof=1) / np.sqrt(n_fold) if n_fold > 1 else np.full(len(gain), np.nan)
    unit = f"bits per {scan.attrs.get('per', 'spike or trial')}"
    with style.context():
        ax = style.panel(ax, (4.8, 3.3))
        ax.axhline(0, color=style.RULE, linewidth=0.9, zorder=0)
        ax.plot(numbers, gain, color=style.MUTED, linewidth=0.7, alpha=0.5, zorder=1)
        ax.errorbar(numbers, gain.mean(axis=1), error, color=style.ACCENT, fmt="o-", markersize=5,
                    linewidth=1.6, elinewidth=1.4, capsize=3, zorder=2)  # fmt: skip
        _mark_chosen(ax, scan, numbers, gain.mean(axis=1))
        ax.set_xticks(numbers)
        few = f"{numbers[0]} state" + ("s" if numbers[0] > 1 else "")
        ax.set(xlabel="number of states", ylabel=f"held-out gain over {few}\n({unit})")
        ax.set_title(f"How many states?  ({few}: {values[0].mean():.3g} {unit})", fontsize=9.5)
        ax.margins(x=0.08, y=0.18)
        style.plain_spines(ax, "left", "bottom")
        ax.text(1, 0.02, f"bars: standard error, grey: each of {n_fold} folds", transform=ax.transAxes,
                ha="right", va="bottom", fontsize=7, color=style.MUTED)  # fmt: skip
    return ax


def _mark_chosen(ax: Axes, scan: xr.Dataset, numbers: np.ndarray, gain: np.ndarray) -> None:
    chosen = scan.attrs.get("selected_n_states")
    if chosen is None or len(numbers) < 2:
        return
    at = float(gain[numbers == chosen][0])
    ax.plot(chosen, at, "o", markersize=13, markerfacecolor="none", markeredgecolor=style.FLAG, zorder=3)
    last = chosen == numbers[-1]  # beside the point, where no error bar runs
    ax.annotate("chosen", (chosen, at), (-10 if last else 10, -10), textcoords="offset points",
                ha="right" if last else "left", va="top",
                fontsize=8, color=style.FLAG, fontweight="bold")  # fmt: skip


def plot_type_calibration(calibration: xr.Dataset, ax: Axes | Figure | None = None) -> Axes:
    """Draw how often couplings called a type with some probability were of that type.

    Parameters
    ----------
    calibration : xarray.Dataset
        Result of ``nt.type_calibration``. Dots on the diagonal: probabilities mean what they say. The strip
        above shows how many statements each bin holds.
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise.

    Returns
    -------
    matplotlib.axes.Axes
    """
    held = set(calibration.data_vars) if isinstance(calibration, xr.Dataset) else {type(calibration).__name__}
    if not {"observed", "observed_interval", "predicted", "n"} <= held:
        raise SchemaError("a calibration is needed", expected="nt.type_calibration(...)",
                          found=", ".join(map(str, held)))  # fmt: skip
    some = calibration["n"].to_numpy() > 0
    x, y = calibration["predicted"].to_numpy()[some], calibration["observed"].to_numpy()[some]
    low, high = calibration["observed_interval"].transpose("bound", "bin").to_numpy()[:, some]
    with style.context():
        ax = style.panel(ax, (3.7, 4.2))
        ax.plot([0, 1], [0, 1], color=style.RULE, linewidth=1.0, linestyle=(0, (4, 3)), zorder=0)
        ax.errorbar(x, y, np.abs(np.stack([y - low, high - y])), fmt="o-", color=style.ACCENT, markersize=5,
                    linewidth=1.2, elinewidth=1.0)  # fmt: skip
        ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal", xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
        ax.set(xlabel="probability of a connection type", ylabel="share of these that is right (90 %)")
        wrong = float(calibration.attrs.get("expected_calibration_error", np.nan))
        ax.text(0.97, 0.04, f"calibration error {wrong:.3f}", transform=ax.transAxes, ha="right", va="bottom",
                fontsize=8)  # fmt: skip
        style.plain_spines(ax, "left", "bottom")
        _amounts(ax, calibration["n"].to_numpy())
    return ax


def _amounts(ax: Axes, n: np.ndarray) -> None:
    strip = strip_above(ax, 0.1, 0.5)
    edges = np.linspace(0, 1, n.size + 1)
    strip.bar(edges[:-1], n, width=0.92 / n.size, align="edge", color=style.UNASSIGNED)
    strip.set_yscale("log") if n.max(initial=0) > 50 * max(n[n > 0].min(initial=1), 1) else None
    strip.set_ylabel("couplings\nx types", rotation=0, ha="right", va="center", fontsize=7)
    strip.tick_params(axis="y", labelsize=6.5)
    strip.set_title("Do probabilities of types mean what they say?")
    style.plain_spines(strip, "left")
