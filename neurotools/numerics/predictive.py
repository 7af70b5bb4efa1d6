"""Whether counts look like draws from their predictive distribution.

The probability integral transform of a count is spread evenly over the step that the count makes in its
distribution function; if the distribution is right it is uniform. Czado, Gneiting and Held (2009), Biometrics
65, 1254-1261, eq. 2.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.special import gammaln, xlogy

Values = Float[np.ndarray, "*shape"]


def randomised_pit(below: Values, at: Values, rng: np.random.Generator) -> Values:
    """P(Y < y) plus an even share of P(Y = y), given the distribution function below and at each count."""
    return below + rng.random(np.shape(below)) * (at - below)


def interval_coverage(pit: Values, level: float) -> float:
    """Share of transforms inside the central interval of a level."""
    tail = (1 - level) / 2
    return float(((pit > tail) & (pit < 1 - tail)).mean())


def distance_from_uniform(pit: Values) -> float:
    """Largest distance between the distribution function of the transforms and the diagonal (Kolmogorov)."""
    ordered = np.sort(np.ravel(pit))
    n = ordered.size
    above, below = np.arange(1, n + 1) / n - ordered, ordered - np.arange(n) / n
    return float(max(above.max(), below.max()))


def poisson_log_prob(count: Values, mean: Values) -> Values:
    """Log probability of counts; zero mean gives probability one to zero."""
    return xlogy(count, mean) - mean - gammaln(count + 1)
