"""Paths turned, stretched and shifted against loadings and baselines, all rates as they are; in loops.

    x -> M x + v,   m -> m + w x + u,   loadings and baselines such that d + m + c x stays

One at a time these are slow to change, since counts say nothing of them and each holds the other, while they
decide how strong the prior of dynamics is. Here both change at once, dynamics integrated out, which needs
sums over time alone. The ratio has the volume by which path and loadings grow (Liu & Sabatti 2000,
Biometrika 87, 353-369, theorem 1).
"""

from __future__ import annotations

import math
from typing import no_type_check

import numpy as np
from numba import njit

from neurotools.numerics.kernels.numba_statespace import log_evidence, moments_of_path

LEVEL, SHIFT, SHEAR, STRETCH, MIX = range(5)  # what a try changes
FINEST = 3.0  # decades below 1 at which steps end


@njit(cache=True, fastmath=False)
@no_type_check
def _sums_at_starts(path, start):
    """Number of first bins of sessions, and sums over them of [x 1]'[x 1]."""
    q = path.shape[1]
    out = np.zeros((q + 1, q + 1))
    row = np.ones(q + 1)
    for t in range(path.shape[0]):
        if start[t]:
            row[:q] = path[t]
            for i in range(q + 1):
                for j in range(q + 1):
                    out[i, j] += row[i] * row[j]
    return out


@njit(cache=True, fastmath=False)
@no_type_check
def _row_and_column(a, to, by, amount, stretch):
    """Row ``to`` times ``stretch`` plus ``amount`` times row ``by``; then the same with columns."""
    for j in range(a.shape[1]):
        a[to, j] = stretch * a[to, j] + amount * a[by, j]
    for i in range(a.shape[0]):
        a[i, to] = stretch * a[i, to] + amount * a[i, by]


@njit(cache=True, fastmath=False)
@no_type_check
def _change_sums(sums, to, by, amount, stretch):
    """Sums after x[to] -> stretch x[to] + amount x[by]; x[q] is 1, and does not change from bin to bin."""
    xx, yx, yy, count, at_start = sums
    q = yy.shape[1]
    for k in range(count.size):
        if count[k] == 0:
            continue
        _row_and_column(xx[k], to, by, amount, stretch)
        for j in range(q + 1):
            yx[k, to, j] = stretch * yx[k, to, j] + (amount * yx[k, by, j] if by < q else 0.0)
        for i in range(q):
            yx[k, i, to] = stretch * yx[k, i, to] + amount * yx[k, i, by]
        if by < q:
            _row_and_column(yy[k], to, by, amount, stretch)
        else:
            _row_and_column(yy[k], to, to, 0.0, stretch)
    _row_and_column(at_start, to, by, amount, stretch)


@njit(cache=True, fastmath=False)
@no_type_check
def _log_paths(sums, initial_sd, column_precision, noise):
    """Log density of a path by its sums, dynamics integrated out, up to a constant."""
    xx, yx, yy, count, at_start = sums
    total = log_evidence(xx, yx, yy, count, column_precision, noise)
    for i in range(yy.shape[1]):
        total -= 0.5 * at_start[i, i] / initial_sd**2
    return total


@njit(cache=True, fastmath=False)
@no_type_check
def _log_units(theta, units, precision):
    """Log prior of units' parameters up to a constant."""
    total = 0.0
    for i in units:
        for k in range(precision.size):
            total -= 0.5 * precision[k] * theta[i, k] * theta[i, k]
    return total


@njit(cache=True, fastmath=False)
@no_type_check
def _counter(theta, units, kind, k, other, amount, stretch):  # noqa: PLR0917
    """Baselines and loadings of units that leave their rates as they are; 1 is the first of the loadings."""
    for i in units:
        if kind == LEVEL:
            theta[i, 0] -= amount
        elif kind == SHIFT:
            theta[i, 0] -= theta[i, k] * amount
        elif kind == SHEAR:
            theta[i, k] -= amount
        elif kind == STRETCH:
            theta[i, k] /= stretch
        else:
            theta[i, other] -= theta[i, k] * amount


@njit(cache=True, fastmath=False)
@no_type_check
def _copied(sums):
    xx, yx, yy, count, at_start = sums
    return xx.copy(), yx.copy(), yy.copy(), count, at_start.copy()


@njit(cache=True, fastmath=False)
@no_type_check
def reframe(  # noqa: PLR0917
    rng,
    path,
    first,
    theta,
    units,
    state,
    start,
    n_state,
    precision,
    initial_sd,
    column_precision,
    noise,
    n_tries,
):
    """Try changes of frame of one cluster, whose path is ``path`` from column ``first``; number accepted.

    ``path`` (time, q), of all clusters that share dynamics, and ``theta`` are changed in place.
    """
    n_time, q = path.shape
    m, accepted = precision.size, 0
    xx, yx, yy, count = moments_of_path(path, state, start, n_state)
    sums = (xx, yx, yy, count, _sums_at_starts(path, start))
    before = _log_paths(sums, initial_sd, column_precision, noise) + _log_units(theta, units, precision)
    for _ in range(n_tries):
        kind = min(int(rng.random() * (5 if m > 2 else 4)), 4)
        k = 1 + min(int(rng.random() * (m - 1)), m - 2)
        other = 1 + (k + min(int(rng.random() * (m - 2)), m - 3)) % (m - 1) if m > 2 else k
        amount = 10.0 ** (-FINEST * rng.random()) * rng.standard_normal()
        stretch, volume = 1.0, 0.0
        if kind == LEVEL:
            to, by = first, q
        elif kind == SHIFT:
            to, by = first + k, q
        elif kind == SHEAR:
            to, by = first, first + k
        elif kind == STRETCH:
            to, by = first + k, first + k
            volume = (n_time - units.size) * amount
            stretch, amount = math.exp(amount), 0.0
        else:
            to, by = first + k, first + other
        new, turned = _copied(sums), theta.copy()
        _change_sums(new, to, by, amount, stretch)
        _counter(turned, units, kind, k, other, amount, stretch)
        after = _log_paths(new, initial_sd, column_precision, noise) + _log_units(turned, units, precision)
        if not math.log(rng.random()) < after - before + volume:
            continue
        sums, before = new, after
        theta[:] = turned
        for t in range(n_time):
            path[t, to] = stretch * path[t, to] + amount * (path[t, by] if by < q else 1.0)
        accepted += 1
    return accepted
