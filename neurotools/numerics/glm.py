"""Generalised linear models on plain arrays: families, links, and all weighted Gram matrices in one product.

A family gives the log probability of an observation and its variance from the mean; a link gives the mean
and its slopes from the linear predictor. Any family goes with any link whose range fits it. What a family
needs beside the mean is called its scale: the dispersion of a negative binomial or normal one, the number of
trials of a binomial one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float

from neurotools.arrays import Array, device_of, digamma, dispatch, log_gamma, namespace, trigamma

TINY = 1e-12  # least mean and least distance of a probability from 0 and 1, so that logarithms exist
MOST_ROWS, MOST_PRODUCTS = 2**14, 2**24  # of a packed product at a time, so that memory stays small


# ---- links ----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Link:
    """Mean as a function of the linear predictor, and its first two derivatives."""

    mean: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    bend: Callable[[Array], Array]


def softplus(x: Array) -> Array:
    """Return log(1 + e^x), written so that a large argument does not overflow."""
    xp = namespace(x)
    return xp.maximum(x, xp.zeros_like(x)) + xp.log1p(xp.exp(-xp.abs(x)))


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + e^-x); the argument is kept above the point where e^-x would overflow."""
    xp = namespace(x)
    lowest = -700.0 if x.dtype == xp.float64 else -85.0
    return 1 / (1 + xp.exp(-xp.maximum(x, xp.full_like(x, lowest))))


def softmax(x: Array) -> Array:
    """Probabilities of all alternatives but the first, whose predictor is 0; alternatives lie last."""
    xp = namespace(x)
    top = xp.max(x, axis=-1, keepdims=True)
    top = xp.maximum(top, xp.zeros_like(top))
    raised = xp.exp(x - top)
    return raised / (xp.exp(-top) + xp.sum(raised, axis=-1, keepdims=True))


def _product_slope(mean: Callable[[Array], Array]) -> Callable[[Array], Array]:
    def slope(x: Array) -> Array:
        value = mean(x)
        return value * (1 - value)

    return slope


def _product_bend(mean: Callable[[Array], Array]) -> Callable[[Array], Array]:
    def bend(x: Array) -> Array:
        value = mean(x)
        return value * (1 - value) * (1 - 2 * value)

    return bend


def _exp(x: Array) -> Array:
    return namespace(x).exp(x)


LOGISTIC = Link(sigmoid, _product_slope(sigmoid), _product_bend(sigmoid))
LINKS = {
    "log": Link(_exp, _exp, _exp),
    "softplus": Link(softplus, sigmoid, LOGISTIC.slope),
    "sigmoid": LOGISTIC,
    "sigmoid_gain": LOGISTIC,  # times a gain of each unit, which is learned
    "softmax": Link(softmax, _product_slope(softmax), _product_bend(softmax)),
    "identity": Link(lambda x: x, lambda x: namespace(x).ones_like(x), lambda x: namespace(x).zeros_like(x)),
}
GAINED = ("sigmoid_gain",)  # links whose height is a parameter of each unit


# ---- families -------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Family:
    """Log probability (natural) and variance of an observation, from its mean and scale."""

    log_prob: Callable[[Array, Array, Array], Array]
    variance: Callable[[Array, Array], Array]
    variance_slope: Callable[[Array, Array], Array]  # by the mean
    log_normaliser: Callable[[Array, Array], Array]  # of y and scale alone: left out of log_prob


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


def binomial_log_prob(y: Array, mean: Array, trials: Array) -> Array:
    """Return y log(p) + (trials - y) log(1 - p), where the mean is trials times p."""
    xp = namespace(mean)
    probability = mean / trials
    return y * xp.log(probability) + (trials - y) * xp.log1p(-probability)


def categorical_log_prob(y: Array, mean: Array, dispersion: Array) -> Array:
    """Log probability of one choice, of which the sum over the last axis is meant.

    ``y`` is 1 at the alternative chosen, alternatives but the first lying last; the log probability of the
    first is divided among them.
    """
    xp = namespace(mean)
    n_other = mean.shape[-1]
    first = xp.maximum(1 - xp.sum(mean, axis=-1, keepdims=True), xp.full_like(mean[..., :1], TINY))
    chose_first = 1 - xp.sum(y, axis=-1, keepdims=True)
    return y * xp.log(mean) + chose_first * xp.log(first) / n_other


def gaussian_log_prob(y: Array, mean: Array, dispersion: Array) -> Array:
    """Variance is the dispersion."""
    xp = namespace(mean)
    return -0.5 * ((y - mean) ** 2 / dispersion + xp.log(dispersion))


def log_factorial(y: Array) -> Array:
    """Log of y!, through the log of the gamma function."""
    return log_gamma(y + 1.0)


FAMILIES = {
    "poisson": Family(
        poisson_log_prob,
        lambda mean, dispersion: mean,
        lambda mean, dispersion: 0 * mean + 1,
        lambda y, dispersion: -log_factorial(y),
    ),
    "negative_binomial": Family(
        negative_binomial_log_prob,
        lambda mean, dispersion: mean + mean**2 / dispersion,
        lambda mean, dispersion: 1 + 2 * mean / dispersion,
        lambda y, dispersion: log_gamma(y + dispersion) - log_gamma(dispersion + 0.0 * y) - log_factorial(y),
    ),
    "bernoulli": Family(
        bernoulli_log_prob,
        lambda mean, dispersion: mean * (1 - mean),
        lambda mean, dispersion: 1 - 2 * mean,
        lambda y, dispersion: 0.0 * y,
    ),
    "binomial": Family(
        binomial_log_prob,
        lambda mean, trials: mean * (1 - mean / trials),
        lambda mean, trials: 1 - 2 * mean / trials,
        lambda y, trials: log_factorial(trials + 0.0 * y) - log_factorial(y) - log_factorial(trials - y),
    ),
    "categorical": Family(
        categorical_log_prob,
        lambda mean, dispersion: mean * (1 - mean),
        lambda mean, dispersion: 1 - 2 * mean,
        lambda y, dispersion: 0.0 * y,
    ),
    "gaussian": Family(
        gaussian_log_prob,
        lambda mean, dispersion: dispersion + 0.0 * mean,
        lambda mean, dispersion: 0.0 * mean,
        lambda y, dispersion: 0.0 * y - 0.9189385332046727,
    ),
}
BINARY_RANGE = (TINY, 1 - TINY)
BOUNDS: dict[str, tuple[float, float | None]] = {
    "poisson": (TINY, None), "negative_binomial": (TINY, None), "bernoulli": BINARY_RANGE,
    "binomial": BINARY_RANGE, "categorical": BINARY_RANGE,
}  # fmt: skip
JOINT = ("categorical",)  # families whose last axis holds alternatives of one choice, not units apart


# ---- slopes by the log of the dispersion --------------------------------------------------------------
def negative_binomial_dispersion_slopes(y: Array, mean: Array, r: Array) -> tuple[Array, Array]:
    """First and second derivative of the whole log probability by the log of the dispersion r.

    Lawless (1987), Canadian Journal of Statistics 15, 209-225, whose a is 1 / r here.
    """
    xp = namespace(mean)
    of_counts = digamma(y + r) - digamma(r + 0.0 * y)
    slope = of_counts - xp.log1p(mean / r) + (mean - y) / (mean + r)
    bend = trigamma(y + r) - trigamma(r + 0.0 * y) + mean / (r * (r + mean)) - (mean - y) / (mean + r) ** 2
    return r * slope, r**2 * bend + r * slope


def gaussian_dispersion_slopes(y: Array, mean: Array, variance: Array) -> tuple[Array, Array]:
    """First and second derivative of the whole log probability by the log of the variance."""
    squared = 0.5 * (y - mean) ** 2 / variance
    return squared - 0.5, -squared


DISPERSION_SLOPES = {
    "negative_binomial": negative_binomial_dispersion_slopes,
    "gaussian": gaussian_dispersion_slopes,
}  # the families with a dispersion to learn


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
    packed, room, rows = packed_zeros(x, weights.shape[1]), pair_room(x), chunk_rows(x)
    for begin in range(0, x.shape[0], rows):
        stop = min(begin + rows, x.shape[0])
        packed = add_product(packed, packed_outer(x[begin:stop, :], room), weights[begin:stop, :])
    return unpacked(packed, x.shape[1])


def chunk_rows(x: Float[Array, "time column"]) -> int:
    """Rows of a packed product at a time: as many as fit into memory, unless a kernel wants fewer."""
    return dispatch("chunk_rows", x, chunk_rows_plain)(x)


def chunk_rows_plain(x: Array) -> int:
    """Many, so that a device is kept busy."""
    n = x.shape[1]
    return max(1, min(MOST_ROWS, MOST_PRODUCTS // (n * (n + 1) // 2)))


def packed_zeros(x: Float[Array, "time column"], n_problem: int) -> Float[Array, "pair problem"]:
    """Where packed Gram matrices are summed."""
    n = x.shape[1]
    return namespace(x).zeros((n * (n + 1) // 2, n_problem), dtype=x.dtype, device=device_of(x))


def add_product(
    total: Float[Array, "row column"], left: Float[Array, "row inner"], right: Float[Array, "inner column"]
) -> Float[Array, "row column"]:
    """``total`` plus ``left @ right``, in the memory of ``total`` where a kernel can."""
    return dispatch("add_product", total, lambda total, left, right: total + left @ right)(total, left, right)


def pair_room(x: Float[Array, "time column"]) -> Float[Array, "pair chunk"]:
    """Memory for the products of one chunk, made once: fresh pages would cost more than the products."""
    n = x.shape[1]
    size = (n * (n + 1) // 2, min(chunk_rows(x), x.shape[0]))
    return namespace(x).zeros(size, dtype=x.dtype, device=device_of(x))


def packed_outer(
    x: Float[Array, "time column"], room: Float[Array, "pair chunk"]
) -> Float[Array, "pair time"]:
    """Products of every two columns, each pair once: the outer product of each row, packed into ``room``."""
    return dispatch("packed_outer", x, packed_outer_plain)(x, room)


def packed_outer_plain(x: Array, room: Array) -> Array:
    """The readable form, and the oracle of the kernel."""
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
