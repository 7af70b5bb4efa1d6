"""Splitting and merging clusters with the full Hastings ratio; in loops.

A pair of units (i, l) is drawn. Together in one cluster, l leaves with some of the others to a new cluster,
whose path is drawn from a Gaussian law of their counts; the cluster of i keeps its path. Apart, the cluster of
l is merged into that of i, whose path stays. Each is the other's reverse. Dynamics are integrated out.
Jain & Neal (2007), Bayesian Analysis 2, 445-472, with a launch state that is a function of the data.
"""

from __future__ import annotations

import math
from typing import no_type_check

import numpy as np
from numba import njit

from neurotools.numerics.kernels.numba_bilatents import launch
from neurotools.numerics.kernels.numba_biunits import (
    fit_unit,
    log_prior,
    log_proposal,
    propose,
    unit_log_likelihood,
)
from neurotools.numerics.kernels.numba_statespace import (
    normals,
    path_log_density,
    path_log_prior,
    solve_path,
)

ALLOCATION_ROUNDS = 2
LOGIT_LIMIT = 5.0  # a unit may always go either way


@njit(cache=True, fastmath=False)
@no_type_check
def leaving_logits(
    y,
    seen,
    r,
    members,
    leader,
    kept_path,
    state,
    start,
    n_state,
    precision,
    initial_sd,
    column_precision,
    scale,
):
    """Log odds with which each member joins the leader in a new cluster, and whether that can be.

    A function of data, states and the path that is kept; members other than the two of the pair.
    """
    n, m = members.size, kept_path.shape[1]
    centre, low = np.empty(m), np.empty((m, m))
    stay, logit = np.empty(n), np.zeros(n)
    for u in range(n):
        i = members[u]
        stay[u] = fit_unit(y[i], seen[i], r[i], kept_path, precision, centre, low)
    chosen = np.zeros(n, dtype=np.bool_)
    for _ in range(ALLOCATION_ROUNDS):
        units = np.empty(1 + chosen.sum(), dtype=np.int64)
        units[0] = leader
        count = 1
        for u in range(n):
            if chosen[u]:
                units[count] = members[u]
                count += 1
        _, _, path, ok = launch(
            y, seen, r, units, m - 1, state, start, n_state, precision, initial_sd, column_precision, scale
        )
        if not ok:
            return logit, False
        for u in range(n):
            i = members[u]
            leave = fit_unit(y[i], seen[i], r[i], path, precision, centre, low)
            gain = leave - stay[u]
            if math.isnan(gain):
                return logit, False
            logit[u] = min(max(gain, -LOGIT_LIMIT), LOGIT_LIMIT)
            chosen[u] = gain > 0.0
    return logit, True


@njit(cache=True, fastmath=False)
@no_type_check
def log_allocation(logit, leaves):
    """Log probability of who leaves."""
    total = 0.0
    for u in range(logit.size):
        x = logit[u] if leaves[u] else -logit[u]
        total -= math.log1p(math.exp(-x))
    return total


@njit(cache=True, fastmath=False)
@no_type_check
def _stacked(latent, n_cluster):
    """Paths of all clusters side by side."""
    n_time, m = latent.shape[1], latent.shape[2]
    out = np.empty((n_time, n_cluster * m))
    for c in range(n_cluster):
        for t in range(n_time):
            for k in range(m):
                out[t, c * m + k] = latent[c, t, k]
    return out


@njit(cache=True, fastmath=False)
@no_type_check
def _added_path(latent, n_cluster, state, start, n_state, initial_sd, column_precision, scale, full):
    """Log prior of all paths, less that of all but the last."""
    prior = (state, start, n_state, initial_sd, column_precision, scale)
    if not full:
        return path_log_prior(latent[n_cluster - 1], *prior)
    with_it = path_log_prior(_stacked(latent, n_cluster), *prior)
    return with_it - path_log_prior(_stacked(latent, n_cluster - 1), *prior)


@njit(cache=True, fastmath=False)
@no_type_check
def _moving_ratio(rng, y, seen, r, units, theta, source, target, precision, new_theta):
    """Draw parameters of units on the path ``target``; log of the ratio of target and proposal densities."""
    m = theta.shape[1]
    centre, low = np.empty(m), np.empty((m, m))
    total = 0.0
    for i in units:
        if fit_unit(y[i], seen[i], r[i], target, precision, centre, low) == -np.inf:
            return -np.inf
        propose(rng, centre, low, new_theta[i])
        total += unit_log_likelihood(y[i], seen[i], r[i], target, new_theta[i])
        total += log_prior(new_theta[i], precision) - log_proposal(centre, low, new_theta[i])
        if fit_unit(y[i], seen[i], r[i], source, precision, centre, low) == -np.inf:
            return -np.inf
        total -= unit_log_likelihood(y[i], seen[i], r[i], source, theta[i])
        total -= log_prior(theta[i], precision) - log_proposal(centre, low, theta[i])
    return total


@njit(cache=True, fastmath=False)
@no_type_check
def _block_weight(size, gamma):
    return math.lgamma(size + gamma) - (math.lgamma(gamma) if gamma > 0.0 else 0.0)


@njit(cache=True, fastmath=False)
@no_type_check
def _others(cluster, i, l):
    """Units in the clusters of i and l but the two, and which of them are with l."""
    n = 0
    for u in range(cluster.size):
        if u != i and u != l and (cluster[u] == cluster[i] or cluster[u] == cluster[l]):
            n += 1
    members, with_l = np.empty(n, dtype=np.int64), np.zeros(n, dtype=np.bool_)
    n = 0
    for u in range(cluster.size):
        if u != i and u != l and (cluster[u] == cluster[i] or cluster[u] == cluster[l]):
            members[n] = u
            with_l[n] = cluster[u] == cluster[l]
            n += 1
    return members, with_l


@njit(cache=True, fastmath=False)
@no_type_check
def _leavers(members, leaves, l):
    units = np.empty(1 + leaves.sum(), dtype=np.int64)
    units[0] = l
    n = 1
    for u in range(members.size):
        if leaves[u]:
            units[n] = members[u]
            n += 1
    return units


@njit(cache=True, fastmath=False)
@no_type_check
def split_or_merge(
    rng, y, seen, r, cluster, theta, latent, size, n_cluster, i, l,
    log_v, gamma, state, start, n_state, precision, initial_sd, column_precision, scale, full,
):  # fmt: skip
    """One proposal for the pair (i, l); ``latent`` needs a spare slot. Number of clusters, and if accepted."""
    split = cluster[i] == cluster[l]
    a, b = cluster[i], cluster[l]
    members, leaves = _others(cluster, i, l)
    prior = (state, start, n_state, precision, initial_sd, column_precision, scale)
    shape = (state, start, n_state, initial_sd, column_precision, scale, full)
    logit, ok = leaving_logits(y, seen, r, members, l, latent[a], *prior)
    if not ok:
        return n_cluster, False
    if split:
        for u in range(members.size):
            leaves[u] = rng.random() * (1.0 + math.exp(-logit[u])) < 1.0
    units = _leavers(members, leaves, l)
    low, left, mean, ok = launch(y, seen, r, units, theta.shape[1] - 1, *prior)
    if not ok:
        return n_cluster, False
    new_theta = theta.copy()
    n_all, n_left = members.size + 2, units.size
    n_time, m = mean.shape
    if split:
        white = normals(rng, n_time, m)
        path = mean + solve_path(low, left, np.zeros((n_time, m)), white)
        latent[n_cluster] = path
        gain = _moving_ratio(rng, y, seen, r, units, theta, latent[a], path, precision, new_theta)
        gain += _added_path(latent, n_cluster + 1, *shape)
        sign, after = 1.0, n_cluster + 1
    else:
        last = n_cluster - 1
        if b != last:  # the cluster of l into the last slot
            for t in range(n_time):
                for k in range(m):
                    latent[b, t, k], latent[last, t, k] = latent[last, t, k], latent[b, t, k]
            size[b], size[last] = size[last], size[b]
            for u in range(cluster.size):
                if cluster[u] == b:
                    cluster[u] = last
                elif cluster[u] == last:
                    cluster[u] = b
            if a == last:
                a = b
            b = last
        path = latent[b]
        gain = _moving_ratio(rng, y, seen, r, units, theta, path, latent[a], precision, new_theta)
        gain -= _added_path(latent, n_cluster, *shape)
        sign, after = -1.0, n_cluster - 1
    # what a split adds and a merge takes away
    toward = _block_weight(n_left, gamma) + _block_weight(n_all - n_left, gamma) - _block_weight(n_all, gamma)
    toward -= log_allocation(logit, leaves) + path_log_density(low, left, path - mean)
    gain += sign * toward + log_v[after] - log_v[n_cluster]
    if not math.log(rng.random()) < gain:
        return n_cluster, False
    for u in units:
        theta[u] = new_theta[u]
        cluster[u] = n_cluster if split else a
    if split:
        size[a], size[n_cluster] = n_all - n_left, n_left
    else:
        size[a], size[b] = n_all, 0
    return after, True
