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
FARTHEST = 6  # bins by which an edge is shifted at most


@njit(cache=True, fastmath=False)
@no_type_check
def augment(rng, path, y, seen, r, units, column, theta, omega, weight, pull):  # noqa: PLR0917
    """Add to precision and linear term of a group's path what its units' counts say, by fresh variates.

    ``omega`` (unit, time) becomes those variates.
    """
    for i in units:
        log_r = math.log(r[i])
        for t in range(path.shape[0]):
            if seen[i, t]:
                eta = _group_rate(path, column[i], theta[i], t)
                omega[i, t] = draw_one(rng, y[i, t] + r[i], eta - log_r)
                linear = 0.5 * (y[i, t] - r[i]) + omega[i, t] * (log_r - theta[i, 0])
                _add(weight[t], pull[t], column[i], theta[i], omega[i, t], linear)


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
def _label(rng, state, start, first, last, n_state):  # noqa: PLR0917
    """Another state for a stretch, often that of a bin beside it; and with what chances there and back."""
    old = state[first]
    before = state[first - 1] if not start[first] else -1
    after = state[last] if last < state.size and not start[last] else -1
    u = rng.random()
    if u < 0.5:
        new = (old + 1 + min(int(2.0 * u * (n_state - 1)), n_state - 2)) % n_state
    else:
        new = before if u < 0.75 else after
    anywhere = 0.5 / (n_state - 1)
    there = anywhere + 0.25 * (before == new) + 0.25 * (after == new)
    back = anywhere + 0.25 * (before == old) + 0.25 * (after == old)
    return new, math.log(back) - math.log(there)


@njit(cache=True, fastmath=False)
@no_type_check
def _log_joint(terms, paths, state, start, transition, span, initial_precision, weight, pull):  # noqa: PLR0917
    """Log probability of states around a stretch, paths from ``begin`` to ``end`` integrated out."""
    first, last, begin, end = span
    total = _log_moves(state, start, first, last, transition)
    for g in range(paths.shape[0]):
        total += _window(terms[g], paths[g], state, start, begin, end, initial_precision, weight[g], pull[g])[
            3
        ]
    return total


@njit(cache=True, fastmath=False)
@no_type_check
def _attempt(  # noqa: PLR0917
    rng, terms, paths, state, start, transition, initial_precision, weight, pull, first, last, new, gain
):
    """Give a stretch another state, and its paths new values, if the exact ratio allows; whether it did.

    ``gain`` is the log chance of the way back less that of the way there.
    """
    old = state[first]
    begin, end = max(0, first - MARGIN), min(state.size, last + MARGIN)
    given = (transition, (first, last, begin, end), initial_precision, weight, pull)
    before = _log_joint(terms, paths, state, start, *given)
    state[first:last] = new
    after = _log_joint(terms, paths, state, start, *given)
    # what lies beyond numbers is neither entered nor left
    if not (before > -np.inf and math.log(rng.random()) < gain + after - before):
        state[first:last] = old
        return False
    for g in range(paths.shape[0]):
        low, left, lin, _ = _window(
            terms[g], paths[g], state, start, begin, end, initial_precision, weight[g], pull[g]
        )
        paths[g, begin:end] = solve_path(low, left, lin, normals(rng, end - begin, paths.shape[2]))
    return True


@njit(cache=True, fastmath=False)
@no_type_check
def _edges(state, start):
    """Bins whose state differs from that of the bin before, in the same session."""
    found = np.empty(state.size, dtype=np.int64)
    n = 0
    for t in range(1, state.size):
        if not start[t] and state[t] != state[t - 1]:
            found[n] = t
            n += 1
    return found[:n]


@njit(cache=True, fastmath=False)
@no_type_check
def _shifted(rng, state, start):
    """A stretch at an edge that would go to the run on the other side, and that run's state; -1 where none.

    Both runs go on, so edges stay as many, and the way back is as probable.
    """
    edges = _edges(state, start)
    if edges.size == 0:
        return 0, 0, -1
    t = edges[min(int(rng.random() * edges.size), edges.size - 1)]
    far = 1 + min(int(rng.random() * FARTHEST), FARTHEST - 1)
    if rng.random() < 0.5:
        run_first, _ = _run(state, start, t - 1)
        return (t - far, t, state[t]) if t - far > run_first else (0, 0, -1)
    _, run_last = _run(state, start, t)
    return (t, t + far, state[t - 1]) if t + far < run_last else (0, 0, -1)


@njit(cache=True, fastmath=False)
@no_type_check
def reroute(  # noqa: PLR0917
    rng, paths, coef, root, state, start, transition, initial_precision, weight, pull, n_tries, n_shifts
):
    """Propose other states for stretches and for bins at edges, the paths around them integrated out.

    ``paths`` (group, time, q) and ``state`` are changed in place. ``weight`` and ``pull`` are precision and
    linear term of each group's counts. Returns how many were accepted.
    """
    n_state = transition.shape[0]
    terms = [_terms(coef[g], root[g]) for g in range(paths.shape[0])]
    given = (terms, paths, state, start, transition, initial_precision, weight, pull)
    accepted = 0
    for k in range(n_tries + n_shifts if n_state > 1 else 0):
        if k < n_tries:
            first, last, run_first, run_last = _stretch(rng, state, start)
            new, gain = _label(rng, state, start, first, last, n_state)
            old = state[first]
            if new == old or new < 0:
                continue
            state[first:last] = new
            to_first, to_last = _run(state, start, first)
            state[first:last] = old
            gain += _log_chance(to_first, to_last, first, last)
            gain -= _log_chance(run_first, run_last, first, last)
        else:
            first, last, new = _shifted(rng, state, start)
            gain = 0.0
            if new < 0:
                continue
        accepted += _attempt(rng, *given, first, last, new, gain)
    return accepted
