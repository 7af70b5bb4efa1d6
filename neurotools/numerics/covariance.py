"""Covariance of series and what is made of it: shrinkage, correlation, partial correlation, tangent space.

Matrices are symmetric; leading axes are batches (subjects, windows). Series are (..., time, region).
"""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float

from neurotools.arrays import Array, device_of, dispatch, namespace


# ---- from series to covariance --------------------------------------------------------------------------
def centred(x: Float[Array, "*batch time region"]) -> Float[Array, "*batch time region"]:
    """Series less their mean over time."""
    return x - namespace(x).mean(x, axis=-2, keepdims=True)


def empirical(x: Float[Array, "*batch time region"]) -> Float[Array, "*batch region region"]:
    """Maximum-likelihood covariance (divisor n)."""
    x = centred(x)
    return _transposed(x) @ x / x.shape[-2]


def ledoit_wolf(x: Float[Array, "*batch time region"]) -> Float[Array, "*batch region region"]:
    """Covariance drawn towards a multiple of the identity, as far as its sampling error tells.

    Ledoit & Wolf (2004), Journal of Multivariate Analysis 88, 365-411, section 3.2: with S the empirical
    covariance of n samples of p series and m = tr(S) / p, the estimate is (1 - s) S + s m I, with
    s = min(b^2, d^2) / d^2 of eqs. 14 to 16 there. The sum over samples in b^2 needs no matrix per sample.
    """
    xp = namespace(x)
    x = centred(x)
    n, p = x.shape[-2:]
    s = _transposed(x) @ x / n
    mean = xp.linalg.trace(s) / p
    square = xp.sum(s**2, axis=(-2, -1))
    spread = square - p * mean**2
    error = (xp.sum(xp.sum(x**2, axis=-1) ** 2, axis=-1) / n - square) / n
    share = xp.where(spread > 0, xp.minimum(error, spread) / xp.where(spread > 0, spread, 1.0 + spread), 0.0)
    share = share[..., None, None]
    return (1 - share) * s + share * mean[..., None, None] * _identity(s)


def correlation_of_series(
    x: Float[Array, "*batch time region"], shrink: bool
) -> Float[Array, "*batch region region"]:
    """Covariance of series that were scaled to variance one, shrunk or not; the diagonal is exactly 1."""
    return dispatch("correlation_of_series", x, _correlation_of_series)(x, shrink)


def _correlation_of_series(x: Array, shrink: bool) -> Array:
    xp = namespace(x)
    x = centred(x)
    x = x / xp.sqrt(xp.mean(x**2, axis=-2, keepdims=True))
    return correlation(ledoit_wolf(x) if shrink else empirical(x))


# ---- from covariance to measures ------------------------------------------------------------------------
def correlation(c: Float[Array, "*batch region region"]) -> Float[Array, "*batch region region"]:
    """Covariance of the series scaled to variance one; the diagonal is exactly 1."""
    return _unit_diagonal(c)


def precision(c: Float[Array, "*batch region region"]) -> Float[Array, "*batch region region"]:
    """Inverse of a positive definite matrix."""
    return dispatch("spd_inverse", c, spd_inverse)(c)


def partial_correlation(c: Float[Array, "*batch region region"]) -> Float[Array, "*batch region region"]:
    """Correlation of two series given all others: minus the precision, scaled to diagonal 1."""
    return dispatch("partial_correlation", c, _partial_correlation)(c)


def _partial_correlation(c: Array) -> Array:
    scaled = _unit_diagonal(spd_inverse(c))
    return namespace(c).where(_identity(c) > 0, scaled, -scaled)


def tangent(
    c: Float[Array, "*batch region region"], whitening: Float[Array, "region region"]
) -> Float[Array, "*batch region region"]:
    """Displacement from a reference in the tangent space there: log of the whitened covariance.

    Varoquaux et al. (2010), MICCAI, LNCS 6361, 200-208, eq. 3. ``whitening`` is the inverse square root of
    the reference.
    """
    return _spectral(whitening @ c @ whitening, namespace(c).log)


def geometric_mean(
    c: Float[Array, "subject region region"], max_iter: int = 30, tol: float = 1e-7
) -> tuple[Float[Array, "region region"], bool]:
    """Mean of positive definite matrices along geodesics, and whether it was reached.

    Fletcher & Joshi (2007), Signal Processing 87, 250-262, algorithm 3: from the arithmetic mean, step to
    the exponential of the mean logarithm; a step that raises the norm of that mean is halved from there on.
    It ends when the norm per entry falls below ``tol``.
    """
    xp = namespace(c)
    mean, norm_before, step = xp.mean(c, axis=0), float("inf"), 1.0
    for _ in range(max_iter):
        root, inverse_root = square_roots(mean)
        ascent = xp.mean(tangent(c, inverse_root), axis=0)
        norm = float(xp.linalg.vector_norm(ascent))
        mean = root @ _spectral(step * ascent, xp.exp) @ root
        if norm > norm_before:
            step = step / 2
        norm_before = min(norm, norm_before)
        if norm_before / (c.shape[-1] ** 2) < tol:
            return mean, True
    return mean, False


def square_roots(
    c: Float[Array, "*batch region region"],
) -> tuple[Float[Array, "*batch region region"], Float[Array, "*batch region region"]]:
    """Symmetric square root of a positive definite matrix, and the inverse of it."""
    xp = namespace(c)
    values, vectors = xp.linalg.eigh(c)
    root = xp.sqrt(values)[..., None, :]
    return (vectors * root) @ _transposed(vectors), (vectors / root) @ _transposed(vectors)


def spd_inverse(c: Float[Array, "*batch region region"]) -> Float[Array, "*batch region region"]:
    """Inverse of a positive definite matrix, symmetric to the last bit."""
    inverse = namespace(c).linalg.inv(c)
    return (inverse + _transposed(inverse)) / 2


# ---- pieces ---------------------------------------------------------------------------------------------
def _spectral(c: Array, change: Callable[[Array], Array]) -> Array:
    """Apply a function to the eigenvalues of a symmetric matrix."""
    values, vectors = namespace(c).linalg.eigh((c + _transposed(c)) / 2)
    return (vectors * change(values)[..., None, :]) @ _transposed(vectors)


def _unit_diagonal(c: Array) -> Array:
    xp = namespace(c)
    scale = xp.sqrt(xp.linalg.diagonal(c))
    scaled = c / (scale[..., :, None] * scale[..., None, :])
    return xp.where(_identity(c) > 0, xp.ones_like(c), scaled)


def _identity(c: Array) -> Array:
    return namespace(c).eye(c.shape[-1], dtype=c.dtype, device=device_of(c))


def _transposed(x: Array) -> Array:
    return namespace(x).matrix_transpose(x)
