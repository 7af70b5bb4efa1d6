"""What one unit says: its counts given a path, its own parameters, its cluster, its dispersion; in loops.

A path is (time, 1 + p): a level that all units of a cluster share and p latents. A unit's log rate is
level + theta[0] + theta[1:] . latents. ``r`` is infinite for a Poisson law. Terms of the log likelihood that
lack the log rate are left out wherever r is held.
"""

from __future__ import annotations

import math
from typing import no_type_check

import numpy as np
from numba import njit

from neurotools.numerics.kernels.numba_statespace import (
    cholesky,
    draw_all_dynamics,
    log_det_lower,
    simulate_path,
)

LOG_2PI = math.log(2 * math.pi)
TAIL = 8.0  # degrees of freedom of proposals: heavier tails than any target here
NEWTON_STEPS = 15
NEWTON_TOL = 1e-3  # decrement at which a proposal is near enough to the mode; it need not be at it
START_LIMIT = 10.0
HALVINGS = 12
LARGEST_LOG_RATE = 600.0


@njit(cache=True, fastmath=False)
@no_type_check
def log_rate(path, theta, t):
    """Log of the expected count in one bin."""
    eta = path[t, 0] + theta[0]
    for k in range(1, theta.size):
        eta += theta[k] * path[t, k]
    return eta


@njit(cache=True, fastmath=False)
@no_type_check
def point(y, r, log_r, eta):
    """Log likelihood of a count without terms that lack the log rate, its slope and its curvature."""
    if math.isinf(r):
        mean = math.exp(eta)
        return y * eta - mean, y - mean, mean
    gap = eta - log_r
    if gap > 0.0:
        u = math.exp(-gap)
        share = 1.0 / (1.0 + u)
        log_sum = eta + math.log(1.0 + u)
    else:
        u = math.exp(gap)
        share = u / (1.0 + u)
        log_sum = log_r + math.log(1.0 + u)
    total = y + r
    return y * eta - total * log_sum, y - total * share, total * share * (1.0 - share)


@njit(cache=True, fastmath=False)
@no_type_check
def unit_log_likelihood(y, seen, r, path, theta):
    """Log likelihood of a unit's counts, without terms that lack the log rate."""
    log_r = math.log(r)
    total = 0.0
    for t in range(y.size):
        if seen[t]:
            value, _, _ = point(y[t], r, log_r, log_rate(path, theta, t))
            total += value
    if math.isnan(total):
        return -np.inf
    return total


@njit(cache=True, fastmath=False)
@no_type_check
def log_prior(theta, precision):
    """Log density of a unit's parameters, normal around 0."""
    total = 0.0
    for k in range(theta.size):
        total += 0.5 * (math.log(precision[k]) - LOG_2PI - precision[k] * theta[k] * theta[k])
    return total


# ---- a unit's parameters given a path ----------------------------------------------------------------------
@njit(cache=True, fastmath=False)
@no_type_check
def _objective(y, seen, r, path, theta, precision, slope, curve):  # noqa: PLR0917
    """Log posterior of a unit's parameters; fills its slope and its negative curvature."""
    m = theta.size
    log_r = math.log(r)
    total = log_prior(theta, precision)
    for i in range(m):
        slope[i] = -precision[i] * theta[i]
        for j in range(m):
            curve[i, j] = 0.0
        curve[i, i] = precision[i]
    for t in range(y.size):
        if not seen[t]:
            continue
        value, g, w = point(y[t], r, log_r, log_rate(path, theta, t))
        total += value
        slope[0] += g
        curve[0, 0] += w
        for i in range(1, m):
            slope[i] += g * path[t, i]
            wx = w * path[t, i]
            curve[i, 0] += wx
            for j in range(1, i + 1):
                curve[i, j] += wx * path[t, j]
    for i in range(m):
        for j in range(i):
            curve[j, i] = curve[i, j]
    if math.isnan(total):
        return -np.inf
    return total


@njit(cache=True, fastmath=False)
@no_type_check
def _newton_step(curve, slope, step):
    """Solve curve step = slope, ``curve`` becomes its Cholesky factor; the decrement, -1 where it fails."""
    m = slope.size
    if not cholesky(curve):
        return -1.0
    decrement = 0.0
    for i in range(m):
        s = slope[i]
        for k in range(i):
            s -= curve[i, k] * step[k]
        step[i] = s / curve[i, i]
        decrement += step[i] * step[i]
    for i in range(m - 1, -1, -1):
        s = step[i]
        for k in range(i + 1, m):
            s -= curve[k, i] * step[k]
        step[i] = s / curve[i, i]
    return decrement


@njit(cache=True, fastmath=False)
@no_type_check
def _first_guess(y, seen, path):
    counts, level, n = 0.0, 0.0, 0.0
    for t in range(y.size):
        if seen[t]:
            counts += y[t]
            level += path[t, 0]
            n += 1.0
    if n == 0.0:
        return 0.0
    guess = math.log((counts + 0.1) / n) - level / n
    if math.isnan(guess):
        return 0.0
    return min(max(guess, -START_LIMIT), START_LIMIT)


@njit(cache=True, fastmath=False)
@no_type_check
def _climb(y, seen, r, path, precision, value, theta, step, trial, slope, curve):  # noqa: PLR0917
    """Go along a step, less far until the log posterior does not fall; its value, -inf if it always does."""
    size = 1.0
    for _ in range(HALVINGS):
        for i in range(theta.size):
            trial[i] = theta[i] + size * step[i]
        new = _objective(y, seen, r, path, trial, precision, slope, curve)
        if new >= value:
            return new
        size *= 0.5
    return -np.inf


@njit(cache=True, fastmath=False)
@no_type_check
def fit_unit(y, seen, r, path, precision, centre, low):  # noqa: PLR0917
    """Laplace's approximation of a unit's parameters given a path, from a fixed start.

    Fills the ``centre`` and the Cholesky factor ``low`` of the precision; returns the log evidence, -inf
    where there is none.
    """
    m = centre.size
    theta, trial = np.zeros(m), np.empty(m)
    slope, step, curve = np.empty(m), np.empty(m), np.empty((m, m))
    theta[0] = _first_guess(y, seen, path)
    value = _objective(y, seen, r, path, theta, precision, slope, low)
    if math.isinf(value):
        return -np.inf
    decrement = _newton_step(low, slope, step)
    for _ in range(NEWTON_STEPS):
        if decrement < NEWTON_TOL:
            break
        new = _climb(y, seen, r, path, precision, value, theta, step, trial, slope, curve)
        if new == -np.inf:
            break
        value = new
        theta[:] = trial
        low[:] = curve
        decrement = _newton_step(low, slope, step)
    if not decrement >= 0.0:
        return -np.inf
    for i in range(m):
        centre[i] = theta[i] + step[i]
    evidence = value + 0.5 * decrement + 0.5 * m * LOG_2PI - log_det_lower(low)
    return evidence if math.isfinite(evidence) else -np.inf


@njit(cache=True, fastmath=False)
@no_type_check
def propose(rng, centre, low, out):
    """A draw around ``centre`` with heavy tails."""
    m = centre.size
    stretch = math.sqrt(0.5 * TAIL / rng.standard_gamma(0.5 * TAIL))
    for i in range(m):
        out[i] = rng.standard_normal() * stretch
    for i in range(m - 1, -1, -1):
        s = out[i]
        for k in range(i + 1, m):
            s -= low[k, i] * out[k]
        out[i] = s / low[i, i]
    for i in range(m):
        out[i] += centre[i]


@njit(cache=True, fastmath=False)
@no_type_check
def log_proposal(centre, low, theta):
    """Log density of ``propose``."""
    m = centre.size
    square = 0.0
    for i in range(m):
        s = 0.0
        for k in range(i, m):
            s += low[k, i] * (theta[k] - centre[k])
        square += s * s
    constant = math.lgamma(0.5 * (TAIL + m)) - math.lgamma(0.5 * TAIL) - 0.5 * m * math.log(TAIL * math.pi)
    return constant + log_det_lower(low) - 0.5 * (TAIL + m) * math.log(1.0 + square / TAIL)


@njit(cache=True, fastmath=False)
@no_type_check
def draw_unit_parameters(rng, y, seen, r, cluster, theta, latent, precision):  # noqa: PLR0917
    """Metropolis-Hastings of every unit's baseline and loadings, its cluster held; number accepted."""
    n, m = theta.shape
    centre, low, new = np.empty(m), np.empty((m, m)), np.empty(m)
    accepted = 0
    for i in range(n):
        path = latent[cluster[i]]
        if fit_unit(y[i], seen[i], r[i], path, precision, centre, low) == -np.inf:
            continue
        propose(rng, centre, low, new)
        gain = unit_log_likelihood(y[i], seen[i], r[i], path, new) + log_prior(new, precision)
        gain -= unit_log_likelihood(y[i], seen[i], r[i], path, theta[i]) + log_prior(theta[i], precision)
        gain += log_proposal(centre, low, theta[i]) - log_proposal(centre, low, new)
        if math.log(rng.random()) < gain:
            theta[i] = new
            accepted += 1
    return accepted


# ---- a unit's cluster --------------------------------------------------------------------------------------
@njit(cache=True, fastmath=False)
@no_type_check
def _swap(latent, size, cluster, a, b):
    """Exchange two slots of clusters."""
    if a == b:
        return
    for t in range(latent.shape[1]):
        for k in range(latent.shape[2]):
            latent[a, t, k], latent[b, t, k] = latent[b, t, k], latent[a, t, k]
    size[a], size[b] = size[b], size[a]
    for u in range(cluster.size):
        if cluster[u] == a:
            cluster[u] = b
        elif cluster[u] == b:
            cluster[u] = a


@njit(cache=True, fastmath=False)
@no_type_check
def _pick(rng, log_weight, n):
    """An index with probability proportional to exp(log_weight), -1 where all are 0.

    What is not a number, or infinite, weighs nothing: it must neither be picked nor spoil the others.
    """
    top, total, last = -np.inf, 0.0, -1
    for k in range(n):
        if top < log_weight[k] < np.inf:
            top = log_weight[k]
    for k in range(n):
        if log_weight[k] <= top:
            total += math.exp(log_weight[k] - top)
    u = rng.random() * total
    for k in range(n):
        if -np.inf < log_weight[k] <= top:
            last = k
            u -= math.exp(log_weight[k] - top)
            if u < 0.0:
                break
    return last


@njit(cache=True, fastmath=False)
@no_type_check
def _option_weights(size, n_cluster, n_auxiliary, log_v, gamma, weight):  # noqa: PLR0917
    """Log prior weight of each candidate: clusters there are, then new ones."""
    for k in range(n_cluster):
        weight[k] = math.log(size[k] + gamma)
    for k in range(n_cluster, n_cluster + n_auxiliary):
        weight[k] = 0.0
        if n_cluster > 0:
            weight[k] = log_v[n_cluster + 1] - log_v[n_cluster] - math.log(n_auxiliary)
            if gamma > 0.0:
                weight[k] += math.log(gamma)


@njit(cache=True, fastmath=False)
@no_type_check
def _choose(rng, y, seen, r, theta, latent, weight, n_option, here, precision):  # noqa: PLR0917
    """Propose a candidate with parameters and accept by the exact ratio; where the unit is now, if it moved.

    ``weight`` becomes the weight times the evidence. ``theta`` is changed in place.
    """
    m = theta.size
    centre, low = np.empty((n_option, m)), np.empty((n_option, m, m))
    score, new = np.empty(n_option), np.empty(m)
    for k in range(n_option):
        score[k] = weight[k] + fit_unit(y, seen, r, latent[k], precision, centre[k], low[k])
    there = _pick(rng, score, n_option)
    if there < 0 or not score[here] > -np.inf:
        return here, False
    propose(rng, centre[there], low[there], new)
    gain = weight[there] - score[there] - weight[here] + score[here]
    gain += unit_log_likelihood(y, seen, r, latent[there], new) + log_prior(new, precision)
    gain -= unit_log_likelihood(y, seen, r, latent[here], theta) + log_prior(theta, precision)
    gain += log_proposal(centre[here], low[here], theta) - log_proposal(centre[there], low[there], new)
    if not math.log(rng.random()) < gain:
        return here, False
    theta[:] = new
    return there, True


@njit(cache=True, fastmath=False)
@no_type_check
def assign(  # noqa: PLR0917
    rng, y, seen, r, cluster, theta, latent, size, n_cluster, order, first,
    log_v, gamma, n_auxiliary, state, start, n_state, precision, initial_sd, column_precision, noise,
):  # fmt: skip
    """Cluster, baseline and loadings of each unit in turn, jointly; new clusters from the prior.

    Neal (2000), algorithm 8, with ``n_auxiliary`` paths drawn from their prior given the states. Cluster and
    parameters are proposed from Laplace's approximation of all candidates and accepted by the exact ratio.
    With ``n_auxiliary`` 0 clusters are neither made nor emptied. Slots beyond ``n_cluster`` are scratch;
    where they run out, returns early. Returns the number of clusters, how far it came, number accepted.
    """
    weight = np.empty(latent.shape[0])
    empty = np.zeros((1, theta.shape[1]))
    accepted = 0
    for position in range(first, theta.shape[0]):
        i = order[position]
        here = cluster[i]
        if n_cluster + n_auxiliary + 1 > latent.shape[0]:
            return n_cluster, position, accepted
        if size[here] == 1 and n_auxiliary == 0:
            continue
        size[here] -= 1
        fresh = n_cluster
        if size[here] == 0:  # its own path is the first of the new ones
            n_cluster -= 1
            _swap(latent, size, cluster, here, n_cluster)
            here, fresh = n_cluster, n_cluster + 1
        for k in range(fresh, n_cluster + n_auxiliary):
            law = draw_all_dynamics(rng, empty, state[:1], start[:1], n_state, column_precision, noise)
            latent[k] = simulate_path(rng, law[0], law[1], state, start, initial_sd)
        _option_weights(size, n_cluster, n_auxiliary, log_v, gamma, weight)
        here, moved = _choose(
            rng, y[i], seen[i], r[i], theta[i], latent, weight, n_cluster + n_auxiliary, here, precision
        )
        accepted += moved
        cluster[i] = here
        if here >= n_cluster:
            size[here] = 0
            size[n_cluster] = 0
            _swap(latent, size, cluster, here, n_cluster)
            n_cluster += 1
        size[cluster[i]] += 1
    return n_cluster, theta.shape[0], accepted


# ---- dispersion --------------------------------------------------------------------------------------------
@njit(cache=True, fastmath=False)
@no_type_check
def _log_dispersion(log_r, above, counts, counted, mean, shape, rate):  # noqa: PLR0917
    """Log density of log r given means; ``above[v]`` is the number of counts greater than v."""
    r = math.exp(log_r)
    total = shape * log_r - rate * r
    for v in range(above.size):
        total += above[v] * math.log(r + v)
    summed = 0.0
    for t in range(counts.size):
        if counted[t]:
            total -= (counts[t] + r) * math.log1p(mean[t] / r)
            summed += counts[t]
    return total - summed * log_r


@njit(cache=True, fastmath=False)
@no_type_check
def _counts_above(y, seen):
    """How many of the counts seen are greater than 0, 1, ..., up to one less than the largest."""
    top = 0
    for t in range(y.size):
        if seen[t]:
            top = max(top, y[t])
    above = np.zeros(top)
    for t in range(y.size):
        if seen[t] and y[t] > 0:
            above[y[t] - 1] += 1.0
    for v in range(top - 2, -1, -1):
        above[v] += above[v + 1]
    return above


@njit(cache=True, fastmath=False)
@no_type_check
def _slice(rng, now, above, y, seen, mean, shape, rate):  # noqa: PLR0917
    """One draw of log r by slice sampling, stepping out and shrinking."""
    height = _log_dispersion(now, above, y, seen, mean, shape, rate) - rng.standard_exponential()
    left = now - rng.random()
    right = left + 1.0
    while _log_dispersion(left, above, y, seen, mean, shape, rate) > height:
        left -= 1.0
    while _log_dispersion(right, above, y, seen, mean, shape, rate) > height:
        right += 1.0
    while True:
        new = left + rng.random() * (right - left)
        if _log_dispersion(new, above, y, seen, mean, shape, rate) >= height:
            return new
        if new < now:
            left = new
        else:
            right = new


@njit(cache=True, fastmath=False)
@no_type_check
def draw_dispersion(rng, y, seen, r, cluster, theta, latent, shape, rate):  # noqa: PLR0917
    """Each unit's dispersion given its means, by slice sampling of its logarithm (Neal 2003)."""
    mean = np.empty(y.shape[1])
    for i in range(y.shape[0]):
        for t in range(mean.size):
            mean[t] = math.exp(min(log_rate(latent[cluster[i]], theta[i], t), LARGEST_LOG_RATE))
        above = _counts_above(y[i], seen[i])
        r[i] = math.exp(_slice(rng, math.log(r[i]), above, y[i], seen[i], mean, shape, rate))
