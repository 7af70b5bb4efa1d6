"""Quality of a recording at a glance: how loud each row is over time, its spectrum, and what stands out."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, expect
from neurotools.plot import style
from neurotools.plot.style import Axes, Figure

TOP_QUANTILE = 0.995
WORDS = {"spikes": "rate", "counts": "count per bin"}


def plot_level(judged: xr.DataTree, node: str, ax: Axes | Figure | None = None) -> Axes:
    """Draw how loud each row is in each stretch of time; flagged rows are named.

    Parameters
    ----------
    judged : xarray.DataTree
        Result of ``nt.quality``.
    node : str
        Modality, one of its groups (``"eeg"``).
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise.

    Returns
    -------
    matplotlib.axes.Axes
    """
    level, names, flags = _rows(_group(judged, node), "level")
    unit = _group(judged, node)["level"].attrs.get("units")
    with style.context():
        ax = style.panel(ax, (9.0, float(np.clip(0.045 * len(level), 2.4, 6.0)) + 0.8))
        finite = level[np.isfinite(level)]
        top = float(np.quantile(finite, TOP_QUANTILE)) if finite.size else 1.0
        time = _group(judged, node)["bin"].to_numpy()
        half = (time[-1] - time[0]) / max(1, 2 * (time.size - 1)) or 0.5
        image = ax.imshow(
            level, aspect="auto", cmap=style.sequential(), vmin=0, vmax=top or 1.0, interpolation="nearest",
            extent=(time[0] - half, time[-1] + half, len(level) - 0.5, -0.5),
        )  # fmt: skip
        _name_flagged(ax, names, flags)
        ax.set_xlabel("time (s)")
        dim = _dim(_group(judged, node))
        ax.set_ylabel(f"{dim} ({(flags != '').sum()} of {len(flags)} flagged)")
        style.plain_spines(ax, "bottom")
        word = WORDS.get(node, "standard deviation")
        style.colour_bar(image, ax, style.with_unit(word, unit))
        ax.set_title(f"{node}: {word} in stretches of time")
    return ax


def plot_power(judged: xr.DataTree, node: str, ax: Axes | Figure | None = None) -> Axes:
    """Draw the spectra of all rows: the middle half as a band, flagged rows as lines.

    Parameters
    ----------
    judged, node, ax
        As for ``plot_level``.

    Returns
    -------
    matplotlib.axes.Axes
    """
    group = _group(judged, node)
    power, _, flags = _rows(group, "power")
    frequency = group["frequency"].to_numpy()
    with style.context():
        ax = style.panel(ax, (7.2, 3.4))
        shown = frequency > 0
        low, middle, high = np.quantile(power[:, shown], [0.25, 0.5, 0.75], axis=0)
        ax.fill_between(frequency[shown], low, high, color=style.colour(0), alpha=0.25, linewidth=0)
        ax.plot(frequency[shown], middle, color=style.colour(0), label="median and middle half")
        odd = np.flatnonzero(flags != "")
        for number, row in enumerate(odd[:12]):
            label = f"flagged ({len(odd)})" if number == 0 else None
            ax.plot(
                frequency[shown], power[row, shown], color=style.colour(1), lw=0.8, alpha=0.7, label=label
            )
        ax.set_yscale("log")
        positive = power[:, shown][power[:, shown] > 0]
        if positive.size:
            ax.set_ylim(bottom=float(np.quantile(positive, 0.001)))
        ax.set_xlabel("frequency (Hz)")
        ax.set_ylabel(style.with_unit("power", group["power"].attrs.get("units")))
        ax.legend(loc="upper right")
        ax.set_title(f"{node}: power spectrum of {len(flags)} {_dim(group)}s")
    return ax


def quality_figures(judged: xr.DataTree) -> dict[str, Figure]:
    """Draw every picture that a judgement of quality allows, each a figure of its own, by name."""
    drawn: dict[str, Figure] = {}
    for node, group in judged.children.items():
        if "level" in group.data_vars and "bin" in group["level"].dims:
            drawn[f"{node}_level"] = plot_level(judged, str(node)).figure  # type: ignore[assignment]
        if "power" in group.data_vars:
            drawn[f"{node}_power"] = plot_power(judged, str(node)).figure  # type: ignore[assignment]
    return drawn


def _group(judged: xr.DataTree, node: str) -> xr.Dataset:
    expect(judged, "a judged recording", xr.DataTree, fix="judged = nt.quality(recording)")
    if node not in judged.children:
        raise SchemaError(
            f"the judgement has no group {node!r}", found=", ".join(judged.children),
            fix="pass a result of nt.quality, and the name of one of its groups",
        )  # fmt: skip
    return judged[node].to_dataset()


def _dim(group: xr.Dataset) -> str:
    return str(group["flag"].dims[-1])


def _rows(group: xr.Dataset, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values (row, ...), a name for each row, and its flag; subjects one below the other."""
    flag = group["flag"]
    *lead, dim = map(str, flag.dims)
    along = group[name].transpose(*lead, dim, ...)
    values = along.to_numpy().reshape(flag.size, -1)
    labels = group[dim].to_numpy().astype(str)
    whom = [""] if not lead else [f"{who} " for who in group[lead[0]].to_numpy()]
    names = np.array([f"{who}{label}" for who in whom for label in labels])
    return values, names, flag.to_numpy().ravel()


def _name_flagged(ax: Any, names: np.ndarray, flags: np.ndarray) -> None:
    """Name flagged rows; where none is or too many are, name what fits."""
    odd = np.flatnonzero(flags != "")
    fits = int(style.axes_size(ax)[1] / 0.14)
    if 0 < odd.size <= fits:
        ax.set_yticks(odd, [f"{names[row]}: {flags[row]}" for row in odd])
    else:
        style.name_entries(ax, "y", names, style.axes_size(ax)[1])
