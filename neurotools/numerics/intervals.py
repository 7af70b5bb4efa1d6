"""Runs of a course over time above a threshold, and where they truly begin and end."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

Course = Float[np.ndarray, " time"]
Active = Bool[np.ndarray, "component time"]
Follows = Bool[np.ndarray, " time"]

GAP = 1.5  # steps: a longer pause in the clock ends an interval


# ---- threshold ------------------------------------------------------------------------------------------
def otsu_threshold(values: Course) -> float:
    """Value halfway between a low and a high class of ``values`` whose means lie furthest apart.

    Maximises the variance between the classes, n_low n_high (mean_low - mean_high)^2, over every division
    of the sorted values (Otsu 1979, eq. 12). Values that are all equal cannot be divided: zero is returned,
    so that a constant positive loading lies above its threshold and a zero one does not.
    """
    ordered = np.sort(np.asarray(values, dtype=float))
    if ordered[0] == ordered[-1]:
        return 0.0
    ordered = ordered / np.abs(ordered).max()  # squares of tiny loadings must not vanish
    n_low = np.arange(1, ordered.size)
    total = np.cumsum(ordered)
    low, high = total[:-1] / n_low, (total[-1] - total[:-1]) / (ordered.size - n_low)
    between = np.where(np.diff(ordered) > 0, n_low * (ordered.size - n_low) * (high - low) ** 2, -1.0)
    cut = int(np.argmax(between))
    return float((ordered[cut] + ordered[cut + 1]) / 2 * np.abs(values).max())


def root_threshold(values: Course) -> float:
    """Threshold of Otsu between square roots of ``values``, squared.

    His criterion takes both classes to spread alike. A loading varies in proportion to its size, so that the
    threshold of the values themselves lies among the dips of the high class; roots bring it below them.
    """
    return otsu_threshold(np.sqrt(np.maximum(values, 0.0))) ** 2


# ---- runs -----------------------------------------------------------------------------------------------
def runs_of_clock(
    time: Course, session: Int[np.ndarray, " time"] | np.ndarray
) -> tuple[Follows, Float[np.ndarray, " time"]]:
    """Whether each sample follows the one before without a break, and the clock's step at each sample.

    A break is the edge of a session, or a pause longer than 1.5 times the median step of the session.
    """
    changes = np.flatnonzero(session[1:] != session[:-1]) + 1
    follows, steps = np.zeros(time.size, dtype=bool), np.empty(time.size)
    usual = float(np.median(np.diff(time)))
    for first, last in zip(np.r_[0, changes], np.r_[changes, time.size], strict=True):
        step = np.diff(time[first:last])
        steps[first:last] = np.median(step) if step.size else usual
        follows[first + 1 : last] = step <= GAP * steps[first]
    return follows, steps


def runs(active: Active, follows: Follows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Component, first and last sample of every run of active samples without a break."""
    begins = active.copy()
    begins[:, 1:] &= ~(active[:, :-1] & follows[1:])
    stops = active.copy()
    stops[:, :-1] &= ~(active[:, 1:] & follows[1:])
    component, first = np.nonzero(begins)
    return component, first, np.nonzero(stops)[1]


def without_pauses(
    active: Active, follows: Follows, steps: Float[np.ndarray, " time"], min_pause_s: float
) -> Active:
    """Fill pauses that are shorter than ``min_pause_s`` and lie between active samples of one run."""
    filled = active.copy()
    for component, first, last in zip(*runs(~active, follows), strict=True):
        inside = first > 0 and last + 1 < active.shape[1] and follows[first] and follows[last + 1]
        if inside and steps[first : last + 1].sum() < min_pause_s * (1 - 1e-9):
            filled[component, first : last + 1] = True
    return filled


def reaching(
    active: Active,
    follows: Follows,
    courses: Float[np.ndarray, "component time"],
    peak: Float[np.ndarray, " component"],
) -> Active:
    """Keep the runs that somewhere exceed ``peak``: small bumps over a low threshold are no activity."""
    kept = np.zeros_like(active)
    for component, first, last in zip(*runs(active, follows), strict=True):
        kept[component, first : last + 1] = courses[component, first : last + 1].max() > peak[component]
    return kept


# ---- edges ----------------------------------------------------------------------------------------------
def overhang(share: float) -> float:
    """Widths by which slopes that were smoothed exceed a share of their usual size beyond an edge.

    The slope at distance x from activity that has ended weighs what lies x and more away by the derivative
    of a Gaussian. Of activity whose moments are independent, the mean square is then Q(x) of its usual size,
    the tail of a density proportional to u^2 exp(-u^2 / width^2): a chi distribution with three degrees of
    freedom in sqrt(2) u / width, on either side of zero. The answer is x with Q(x) = share^2, and zero where
    that lies inside. For activity that is slow the overhang is less, by a third of its size.
    """
    from scipy.stats import chi

    return float(chi.isf(2.0 * share**2, 3) / np.sqrt(2.0)) if 2.0 * share**2 < 1.0 else 0.0


def without_overhang(
    active: Active,
    follows: Follows,
    courses: Float[np.ndarray, "component time"],
    samples: Int[np.ndarray, "component time"],
) -> Active:
    """Take so many ``samples`` off both ends of every run, but nothing near its own peak.

    What exceeds 1 / sqrt(2) of the peak stays, half of its square. An end where the clock breaks or the
    recording begins or stops is no edge of activity and stays, too.
    """
    kept = np.zeros_like(active)
    n_time = active.shape[1]
    for component, first, last in zip(*runs(active, follows), strict=True):
        course = courses[component, first : last + 1]
        near = first + np.flatnonzero(course >= course.max() / np.sqrt(2.0))
        begins = first > 0 and bool(follows[first])
        stops = last + 1 < n_time and bool(follows[last + 1])
        start = min(first + begins * samples[component, first], near[0])
        stop = max(last - stops * samples[component, last], near[-1])
        kept[component, start : stop + 1] = True
    return kept
