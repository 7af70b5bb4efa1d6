"""Weighted Gram matrices of NumPy arrays: products into memory that is there, added by BLAS itself.

The array standard has no ``out`` and no product that adds to what it is given; without them a fifth of the
time goes into copies.
"""

from __future__ import annotations

import numpy as np

ROWS = (256, 2048)  # least and most of a packed product at a time
IN_CACHE = 2**17  # numbers of a packed product that stay in cache


def chunk_rows(x: np.ndarray) -> int:
    """See ``numerics.glm.chunk_rows_plain``: more where columns are so few that calls cost more than sums."""
    least, most = ROWS
    n = x.shape[1]
    return min(most, max(least, IN_CACHE // (n * (n + 1) // 2)))


def packed_outer(x: np.ndarray, room: np.ndarray) -> np.ndarray:
    """See ``numerics.glm.packed_outer_plain``."""
    n_time, n = x.shape
    rows = np.ascontiguousarray(x.T)
    begin = 0
    for a in range(n):
        np.multiply(rows[a], rows[a:], out=room[begin : begin + n - a, :n_time])
        begin += n - a
    return room[:, :n_time]


def add_product(total: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Add ``left @ right`` to ``total`` in place; all three transposed, as BLAS has its columns first."""
    from scipy.linalg.blas import get_blas_funcs

    gemm = get_blas_funcs("gemm", (total, left, right))
    right = np.ascontiguousarray(right)
    return gemm(1.0, right.T, left.T, beta=1.0, c=total.T, overwrite_c=1).T
