"""Splitting and merging clusters with the full Hastings ratio; in loops.

A pair of units is drawn. Together in one cluster, the second leaves with some of the others to a new
cluster: parameters of the leavers come from the prior or from around their modes on a path found from their
counts, and the new path from a Gaussian law given these. The cluster of the first keeps its path. Apart, the
cluster of the second is merged into that of the first. Each is the other's reverse; dynamics are integrated
out.
Jain & Neal (2007), Bayesian Analysis 2, 445-472, with a launch state that is a function of the data.
"""

from __future__ import annotations

import math
from typing import no_type_check

import numpy as np
from numba import njit

from neurotools.numerics.kernels.numba_bilatents import launch
from neurotools.numerics.kernels.numba_bilaws import path_of_units
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
def leaving_logits(  # noqa: PLR0917
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
    noise,
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
        units = _leavers(members, chosen, leader)
        path, ok = launch(
            y, seen, r, units, state, start, n_state, precision, initial_sd, column_precision, noise
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
def _added_path(latent, n_cluster, state, start, n_state, initial_sd, column_precision, noise, full):  # noqa: PLR0917
    """Log prior of all paths, less that of all but the last."""
    prior = (state, start, n_state, initial_sd, column_precision, noise)
    if not full:
        return path_log_prior(latent[n_cluster - 1], *prior)
    with_it = path_log_prior(_stacked(latent, n_cluster), *prior)
    return with_it - path_log_prior(_stacked(latent, n_cluster - 1), *prior)


@njit(cache=True, fastmath=False)
@no_type_check
def _propose_units(rng, y, seen, r, units, path, precision, wide, theta):  # noqa: PLR0917
    """Fill parameters of units: around their modes given a path, or from the prior where ``wide``."""
    m = precision.size
    centre, low = np.empty(m), np.empty((m, m))
    for i in units:
        if wide:
            for k in range(m):
                theta[i, k] = rng.standard_normal() / math.sqrt(precision[k])
        else:
            if fit_unit(y[i], seen[i], r[i], path, precision, centre, low) == -np.inf:
                return False
            propose(rng, centre, low, theta[i])
    return True


@njit(cache=True, fastmath=False)
@no_type_check
def _log_units_proposal(y, seen, r, units, path, precision, theta):  # noqa: PLR0917
    """Log density with which ``_propose_units`` draws around the modes; -inf where it cannot."""
    m = precision.size
    centre, low = np.empty(m), np.empty((m, m))
    total = 0.0
    for i in units:
        if fit_unit(y[i], seen[i], r[i], path, precision, centre, low) == -np.inf:
            return -np.inf
        total += log_proposal(centre, low, theta[i])
    return total


@njit(cache=True, fastmath=False)
@no_type_check
def _log_units_target(y, seen, r, units, path, precision, theta):  # noqa: PLR0917
    """Log likelihood and prior of units on a path, and the prior alone."""
    likelihood, prior = 0.0, 0.0
    for i in units:
        likelihood += unit_log_likelihood(y[i], seen[i], r[i], path, theta[i])
        prior += log_prior(theta[i], precision)
    return likelihood + prior, prior


@njit(cache=True, fastmath=False)
@no_type_check
def _block_weight(size, gamma):
    return math.lgamma(size + gamma) - (math.lgamma(gamma) if gamma > 0.0 else 0.0)


@njit(cache=True, fastmath=False)
@no_type_check
def _others(cluster, i, other):
    """Units in the clusters of two units but the two, and which of them are with the second."""
    members = np.empty(cluster.size, dtype=np.int64)
    with_other = np.zeros(cluster.size, dtype=np.bool_)
    n = 0
    for u in range(cluster.size):
        if u not in (i, other) and cluster[u] in (cluster[i], cluster[other]):
            members[n] = u
            with_other[n] = cluster[u] == cluster[other]
            n += 1
    return members[:n].copy(), with_other[:n].copy()


@njit(cache=True, fastmath=False)
@no_type_check
def _to_last(latent, size, cluster, b, last):
    """Exchange the slot of a cluster with the last."""
    if b == last:
        return
    spare = latent[b].copy()
    latent[b] = latent[last]
    latent[last] = spare
    size[b], size[last] = size[last], size[b]
    for u in range(cluster.size):
        if cluster[u] == b:
            cluster[u] = last
        elif cluster[u] == last:
            cluster[u] = b


@njit(cache=True, fastmath=False)
@no_type_check
def _leavers(members, leaves, leader):
    units = np.empty(1 + leaves.sum(), dtype=np.int64)
    units[0] = leader
    n = 1
    for u in range(members.size):
        if leaves[u]:
            units[n] = members[u]
            n += 1
    return units


@njit(cache=True, fastmath=False)
@no_type_check
def _excess(y, seen, r, units, theta, path, law, launched, precision):  # noqa: PLR0917
    """Log target of a new cluster's units less the log density of proposing them and the path.

    Their parameters come from the prior or from around the modes on the launched path, half and half.
    """
    target, prior = _log_units_target(y, seen, r, units, path, precision, theta)
    near = _log_units_proposal(y, seen, r, units, launched, precision, theta)
    top = max(prior, near)
    mixed = top + math.log(0.5 * math.exp(prior - top) + 0.5 * math.exp(near - top))
    return target - mixed - path_log_density(law[0], law[1], path - law[2])


@njit(cache=True, fastmath=False)
@no_type_check
def split_or_merge(  # noqa: PLR0917
    rng, y, seen, r, cluster, theta, latent, size, n_cluster, i, other,
    log_v, gamma, state, start, n_state, precision, initial_sd, column_precision, noise, full,
):  # fmt: skip
    """One proposal for a pair of units; ``latent`` needs a spare slot. Number of clusters, if accepted."""
    split = cluster[i] == cluster[other]
    if not split:
        _to_last(latent, size, cluster, cluster[other], n_cluster - 1)
    a, b = cluster[i], n_cluster if split else n_cluster - 1
    after = n_cluster + 1 if split else n_cluster - 1
    members, leaves = _others(cluster, i, other)
    shape = (state, start, n_state, initial_sd, column_precision, noise)
    prior = (state, start, n_state, precision, initial_sd, column_precision, noise)
    logit, ok = leaving_logits(y, seen, r, members, other, latent[a], *prior)
    if split:
        for u in range(members.size):
            leaves[u] = rng.random() * (1.0 + math.exp(-logit[u])) < 1.0
    units = _leavers(members, leaves, other)
    launched, fine = launch(y, seen, r, units, *prior)
    if not (ok and fine):
        return n_cluster, False
    new = theta.copy()
    wide = split and rng.random() < 0.5
    if not _propose_units(rng, y, seen, r, units, launched if split else latent[a], precision, wide, new):
        return n_cluster, False
    apart, together = (new, theta) if split else (theta, new)  # parameters on the new path, on the kept one
    low, left, mean, ok = path_of_units(y, seen, r, units, apart, *shape)
    if not ok:
        return n_cluster, False
    if split:
        latent[b] = mean
        latent[b] += solve_path(low, left, np.zeros(mean.shape), normals(rng, mean.shape[0], mean.shape[1]))
    # log ratio of two clusters over one; that of a merge is its negative
    gain = _excess(y, seen, r, units, apart, latent[b], (low, left, mean), launched, precision)
    gain += _added_path(latent, b + 1, *shape, full)
    gain -= _log_units_target(y, seen, r, units, latent[a], precision, together)[0]
    gain += _log_units_proposal(y, seen, r, units, latent[a], precision, together)
    n_all, n_left = members.size + 2, units.size
    gain += _block_weight(n_left, gamma) + _block_weight(n_all - n_left, gamma) - _block_weight(n_all, gamma)
    gain += log_v[b + 1] - log_v[b] - log_allocation(logit, leaves)
    if not math.log(rng.random()) < (gain if split else -gain):
        return n_cluster, False
    for u in units:
        theta[u] = new[u]
        cluster[u] = b if split else a
    size[a] = n_all - n_left if split else n_all
    size[b] = n_left if split else 0
    return after, True
