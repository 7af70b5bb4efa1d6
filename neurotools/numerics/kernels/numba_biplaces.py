"""Clusters of a few units at once, paths integrated out, given dynamics and Polya-Gamma variates; in loops.

A path is drawn to fit the units it has, so units hardly ever leave it, and those that are in a wrong cluster
hold each other there. Here some units leave, what is left of their clusters forgets them, and one after the
other goes where its counts are probable on paths that never knew it. The way back is the same with the old
places. Variates are drawn anew for the place that a unit goes to, for those of the old place would hold its
rates there; their law without tilt cancels in the ratio.
Dahl & Newcomb (2022), J. Stat. Comput. Simul. 92, 1487-1511, for units that are placed in sequence.
"""

from __future__ import annotations

import math
from typing import no_type_check

import numpy as np
from numba import njit

from neurotools.numerics.kernels.numba_bilatents import _add
from neurotools.numerics.kernels.numba_biunits import (
    _pick,
    fit_unit,
    log_prior,
    log_proposal,
    log_rate,
    propose,
)
from neurotools.numerics.kernels.numba_polyagamma import draw_one
from neurotools.numerics.kernels.numba_statespace import (
    _solve_forwards,
    factorise,
    log_det_lower,
    prior_precision,
    solve_path,
)

ANYWHERE = 0.1  # of the chance of a place that does not go by its score
FEW = 5  # units that are placed together
SHARE_MANY = 0.1  # of sets that may be larger


@njit(cache=True, fastmath=False)
@no_type_check
def _say(y, seen, log_r, theta, omega, sign, weight, pull):  # noqa: PLR0917
    """Add what a unit's counts say of a path to its precision and linear term, or take it away."""
    for t in range(y.size):
        if seen[t]:
            linear = 0.5 * (y[t] - math.exp(log_r)) + omega[t] * (log_r - theta[0])
            _add(weight[t], pull[t], 0, theta, sign * omega[t], sign * linear)


@njit(cache=True, fastmath=False)
@no_type_check
def _integral(prior, weight, pull):
    """Log integral of a path's density times what counts say, up to the prior's constant; factor, linear."""
    diag, off, lin = prior[0] + weight, prior[1].copy(), prior[2] + pull
    if not factorise(diag, off):
        return -np.inf, diag, off, lin
    half = _solve_forwards(diag, off, lin)
    total = 0.0
    for t in range(half.shape[0]):
        total -= log_det_lower(diag[t])
        for k in range(half.shape[1]):
            total += 0.5 * half[t, k] * half[t, k]
    return (total if math.isfinite(total) else -np.inf), diag, off, lin


@njit(cache=True, fastmath=False)
@no_type_check
def _law(prior, weight, pull):
    """Log integral of a cluster's path, and the path's mean."""
    value, low, left, lin = _integral(prior, weight, pull)
    if value == -np.inf:
        return value, lin
    return value, solve_path(low, left, lin, np.zeros(lin.shape))


@njit(cache=True, fastmath=False)
@no_type_check
def _log_excess(y, seen, log_r, theta, omega, path, centre, prior, weight, pull, without):  # noqa: PLR0917
    """Log probability of a unit's counts and variates in a cluster, less the log chance of the variates.

    The cluster's path is integrated out; the variates are drawn around ``centre`` on ``path``. ``weight`` and
    ``pull`` are those of the other units, ``without`` is their integral.
    """
    more, turn = weight.copy(), pull.copy()
    _say(y, seen, log_r, theta, omega, 1.0, more, turn)
    total = _integral(prior, more, turn)[0] - without
    r, gap = math.exp(log_r), theta[0] - log_r
    for t in range(y.size):
        if seen[t]:
            total += 0.5 * (y[t] - r) * gap - 0.5 * omega[t] * gap * gap
            psi = abs(log_rate(path, centre, t) - log_r)
            log_cosh = 0.5 * psi + math.log1p(math.exp(-psi)) - math.log(2.0)
            total += 0.5 * omega[t] * psi * psi - (y[t] + r) * log_cosh
    return total if math.isfinite(total) else -np.inf


@njit(cache=True, fastmath=False)
@no_type_check
def _chances(score, n):
    """Chance of each place to be proposed: by its score, now and then any."""
    top = -np.inf
    for j in range(n):
        top = max(top, score[j])
    out, total = np.zeros(n), 0.0
    for j in range(n):
        out[j] = math.exp(score[j] - top)
        total += out[j]
    for j in range(n):
        out[j] = (1.0 - ANYWHERE) * out[j] / total + ANYWHERE / n
    return out


@njit(cache=True, fastmath=False)
@no_type_check
def _place(  # noqa: PLR0917
    rng, y, seen, r, theta, omega, there, prior, weight, pull, value, mean, size, gamma, precision
):  # fmt: skip
    """Put a unit in one of the clusters, in that with number ``there`` or where it is -1 in any by chance.

    ``theta`` and ``omega`` are those of the unit: they are drawn if the cluster is. Returns the log target
    less the log chance of what is drawn, and which cluster it was; -1 where there is none.
    """
    n, m, log_r = size.size, theta.size, math.log(r)
    centre, low, score = np.zeros((n, m)), np.zeros((n, m, m)), np.empty(n)
    for j in range(n):
        score[j] = math.log(size[j] + gamma) + fit_unit(y, seen, r, mean[j], precision, centre[j], low[j])
        if score[j] == -np.inf:
            return 0.0, -1
    chance = _chances(score, n)
    b = there
    if b < 0:
        b = _pick(rng, np.log(chance), n)
        propose(rng, centre[b], low[b], theta)
        for t in range(y.size):
            if seen[t]:
                omega[t] = draw_one(rng, y[t] + r, log_rate(mean[b], centre[b], t) - log_r)
    gain = math.log(size[b] + gamma) - math.log(chance[b])
    gain += log_prior(theta, precision) - log_proposal(centre[b], low[b], theta)
    shape = (mean[b], centre[b], prior[b], weight[b], pull[b], value[b])
    gain += _log_excess(y, seen, log_r, theta, omega, *shape)
    _say(y, seen, log_r, theta, omega, 1.0, weight[b], pull[b])
    value[b], mean[b] = _law(prior[b], weight[b], pull[b])
    size[b] += 1
    return gain, (b if value[b] > -np.inf else -1)


@njit(cache=True, fastmath=False)
@no_type_check
def _together(rng, size, cluster):
    """Two clusters, and a few of their units, now and then many, so that both may keep some."""
    n = size.size
    a = min(int(rng.random() * n), n - 1)
    b = (a + 1 + min(int(rng.random() * (n - 1)), n - 2)) % n
    units = np.flatnonzero((cluster == a) | (cluster == b))
    most = units.size - 2
    if rng.random() > SHARE_MANY:
        most = min(most, FEW)
    for u in range(units.size - 1, 0, -1):
        other = min(int(rng.random() * (u + 1)), u)
        units[u], units[other] = units[other], units[u]
    return np.array([a, b]), units[: 1 + min(int(rng.random() * most), max(most - 1, 0))]


@njit(cache=True, fastmath=False)
@no_type_check
def _take_out(y, seen, r, theta, omega, units, there, weight, pull, size):  # noqa: PLR0917
    """Make clusters forget some of their units; False where one would be left empty."""
    for u in range(units.size):
        i, j = units[u], there[u]
        size[j] -= 1
        if size[j] == 0:
            return False
        _say(y[i], seen[i], math.log(r[i]), theta[u], omega[u], -1.0, weight[j], pull[j])
    return True


@njit(cache=True, fastmath=False)
@no_type_check
def _sequence(  # noqa: PLR0917
    rng, y, seen, r, units, theta, omega, there, prior, weight, pull, value, mean, size, gamma, precision
):  # fmt: skip
    """``_place`` for units in turn: the sum of its logarithms, -inf where one cannot be placed."""
    total = 0.0
    for u in range(units.size):
        i = units[u]
        gain, there[u] = _place(
            rng, y[i], seen[i], r[i], theta[u], omega[u], there[u], prior, weight, pull, value, mean, size,
            gamma, precision,
        )  # fmt: skip
        if there[u] < 0:
            return -np.inf
        total += gain
    return total


@njit(cache=True, fastmath=False)
@no_type_check
def _attempt(  # noqa: PLR0917
    rng, y, seen, r, cluster, theta, omega, priors, weight, pull, size, gamma, precision, units, some
):
    """Take some units out of some clusters, where all of them are, and put them back; whether any moved."""
    n, number = some.size, np.zeros(size.size, dtype=np.int64)
    for j in range(n):
        number[some[j]] = j
    prior, own, tilt = [priors[j] for j in some], theta[units], omega[units]
    less, ease, left, here = weight[some], pull[some], size[some], number[cluster[units]]
    if not _take_out(y, seen, r, own, tilt, units, here, less, ease, left):
        return False
    value, mean = np.empty(n), np.empty((n, ease.shape[1], ease.shape[2]))
    for j in range(n):
        value[j], mean[j] = _law(prior[j], less[j], ease[j])
        if value[j] == -np.inf:
            return False
    more, turn, full, there = less.copy(), ease.copy(), left.copy(), np.full(units.size, -1)
    new, fresh, given = own.copy(), tilt.copy(), (y, seen, r, units)
    shape = (there, prior, more, turn, value.copy(), mean.copy(), full, gamma, precision)
    gain = _sequence(rng, *given, new, fresh, *shape)
    shape = (here, prior, less, ease, value, mean, left, gamma, precision)
    back = _sequence(rng, *given, own, tilt, *shape)
    # what lies beyond numbers is neither entered nor left
    if not (back > -np.inf and math.log(rng.random()) < gain - back):
        return False
    for j in range(n):
        weight[some[j]], pull[some[j]], size[some[j]] = more[j], turn[j], full[j]
    for u in range(units.size):
        i = units[u]
        cluster[i], theta[i], omega[i] = some[there[u]], new[u], fresh[u]
    return (there != here).any()


@njit(cache=True, fastmath=False)
@no_type_check
def relocate(  # noqa: PLR0917
    rng, y, seen, r, cluster, theta, size, coef, root, state, start, initial_precision, omega, weight, pull,
    gamma, precision, n_single, n_set,
):  # fmt: skip
    """Clusters, baselines, loadings and variates of units, paths integrated out; how many tries moved any.

    ``n_single`` units by themselves among all clusters, then ``n_set`` sets of units of two clusters among
    the two. ``omega`` (unit, time), ``weight`` (cluster, time, m, m) and ``pull`` (cluster, time, m) are
    changed with them. No cluster is emptied. Paths must be drawn afterwards.
    """
    n, n_moved = size.size, 0
    priors = [prior_precision(coef[j], root[j], state, start, initial_precision) for j in range(n)]
    everywhere = np.arange(n)
    for k in range(n_single + n_set):
        if k < n_single:
            units, some = np.array([min(int(rng.random() * y.shape[0]), y.shape[0] - 1)]), everywhere
        else:
            some, units = _together(rng, size, cluster)
        n_moved += _attempt(
            rng, y, seen, r, cluster, theta, omega, priors, weight, pull, size, gamma, precision, units,
            some,
        )  # fmt: skip
    return n_moved
