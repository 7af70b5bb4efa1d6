"""Whether chains agree, and how many independent draws they are worth.

Rank-normalised split R-hat and effective sample sizes of the bulk and of the tails: Vehtari, Gelman, Simpson,
Carpenter and Bürkner (2021), Bayesian Analysis 16, 667-718. Effective sizes sum autocorrelations by Geyer's
initial monotone sequence (1992, Statistical Science 7, 473-483, section 3.3). Equal to ArviZ, which is not
needed for them.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Shaped

Chains = Shaped[np.ndarray, "chain draw"]
TAILS = (0.05, 0.95)


def split(x: Chains) -> Float[np.ndarray, "half draw2"]:
    """Both halves of every chain as chains of their own; the middle draw of an odd number is left out."""
    half = x.shape[1] // 2
    return np.concatenate([x[:, :half], x[:, x.shape[1] - half :]]).astype("float64")


def rank_normal(x: Chains) -> Float[np.ndarray, "chain draw"]:
    """Normal scores of the ranks over all chains (eq. 14); ties share their mean rank."""
    from scipy.special import ndtri
    from scipy.stats import rankdata

    rank = rankdata(x, method="average").reshape(x.shape)
    return ndtri((rank - 0.375) / (x.size + 0.25))


def rhat(x: Chains) -> float:
    """Rank-normalised split R-hat: the larger of that of the values and of their distances to the median.

    1 for a quantity that never changes; infinite for one that is constant within chains and differs between.
    """
    halves = split(x)
    if halves.min() == halves.max():
        return 1.0
    folded = np.abs(halves - np.median(halves))
    return max(_plain_rhat(rank_normal(halves)), _plain_rhat(rank_normal(folded)))


def _plain_rhat(x: Chains) -> float:
    n = x.shape[1]
    if (np.ptp(x, axis=1) == 0).all():  # exactly, where variances would be rounding
        return 1.0 if np.ptp(x) == 0 else float("inf")
    within, between = x.var(axis=1, ddof=1).mean(), x.mean(axis=1).var(ddof=1)
    return float(np.sqrt((n - 1) / n + between / within))


def ess_bulk(x: Chains) -> float:
    """Effective number of draws for the centre of the distribution."""
    return _effective(rank_normal(split(x)))


def ess_tail(x: Chains) -> float:
    """Effective number of draws for the 5 % and the 95 % quantile, the smaller of both."""
    return min(_effective(split(x <= cut)) for cut in np.quantile(x, TAILS))


def ess_mean(x: Chains) -> float:
    """Effective number of draws for the mean."""
    return _effective(split(x))


def standard_error(x: Chains) -> float:
    """Monte Carlo standard error of the mean."""
    return float(np.std(x, ddof=1) / np.sqrt(ess_mean(x)))


def _effective(x: Chains) -> float:
    n_chains, n = x.shape
    if x.max() - x.min() < np.finfo("float64").resolution:
        return float(x.size)
    spread = _autocovariance(x).mean(axis=0)
    within = spread[0] * n / (n - 1)
    total = spread[0] + (x.mean(axis=1).var(ddof=1) if n_chains > 1 else 0.0)
    rho = 1 - (within - spread) / total
    rho[0] = 1.0
    # Sums of neighbours are positive and fall; what breaks that is noise of the estimate.
    pairs = rho[: n // 2 * 2].reshape(-1, 2).sum(axis=1)[: max((n - 3) // 2, 1)]
    negative = np.flatnonzero(pairs < 0)
    stop = int(negative[0]) if negative.size else pairs.size
    falling = np.minimum.accumulate(pairs[:stop])
    left = max(float(rho[2 * stop]), 0.0) if 2 * stop < n else 0.0
    tau = max(-1 + 2 * falling.sum() + left, 1 / np.log10(x.size))
    return float(x.size / tau)


def _autocovariance(x: Chains) -> Float[np.ndarray, "chain draw"]:
    from scipy.fft import irfft, next_fast_len, rfft

    n = x.shape[1]
    padded = next_fast_len(2 * n, real=True)
    power = np.abs(rfft(x - x.mean(axis=1, keepdims=True), padded, axis=1)) ** 2
    return irfft(power, padded, axis=1)[:, :n] / n
