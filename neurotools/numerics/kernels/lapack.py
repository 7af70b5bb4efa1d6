"""Inverses of covariances held in NumPy arrays, one matrix at a time: each stays in the processor's cache.

Through LAPACK, which knows that matrices are symmetric and halves the work.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri, spotrf, spotri

ROUTINES = {"float64": (dpotrf, dpotri), "float32": (spotrf, spotri)}


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
