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
from neurotools.numerics.kernels.numba_bilaws import covariances, expected_dynamics, expected_moments
from neurotools.numerics.kernels.numba_biunits import fit_unit, log_rate, point
from neurotools.numerics.kernels.numba_statespace import prior_precision

NEWTON_STEPS = 2  # of the path in each round
FIRST_NOISE_SD = 0.1  # of steps of a path before anything is known of it
FIRST_ROUNDS = 2


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
        coef, root = expected_dynamics(moments, column_precision, noise)
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
