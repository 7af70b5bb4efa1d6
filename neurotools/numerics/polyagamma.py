"""Polya-Gamma variates: given them, logistic and negative binomial likelihoods are Gaussian.

    exp(a psi) / (1 + exp(psi))^h = 2^-h exp((a - h/2) psi) E exp(-omega psi^2 / 2),   omega ~ PG(h, 0)

Polson, Scott & Windle (2013), JASA 108, 1339-1349, theorem 1.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from neurotools.arrays import Array


def draw(rng: np.random.Generator, h: Float[Array, "*shape"], z: Float[Array, "*shape"]) -> np.ndarray:
    """Exact PG(h, z) variates, one for each entry.

    Parameters
    ----------
    rng : numpy.random.Generator
        Moves on; the same state gives the same variates.
    h : array
        Shape, any real above 0; a shape of 0 gives 0. Cost grows with the shape, about 0.1 us for each 4.
    z : array
        Tilt, any real.
    """
    from neurotools.numerics.kernels.numba_polyagamma import draw_many

    h, z = np.broadcast_arrays(np.asarray(h, dtype="float64"), np.asarray(z, dtype="float64"))
    out = np.empty(h.shape)
    draw_many(rng, np.ascontiguousarray(h).ravel(), np.ascontiguousarray(z).ravel(), out.reshape(-1))
    return out


def mean(h: float, z: float) -> float:
    """E PG(h, z) = h tanh(z / 2) / (2 z)."""
    return h / 4.0 if z == 0 else h * math.tanh(z / 2) / (2 * z)


def variance(h: float, z: float) -> float:
    """Variance of PG(h, z): h (sinh z - z) / (4 z^3 cosh^2(z / 2))."""
    if abs(z) < 1e-3:
        return h / 24.0
    return h * (math.sinh(z) - z) / (4 * z**3 * math.cosh(z / 2) ** 2)


def draw_series(rng: np.random.Generator, h: float, z: float, n: int, n_terms: int = 400) -> np.ndarray:
    """``n`` variates by the truncated sum of gammas, slow and short of the tail: the oracle of ``draw``.

    The mean of what is left out is added.
    """
    k = np.arange(1, n_terms + 1) - 0.5
    weight = 1 / (2 * np.pi**2) / (k**2 + z**2 / (4 * np.pi**2))
    return rng.gamma(h, size=(n, n_terms)) @ weight + mean(h, z) - h * weight.sum()
