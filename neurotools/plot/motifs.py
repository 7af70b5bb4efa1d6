"""Motifs of a dynamic connectome: as matrices sorted by community, and as circuits of nodes and links."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SettingsError
from neurotools.plot import style
from neurotools.plot.reading import (
    blocks,
    check_component,
    community_order,
    components,
    labels_of,
    motif_matrix,
    variable,
)
from neurotools.plot.style import Axes, Figure

# Motifs are sparse with a long tail; above this quantile of their entries the colour no longer changes.
TOP_QUANTILE = 0.995
LONG_NAME = 6  # letters; longer names are written once, along the rows


def plot_motif(
    fit: xr.Dataset,
    component: Any,
    communities: xr.Dataset | None = None,
    ax: Axes | Figure | None = None,
    *,
    vmax: float | None = None,
    show_bar: bool = True,
) -> Axes:
    """Draw one motif as a matrix, its units sorted by community.

    Parameters
    ----------
    fit : xarray.Dataset
        Fit of ``nt.NTF`` in either layout.
    component : label
        Which motif, by its label along ``component``.
    communities : xarray.Dataset, optional
        Result of ``nt.BlockModel``. The strongest community then stands first, the strongest unit first
        in it; each is framed, and its number stands above. Without it units keep their order.
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise.
    vmax : float, optional
        Value of the darkest colour; by default the 99.5 % quantile of the entries (the colour bar shows by
        an arrow that larger ones exist).
    show_bar : bool
        Whether to add the colour bar.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    SettingsError
        The fit has no such component.
    SchemaError
        The fit holds no motif, or the communities are not those of its units.
    """
    matrix = motif_matrix(fit, component)
    dim = str(matrix.dims[0])
    units, values = matrix[dim].to_numpy(), matrix.to_numpy()
    labels = None if communities is None else labels_of(communities, component, units)
    order = np.arange(len(units)) if labels is None else community_order(values, labels)
    with style.context():
        ax = style.panel(ax, (5.4, 4.7))
        top = _top([values]) if vmax is None else vmax
        image = ax.imshow(
            values[np.ix_(order, order)], cmap=style.sequential(), vmin=0, vmax=top, aspect="equal"
        )
        style.plain_spines(ax, "left", "right", "top", "bottom")
        width, height = style.axes_size(ax)
        style.name_entries(ax, "y", units[order], min(width, height))
        long = max(len(str(unit)) for unit in units) > LONG_NAME
        style.name_entries(ax, "x", [] if long else units[order], min(width, height))
        if labels is not None:
            _frame_communities(ax, labels[order])
        ax.set_title(_title(fit, component), pad=7 if labels is None else 22)
        ax.set_xlabel(f"{dim}, in the same order" if long else dim)
        ax.set_ylabel(dim if labels is None else f"{dim}, sorted by community")
        if show_bar:
            style.colour_bar(image, ax, "motif strength (a.u.)")
    return ax


def plot_motifs(
    fit: xr.Dataset,
    communities: xr.Dataset | None = None,
    *,
    max_components: int = 12,
    columns: int = 4,
    figure: Figure | None = None,
) -> np.ndarray:
    """Draw the motifs of a fit side by side on one colour scale, each sorted by its own communities.

    Parameters
    ----------
    fit : xarray.Dataset
        Fit of ``nt.NTF`` in either layout.
    communities : xarray.Dataset, optional
        Result of ``nt.BlockModel``.
    max_components : int
        Draw at most so many, the largest first; the figure then says how many there are.
    columns : int
        Panels per row.
    figure : matplotlib.figure.Figure, optional
        Where to draw; a new one otherwise.

    Returns
    -------
    numpy.ndarray of matplotlib.axes.Axes
        One per motif drawn, in their order.
    """
    known = components(fit)
    if max_components < 1 or columns < 1:
        raise SettingsError("max_components and columns must be at least 1", found=(max_components, columns))
    shown = known[:max_components]
    columns = min(columns, len(shown))
    rows = -(-len(shown) // columns)
    matrices = [motif_matrix(fit, component).to_numpy() for component in shown]
    with style.context():
        size = (2.35 * columns + 0.9, 2.55 * rows + 0.25)
        figure = style.blank_figure(figure, size)
        grid = figure.subplots(rows, columns, squeeze=False, gridspec_kw={"hspace": 0.08}).ravel()
        for place, (ax, component) in enumerate(zip(grid, shown, strict=False)):
            plot_motif(fit, component, communities, ax, vmax=_top(matrices), show_bar=False)
            _quiet(ax, first=place % columns == 0, lowest=place + columns >= len(shown))
        for ax in grid[len(shown) :]:
            ax.remove()
        axes = grid[: len(shown)]
        style.colour_bar(
            axes[-1].images[0], axes, "motif strength (a.u.)", fraction=0.03, pad=0.02, aspect=32, shrink=0.7
        )
        if len(shown) < len(known):
            figure.suptitle(f"the {len(shown)} largest of {len(known)} motifs", fontsize=9, color=style.MUTED)
    return axes


def plot_circuit(
    fit: xr.Dataset,
    component: Any,
    communities: xr.Dataset | None = None,
    ax: Axes | Figure | None = None,
    *,
    n_links: int = 150,
) -> Axes:
    """Draw one motif as a circle of units, its strongest links as arcs, grouped by community.

    A link inside a community has the community's colour, one between communities is grey; wider and darker
    is stronger. Larger dots take more part in the motif.

    Parameters
    ----------
    fit : xarray.Dataset
        Fit of ``nt.NTF`` in either layout.
    component : label
        Which motif.
    communities : xarray.Dataset, optional
        Result of ``nt.BlockModel``.
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise.
    n_links : int
        How many of the strongest links to draw.

    Returns
    -------
    matplotlib.axes.Axes
        Its title says how many links are drawn and which share of the motif's summed strength they carry.
    """
    matrix = motif_matrix(fit, component)
    dim = str(matrix.dims[0])
    units, values = matrix[dim].to_numpy(), matrix.to_numpy()
    labels = np.zeros(len(units), int) if communities is None else labels_of(communities, component, units)
    left, right, weight, total = _strongest(values, n_links)
    linked = np.isin(np.arange(len(units)), np.concatenate([left, right]))
    order = community_order(values, labels)
    order = order[linked[order]]
    rank = np.full(len(units), -1)
    rank[order] = np.arange(order.size)
    part = np.nan_to_num(values).sum(axis=1)[order]
    with style.context():
        ax = style.panel(ax, (4.8, 5.0))
        place, angle = _circle(labels[order])
        _links(ax, place, labels[order], (rank[left], rank[right], weight))
        size = 6 + 70 * part / part.max(initial=1e-300)
        ax.scatter(place[:, 0], place[:, 1], s=size, c=[style.colour(int(label)) for label in labels[order]],
                   edgecolors="white", linewidths=0.6, zorder=3)  # fmt: skip
        reach = _ring(ax, angle, labels[order], units[order])
        share = 100 * weight.sum() / total if total else 0.0
        ax.set_title(
            f"{_title(fit, component)}\n{left.size} strongest links, {share:.0f} % of all strength, "
            f"among {order.size} of {len(units)} {dim}s",
            fontsize=9,
        )
        ax.set_aspect("equal")
        ax.set_axis_off()
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach))
    return ax


def plot_drawn_communities(
    communities: xr.Dataset, component: Any = None, ax: Axes | Figure | None = None
) -> Axes:
    """Draw how often two units share a community, over partitions drawn from the posterior.

    Parameters
    ----------
    communities : xarray.Dataset
        Result of ``nt.BlockModel`` with ``n_draws``: ``coassignment`` and ``n_blocks_draw``.
    component : label, optional
        Which motif, where there are several.
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise.

    Returns
    -------
    matplotlib.axes.Axes
        Units stand by the community that was found, framed; the title says how many communities draws have.
    """
    together = variable(communities, "coassignment", "co-assignments")
    count = variable(communities, "n_blocks_draw", "numbers of communities drawn")
    label = variable(communities, "label", "communities")
    if "component" in together.dims:
        check_component(communities, component)
        together, count, label = (one.sel(component=component) for one in (together, count, label))
    dim = str(together.dims[0])
    values, labels = together.to_numpy(), label.to_numpy().astype(int)
    order = np.lexsort((-(values * (labels[:, None] == labels)).sum(axis=1), labels))
    low, middle, high = np.quantile(count.to_numpy(), [0.05, 0.5, 0.95])
    with style.context():
        ax = style.panel(ax, (5.4, 4.7))
        image = ax.imshow(
            values[np.ix_(order, order)], cmap=style.sequential(), vmin=0, vmax=1, aspect="equal"
        )
        style.plain_spines(ax, "left", "right", "top", "bottom")
        names = together[dim].to_numpy()[order] if dim in together.coords else order
        style.name_entries(ax, "y", names, min(style.axes_size(ax)))
        ax.set_xticks([])
        _frame_communities(ax, labels[order])
        what = "" if component is None else f"motif {component} · "
        ax.set_title(f"{what}{middle:.0f} communities ({low:.0f} to {high:.0f} in 90 % of draws)", pad=22)
        ax.set(xlabel=f"{dim}, in the same order", ylabel=f"{dim}, sorted by community")
        style.colour_bar(image, ax, "share of draws together")
    return ax


# ---- pieces of the matrix -----------------------------------------------------------------------------
def _top(matrices: list[np.ndarray]) -> float:
    upper = np.concatenate([m[np.triu_indices(len(m), 1)] for m in matrices])
    upper = upper[np.isfinite(upper)]
    top = float(np.quantile(upper, TOP_QUANTILE)) if upper.size else 0.0
    return top or float(upper.max(initial=0.0)) or 1.0


def _title(fit: xr.Dataset, component: Any) -> str:
    name = f"motif {component}"
    return f"{name} · weight {float(fit['weight'].sel(component=component)):.3g}" if "weight" in fit else name


def _quiet(ax: Axes, *, first: bool, lowest: bool) -> None:
    """Leave names of units to the large picture; a grid says what its axes are at its edges."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.title.set_fontsize(9)
    if not first:
        ax.set_ylabel("")
    if not lowest:
        ax.set_xlabel("")


def _frame_communities(ax: Axes, labels: np.ndarray) -> None:
    """Frame each community on the diagonal, with its colour along the top and its number above."""
    from matplotlib.patches import Rectangle
    from matplotlib.transforms import ScaledTranslation

    scale = style.root_of(ax).dpi_scale_trans
    above = ax.get_xaxis_transform() + ScaledTranslation(0, 5 / 72, scale)
    beside = ax.get_yaxis_transform() + ScaledTranslation(5 / 72, 0, scale)
    points = 72 * min(style.axes_size(ax)) / len(labels)
    for label, start, stop in blocks(labels):
        edge, ends, size = style.colour(label), (start - 0.5, stop - 0.5), stop - start
        if start:
            ax.axhline(ends[0], color=style.RULE, linewidth=0.6, zorder=1.5)
            ax.axvline(ends[0], color=style.RULE, linewidth=0.6, zorder=1.5)
        ax.add_patch(
            Rectangle((ends[0],) * 2, size, size, fill=False, edgecolor=edge, linewidth=1.3, zorder=3)
        )
        bar: dict[str, Any] = {"color": edge, "linewidth": 4.5, "solid_capstyle": "butt", "clip_on": False}
        ax.plot(ends, (1, 1), transform=above, **bar)
        ax.plot((1, 1), ends, transform=beside, **bar)
        if size * points >= 6:
            ax.annotate("–" if label < 0 else str(label), (sum(ends) / 2, 1), (0, 9.5), ha="center",
                        va="bottom", fontsize=7.5, color=style.INK, xycoords=ax.get_xaxis_transform(),
                        textcoords="offset points")  # fmt: skip


# ---- pieces of the circuit ----------------------------------------------------------------------------
def _circle(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places on the unit circle, clockwise from the top, with a gap between communities."""
    jump = np.concatenate([[0], np.cumsum(np.diff(labels) != 0)])
    gap = 0.0 if jump[-1] == 0 else 0.12
    room = 2 * np.pi - gap * (jump[-1] + 1 if jump[-1] else 0)
    angle = np.pi / 2 - (room * (np.arange(len(labels)) + 0.5) / len(labels) + gap * (jump + 0.5))
    return np.stack([np.cos(angle), np.sin(angle)], axis=1), angle


def _strongest(values: np.ndarray, n_links: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Ends and weights of the strongest links, weakest of them first, and the sum over all links."""
    left, right = np.triu_indices(len(values), 1)
    weight = np.nan_to_num(values[left, right])
    chosen = np.argsort(-weight, kind="stable")[:n_links]
    chosen = chosen[weight[chosen] > 0][::-1]
    return left[chosen], right[chosen], weight[chosen], float(weight.sum())


def _links(ax: Axes, place: np.ndarray, labels: np.ndarray, links: tuple[np.ndarray, ...]) -> None:
    from matplotlib.collections import PathCollection
    from matplotlib.colors import to_rgba
    from matplotlib.path import Path

    left, right, weight = links
    relative = weight / weight.max() if weight.size else weight
    middle = (place[left] + place[right]) / 2
    # Neighbours are joined by a shallow arc, distant units by one that passes near the centre.
    depth = 1 - 0.9 * np.sqrt(np.linalg.norm(place[left] - place[right], axis=1) / 2)
    codes = [Path.MOVETO, Path.CURVE3, Path.CURVE3]
    paths = [Path(np.array(points), codes) for points in
             zip(place[left], middle * depth[:, None], place[right], strict=True)]  # fmt: skip
    colours = [
        to_rgba(style.colour(int(labels[i])) if labels[i] == labels[j] else "#8a94a3", 0.15 + 0.75 * float(r))
        for i, j, r in zip(left, right, relative, strict=True)
    ]
    ax.add_collection(
        PathCollection(paths, facecolors="none", edgecolors=colours, linewidths=0.4 + 2.0 * relative)
    )


def _ring(ax: Axes, angle: np.ndarray, labels: np.ndarray, units: np.ndarray) -> float:
    """An arc per community with its number, and names of units where few enough; returns how far out."""
    names = [str(unit) for unit in units] if len(units) <= 60 else []
    for a, name in zip(angle, names, strict=False):
        turn = np.rad2deg(a) % 360
        left = 90 < turn < 270
        ax.text(1.24 * np.cos(a), 1.24 * np.sin(a), name, fontsize=6, rotation_mode="anchor",
                rotation=turn - 180 if left else turn, ha="right" if left else "left",
                va="center")  # fmt: skip
    runs, half = blocks(labels), 0.9 * np.pi / max(len(labels), 1)
    for label, start, stop in runs if len(runs) > 1 else ():
        sweep, tint = np.linspace(angle[start] + half, angle[stop - 1] - half, 60), style.colour(label)
        ax.plot(1.13 * np.cos(sweep), 1.13 * np.sin(sweep), color=tint, linewidth=4, solid_capstyle="butt")
        middle = float(sweep.mean())
        ax.text(1.13 * np.cos(middle), 1.13 * np.sin(middle), "–" if label < 0 else str(label), ha="center",
                va="center", fontsize=7.5, fontweight="bold", color=style.text_on(tint),
                bbox={"boxstyle": "circle,pad=0.25", "facecolor": tint, "edgecolor": "white"})  # fmt: skip
    return 1.29 + 0.043 * max(map(len, names), default=0)
