"""What a draw says about counts: log likelihood, rates, and how its predictions meet the counts; in loops."""

from __future__ import annotations

import math
from typing import no_type_check

import numpy as np
from numba import njit

from neurotools.numerics.kernels.numba_biunits import log_rate

SMALLEST = -700.0  # a logarithm below which exp is near the smallest number
NEGLIGIBLE = 1e-17


@njit(cache=True, fastmath=False)
@no_type_check
def log_prob(y, r, eta):
    """Log probability of a count; ``r`` is infinite for a Poisson law."""
    if math.isinf(r):
        return y * eta - math.exp(eta) - math.lgamma(y + 1.0)
    gap = eta - math.log(r)
    log_sum = gap + math.log1p(math.exp(-gap)) if gap > 0.0 else math.log1p(math.exp(gap))
    return math.lgamma(y + r) - math.lgamma(r) - math.lgamma(y + 1.0) + y * gap - (y + r) * log_sum


@njit(cache=True, fastmath=False)
@no_type_check
def prob_below(y, r, eta, own):
    """Probability of fewer than ``y``; ``own`` is that of ``y`` itself.

    Summed downwards from y, each term from the one above, so that nothing overflows.
    """
    mean = math.exp(eta)
    total, term = 0.0, own
    for k in range(y, 0, -1):
        # p(k - 1) = p(k) k / ((k - 1 + r) mean / (mean + r))
        term *= k / mean if math.isinf(r) else k * (mean + r) / ((k - 1.0 + r) * mean)
        total += term
        if k < mean and term < NEGLIGIBLE * total:
            break
    return min(total, 1.0)


@njit(cache=True, fastmath=False)
@no_type_check
def describe(y, seen, r, cluster, theta, latent, interval, unit_mean, unit_sd, interval_rate):  # noqa: PLR0917
    """Log rates of each unit over time, mean counts in intervals; log likelihood of the counts seen."""
    n, n_time = y.shape
    total = 0.0
    width = np.zeros(interval_rate.shape[1])
    for t in range(n_time):
        width[interval[t]] += 1.0
    for i in range(n):
        path = latent[cluster[i]]
        first, second = 0.0, 0.0
        interval_rate[i] = 0.0
        shift = log_rate(path, theta[i], 0)  # variances about any number near the mean
        for t in range(n_time):
            eta = log_rate(path, theta[i], t)
            first += eta - shift
            second += (eta - shift) * (eta - shift)
            interval_rate[i, interval[t]] += math.exp(eta)
            if seen[i, t]:
                total += log_prob(y[i, t], r[i], eta)
        mean = first / n_time
        unit_mean[i] = shift + mean
        unit_sd[i] = math.sqrt(max(second / n_time - mean * mean, 0.0))
        for b in range(width.size):
            interval_rate[i, b] /= width[b]
    return total


@njit(cache=True, fastmath=False)
@no_type_check
def accumulate(y, r, cluster, theta, latent, log_sum, log_square, rate_sum, prob_sum, below_sum):  # noqa: PLR0917
    """Add one draw to running sums (unit, time): log rate, its square, rate, p(count), P(fewer)."""
    n, n_time = y.shape
    for i in range(n):
        path = latent[cluster[i]]
        for t in range(n_time):
            eta = log_rate(path, theta[i], t)
            log_sum[i, t] += eta
            log_square[i, t] += eta * eta
            rate_sum[i, t] += math.exp(eta)
            own = math.exp(max(log_prob(y[i, t], r[i], eta), SMALLEST))
            prob_sum[i, t] += own
            below_sum[i, t] += prob_below(y[i, t], r[i], eta, own)
