"""A Gaussian law of a cluster's path given its units' parameters, for proposals; in loops.

Dynamics are at their means given expected moments of the path, of which its covariances are part: without
them noise would be taken for too small, and the law be too narrow to hold the paths that are drawn.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

from neurotools.numerics.kernels.numba_bilatents import _step, _window_law
from neurotools.numerics.kernels.numba_bisearch import _dynamics, covariances, expected_moments
from neurotools.numerics.kernels.numba_statespace import prior_precision

FIRST_NOISE_SD = 0.2  # of steps of a path before anything is known of it
ROUNDS = 8
ROUNDS_WITHOUT_DYNAMICS = 2


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
            coef, root = _dynamics(moments, column_precision, noise)
    return low, left, mean, ok
