"""Laws of random partitions: mixtures of finitely many components, and the Dirichlet process.

A partition of n things into blocks of sizes n_1, ..., n_t has probability V_n(t) times, for each block, gamma
(gamma + 1) ... (gamma + n_c - 1). Everything is in logarithms, so no number of units is too large.
Miller & Harrison (2018), JASA 113, 340-356, eqs. 3.2-3.5.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Int

from neurotools.arrays import Array

SERIES_TOL = 1e-16  # a sum ends when what is left is a smaller share of it


def finite_mixture_coefficients(n: int, rho: float, gamma: float = 1.0) -> Float[np.ndarray, " blocks"]:
    """Logarithms of V_n(t) for t = 0, ..., n + 1; the number of components is geometric: (1 - rho)^(k-1) rho.

        V_n(t) = sum_{k >= t} k (k-1) ... (k-t+1) / (gamma k)^(n) p(k),   x^(n) = x (x+1) ... (x+n-1)

    V(0) is -inf: there is no empty partition. Beyond t = n there is one more, for ratios.
    """
    out = np.full(n + 2, -np.inf)
    for t in range(1, n + 2):
        out[t] = _log_series(n, t, math.log1p(-rho), math.log(rho), gamma)
    return out


def _log_series(n: int, t: int, log_fail: float, log_rho: float, gamma: float) -> float:
    """Log of the sum over the number of components, from its largest term outwards."""
    from scipy.special import gammaln

    first, block, total = t, 1024, -np.inf
    while True:
        k = np.arange(first, first + block, dtype="float64")
        terms = (
            gammaln(k + 1) - gammaln(k - t + 1) - gammaln(gamma * k + n) + gammaln(gamma * k)
            + (k - 1) * log_fail + log_rho
        )  # fmt: skip
        total = float(np.logaddexp.reduce([total, *terms.tolist()]))
        # Terms rise, then fall at least like those of a geometric series with the ratio of the last two.
        ratio = float(terms[-1] - terms[-2])
        if ratio < 0 and terms[-1] - math.log(-math.expm1(ratio)) < total + math.log(SERIES_TOL):
            return total
        first += block


def dirichlet_process_coefficients(n: int, alpha: float) -> Float[np.ndarray, " blocks"]:
    """Logarithms of V_n(t) = alpha^t / alpha^(n) of the Dirichlet process, where gamma is 0.

    Blocks weigh Gamma(n_c) in place of Gamma(gamma + n_c) / Gamma(gamma).
    """
    t = np.arange(n + 2)
    out = t * math.log(alpha) + math.lgamma(alpha) - math.lgamma(alpha + n)
    out[0] = -np.inf
    return out


def log_partition_prob(
    sizes: Int[Array, " block"], coefficients: Float[Array, " blocks"], gamma: float
) -> float:
    """Log probability of one partition by the sizes of its blocks; ``gamma`` is 0 for a Dirichlet process."""
    sizes = np.asarray(sizes, dtype="float64")
    return float(coefficients[sizes.size] + block_weight(sizes, gamma).sum())


def block_weight(sizes: Float[Array, " block"], gamma: float) -> Float[np.ndarray, " block"]:
    """Log weight of blocks of given sizes."""
    from scipy.special import gammaln

    return gammaln(sizes) if gamma == 0 else gammaln(gamma + sizes) - gammaln(gamma)


def draw_partition(
    rng: np.random.Generator, n: int, coefficients: Float[Array, " blocks"], gamma: float
) -> Int[np.ndarray, " n"]:
    """One partition, as labels in order of first appearance, thing by thing.

    Coefficients for n things are not those for fewer, so weights of prefixes are summed backwards:
    V_m(t) = (gamma t + m) V_{m+1}(t) + gamma V_{m+1}(t + 1), Miller & Harrison (2018), proposition 3.2.
    """
    weight = 1.0 if gamma == 0 else gamma
    table = [np.asarray(coefficients, dtype="float64")]
    for m in range(n - 1, 0, -1):
        ahead = table[-1]
        t = np.arange(ahead.size - 1)
        stay = np.log(np.maximum(gamma * t + m, 1e-300)) + ahead[:-1]
        table.append(np.logaddexp(stay, math.log(weight) + ahead[1:]))
    label, sizes = np.zeros(n, dtype="int64"), [1]
    for m in range(1, n):
        ahead = table[n - 1 - m]
        log_weight = [math.log(size + gamma) + ahead[len(sizes)] for size in sizes]
        log_weight.append(math.log(weight) + ahead[len(sizes) + 1])
        prob = np.exp(np.array(log_weight) - np.logaddexp.reduce(log_weight))
        label[m] = rng.choice(prob.size, p=prob / prob.sum())
        if label[m] == len(sizes):
            sizes.append(0)
        sizes[label[m]] += 1
    return label
