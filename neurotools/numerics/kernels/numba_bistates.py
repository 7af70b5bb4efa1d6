"""Stretches of time given to other states, dynamics and transitions integrated out; in loops.

Drawing all states at once, given dynamics, hardly ever empties a state: the dynamics of each have grown to
fit its bins. Here a stretch changes its state by the ratio of evidences: states merge, split and come anew.
"""

from __future__ import annotations

import math
from typing import no_type_check

import numpy as np
from numba import njit

from neurotools.numerics.kernels.numba_statespace import log_evidence, moments_of_path


@njit(cache=True, fastmath=False)
@no_type_check
def _evidence(xx, yx, yy, count, k, column_precision, noise):  # noqa: PLR0917
    """Log evidence of the bins of one state, over all groups of clusters."""
    total = 0.0
    for g in range(xx.shape[0]):
        total += log_evidence(
            xx[g, k : k + 1], yx[g, k : k + 1], yy[g, k : k + 1], count[k : k + 1], column_precision, noise
        )
    return total


@njit(cache=True, fastmath=False)
@no_type_check
def _log_rows(moves, weight):
    """Log probability of transitions, their rows integrated out: Dirichlet-multinomial."""
    total = 0.0
    for j in range(moves.shape[0]):
        n, mass = 0, 0.0
        for k in range(moves.shape[1]):
            n += moves[j, k]
            mass += weight[j, k]
            if moves[j, k] > 0:
                total += math.lgamma(weight[j, k] + moves[j, k]) - math.lgamma(weight[j, k])
        if n > 0:
            total += math.lgamma(mass) - math.lgamma(mass + n)
    return total


@njit(cache=True, fastmath=False)
@no_type_check
def _change(moves, state, start, first, last, label):  # noqa: PLR0917
    """Give a stretch a label; transitions follow."""
    n_time = state.size
    for sign in (-1, 1):
        for t in range(first, min(last + 1, n_time)):
            if not start[t]:
                moves[state[t - 1], state[t]] += sign
        if sign < 0:
            state[first:last] = label


@njit(cache=True, fastmath=False)
@no_type_check
def _run(state, start, t):
    """The stretch around a bin in which state and session stay the same: its first bin, one past its last."""
    first, last = t, t + 1
    while not start[first] and state[first - 1] == state[t]:
        first -= 1
    while last < state.size and not start[last] and state[last] == state[t]:
        last += 1
    return first, last


@njit(cache=True, fastmath=False)
@no_type_check
def _log_chance(run_first, run_last, first, last):
    """Log of the chance that a stretch is chosen, times the number of bins.

    From each of its bins: to the end of the run half of the time, else to any bin on the way.
    """
    total = 0.0
    for t in range(first, last):
        left = 0.5 / (t - run_first + 1) + (0.5 if first == run_first else 0.0)
        right = 0.5 / (run_last - t) + (0.5 if last == run_last else 0.0)
        total += left * right
    return math.log(total)


@njit(cache=True, fastmath=False)
@no_type_check
def _stretch(rng, state, start):
    """A bin, and a stretch around it within its run; and the run."""
    t = min(int(rng.random() * state.size), state.size - 1)
    run_first, run_last = _run(state, start, t)
    first, last = run_first, run_last
    if rng.random() < 0.5:
        first = run_first + min(int(rng.random() * (t - run_first + 1)), t - run_first)
    if rng.random() < 0.5:
        last = t + 1 + min(int(rng.random() * (run_last - t)), run_last - t - 1)
    return first, last, run_first, run_last


@njit(cache=True, fastmath=False)
@no_type_check
def _shift(sums, of_stretch, old, new, sign):
    """Move the sums of a stretch from one state to another, or back."""
    for which in range(3):
        total, part = sums[which], of_stretch[which]
        total[:, old] -= sign * part
        total[:, new] += sign * part


@njit(cache=True, fastmath=False)
@no_type_check
def _all_moments(paths, state, start, n_state):
    """Sums of every group and state, and bins of every state."""
    n, q = paths.shape[0], paths.shape[2]
    xx, yx = np.empty((n, n_state, q + 1, q + 1)), np.empty((n, n_state, q, q + 1))
    yy, count = np.empty((n, n_state, q, q)), np.zeros(n_state, dtype=np.int64)
    for g in range(n):
        xx[g], yx[g], yy[g], count = moments_of_path(paths[g], state, start, n_state)
    return xx, yx, yy, count


@njit(cache=True, fastmath=False)
@no_type_check
def relabel(rng, paths, state, start, weight, moves, n_tries, column_precision, noise):  # noqa: PLR0917
    """Propose other states for stretches, ``n_tries`` times; number accepted.

    ``paths`` (group, time, q); ``weight`` are Dirichlet parameters of transitions, ``moves`` their numbers.
    ``state`` and ``moves`` are changed in place.
    """
    n_state = weight.shape[0]
    xx, yx, yy, count = _all_moments(paths, state, start, n_state)
    evidence = np.empty(n_state)
    for k in range(n_state):
        evidence[k] = _evidence(xx, yx, yy, count, k, column_precision, noise)
    log_rows, accepted = _log_rows(moves, weight), 0
    blank = np.zeros(state.size, dtype=np.int64)
    for _ in range(n_tries if n_state > 1 else 0):
        first, last, run_first, run_last = _stretch(rng, state, start)
        old = state[first]
        new = (old + 1 + min(int(rng.random() * (n_state - 1)), n_state - 2)) % n_state
        begin = first if start[first] else first - 1  # the bin before, from which the first step goes
        edge = start[begin:last].copy()
        edge[0] = True
        steps = _all_moments(paths[:, begin:last], blank[begin:last], edge, 1)
        part = (steps[0][:, 0], steps[1][:, 0], steps[2][:, 0])
        _shift((xx, yx, yy), part, old, new, 1.0)
        count[old] -= steps[3][0]
        count[new] += steps[3][0]
        _change(moves, state, start, first, last, new)
        to_first, to_last = _run(state, start, first)
        old_evidence = _evidence(xx, yx, yy, count, old, column_precision, noise)
        new_evidence = _evidence(xx, yx, yy, count, new, column_precision, noise)
        rows = _log_rows(moves, weight)
        gain = old_evidence + new_evidence - evidence[old] - evidence[new] + rows - log_rows
        gain += _log_chance(to_first, to_last, first, last) - _log_chance(run_first, run_last, first, last)
        if math.log(rng.random()) < gain:
            evidence[old], evidence[new], log_rows = old_evidence, new_evidence, rows
            accepted += 1
            continue
        _shift((xx, yx, yy), part, old, new, -1.0)
        count[old] += steps[3][0]
        count[new] -= steps[3][0]
        _change(moves, state, start, first, last, old)
    return accepted
