"""A Gaussian law of a cluster's path given its units' parameters, for proposals; in loops.

Dynamics are at their means given expected moments of the path, of which its covariances are part: without
them noise would be taken for too small, and the law be too narrow to hold the paths that are drawn.
"""

from __future__ import annotations

import math
from typing import no_type_check

import numpy as np
from numba import njit

from neurotools.numerics.kernels.numba_bilatents import _step, _window_law
from neurotools.numerics.kernels.numba_statespace import (
    _multiply,
    invert_lower,
    moments_of_path,
    posterior_of_dynamics,
    prior_precision,
)

FIRST_NOISE_SD = 0.2  # of steps of a path before anything is known of it
ROUNDS = 8
ROUNDS_WITHOUT_DYNAMICS = 2


@njit(cache=True, fastmath=False)
@no_type_check
def covariances(low, left):
    """Covariance of each bin of a path, and of each with the one before, from the factor of the precision."""
    n, q = low.shape[0], low.shape[1]
    own, lag = np.zeros((n, q, q)), np.zeros((n, q, q))
    turned, moved, carried = np.empty((q, q)), np.empty((q, q)), np.empty((q, q))
    for t in range(n - 1, -1, -1):
        inverse = invert_lower(low[t])
        _multiply(inverse, inverse, True, own[t])
        if t + 1 < n:
            _multiply(left[t + 1], inverse, False, turned)
            _multiply(own[t + 1], turned, False, moved)
            _multiply(turned, moved, True, carried)
            for i in range(q):
                for j in range(q):
                    lag[t + 1, i, j] = -moved[i, j]
                    own[t, i, j] += carried[i, j]
    return own, lag


@njit(cache=True, fastmath=False)
@no_type_check
def expected_moments(path, own, lag, state, start, n_state):  # noqa: PLR0917
    """Sums of ``moments_of_path``, expected of a Gaussian path."""
    xx, yx, yy, count = moments_of_path(path, state, start, n_state)
    q = path.shape[1]
    for t in range(state.size):
        if start[t]:
            continue
        k = state[t]
        for i in range(q):
            for j in range(q):
                xx[k, i, j] += own[t - 1, i, j]
                yx[k, i, j] += lag[t, i, j] - own[t - 1, i, j]
                yy[k, i, j] += own[t, i, j] + own[t - 1, i, j] - lag[t, i, j] - lag[t, j, i]
    return xx, yx, yy, count


@njit(cache=True, fastmath=False)
@no_type_check
def expected_dynamics(moments, column_precision, noise):
    """Means of the coefficients and of the precision of the noise of every state."""
    xx, yx, yy, count = moments
    n_state, q = xx.shape[0], yy.shape[1]
    coef, root = np.empty((n_state, q, q + 1)), np.empty((n_state, q, q))
    for k in range(n_state):
        _, coef[k], spread, _ = posterior_of_dynamics(xx[k], yx[k], yy[k], column_precision, noise)
        for i in range(q):
            for j in range(q):
                spread[i, j] /= math.sqrt(q + noise[1] + count[k])
        root[k] = invert_lower(spread)
    return coef, root


@njit(cache=True, fastmath=False)
@no_type_check
def path_of_units(y, seen, r, units, theta, state, start, n_state, initial_sd, column_precision, noise):  # noqa: PLR0917
    """A Gaussian law of a cluster's path given its units' parameters: factor, mean, whether there is one.

    It turns with the loadings, so a path is probable in whatever frame it was drawn.
    """
    n_time, m = state.size, theta.shape[1]
    path, column = np.zeros((n_time, m)), np.zeros(y.shape[0], dtype=np.int64)
    coef, root = np.zeros((n_state, m, m + 1)), np.zeros((n_state, m, m))
    for k in range(n_state):
        for a in range(m):
            coef[k, a, a] = 1.0
            root[k, a, a] = FIRST_NOISE_SD**-1.0
    low, left, mean, ok = np.zeros((1, m, m)), np.zeros((1, m, m)), path, False
    for turn in range(ROUNDS):
        diag, off, lin = prior_precision(coef, root, state, start, initial_sd**-2.0)
        given = (diag, off, lin, path, y, seen, r, units, column, theta)
        low, left, mean, _, ok = _window_law(path, 0, *given)
        if not ok:
            break
        _step(path, mean)
        if turn + 1 >= ROUNDS_WITHOUT_DYNAMICS:
            own, lag = covariances(low, left)
            moments = expected_moments(path, own, lag, state, start, n_state)
            coef, root = expected_dynamics(moments, column_precision, noise)
    return low, left, mean, ok
