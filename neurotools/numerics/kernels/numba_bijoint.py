"""States of stretches of time with the paths there, given dynamics and Polya-Gamma variates; in loops.

Paths follow the dynamics they were drawn under, so states given paths hardly move. Here a stretch is given
another state with the paths around it integrated out, and the paths are drawn anew where that is accepted.
"""

from __future__ import annotations

import math
from typing import no_type_check

import numpy as np
from numba import njit

from neurotools.numerics.kernels.numba_bilatents import _add, _group_rate
from neurotools.numerics.kernels.numba_bistates import _log_chance, _run, _stretch
from neurotools.numerics.kernels.numba_polyagamma import draw_one
from neurotools.numerics.kernels.numba_statespace import (
    _multiply,
    _solve_forwards,
    factorise,
    log_det_lower,
    normals,
    solve_path,
)

MARGIN = 8  # bins around a stretch whose paths are drawn with it


@njit(cache=True, fastmath=False)
@no_type_check
def augment(rng, path, y, seen, r, units, column, theta, weight, pull):  # noqa: PLR0917
    """Add to precision and linear term of a group's path what its units' counts say, by fresh variates."""
    for i in units:
        log_r = math.log(r[i])
        for t in range(path.shape[0]):
            if seen[i, t]:
                eta = _group_rate(path, column[i], theta[i], t)
                omega = draw_one(rng, y[i, t] + r[i], eta - log_r)
                linear = 0.5 * (y[i, t] - r[i]) + omega * (log_r - theta[i, 0])
                _add(weight[t], pull[t], column[i], theta[i], omega, linear)


@njit(cache=True, fastmath=False)
@no_type_check
def _terms(coef, root):
    """Of every state: Q^-1, Q^-1 A, A' Q^-1 A, Q^-1 b, A' Q^-1 b, and the log constant of a step."""
    n_state, q = coef.shape[0], coef.shape[1]
    noise, cross = np.empty((n_state, q, q)), np.empty((n_state, q, q))
    square, ahead = np.empty((n_state, q, q)), np.empty((n_state, q, 1))
    behind, constant = np.empty((n_state, q, 1)), np.empty(n_state)
    for k in range(n_state):
        _multiply(root[k], root[k], True, noise[k])
        _multiply(noise[k], coef[k, :, :q], False, cross[k])
        _multiply(coef[k, :, :q], cross[k], True, square[k])
        _multiply(noise[k], coef[k, :, q:], False, ahead[k])
        _multiply(coef[k, :, :q], ahead[k], True, behind[k])
        constant[k] = log_det_lower(root[k])
        for i in range(q):
            constant[k] -= 0.5 * coef[k, i, q] * ahead[k, i, 0]
    return noise, cross, square, ahead, behind, constant


@njit(cache=True, fastmath=False)
@no_type_check
def _say(diag, lin, square, shift, sign):
    """Add one step's precision and linear term to those of a bin."""
    for i in range(lin.size):
        lin[i] += sign * shift[i, 0]
        for j in range(lin.size):
            diag[i, j] += square[i, j]


@njit(cache=True, fastmath=False)
@no_type_check
def _tie(lin, cross, other, turned):
    """Add to a bin's linear term what a bin that is held says."""
    for i in range(lin.size):
        for j in range(lin.size):
            lin[i] += (cross[j, i] if turned else cross[i, j]) * other[j]


@njit(cache=True, fastmath=False)
@no_type_check
def _window(terms, path, state, start, begin, end, initial_precision, weight, pull):  # noqa: PLR0917
    """Factor and linear term of a path from ``begin`` to ``end``, all else held; log of its integral."""
    noise, cross, square, ahead, behind, constant = terms
    diag, lin = weight[begin:end].copy(), pull[begin:end].copy()
    off = np.zeros_like(diag)
    total = 0.0
    for t in range(begin, end):
        k, w = state[t], t - begin
        if start[t]:
            for i in range(lin.shape[1]):
                diag[w, i, i] += initial_precision
            continue
        total += constant[k]
        _say(diag[w], lin[w], noise[k], ahead[k], 1.0)
        if w > 0:
            _say(diag[w - 1], lin[w - 1], square[k], behind[k], -1.0)
            off[w] = -cross[k]
        else:
            _tie(lin[w], cross[k], path[t - 1], False)
    if end < state.size and not start[end]:
        _say(diag[-1], lin[-1], square[state[end]], behind[state[end]], -1.0)
        _tie(lin[-1], cross[state[end]], path[end], True)
    if not factorise(diag, off):
        return diag, off, lin, -np.inf
    half = _solve_forwards(diag, off, lin)
    for w in range(half.shape[0]):
        total -= log_det_lower(diag[w])
        for i in range(half.shape[1]):
            total += 0.5 * half[w, i] * half[w, i]
    return diag, off, lin, total


@njit(cache=True, fastmath=False)
@no_type_check
def _log_moves(state, start, first, last, transition):
    """Log probability of the transitions into a stretch, within it and out of it."""
    total = 0.0
    for t in range(first, min(last + 1, state.size)):
        if not start[t]:
            total += math.log(max(transition[state[t - 1], state[t]], 1e-300))
    return total


@njit(cache=True, fastmath=False)
@no_type_check
def reroute(rng, paths, coef, root, state, start, transition, initial_precision, weight, pull, n_tries):  # noqa: PLR0917
    """Propose other states for stretches, the paths around them integrated out; number accepted.

    ``paths`` (group, time, q) and ``state`` are changed in place. ``weight`` and ``pull`` are precision and
    linear term of each group's counts.
    """
    n_group, n_time, q = paths.shape
    n_state = transition.shape[0]
    terms = [_terms(coef[g], root[g]) for g in range(n_group)]
    accepted = 0
    for _ in range(n_tries if n_state > 1 else 0):
        first, last, run_first, run_last = _stretch(rng, state, start)
        old = state[first]
        new = (old + 1 + min(int(rng.random() * (n_state - 1)), n_state - 2)) % n_state
        begin, end = max(0, first - MARGIN), min(n_time, last + MARGIN)
        gain = -_log_moves(state, start, first, last, transition) - _log_chance(
            run_first, run_last, first, last
        )
        for g in range(n_group):
            gain -= _window(
                terms[g], paths[g], state, start, begin, end, initial_precision, weight[g], pull[g]
            )[3]
        state[first:last] = new
        to_first, to_last = _run(state, start, first)
        gain += _log_moves(state, start, first, last, transition) + _log_chance(
            to_first, to_last, first, last
        )
        laws = [
            _window(terms[g], paths[g], state, start, begin, end, initial_precision, weight[g], pull[g])
            for g in range(n_group)
        ]
        for g in range(n_group):
            gain += laws[g][3]
        if not math.log(rng.random()) < gain:
            state[first:last] = old
            continue
        for g in range(n_group):
            paths[g, begin:end] = solve_path(laws[g][0], laws[g][1], laws[g][2], normals(rng, end - begin, q))
        accepted += 1
    return accepted
