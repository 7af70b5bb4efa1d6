"""When each state of a switching model holds."""

from __future__ import annotations

import numpy as np
import xarray as xr

from neurotools.plot import style
from neurotools.plot.reading import needs_dims, variable
from neurotools.plot.strips import add_strips, mark_events, strip_above
from neurotools.plot.style import Axes, Figure


def plot_state_prob(
    fit: xr.Dataset, ax: Axes | Figure | None = None, *, events: xr.Dataset | None = None
) -> Axes:
    """Draw the probability of every state over time, stacked so that they fill the height.

    Parameters
    ----------
    fit : xarray.Dataset
        With ``state_prob`` (time, state) or (trial, state): a fit, or a prediction. Edges of sessions are
        marked, by their names where these are few and by ticks where they are many; so are those of subjects.
        Where there are more samples than pixels, each step is the mean of those it covers. Stretches without
        samples stay blank.
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
        above = _mark_edges(ax, prob, dim, at)
        if events is not None and dim == "time":
            mark_events(ax, events)
            add_strips(ax, events, None, above_in=above)
    return ax


MOST_STEPS = 2000  # drawn along time
MOST_NAMES = 14  # of sessions or subjects along the top
GAP = 5.0  # steps without a sample, from which on nothing is drawn
MOST_LINES = 40  # through the picture; beyond, edges are ticks above it


def _mark_edges(ax: Axes, prob: xr.DataArray, dim: str, at: np.ndarray) -> float:
    """Mark sessions above the picture, and subjects above those; returns the inches that they take."""
    above = 0.0
    for name, lines in (("session", True), ("subject", False)):
        if name not in prob.coords or prob[name].dims != (dim,):
            continue
        labels = prob[name].to_numpy().astype(str)
        place = prob[dim].to_numpy().astype(float) if dim in prob.coords else np.arange(labels.size) + 0.0
        first = np.flatnonzero(np.r_[True, labels[1:] != labels[:-1]])
        if first.size < 2:
            continue
        ends = np.append(place[first[1:] - 1] + _width(place), at[-1])
        if lines and first.size <= MOST_LINES:
            for edge in place[first[1:]]:
                ax.axvline(edge, color="white", linewidth=1.0)
        _lane(ax, name, (place[first], ends), labels[first], above)
        above += LANE_IN
    return above


LANE_IN = 0.2


def _lane(ax: Axes, what: str, edges: tuple[np.ndarray, np.ndarray], names: np.ndarray, above: float) -> None:
    """A lane of brackets, one per session or subject, named where there is room."""
    lane = strip_above(ax, 0.04 + above, LANE_IN - 0.04)
    lefts, rights = edges
    gap = 0.002 * (rights[-1] - lefts[0]) if len(names) <= MOST_LINES else 0.0
    if gap:
        lane.hlines(np.zeros(len(names)), lefts + gap, rights - gap, color=style.MUTED, linewidth=1.2)
    else:
        lane.vlines(np.append(lefts, rights[-1]), 0, 0.6, color=style.MUTED, linewidth=0.5)
    for left, right, name in zip(lefts, rights, names, strict=True) if len(names) <= MOST_NAMES else ():
        lane.text((left + right) / 2, 0.25, name, ha="center", va="bottom", fontsize=6.5, clip_on=True)
    lane.set(ylim=(-0.15, 1.4), yticks=())
    lane.set_ylabel(f"{len(names)} {what}s", rotation=0, ha="right", va="center", fontsize=7)
    style.plain_spines(lane)


def _thinned(prob: xr.DataArray, dim: str) -> tuple[np.ndarray, np.ndarray]:
    """Left edges and probabilities of at most ``MOST_STEPS`` steps, the last edge being the end."""
    values = prob.to_numpy()
    at = (
        prob[dim].to_numpy().astype("float64")
        if dim in prob.coords
        else np.arange(len(values), dtype="float64")
    )
    width = _width(at)
    after_gap = np.flatnonzero(np.diff(at) > GAP * width) + 1
    first = np.linspace(0, len(values), min(MOST_STEPS, len(values)), endpoint=False).astype(int)
    first = np.unique(np.append(first, after_gap))
    means = np.add.reduceat(values, first, axis=0) / np.diff(np.append(first, len(values)))[:, None]
    left, place = at[first], np.searchsorted(first, after_gap)
    # Before a gap the last step ends, and nothing follows until the next sample.
    ends = np.repeat(at[after_gap - 1] + width, 2)
    blank = np.stack([means[place - 1], np.full((place.size, means.shape[1]), np.nan)], axis=1)
    left = np.insert(left, np.repeat(place, 2), ends)
    means = np.insert(means, np.repeat(place, 2), blank.reshape(-1, means.shape[1]), axis=0)
    return np.append(left, at[-1] + width), np.concatenate([means, means[-1:]])


def _width(at: np.ndarray) -> float:
    """The step from one sample to the next."""
    return float(np.median(np.diff(at))) if at.size > 1 else 1.0
