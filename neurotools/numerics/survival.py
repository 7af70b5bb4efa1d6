"""How long something lasts when the end of some was not seen."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Real

EXACTLY = 1e-12  # what rounding leaves of a half


def median_duration(duration: Real[np.ndarray, " visit"], cut: Bool[np.ndarray, " visit"]) -> float:
    """Median duration where those that were cut short lasted at least as long as was seen.

    Where the product-limit estimate of the share that lasts longer falls to a half, or halfway to the next
    end where it rests there (Kaplan and Meier 1958, Journal of the American Statistical Association 53,
    457-481); NaN where it never does. A median of the whole ones alone would be too short, for long ones are
    the likeliest to be cut.
    """
    share = 1.0
    ends = np.unique(duration[~cut])
    for place, end in enumerate(ends):
        at_risk = int((duration >= end).sum())
        share *= 1 - int(((duration == end) & ~cut).sum()) / at_risk
        if share <= 0.5 + EXACTLY:
            rests = share > 0.5 - EXACTLY and place + 1 < len(ends)
            return float((end + ends[place + 1]) / 2 if rests else end)
    return float("nan")
