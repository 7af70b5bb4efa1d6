"""Couplings of a population in each state of a switching model: as matrices and as graphs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from neurotools.errors import SettingsError, lookup
from neurotools.plot import style
from neurotools.plot.reading import needs_dims, variable
from neurotools.plot.style import Axes, Figure

MOST_NAMED = 60  # units around a graph that are named
CURVE = 0.16  # of a link; the two directions of a pair bend apart
COLUMNS = 4  # states side by side


def plot_couplings(
    fit: xr.Dataset,
    ax: Axes | Figure | None = None,
    *,
    state: int = 0,
    basis: int | None = None,
    kind: str = "matrix",
    relative: bool = False,
    n_links: int = 30,
) -> Axes:
    """Draw the couplings of one state, as a matrix or as a graph.

    Parameters
    ----------
    fit : xarray.Dataset
        With ``weight`` (state, unit, unit_to, basis). All states share one scale, so that panels compare: its
        end is the largest coupling between two different units; what a unit does to itself may lie beyond it.
    ax : matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Where to draw; a new figure otherwise.
    state : int
        Which state.
    basis : int, optional
        Which function of the lag; their sum when omitted, which is the whole effect of a spike.
    kind : {"matrix", "graph"}
        A matrix has the unit that sends along x. A graph is a circle of units; arrows excite, bars inhibit,
        and the fill of a dot is what the unit does to itself.
    relative : bool
        Draw by how much the state differs from the mean of all states.
    n_links : int
        Links of a graph per state: the strongest over all states, so that a state of weak couplings has few.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    SettingsError
        The fit has no such state or function of the lag, or ``kind`` is none of the two.
    """
    draw, size = lookup("kind of picture", kind, KINDS)
    held = _couplings(fit, state, basis, relative)
    with style.context():
        ax = style.panel(ax, size)
        image = draw(ax, held, n_links)
        _head(ax, fit, state)
        if image is not None:
            style.colour_bar(image, ax, _what(relative))
    return ax


def plot_all_couplings(
    fit: xr.Dataset,
    *,
    kind: str = "matrix",
    relative: bool = False,
    n_links: int = 30,
    figure: Figure | None = None,
) -> np.ndarray:
    """Draw the couplings of every state side by side, on one scale.

    Parameters
    ----------
    fit : xarray.Dataset
        With ``weight`` (state, unit, unit_to, basis).
    kind, relative, n_links
        As for ``plot_couplings``.
    figure : matplotlib.figure.Figure, optional
        Where to draw; a new one otherwise.

    Returns
    -------
    numpy.ndarray of matplotlib.axes.Axes
        One per state.
    """
    draw, _ = lookup("kind of picture", kind, KINDS)
    states = variable(fit, "weight", "couplings")["state"].to_numpy()
    columns = min(len(states), COLUMNS)
    rows = -(-len(states) // columns)
    image = None
    with style.context():
        figure = style.blank_figure(figure, (2.9 * columns + 0.9, 3.05 * rows + 0.2))
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for spare in axes[len(states) :]:
            spare.remove()
        axes = axes[: len(states)]
        for place, (ax, state) in enumerate(zip(axes, states, strict=True)):
            held = _couplings(fit, int(state), None, relative)
            image = draw(style.dressed(ax), held, n_links)
            _head(ax, fit, int(state))
            if image is not None:
                _only_at_edges(ax, first=place % columns == 0, lowest=place + columns >= len(states))
        if image is not None:
            style.colour_bar(image, axes, _what(relative), fraction=0.03, pad=0.02, aspect=28)
    return axes


def _head(ax: Axes, fit: xr.Dataset, state: int) -> None:
    share = f" · {100 * float(fit['occupancy'].sel(state=state)):.0f} % of time" if "occupancy" in fit else ""
    ax.set_title(f"state {state}{share}")


# ---- what is drawn --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Couplings:
    """The couplings of one state, and what they share with those of the others."""

    values: np.ndarray  # (sends, receives)
    units: np.ndarray
    top: float  # largest coupling between different units, over all states
    every: np.ndarray  # (state, pair), sizes of the couplings between different units of all states

    @property
    def apart(self) -> np.ndarray:
        """The couplings between different units, zero on the diagonal."""
        return np.where(np.eye(len(self.values), dtype=bool), 0.0, self.values)


def _couplings(fit: xr.Dataset, state: int, basis: int | None, relative: bool) -> Couplings:
    weight = needs_dims(
        variable(fit, "weight", "couplings"), ("state", "unit", "unit_to", "basis"), "couplings"
    )
    for dim, label in (("state", state), ("basis", basis)):
        if label is not None and label not in weight[dim].to_numpy():
            raise SettingsError(
                f"there is no {dim} {label!r} in this fit", code="NT-SET-001",
                expected="one of " + ", ".join(map(str, weight[dim].to_numpy())),
            )  # fmt: skip
    weight = weight.sum("basis") if basis is None else weight.sel(basis=basis)
    values = weight.transpose("state", "unit", "unit_to").to_numpy()
    if relative:
        values = values - values.mean(axis=0)
    sizes = np.abs(values[:, ~np.eye(values.shape[1], dtype=bool)])
    place = int(np.flatnonzero(weight["state"].to_numpy() == state)[0])
    top = float(sizes.max(initial=0.0)) or float(np.abs(values).max()) or 1.0
    return Couplings(values[place], weight["unit"].to_numpy(), top, sizes)


def _what(relative: bool) -> str:
    return "difference from the mean of states" if relative else "weight (predictor per spike)"


# ---- as a matrix ----------------------------------------------------------------------------------------
def _matrix(ax: Axes, held: Couplings, n_links: int) -> Any:
    image = ax.imshow(held.values.T, cmap=style.diverging(), vmin=-held.top, vmax=held.top, aspect="equal")
    width, height = style.axes_size(ax)
    style.name_entries(ax, "x", held.units, width)
    style.name_entries(ax, "y", held.units, height)
    ax.set(xlabel="unit that sends", ylabel="unit that receives")
    style.plain_spines(ax)
    return image


def _only_at_edges(ax: Axes, *, first: bool, lowest: bool) -> None:
    if not first:
        ax.set_ylabel("")
        ax.set_yticks([])
    if not lowest:
        ax.set_xlabel("")
        ax.set_xticks([])


# ---- as a graph -----------------------------------------------------------------------------------------
def _graph(ax: Axes, held: Couplings, n_links: int) -> Any:
    n = len(held.units)
    angle = np.pi / 2 - 2 * np.pi * np.arange(n) / n
    spot = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    for sends, receives in _strongest(held, n_links):
        _link(ax, spot[sends], spot[receives], held.values[sends, receives] / held.top)
    own = np.clip(np.diag(held.values) / held.top, -1, 1)
    ax.scatter(spot[:, 0], spot[:, 1], s=float(np.clip(2600 / n, 24, 150)), c=own, cmap=style.diverging(),
               vmin=-1, vmax=1, edgecolors=style.INK, linewidths=0.8, zorder=3)  # fmt: skip
    reach = _names(ax, held.units, angle)
    _key(ax)
    ax.set_aspect("equal")
    ax.set_axis_off()
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach))


def _strongest(held: Couplings, n_links: int) -> list[tuple[int, int]]:
    """Pairs of this state among the strongest of all states, weakest first so that strong ones lie on top."""
    wanted = min(n_links * len(held.every), held.every.size)
    least = np.partition(held.every.ravel(), -wanted)[-wanted] if wanted else np.inf
    size = np.abs(held.apart)
    pairs = np.argwhere((size >= least) & (size > 0))
    return [(int(a), int(b)) for a, b in pairs[np.argsort([size[a, b] for a, b in pairs], kind="stable")]]


def _link(ax: Axes, start: np.ndarray, stop: np.ndarray, relative: float) -> None:
    from matplotlib.patches import FancyArrowPatch

    head = "-|>,head_length=3.2,head_width=1.8" if relative > 0 else "-[,widthB=2.4,lengthB=0"
    size = abs(relative)
    ax.add_patch(
        FancyArrowPatch(
            (start[0], start[1]), (stop[0], stop[1]), arrowstyle=head, mutation_scale=1.0,
            shrinkA=5.5, shrinkB=6.5, connectionstyle=f"arc3,rad={CURVE}", linewidth=0.5 + 2.2 * size,
            alpha=0.25 + 0.7 * size, color=style.FLAG if relative > 0 else style.ACCENT, zorder=2,
        )
    )  # fmt: skip


def _names(ax: Axes, units: np.ndarray, angle: np.ndarray) -> float:
    """Names of the units around the circle; returns how far out the picture has to reach."""
    names = [str(unit) for unit in units] if len(units) <= MOST_NAMED else []
    for a, name in zip(angle, names, strict=False):
        turn = np.rad2deg(a) % 360
        left = 90 < turn < 270
        ax.text(1.13 * np.cos(a), 1.13 * np.sin(a), name, fontsize=6.5, rotation_mode="anchor",
                rotation=turn - 180 if left else turn, ha="right" if left else "left",
                va="center")  # fmt: skip
    return 1.2 + 0.06 * max(map(len, names), default=0)


def _key(ax: Axes) -> None:
    """What the ends of links mean; their form says it without their colour."""
    for row, (sign, word) in enumerate(((1, "excites"), (-1, "inhibits"))):
        tint = style.FLAG if sign > 0 else style.ACCENT
        ax.annotate("" , (0.115, 0.055 - 0.055 * row), (0.0, 0.055 - 0.055 * row), xycoords="axes fraction",
                    arrowprops={"arrowstyle": "-|>,head_length=3.2,head_width=1.8" if sign > 0
                                else "-[,widthB=2.4,lengthB=0", "color": tint, "linewidth": 1.4,
                                "mutation_scale": 1.0, "shrinkA": 0, "shrinkB": 0})  # fmt: skip
        ax.text(0.14, 0.055 - 0.055 * row, word, transform=ax.transAxes, fontsize=7, va="center")


KINDS: dict[str, tuple[Callable[[Axes, Couplings, int], Any], tuple[float, float]]] = {
    "matrix": (_matrix, (4.6, 3.9)),
    "graph": (_graph, (4.2, 4.4)),
}
