"""How well units are described as one cluster, for the search of where chains begin; in loops.

A path is Gaussian around its mode, its dynamics are at their means given its expected moments (variational
Bayes; Beal 2003, PhD thesis, University College London, chapter 5), parameters of units are at their modes.
What such a fit is worth for new counts is its log likelihood less its effective number of parameters, the
trace of the curvature of the likelihood times the covariance of the path (Akaike 1974; Hodges, Sargent 2001).
"""

from __future__ import annotations

import math
from typing import no_type_check

import numpy as np
from numba import njit

from neurotools.numerics.kernels.numba_bilatents import _rough_path, _step, _window_law
from neurotools.numerics.kernels.numba_biunits import fit_unit, log_rate, point
from neurotools.numerics.kernels.numba_statespace import (
    _multiply,
    invert_lower,
    moments_of_path,
    posterior_of_dynamics,
    prior_precision,
)

NEWTON_STEPS = 2  # of the path in each round
FIRST_NOISE_SD = 0.1  # of steps of a path before anything is known of it
FIRST_ROUNDS = 2


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
def _dynamics(moments, column_precision, noise):
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
def _slow(coef, root):
    """Dynamics of a path that hardly moves."""
    coef, root = np.zeros_like(coef), np.zeros_like(root)
    for k in range(coef.shape[0]):
        for a in range(coef.shape[1]):
            coef[k, a, a] = 1.0
            root[k, a, a] = 1.0 / FIRST_NOISE_SD
    return coef, root


@njit(cache=True, fastmath=False)
@no_type_check
def settle(  # noqa: PLR0917
    y,
    seen,
    r,
    units,
    path,
    theta,
    state,
    start,
    n_state,
    precision,
    initial_sd,
    column_precision,
    noise,
    rounds,
):
    """Bring path and parameters of a cluster to where they agree, in place; covariance of each bin."""
    m = precision.size
    curve, column = np.empty((m, m)), np.zeros(y.shape[0], dtype=np.int64)
    own, lag = np.zeros((state.size, m, m)), np.zeros((state.size, m, m))
    low, left, ok = own, lag, True
    for turn in range(rounds):
        for i in units:
            if fit_unit(y[i], seen[i], r[i], path, precision, theta[i], curve) == -np.inf:
                return own, False
        moments = expected_moments(path, own, lag, state, start, n_state)
        coef, root = _dynamics(moments, column_precision, noise)
        if turn < FIRST_ROUNDS:
            coef, root = _slow(coef, root)
        diag, off, lin = prior_precision(coef, root, state, start, initial_sd**-2.0)
        given = (diag, off, lin, path, y, seen, r, units, column, theta)
        for _ in range(NEWTON_STEPS if turn + 1 < rounds else 3 * NEWTON_STEPS):
            low, left, mean, _, ok = _window_law(path, 0, *given)
            if not ok:
                return own, False
            if _step(path, mean) < 1e-3:
                break
        low, left, mean, _, ok = _window_law(path, 0, *given)
        if not ok:
            return own, False
        own, lag = covariances(low, left)
    return own, ok


@njit(cache=True, fastmath=False)
@no_type_check
def rough_path(y, seen, r, units, m):
    """Where the search for a path of some units begins."""
    return _rough_path(y, seen, r, units, m)


@njit(cache=True, fastmath=False)
@no_type_check
def merit(y, seen, r, units, path, theta, own):  # noqa: PLR0917
    """Log likelihood at a path that has settled, less the effective number of its parameters."""
    m = path.shape[1]
    total = 0.0
    load = np.empty(m)
    for i in units:
        log_r = math.log(r[i])
        load[:] = theta[i]
        load[0] = 1.0
        for t in range(path.shape[0]):
            if not seen[i, t]:
                continue
            value, _, w = point(y[i, t], r[i], log_r, log_rate(path, theta[i], t))
            spread = 0.0
            for a in range(m):
                for b in range(m):
                    spread += load[a] * own[t, a, b] * load[b]
            total += value - w * spread
    return total
