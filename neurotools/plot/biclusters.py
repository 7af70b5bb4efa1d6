"""Bi-clusters: who shares a latent, when states hold, and how many there are of each."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SchemaError, expect, lookup
from neurotools.plot import style
from neurotools.plot.reading import blocks, needs_dims, variable
from neurotools.plot.strips import add_strips, mark_events, mark_sessions, seconds_axis, strips_height
from neurotools.plot.style import Axes, Figure
from neurotools.schema.posterior import posterior_group

NUMBERS = {"clusters": "n_clusters", "states": "n_states"}
STRIP = 0.045  # of the width of a matrix: the strip of a known label beside it


def plot_unit_similarity(
    partition: xr.Dataset, ax: Axes | Figure | None = None, *, group: str | None = None
) -> Axes:
    """Draw how probable it is that two units share a cluster, sorted by the clusters of the estimate.

    Parameters
    ----------
    partition : xarray.Dataset
        From ``nt.point_partition``. Within a cluster the units that are surest of it come first.
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise.
    group : str, optional
        A coordinate along ``unit`` (``"region"``), drawn as a strip of colours at the right.

    Returns
    -------
    matplotlib.axes.Axes
    """
    what = "similarity of units"
    matrix = needs_dims(variable(partition, "unit_similarity", what), ("unit", "unit_to"), what)
    labels = variable(partition, "unit_label", what).to_numpy()
    sure = variable(partition, "unit_confidence", what).to_numpy()
    order = np.lexsort((-sure, labels))
    units = matrix["unit"].to_numpy()
    with style.context():
        ax = style.panel(ax, (5.4, 4.7))
        image = ax.imshow(
            matrix.to_numpy()[np.ix_(order, order)], cmap=style.sequential(), vmin=0, vmax=1, aspect="equal"
        )
        style.plain_spines(ax, "left", "right", "top", "bottom")
        width, height = style.axes_size(ax)
        style.name_entries(ax, "y", units[order], min(width, height))
        style.name_entries(ax, "x", [], min(width, height))
        _frame(ax, labels[order])
        ax.set_title("Which units share a cluster", pad=22)
        ax.set(xlabel="unit, in the same order", ylabel="unit, sorted by cluster")
        if group is not None:
            _strip(ax, _group(partition, group)[order], group)
        style.colour_bar(image, ax, "posterior probability", pad=0.025 if group is None else 0.1)
    return ax


def _group(partition: xr.Dataset, group: str) -> np.ndarray:
    if group not in partition.coords or partition[group].dims != ("unit",):
        raise SchemaError(
            f"there is no coordinate {group!r} along 'unit'",
            found=", ".join(str(n) for n, c in partition.coords.items() if c.dims == ("unit",)),
        )
    return partition[group].to_numpy().astype(str)


def _frame(ax: Axes, labels: np.ndarray) -> None:
    """Frame every block on the diagonal and write its number above it."""
    from matplotlib.patches import Rectangle

    points = 72 * min(style.axes_size(ax)) / len(labels)
    for label, start, stop in blocks(labels):
        tint, size = style.colour(label), stop - start
        ax.add_patch(
            Rectangle(
                (start - 0.5,) * 2, size, size, fill=False, edgecolor=tint, linewidth=1.6, clip_on=False
            )
        )
        if size * points >= 6:
            ax.annotate(str(label), ((start + stop) / 2 - 0.5, 1), (0, 4), xycoords=ax.get_xaxis_transform(),
                        textcoords="offset points", ha="center", va="bottom", fontsize=8, color=tint,
                        fontweight="bold")  # fmt: skip


def _strip(ax: Axes, names: np.ndarray, title: str) -> None:
    """Colours of a label that is known beforehand, one per row, with a legend below."""
    from matplotlib.patches import Rectangle

    known = sorted(set(names.tolist()))
    for row, name in enumerate(names):
        ax.add_patch(
            Rectangle((1.015, 1 - (row + 1) / len(names)), STRIP, 1 / len(names), transform=ax.transAxes,
                      facecolor=style.colour(known.index(name) + 3), linewidth=0, clip_on=False)
        )  # fmt: skip
    handles = [
        Rectangle((0, 0), 1, 1, facecolor=style.colour(place + 3), label=name)
        for place, name in enumerate(known)
    ]
    ax.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(0, -0.1), ncols=min(len(known), 6), title=title,
        handlelength=0.9, handleheight=0.9, columnspacing=1.2, title_fontsize=8, alignment="left",
    )  # fmt: skip


def plot_state_similarity(
    similarity: xr.DataArray, partition: xr.Dataset | None = None, ax: Axes | Figure | None = None
) -> Axes:
    """Draw how probable it is that two moments are in one state.

    Parameters
    ----------
    similarity : xarray.DataArray
        From ``nt.state_similarity``, (time, time_to).
    partition : xarray.Dataset, optional
        From ``nt.point_partition``: moments are then sorted by its states, and by time within a state;
        otherwise both axes are time.
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise.

    Returns
    -------
    matplotlib.axes.Axes
    """
    expect(similarity, "similarity of states", xr.DataArray, fix="nt.state_similarity(post)")
    matrix = needs_dims(similarity, ("time", "time_to"), "similarity of states")
    values, time = matrix.to_numpy(), matrix["time"].to_numpy()
    with style.context():
        ax = style.panel(ax, (5.4, 4.7))
        options: dict[str, Any] = {"cmap": style.sequential(), "vmin": 0, "vmax": 1, "aspect": "equal"}
        if partition is None:
            half = float(np.median(np.diff(time))) / 2 if time.size > 1 else 0.5
            ends = (time[0] - half, time[-1] + half)
            image = ax.imshow(values, extent=(*ends, *ends[::-1]), **options)
            ax.set(xlabel="time (s)", ylabel="time (s)")
            ax.set_title("Which moments share a state")
        else:
            labels = variable(partition, "state_label", "similarity of states").sel(time=time).to_numpy()
            order = np.argsort(labels, kind="stable")
            image = ax.imshow(values[np.ix_(order, order)], **options)
            _frame(ax, labels[order])
            ax.set(xlabel="bins, in the same order", ylabel="bins, sorted by state and time")
            ax.set(xticks=[], yticks=[])
            ax.set_title("Which moments share a state", pad=22)
        style.plain_spines(ax, "left", "right", "top", "bottom")
        style.colour_bar(image, ax, "posterior probability")
    return ax


def plot_state_sequence(
    partition: xr.Dataset,
    events: xr.Dataset | None = None,
    stimulus: Any = None,
    ax: Axes | Figure | None = None,
) -> Axes:
    """Draw when each state holds, how sure that is, and what went on at the time.

    Parameters
    ----------
    partition : xarray.Dataset
        From ``nt.point_partition``. The bar below is the estimate; above it the share of draws that have each
        state of the estimate, stacked.
    events : xarray.Dataset, optional
        Events or trials, in seconds: one lane per kind (epochs, stimuli).
    stimulus : xarray.DataArray, xarray.Dataset or xarray.DataTree, optional
        Anything over ``time``, on its own clock: behaviour as lines, spectrograms as images.
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise. Strips stand above it, so leave room there.

    Returns
    -------
    matplotlib.axes.Axes
    """
    what = "states over time"
    prob = needs_dims(variable(partition, "state_prob", what), ("time", "state"), what)
    labels, time = variable(partition, "state_label", what).to_numpy(), prob["time"].to_numpy()
    step = float(np.median(np.diff(time))) if time.size > 1 else 1.0
    with style.context():
        ax = style.panel(ax, (9.0, 2.3 + strips_height(events, stimulus)))
        edges = np.append(time, time[-1] + step)
        below = np.zeros(edges.size)
        for state, share in enumerate(prob.to_numpy().T):
            above = below + np.append(share, share[-1])
            ax.fill_between(edges, below, above, step="post", color=style.colour(state), linewidth=0,
                            alpha=0.45, label=f"state {state}")  # fmt: skip
            below = above
        for label, start, stop in blocks(labels):
            ax.broken_barh([(edges[start], edges[stop] - edges[start])], (-0.16, 0.12),
                           facecolors=style.colour(label), linewidth=0)  # fmt: skip
        seconds_axis(ax, time + step / 2)
        ax.set(ylim=(-0.18, 1), yticks=(0, 0.5, 1), ylabel="share of draws")
        ax.text(1.005, -0.10, "estimate", transform=ax.get_yaxis_transform(), fontsize=7.5, va="center")
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), handlelength=1.0)
        style.plain_spines(ax, "left", "bottom")
        mark_sessions(ax, prob)
        mark_events(ax, events)
        add_strips(ax, events, stimulus)
    return ax


def plot_number(post: xr.DataTree, of: str = "clusters", ax: Axes | Figure | None = None) -> Axes:
    """Draw how probable each number of clusters, or of states, is, and how far chains agree on it.

    Parameters
    ----------
    post : xarray.DataTree
        From ``nt.BiCluster(...).sample``.
    of : {"clusters", "states"}
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise.

    Returns
    -------
    matplotlib.axes.Axes
        A bar is the share of all draws, a dot that of one chain.
    """
    name = lookup("number", of, NUMBERS)
    group = posterior_group(post, "posterior", name, what=f"the number of {of}")
    draws = group[name].transpose("chain", "draw").to_numpy().astype(int)
    numbers = np.arange(max(int(draws.min()) - 1, 0), int(draws.max()) + 2)
    share = np.stack([[np.mean(chain == n) for n in numbers] for chain in draws])
    with style.context():
        ax = style.panel(ax, (3.4, 2.6))
        ax.bar(numbers, share.mean(axis=0), width=0.72, color=style.ACCENT, alpha=0.75, linewidth=0)
        offset = np.linspace(-0.2, 0.2, len(draws)) if len(draws) > 1 else np.zeros(1)
        for chain, shift in zip(share, offset, strict=True):
            seen = chain > 0
            ax.plot(numbers[seen] + shift, chain[seen], "o", color=style.INK, markersize=3, clip_on=False)
        step = -(-numbers.size // 12)
        ax.set_xticks(numbers[::step])
        ax.set(xlabel=f"number of {of}", ylabel="share of draws", ylim=(0, 1.03), yticks=(0, 0.5, 1))
        ax.set_title(f"How many {of}")
        style.plain_spines(ax, "left", "bottom")
    return ax
