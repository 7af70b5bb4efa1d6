"""States of all bins at once with paths integrated out, by particles, given dynamics and variates; in loops.

A particle is a sequence of states so far and, for each group, the Gaussian law of its path now. Each goes on
to every open state; of all these as many are kept as there is room for, each with a chance that is known, and
the sequence that the chain holds is always kept. That sequence takes a new beginning before each bin.
Whiteley, Andrieu & Doucet (2010), arXiv 1011.2437, sections 3 and 4, for the particles (Fearnhead & Clifford
2003, J. R. Stat. Soc. B 65, 887-899, for those that are kept); Lindsten, Jordan & Schön (2014), JMLR 15,
2145-2184, section 3, for the beginnings.
"""

from __future__ import annotations

import math
from typing import no_type_check

import numpy as np
from numba import njit

from neurotools.numerics.kernels.numba_bijoint import _terms
from neurotools.numerics.kernels.numba_biunits import _pick
from neurotools.numerics.kernels.numba_statespace import (
    _multiply,
    cholesky,
    factorise,
    invert_lower,
    log_det_lower,
    normals,
    prior_precision,
    solve_path,
)


@njit(cache=True, fastmath=False)
@no_type_check
def _forwards(low, rows):
    """Solve ``low x = rows`` in place."""
    for j in range(rows.shape[1]):
        for i in range(rows.shape[0]):
            s = rows[i, j]
            for k in range(i):
                s -= low[i, k] * rows[k, j]
            rows[i, j] = s / low[i, i]


@njit(cache=True, fastmath=False)
@no_type_check
def _gap(mean, weight, pull, out):
    """Fill ``pull - weight mean``; pull' mean - mean' weight mean / 2."""
    total = 0.0
    for i in range(mean.size):
        s = pull[i]
        for j in range(mean.size):
            s -= weight[i, j] * mean[j]
        out[i, 0] = s
        total += 0.5 * mean[i] * (pull[i] + s)
    return total


@njit(cache=True, fastmath=False)
@no_type_check
def _meet(mean, low, weight, pull, room, out_mean, out_cov):  # noqa: PLR0917
    """A Gaussian law of covariance ``low low'`` times exp(-x' weight x / 2 + pull' x): log of its integral.

    Fills mean and covariance of the product; ``room`` (4, q, q) is scratch. -inf where it is beyond numbers.
    """
    q = mean.size
    side, inner, gap, tilt = room[0], room[1], room[2, :, :1], room[3, :, :1]
    total = _gap(mean, weight, pull, gap)
    _multiply(weight, low, False, side)
    _multiply(low, side, True, inner)
    for i in range(q):
        inner[i, i] += 1.0
    if not cholesky(inner):
        return -np.inf
    _multiply(low, gap, True, tilt)
    _forwards(inner, tilt)
    for i in range(q):
        total += 0.5 * tilt[i, 0] * tilt[i, 0]
        for j in range(q):
            side[i, j] = low[j, i]
    _forwards(inner, side)
    _multiply(side, side, True, out_cov)
    for i in range(q):
        out_mean[i] = mean[i]
        for k in range(q):
            out_mean[i] += side[k, i] * tilt[k, 0]
    return total - log_det_lower(inner)


@njit(cache=True, fastmath=False)
@no_type_check
def _ahead(mean, cov, coef, noise, room, out_mean, out_low):  # noqa: PLR0917
    """Mean and Cholesky factor of the covariance of the next bin of a path; False where there is none."""
    q = mean.size
    side = room[0]
    for i in range(q):
        s = coef[i, q]
        for j in range(q):
            s += coef[i, j] * mean[j]
        out_mean[i] = s
        for j in range(q):
            s = 0.0
            for k in range(q):
                s += coef[i, k] * cov[k, j]
            side[i, j] = s
    for i in range(q):
        for j in range(i + 1):
            s = noise[i, j]
            for k in range(q):
                s += side[i, k] * coef[j, k]
            out_low[i, j] = s
    return cholesky(out_low)


@njit(cache=True, fastmath=False)
@no_type_check
def _covariances(root):
    """Q of every group and state from its whitening root."""
    out = np.empty_like(root)
    for g in range(root.shape[0]):
        for k in range(root.shape[1]):
            low = invert_lower(root[g, k])
            _multiply(low, low.T, False, out[g, k])
    return out


@njit(cache=True, fastmath=False)
@no_type_check
def _messages_back(coef, root, state, start, weight, pull):  # noqa: PLR0917
    """What later bins say of each group's path at each bin, states given: precision and linear term."""
    n_group, n_time, q = pull.shape
    square, linear = np.zeros((n_group, n_time, q, q)), np.zeros((n_group, n_time, q))
    half, x, room = np.empty((q, q)), np.empty((q, 1)), np.empty((q, q))
    moved = np.empty((q, 1))
    for g in range(n_group):
        noise, cross, own, ahead, behind, _ = _terms(coef[g], root[g])
        for t in range(n_time - 1, 0, -1):
            if start[t]:
                continue
            k = state[t]
            inner = weight[g, t] + square[g, t] + noise[k]
            cholesky(inner)
            half[:] = cross[k]
            x[:, 0] = pull[g, t] + linear[g, t] + ahead[k, :, 0]
            _forwards(inner, half)
            _forwards(inner, x)
            _multiply(half, half, True, room)
            _multiply(half, x, True, moved)
            square[g, t - 1] = own[k] - room
            linear[g, t - 1] = moved[:, 0] - behind[k, :, 0]
    return square, linear


@njit(cache=True, fastmath=False)
@no_type_check
def _kept(rng, log_weight, n, room, held, chosen):  # noqa: PLR0917
    """Which of ``n`` candidates are kept, at most ``room``; number of them, and the log weight of the light.

    Heavy ones are kept for certain with their weights; light ones by chance in proportion to theirs, and
    all weigh the same thereafter. ``held`` is kept in any case, as if by that chance.
    """
    order = np.argsort(-log_weight[:n])
    top = log_weight[order[0]]
    rest = 0.0
    for a in range(n):
        rest += math.exp(log_weight[order[a]] - top)
    heavy = 0
    while heavy < room:
        own = math.exp(log_weight[order[heavy]] - top)
        if own * (room - heavy) <= rest:
            break
        rest -= own
        heavy += 1
    for a in range(heavy):
        chosen[a] = order[a]
    if heavy == room or not rest > 0.0:
        return _with_held(chosen, heavy, held), -np.inf
    share = rest / (room - heavy)
    found = _light(rng, log_weight, order[heavy:n], math.log(share) + top, held, chosen, heavy)
    return _with_held(chosen, found, held), math.log(share) + top


@njit(cache=True, fastmath=False)
@no_type_check
def _light(rng, log_weight, order, log_share, held, chosen, found):  # noqa: PLR0917
    """Add to ``chosen`` those that evenly spaced marks fall upon; one mark upon the one that is held."""
    place, mark = 0.0, rng.random()
    for a in order:
        own = math.exp(log_weight[a] - log_share)
        if a == held:
            mark = (place + mark * own) % 1.0
        place += own
    place = 0.0
    for a in order:
        place += math.exp(log_weight[a] - log_share)
        hit = mark < place
        if (hit or a == held) and found < chosen.size:
            chosen[found] = a
            found += 1
            mark += 1.0 if hit else 0.0
    return found


@njit(cache=True, fastmath=False)
@no_type_check
def _with_held(chosen, n, held):
    """Rounding may lose the one that is held: it takes the place of the lightest."""
    for a in range(n):
        if chosen[a] == held:
            return n
    chosen[n - 1] = held
    return n


@njit(cache=True, fastmath=False)
@no_type_check
def _log_step(transition, before, after, start):
    """Log probability of a state after another, or at the start of a session."""
    return -math.log(transition.shape[0]) if start else math.log(max(transition[before, after], 1e-300))


@njit(cache=True, fastmath=False)
@no_type_check
def _new_beginning(rng, t, state, start, transition, n, label, weight, mean, cov, back, room):  # noqa: PLR0917
    """The particle from which the sequence that is held goes on at bin t."""
    score, q = np.empty(n), mean.shape[2]
    low, spare = np.empty((q, q)), np.empty((q, q))
    for a in range(n):
        score[a] = weight[a] + _log_step(transition, label[a], state[t], start[t])
        if start[t]:
            continue
        for g in range(mean.shape[1]):
            low[:] = cov[a, g]
            if not cholesky(low):
                return -1
            score[a] += _meet(mean[a, g], low, back[0][g, t - 1], back[1][g, t - 1], room, spare[0], room[4])
    return _pick(rng, score, n)


@njit(cache=True, fastmath=False)
@no_type_check
def _go_on(t, k, mean, cov, dynamics, starts, initial_sd, said, room, there, low, new_mean, new_cov):  # noqa: PLR0917
    """Log density of what counts say at bin t when a particle goes on to state k; its law then."""
    coef, noise = dynamics
    total = 0.0
    for g in range(mean.shape[0]):
        if starts:
            there[:] = 0.0
            low[:] = 0.0
            for i in range(there.size):
                low[i, i] = initial_sd
        elif not _ahead(mean[g], cov[g], coef[g, k], noise[g, k], room, there, low):
            return -np.inf
        total += _meet(there, low, said[0][g, t], said[1][g, t], room, new_mean[g], new_cov[g])
    return total


@njit(cache=True, fastmath=False)
@no_type_check
def _options(t, state, open_state):
    """States that a bin may take: those that are open, if it is in one of them."""
    for k in open_state:
        if state[t] == k:
            return open_state
    return state[t : t + 1].copy()


@njit(cache=True, fastmath=False)
@no_type_check
def _settle(rng, score, n_new, held_new, n_particle, chosen, log_weight):  # noqa: PLR0917
    """Fill which candidates are kept, and their log weights; their number, and the place of the one held."""
    n, light = n_new, -np.inf
    if n_new > n_particle:
        n, light = _kept(rng, score, n_new, n_particle, held_new, chosen)
    else:
        chosen[:n] = np.arange(n)
    held, top = 0, -np.inf
    for a in range(n):
        log_weight[a] = max(score[chosen[a]], light)
        top = max(top, log_weight[a])
        if chosen[a] == held_new:
            held = a
    log_weight[:n] -= top
    return n, held


@njit(cache=True, fastmath=False)
@no_type_check
def draw_by_particles(  # noqa: PLR0917
    rng, paths, coef, root, state, start, transition, initial_sd, weight, pull, open_state, n_particle
):
    """Draw the states of all bins that are in an open state, among open states, with paths integrated out.

    ``paths`` (group, time, q) give the shape; ``state`` is changed in place. ``weight`` and ``pull`` are
    precision and linear term of each group's counts. Returns the share of bins whose state changed.
    """
    n_group, n_time, q = paths.shape
    dynamics, said = (coef, _covariances(root)), (weight, pull)
    back = _messages_back(coef, root, state, start, weight, pull)
    most = n_particle * open_state.size
    parent, name = np.zeros((n_time, n_particle), np.int64), np.zeros((n_time, n_particle), np.int64)
    label, log_weight = np.zeros(n_particle, np.int64), np.zeros(n_particle)
    mean, cov = np.zeros((n_particle, n_group, q)), np.zeros((n_particle, n_group, q, q))
    new_mean, new_cov = np.zeros((most, n_group, q)), np.zeros((most, n_group, q, q))
    score, origin, goes = np.zeros(most), np.zeros(most, np.int64), np.zeros(most, np.int64)
    chosen, room = np.zeros(n_particle, np.int64), np.zeros((5, q, q))
    there, low = np.zeros(q), np.zeros((q, q))
    n, held = 1, 0
    for t in range(n_time):
        if n > 1:
            law = (n, label, log_weight, mean, cov)
            held = _new_beginning(rng, t, state, start, transition, *law, back, room)
            if held < 0:
                return 0.0
        n_new, held_new = 0, 0
        for a in range(n):
            for k in _options(t, state, open_state):
                score[n_new] = log_weight[a] + _log_step(transition, label[a], k, start[t])
                score[n_new] += _go_on(
                    t, k, mean[a], cov[a], dynamics, start[t], initial_sd, said, room, there, low,
                    new_mean[n_new], new_cov[n_new],
                )  # fmt: skip
                origin[n_new], goes[n_new] = a, k
                if a == held and k == state[t]:
                    held_new = n_new
                n_new += 1
        # what lies beyond numbers is neither entered nor left
        if not score[held_new] > -np.inf:
            return 0.0
        n, held = _settle(rng, score, n_new, held_new, n_particle, chosen, log_weight)
        for a in range(n):
            c = chosen[a]
            parent[t, a], name[t, a], label[a] = origin[c], goes[c], goes[c]
            mean[a], cov[a] = new_mean[c], new_cov[c]
    return _traced(rng, log_weight, n, parent, name, state)


@njit(cache=True, fastmath=False)
@no_type_check
def _traced(rng, log_weight, n, parent, name, state):  # noqa: PLR0917
    """Take one particle by its weight and put its sequence in place; share of bins that changed."""
    a = _pick(rng, log_weight, n)
    changed = 0.0
    for t in range(state.size - 1, -1, -1):
        changed += state[t] != name[t, a]
        state[t] = name[t, a]
        a = parent[t, a]
    return changed / state.size


@njit(cache=True, fastmath=False)
@no_type_check
def draw_path_given(rng, path, coef, root, state, start, initial_precision, weight, pull):  # noqa: PLR0917
    """The whole path of a group given what its counts say, in place; False where there is none."""
    diag, off, lin = prior_precision(coef, root, state, start, initial_precision)
    diag += weight
    lin += pull
    if not factorise(diag, off):
        return False
    path[:] = solve_path(diag, off, lin, normals(rng, path.shape[0], path.shape[1]))
    return True
