"""Generalised linear models on plain arrays: families, links, and all weighted Gram matrices in one product.

A family gives the log probability of an observation and its variance from the mean; a link gives the mean
and its slope from the linear predictor. Any family goes with any link whose range fits it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float

from neurotools.arrays import Array, device_of, namespace

TINY = 1e-12  # least mean and least distance of a probability from 0 and 1, so that logarithms exist
CHUNK = 256  # rows of a packed product at a time: outer products then stay in cache


# ---- links ----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Link:
    """Mean and slope of the mean as functions of the linear predictor."""

    mean: Callable[[Array], Array]
    slope: Callable[[Array], Array]


def softplus(x: Array) -> Array:
    """Return log(1 + e^x), written so that a large argument does not overflow."""
    xp = namespace(x)
    return xp.maximum(x, xp.zeros_like(x)) + xp.log1p(xp.exp(-xp.abs(x)))


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + e^-x); the argument is kept above the point where e^-x would overflow."""
    xp = namespace(x)
    lowest = -700.0 if x.dtype == xp.float64 else -85.0
    return 1 / (1 + xp.exp(-xp.maximum(x, xp.full_like(x, lowest))))


def _sigmoid_slope(x: Array) -> Array:
    mean = sigmoid(x)
    return mean * (1 - mean)


def _exp(x: Array) -> Array:
    return namespace(x).exp(x)


def _identity(x: Array) -> Array:
    return x


def _one(x: Array) -> Array:
    return namespace(x).ones_like(x)


LINKS = {
    "log": Link(_exp, _exp),
    "softplus": Link(softplus, sigmoid),
    "sigmoid": Link(sigmoid, _sigmoid_slope),
    "identity": Link(_identity, _one),
}


# ---- families -------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Family:
    """Log probability (natural) and variance of an observation, from its mean and dispersion."""

    log_prob: Callable[[Array, Array, Array], Array]
    variance: Callable[[Array, Array], Array]
    log_normaliser: Callable[[Array, Array], Array]  # of y alone: left out of log_prob, added once


def poisson_log_prob(y: Array, mean: Array, dispersion: Array) -> Array:
    """Return y log(mean) - mean; log y! is in the normaliser."""
    xp = namespace(mean)
    return y * xp.log(mean) - mean


def negative_binomial_log_prob(y: Array, mean: Array, dispersion: Array) -> Array:
    """Variance mean + mean^2 / r, with r the dispersion; terms of y and r alone are in the normaliser."""
    xp = namespace(mean)
    return y * (xp.log(mean) - xp.log(mean + dispersion)) - dispersion * xp.log1p(mean / dispersion)


def bernoulli_log_prob(y: Array, mean: Array, dispersion: Array) -> Array:
    """Return y log(p) + (1 - y) log(1 - p)."""
    xp = namespace(mean)
    return y * xp.log(mean) + (1 - y) * xp.log1p(-mean)


def gaussian_log_prob(y: Array, mean: Array, dispersion: Array) -> Array:
    """Variance is the dispersion."""
    xp = namespace(mean)
    return -0.5 * ((y - mean) ** 2 / dispersion + xp.log(dispersion))


def log_factorial(y: Array) -> Array:
    """Log of y!, through the log of the gamma function (Lanczos; 1e-13 relative)."""
    return log_gamma(y + 1.0)


def log_gamma(x: Array) -> Array:
    """Log of the gamma function of positive numbers, which the array standard lacks.

    Lanczos (1964), SIAM J. Numer. Anal. B 1, 86, with the nine coefficients for g = 7.
    """
    xp = namespace(x)
    shifted = x - 1.0
    total = xp.full_like(x, LANCZOS[0])
    for k, coefficient in enumerate(LANCZOS[1:], start=1):
        total = total + coefficient / (shifted + k)
    base = shifted + 7.5
    return 0.9189385332046727 + (shifted + 0.5) * xp.log(base) - base + xp.log(total)


LANCZOS = (
    0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
    12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
)  # fmt: skip

FAMILIES = {
    "poisson": Family(
        poisson_log_prob,
        lambda mean, dispersion: mean,
        lambda y, dispersion: -log_factorial(y),
    ),
    "negative_binomial": Family(
        negative_binomial_log_prob,
        lambda mean, dispersion: mean + mean**2 / dispersion,
        lambda y, dispersion: log_gamma(y + dispersion) - log_gamma(dispersion + 0.0 * y) - log_factorial(y),
    ),
    "bernoulli": Family(
        bernoulli_log_prob,
        lambda mean, dispersion: mean * (1 - mean),
        lambda y, dispersion: 0.0 * y,
    ),
    "gaussian": Family(
        gaussian_log_prob,
        lambda mean, dispersion: dispersion + 0.0 * mean,
        lambda y, dispersion: 0.0 * y - 0.9189385332046727,
    ),
}
BOUNDS = {"poisson": (TINY, None), "negative_binomial": (TINY, None), "bernoulli": (TINY, 1 - TINY)}


def bounded_mean(family: str, link: Link, predictor: Array) -> Array:
    """The mean, kept just inside the range where the family has a logarithm."""
    xp = namespace(predictor)
    low, high = BOUNDS.get(family, (None, None))
    mean = link.mean(predictor)
    if low is not None:
        mean = xp.maximum(mean, xp.full_like(mean, low))
    if high is not None:
        mean = xp.minimum(mean, xp.full_like(mean, high))
    return mean


# ---- sums over time ---------------------------------------------------------------------------------------
def weighted_grams(
    x: Float[Array, "time column"], weights: Float[Array, "time problem"]
) -> Float[Array, "problem column column"]:
    """All matrices X' diag(w) X at once, one for each column of weights.

    The outer product of each row of ``x``, packed to its upper triangle, stands as one row of a tall matrix;
    one matrix product of its transpose with the weights then gives every Gram matrix. It is formed in chunks
    of rows, so that memory stays small.
    """
    xp = namespace(x)
    n_column = x.shape[1]
    size = (n_column * (n_column + 1) // 2, weights.shape[1])
    packed = xp.zeros(size, dtype=x.dtype, device=device_of(x))
    room = pair_room(x)
    for begin in range(0, x.shape[0], CHUNK):
        stop = min(begin + CHUNK, x.shape[0])
        packed += packed_outer(x[begin:stop, :], room) @ weights[begin:stop, :]
    return unpacked(packed, n_column)


def pair_room(x: Float[Array, "time column"]) -> Float[Array, "pair chunk"]:
    """Memory for the products of one chunk, made once: fresh pages would cost more than the products."""
    n = x.shape[1]
    size = (n * (n + 1) // 2, min(CHUNK, x.shape[0]))
    return namespace(x).zeros(size, dtype=x.dtype, device=device_of(x))


def packed_outer(
    x: Float[Array, "time column"], room: Float[Array, "pair chunk"]
) -> Float[Array, "pair time"]:
    """Products of every two columns, each pair once: the outer product of each row, packed into ``room``."""
    xp = namespace(x)
    n_time, n = x.shape
    rows = xp.asarray(xp.permute_dims(x, (1, 0)), copy=True)
    begin = 0
    for a in range(n):
        room[begin : begin + n - a, :n_time] = rows[a : a + 1, :] * rows[a:, :]
        begin += n - a
    return room[:, :n_time]


def unpacked(packed: Float[Array, "pair problem"], n: int) -> Float[Array, "problem column column"]:
    """Symmetric matrices (problem, n, n) from their packed upper triangles."""
    xp = namespace(packed)
    row_start = [a * n - a * (a - 1) // 2 for a in range(n)]
    places = [row_start[min(a, b)] + abs(a - b) for a in range(n) for b in range(n)]
    full = xp.take(packed, xp.asarray(places, device=device_of(packed)), axis=0)
    return xp.permute_dims(xp.reshape(full, (n, n, packed.shape[1])), (2, 0, 1))
