"""p-values from draws of a null, for one statistic and for the largest of several."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

Values = Float[np.ndarray, " test"]
Draws = Float[np.ndarray, "draw test"]


def tail(values: Values, null: Draws) -> Values:
    """One-sided p-value of each test; the data count as one draw, so that it is never zero.

    A draw without a value counts against the data. Phipson and Smyth (2010), Statistical Applications in
    Genetics and Molecular Biology 9(1), eq. 2.
    """
    return (1 + np.sum(~(null < values), axis=0)) / (1 + len(null))


def standardised(values: Values, null: Draws) -> tuple[Values, Draws]:
    """Values and draws less the mean of draws and the data, over their standard deviation.

    The data are one of the draws, as they are under the null. A test that never varies becomes zero.
    """
    everything = np.concatenate([values[None], null])
    centre, spread = everything.mean(axis=0), everything.std(axis=0)
    safe = np.where(spread > 0, spread, 1.0)
    return (values - centre) / safe, (null - centre) / safe


def family_wise(values: Values, null: Draws) -> Values:
    """p-value of each test against the largest draw of any: the chance of one false alarm among all.

    Westfall and Young (1993), Resampling-based multiple testing, section 2.5 (single step).
    """
    return tail(values, np.broadcast_to(null.max(axis=1)[:, None], null.shape))
