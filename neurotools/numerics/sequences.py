"""Does the order in which units peak repeat?  Concordance of orders over repeats of an event."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int


def peak_times(
    x: Float[np.ndarray, "unit time"], start: Int[np.ndarray, " repeat"], width: int
) -> Float[np.ndarray, "repeat unit"]:
    """Sample of each unit's largest value in each window; NaN where the unit is silent in it.

    Windows must lie inside the recording. A unit is silent in a window when it never exceeds zero there.
    """
    windows = x[:, start[:, None] + np.arange(width)].transpose(1, 0, 2)
    peaks = windows.argmax(axis=2).astype("float64")
    peaks[windows.max(axis=2) <= 0] = np.nan
    return peaks


def concordance(peaks: Float[np.ndarray, "repeat unit"]) -> float:
    """Agreement of the peak order of pairs of units between pairs of repeats, from -1 to 1.

    For units u, v and repeat a let s_a = sign(t_a(u) - t_a(v)), and 0 where one is silent or both peak
    together. The statistic is sum s_a s_b / sum abs(s_a s_b) over all pairs of units and of repeats: Goodman
    and Kruskal's gamma, pooled over pairs of repeats (Goodman & Kruskal 1954, J. Am. Stat. Assoc. 49, 732,
    section 5). NaN when no pair of units is ordered in two repeats.
    """
    signs = np.nan_to_num(np.sign(peaks[:, :, None] - peaks[:, None, :]))
    # sum over a < b of s_a s_b is ((sum_a s_a)^2 - sum_a s_a^2) / 2, so no loop over pairs of repeats
    squares = (signs**2).sum(axis=0)
    agreed = (signs.sum(axis=0) ** 2 - squares).sum()
    compared = (squares**2 - squares).sum()
    return float(agreed / compared) if compared else float("nan")
