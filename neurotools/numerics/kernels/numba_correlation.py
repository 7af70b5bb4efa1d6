"""Correlation of series held in NumPy arrays, one recording at a time.

Of up to a few hundred series the products are summed in tiles of four by four, from rows as they lie: nothing
is packed or padded first. BLAS takes over where there are more.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

TILE = 4
STRETCH = 1024  # samples of a tile that are summed at once: 64 KiB in its eight rows
MOST = 300  # series; the products of more are left to BLAS

# Sums are taken in any order, and so several at a time. NaN and infinity keep their meaning.
LOOSE = {"reassoc", "contract", "nsz"}


def correlation_of_series(x: np.ndarray, shrink: bool) -> np.ndarray:
    """Correlation of series (..., time, region), shrunk as Ledoit and Wolf do or not."""
    n, p = x.shape[-2:]
    result = np.empty((*x.shape[:-2], p, p), dtype=x.dtype)
    whole = -(-p // TILE) * TILE
    scaled, length, gram = np.zeros((whole, n)), np.empty(n), np.empty((whole, whole))
    for index in np.ndindex(x.shape[:-2]):
        scale(np.ascontiguousarray(x[index].T), scaled, length)
        if p > MOST:
            np.matmul(scaled, scaled.T, out=gram)
        else:
            lower_gram(scaled, gram)
        finish(gram, length if shrink else length[:0], result[index])
    return result


@njit(cache=True, fastmath=LOOSE, error_model="numpy")
@no_type_check
def scale(x, scaled, length):
    """Rows of ``x`` around their mean and of length one; of every sample, the square of its own length."""
    n = x.shape[1]
    length[:] = 0
    for region in range(x.shape[0]):
        row, out = x[region], scaled[region]
        total, square = 0.0, 0.0
        for t in range(n):
            total += row[t]
        mean = total / n
        for t in range(n):
            out[t] = row[t] - mean
            square += out[t] ** 2
        factor = 1 / np.sqrt(square)
        for t in range(n):
            out[t] *= factor
            length[t] += out[t] ** 2


@njit(cache=True)
@no_type_check
def lower_gram(rows, gram):
    """Products of a multiple of four rows with one another, on and below the diagonal."""
    gram[:] = 0
    for start in range(0, rows.shape[1], STRETCH):
        stop = min(start + STRETCH, rows.shape[1])
        for i in range(0, rows.shape[0], TILE):
            for j in range(0, i + 1, TILE):
                _add_tile(rows, i, j, start, stop, gram)


@njit(cache=True, fastmath=LOOSE)
@no_type_check
def _add_tile(rows, i, j, start, stop, gram):  # noqa: PLR0917
    """Add the products of four rows with four: sixteen sums that live in registers."""
    a0, a1 = rows[i, start:stop], rows[i + 1, start:stop]
    a2, a3 = rows[i + 2, start:stop], rows[i + 3, start:stop]
    b0, b1 = rows[j, start:stop], rows[j + 1, start:stop]
    b2, b3 = rows[j + 2, start:stop], rows[j + 3, start:stop]
    s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = 0.0
    s20 = s21 = s22 = s23 = s30 = s31 = s32 = s33 = 0.0
    for t in range(stop - start):
        x0, x1, x2, x3 = a0[t], a1[t], a2[t], a3[t]
        y0, y1, y2, y3 = b0[t], b1[t], b2[t], b3[t]
        s00, s01, s02, s03 = s00 + x0 * y0, s01 + x0 * y1, s02 + x0 * y2, s03 + x0 * y3
        s10, s11, s12, s13 = s10 + x1 * y0, s11 + x1 * y1, s12 + x1 * y2, s13 + x1 * y3
        s20, s21, s22, s23 = s20 + x2 * y0, s21 + x2 * y1, s22 + x2 * y2, s23 + x2 * y3
        s30, s31, s32, s33 = s30 + x3 * y0, s31 + x3 * y1, s32 + x3 * y2, s33 + x3 * y3
    sums = ((s00, s01, s02, s03), (s10, s11, s12, s13), (s20, s21, s22, s23), (s30, s31, s32, s33))
    for row in range(4):
        for column in range(4):
            gram[i + row, j + column] += sums[row][column]


@njit(cache=True)
@no_type_check
def finish(gram, length, result):
    """Both halves of a correlation from the lower one; shrunk where lengths of samples are given.

    The share is that of Ledoit and Wolf where the mean variance is one.
    """
    p, keep = result.shape[0], 1.0
    if length.size:
        square = float(p)
        for i in range(p):
            for j in range(i):
                square += 2 * gram[i, j] ** 2
        spread = square - p
        error = (length**2).sum() - square / length.size
        if spread > 0:
            keep = 1 - min(error, spread) / spread
    for i in range(p):
        result[i, i] = 1
        for j in range(i):
            result[i, j] = result[j, i] = gram[i, j] * keep
