"""Covariance measures of NumPy arrays, one matrix at a time: each stays in the processor's cache.

Through BLAS and LAPACK, which know that matrices are symmetric and halve the work.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri, spotrf, spotri

ROUTINES = {"float64": (dpotrf, dpotri), "float32": (spotrf, spotri)}


def correlation_of_series(x: np.ndarray, shrink: bool) -> np.ndarray:
    """Correlation of series (..., time, region), shrunk as Ledoit and Wolf do or not."""
    n, p = x.shape[-2:]
    result = np.empty((*x.shape[:-2], p, p), dtype=x.dtype)
    rows = np.empty_like(x[(0,) * (x.ndim - 2)])
    for index in np.ndindex(x.shape[:-2]):
        r = result[index]
        np.subtract(x[index], x[index].mean(axis=0), out=rows)
        np.matmul(rows.T, rows, out=r)
        inverse_square = 1 / r.diagonal()
        scale = np.sqrt(inverse_square)
        r *= scale[:, None]
        r *= scale
        if shrink:
            np.multiply(rows, rows, out=rows)
            share = _shrinkage(rows @ inverse_square, float(np.vdot(r, r)), n, p)
            r *= 1 - share
        np.einsum("ii->i", r)[...] = 1
    return result


def _shrinkage(length: np.ndarray, square: float, n: int, p: int) -> float:
    """Ledoit and Wolf's share where the mean variance is one; ``length`` is that of a sample, over n."""
    spread = square - p
    return min(length @ length - square / n, spread) / spread if spread > 0 else 0.0


def spd_inverse(c: np.ndarray) -> np.ndarray:
    """Inverse of positive definite matrices through Cholesky: half the work of a general inverse."""
    result = np.empty_like(c)
    for index, inverse in _inverses(c):
        result[index] = inverse
    return result


def partial_correlation(c: np.ndarray) -> np.ndarray:
    """Minus the inverse of positive definite matrices, scaled to diagonal 1."""
    result = np.empty_like(c)
    for index, inverse in _inverses(c):
        scale = 1 / np.sqrt(inverse.diagonal())
        inverse *= -scale[:, None]
        np.multiply(inverse, scale, out=result[index])
        np.einsum("ii->i", result[index])[...] = 1
    return result


def _inverses(c: np.ndarray) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    factor, invert = ROUTINES[c.dtype.name]
    for index in np.ndindex(c.shape[:-2]):
        # A symmetric matrix is its own transpose, and LAPACK takes the transposed memory as it lies.
        triangle, info = factor(c[index].T, lower=0, clean=1)
        if info == 0:
            triangle, info = invert(triangle, lower=0, overwrite_c=1)
        if info != 0:
            raise np.linalg.LinAlgError("the matrix is not positive definite")
        inverse = triangle.T + triangle
        np.einsum("ii->i", inverse)[...] /= 2
        yield index, inverse
