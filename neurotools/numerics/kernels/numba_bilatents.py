"""Paths of clusters and the chain of states, given the rest; in loops.

Clusters are in groups that share dynamics: each by itself (block), or all in one (full). A group's path is
(time, q): the paths of its clusters side by side. ``column`` says at which column a unit's cluster begins.
"""

from __future__ import annotations

import math
from typing import no_type_check

import numpy as np
from numba import njit

from neurotools.numerics.kernels.numba_biunits import fit_unit, point
from neurotools.numerics.kernels.numba_polyagamma import draw_one
from neurotools.numerics.kernels.numba_statespace import (
    factorise,
    invert_lower,
    moments_of_path,
    normals,
    path_log_density,
    posterior_of_dynamics,
    prior_precision,
    solve_path,
)

WINDOW_STEPS = 40
WINDOW_TOL = 1e-9
STEP_LIMIT = 2.0  # of a Newton step, in log rates
LAUNCH_ROUNDS = 4
POWER_STEPS = 12
ROUGH_SD = 0.5  # of latents where the search for a path begins


@njit(cache=True, fastmath=False)
@no_type_check
def _add(diag, lin, column, theta, weight, pull):  # noqa: PLR0917
    """One observation's precision ``weight`` and linear term ``pull`` along its unit's loadings."""
    m = theta.size
    for a in range(m):
        ca = theta[a] if a > 0 else 1.0
        lin[column + a] += pull * ca
        for b in range(m):
            cb = theta[b] if b > 0 else 1.0
            diag[column + a, column + b] += weight * ca * cb


@njit(cache=True, fastmath=False)
@no_type_check
def _group_rate(path, column, theta, t):
    eta = path[t, column] + theta[0]
    for k in range(1, theta.size):
        eta += theta[k] * path[t, column + k]
    return eta


# ---- negative binomial: Gaussian given Polya-Gamma variates ------------------------------------------------
@njit(cache=True, fastmath=False)
@no_type_check
def draw_path_augmented(  # noqa: PLR0917
    rng, path, coef, root, state, start, initial_precision, y, seen, r, units, column, theta
):
    """The whole path of a group from its full conditional given fresh Polya-Gamma variates."""
    diag, off, lin = prior_precision(coef, root, state, start, initial_precision)
    n_time, q = path.shape
    for i in units:
        log_r = math.log(r[i])
        for t in range(n_time):
            if seen[i, t]:
                eta = _group_rate(path, column[i], theta[i], t)
                omega = draw_one(rng, y[i, t] + r[i], eta - log_r)
                pull = 0.5 * (y[i, t] - r[i]) + omega * (log_r - theta[i, 0])
                _add(diag[t], lin[t], column[i], theta[i], omega, pull)
    if factorise(diag, off):
        path[:] = solve_path(diag, off, lin, normals(rng, n_time, q))


# ---- any family: windows of the path by Laplace's approximation and the exact ratio ------------------------
@njit(cache=True, fastmath=False)
@no_type_check
def _add_edges(lin, first, prior_off, path):
    """To the linear term of a window, what the path before and behind it says."""
    n, q = lin.shape
    last = first + n
    for a in range(q):
        for b in range(q):
            if first > 0:
                lin[0, a] -= prior_off[first, a, b] * path[first - 1, b]
            if last < path.shape[0]:
                lin[n - 1, a] -= prior_off[last, b, a] * path[last, b]


@njit(cache=True, fastmath=False)
@no_type_check
def _log_quadratic(diag, off, lin, window):
    """Log density of a window under a precision and linear term, up to a constant."""
    n, q = window.shape
    value = 0.0
    for t in range(n):
        for a in range(q):
            s = lin[t, a]
            for b in range(q):
                s -= 0.5 * diag[t, a, b] * window[t, b]
                if t > 0:
                    s -= off[t, a, b] * window[t - 1, b]
            value += s * window[t, a]
    return value


@njit(cache=True, fastmath=False)
@no_type_check
def _window_law(window, first, prior_diag, prior_off, prior_lin, path, y, seen, r, units, column, theta):  # noqa: PLR0917
    """Gaussian approximation at ``window``: factor, mean, and the log target there up to a constant."""
    n, q = window.shape
    last = first + n
    diag, off = prior_diag[first:last].copy(), prior_off[first:last].copy()
    lin = prior_lin[first:last].copy()
    _add_edges(lin, first, prior_off, path)
    value = _log_quadratic(diag, off, lin, window)
    for i in units:
        log_r = math.log(r[i])
        for t in range(n):
            if seen[i, first + t]:
                eta = _group_rate(window, column[i], theta[i], t)
                log_prob, slope, curve = point(y[i, first + t], r[i], log_r, eta)
                value += log_prob
                pull = slope + curve * (eta - theta[i, 0])
                _add(diag[t], lin[t], column[i], theta[i], curve, pull)
    ok = not math.isnan(value) and factorise(diag, off)
    if not ok:
        return diag, off, window, value, False
    return diag, off, solve_path(diag, off, lin, np.zeros((n, q))), value, True


@njit(cache=True, fastmath=False)
@no_type_check
def _step(path, mean):
    """Go to ``mean``, or as far as ``STEP_LIMIT``, in place; how far away it was."""
    reach = 0.0
    for t in range(path.shape[0]):
        for a in range(path.shape[1]):
            reach = max(reach, abs(mean[t, a] - path[t, a]))
    share = min(1.0, STEP_LIMIT / max(reach, 1e-300))
    for t in range(path.shape[0]):
        for a in range(path.shape[1]):
            path[t, a] += share * (mean[t, a] - path[t, a])
    return reach


@njit(cache=True, fastmath=False)
@no_type_check
def draw_path_windows(  # noqa: PLR0917
    rng, path, coef, root, state, start, initial_precision, y, seen, r, units, column, theta, length
):
    """Metropolis-Hastings of the path of a group, window after window; numbers accepted and tried.

    Each window is proposed from the Gaussian at its mode, which is one wherever the search begins, since the
    target is log-concave.
    """
    prior_diag, prior_off, prior_lin = prior_precision(coef, root, state, start, initial_precision)
    n_time, q = path.shape
    first, accepted, tried = 0, 0, 0
    last = min(n_time, 1 + int(rng.random() * length))
    while first < n_time:
        tried += 1
        rest = (first, prior_diag, prior_off, prior_lin, path, y, seen, r, units, column, theta)
        now = path[first:last].copy()
        mode, converged = now.copy(), False
        low, left, mean, value_now, ok = _window_law(mode, *rest)
        for _ in range(WINDOW_STEPS):
            if not ok:
                break
            reach = _step(mode, mean)
            low, left, mean, _, ok = _window_law(mode, *rest)
            if reach < WINDOW_TOL:
                converged = ok
                break
        if converged:
            n = last - first
            new = solve_path(low, left, np.zeros((n, q)), normals(rng, n, q))
            for t in range(n):
                for a in range(q):
                    new[t, a] += mean[t, a]
            _, _, _, value_new, sane = _window_law(new, *rest)
            gain = value_new - value_now
            gain += path_log_density(low, left, now - mean) - path_log_density(low, left, new - mean)
            if sane and math.log(rng.random()) < gain:
                path[first:last] = new
                accepted += 1
        first, last = last, min(n_time, last + length)
    return accepted, tried


# ---- states ------------------------------------------------------------------------------------------------
@njit(cache=True, fastmath=False)
@no_type_check
def add_state_log_likelihood(path, coef, root, start, out):
    """Add to ``out`` (time, state) the log density of each step of a group's path under each state."""
    n_time, q = path.shape
    n_state = coef.shape[0]
    error = np.empty(q)
    for k in range(n_state):
        log_root = 0.0
        for i in range(q):
            log_root += math.log(root[k, i, i])
        for t in range(n_time):
            if start[t]:
                continue
            for i in range(q):
                s = path[t, i] - coef[k, i, q]
                for j in range(q):
                    s -= coef[k, i, j] * path[t - 1, j]
                error[i] = s
            square = 0.0
            for i in range(q):
                s = 0.0
                for j in range(i + 1):
                    s += root[k, i, j] * error[j]
                square += s * s
            out[t, k] += log_root - 0.5 * square


@njit(cache=True, fastmath=False)
@no_type_check
def _messages(log_likelihood, transition, start):
    """Likelihood of each bin and all later ones of its session under each state, up to a factor."""
    n_time, n_state = log_likelihood.shape
    message = np.empty((n_time, n_state))
    for t in range(n_time - 1, -1, -1):
        top = log_likelihood[t].max()
        for k in range(n_state):
            s = 1.0
            if t + 1 < n_time and not start[t + 1]:
                s = 0.0
                for j in range(n_state):
                    s += transition[k, j] * message[t + 1, j]
            message[t, k] = math.exp(log_likelihood[t, k] - top) * s
        top = message[t].max()
        for k in range(n_state):
            message[t, k] /= top
    return message


@njit(cache=True, fastmath=False)
@no_type_check
def draw_states(rng, log_likelihood, transition, start, state):
    """The chain of states from its full conditional: messages backwards, draws forwards.

    The state at the start of a session is uniform.
    """
    n_time, n_state = log_likelihood.shape
    message = _messages(log_likelihood, transition, start)
    for t in range(n_time):
        total = 0.0
        for k in range(n_state):
            total += message[t, k] * (1.0 if start[t] else transition[state[t - 1], k])
        u = rng.random() * total
        chosen = -1
        for k in range(n_state):
            part = message[t, k] * (1.0 if start[t] else transition[state[t - 1], k])
            u -= part
            if part > 0.0:
                chosen = k
                if u < 0.0:
                    break
        state[t] = chosen


# ---- a first path for a set of units -----------------------------------------------------------------------
@njit(cache=True, fastmath=False)
@no_type_check
def _mean_counts(y, seen, units):
    mean = np.zeros(units.size)
    for u in range(units.size):
        counted = 0.0
        for t in range(y.shape[1]):
            if seen[units[u], t]:
                mean[u] += y[units[u], t]
                counted += 1.0
        mean[u] = (mean[u] + 0.1) / max(counted, 1.0)
    return mean


@njit(cache=True, fastmath=False)
@no_type_check
def _residuals(y, seen, r, units, mean, level):  # noqa: PLR0917
    """Counts less what the level explains, in standard deviations, and no further than three of them."""
    rest = np.zeros((units.size, level.size))
    for u in range(units.size):
        i = units[u]
        for t in range(level.size):
            if seen[i, t]:
                expected = mean[u] * math.exp(level[t])
                scaled = (y[i, t] - expected) / math.sqrt(expected + expected * expected / r[i])
                rest[u, t] = min(max(scaled, -3.0), 3.0)
    return rest


@njit(cache=True, fastmath=False)
@no_type_check
def _dot(a, b):
    s = 0.0
    for t in range(a.size):
        s += a[t] * b[t]
    return s


@njit(cache=True, fastmath=False)
@no_type_check
def _leading_pattern(rest, path, k):
    """The k-th pattern over time of residuals, by power iteration, orthogonal to those in ``path``."""
    pattern = np.zeros(rest.shape[1])
    for u in range(rest.shape[0]):
        for t in range(pattern.size):
            pattern[t] += math.sin(1.0 + 2.3 * k * (u + 1.0)) * rest[u, t]
    for _ in range(POWER_STEPS):
        turned = np.zeros(pattern.size)
        for u in range(rest.shape[0]):
            along = _dot(rest[u], pattern)
            for t in range(pattern.size):
                turned[t] += along * rest[u, t]
        for b in range(1, k):
            along = _dot(turned, path[:, b]) / max(_dot(path[:, b], path[:, b]), 1e-12)
            for t in range(pattern.size):
                turned[t] -= along * path[t, b]
        length = max(math.sqrt(_dot(turned, turned)), 1e-12)
        for t in range(pattern.size):
            pattern[t] = turned[t] / length
    return pattern


@njit(cache=True, fastmath=False)
@no_type_check
def _rough_path(y, seen, r, units, m):
    """Level and leading patterns of residuals over time, of some units."""
    n_time = y.shape[1]
    path = np.zeros((n_time, m))
    mean = _mean_counts(y, seen, units)
    for t in range(n_time):
        above, below = 1.0, 1.0
        for u in range(units.size):
            if seen[units[u], t]:
                above += y[units[u], t]
                below += mean[u]
        path[t, 0] = math.log(above / below)
    if units.size > 1:
        rest = _residuals(y, seen, r, units, mean, path[:, 0])
        for k in range(1, m):
            pattern = _leading_pattern(rest, path, k)
            for t in range(n_time):
                path[t, k] = ROUGH_SD * math.sqrt(n_time) * pattern[t]
    return path


@njit(cache=True, fastmath=False)
@no_type_check
def _expected_dynamics(path, state, start, n_state, column_precision, noise):  # noqa: PLR0917
    """Posterior means of the dynamics of each state given a path."""
    q = path.shape[1]
    xx, yx, yy, count = moments_of_path(path, state, start, n_state)
    coef, root = np.empty((n_state, q, q + 1)), np.empty((n_state, q, q))
    for k in range(n_state):
        _, coef[k], spread, _ = posterior_of_dynamics(xx[k], yx[k], yy[k], column_precision, noise)
        # the posterior mean of Q is spread spread' over this; it is definite, so is its factor
        for i in range(q):
            for j in range(q):
                spread[i, j] /= math.sqrt(noise[1] - 1.0 + count[k])
        root[k] = invert_lower(spread)
    return coef, root


@njit(cache=True, fastmath=False)
@no_type_check
def _toward(path, coef, root, state, start, initial_sd, y, seen, r, units, theta):  # noqa: PLR0917
    """One Newton step of a cluster's path: where it leads, and the law at which it aims."""
    column = np.zeros(y.shape[0], dtype=np.int64)
    diag, off, lin = prior_precision(coef, root, state, start, initial_sd**-2.0)
    low, left, mean, _, ok = _window_law(path, 0, diag, off, lin, path, y, seen, r, units, column, theta)
    there = path.copy()
    if ok:
        _step(there, mean)
    return there, low, left, mean, ok


@njit(cache=True, fastmath=False)
@no_type_check
def launch(y, seen, r, units, state, start, n_state, precision, initial_sd, column_precision, noise):  # noqa: PLR0917
    """A path of a cluster of some units, from their counts and the states alone; and whether there is one.

    Nothing of the clusters as they are enters, so it is the same before and after a split or merge.
    """
    m = precision.size
    path = _rough_path(y, seen, r, units, m)
    theta, low = np.zeros((y.shape[0], m)), np.empty((m, m))
    for _ in range(LAUNCH_ROUNDS):
        for i in units:
            if fit_unit(y[i], seen[i], r[i], path, precision, theta[i], low) == -np.inf:
                return path, False
        coef, root = _expected_dynamics(path, state, start, n_state, column_precision, noise)
        path, _, _, _, ok = _toward(path, coef, root, state, start, initial_sd, y, seen, r, units, theta)
        if not ok:
            return path, False
    return path, True
