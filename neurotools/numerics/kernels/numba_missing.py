"""Covariance of the complete-data score for NumPy arrays: see ``numerics.missing_information``."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

from neurotools.numerics.missing_information import CERTAIN, ROWS, Chain


def missing_information(chain: Chain) -> np.ndarray:
    """Steps of the conditional expectation, a block of rows at a time, and one product for each block."""
    n_time, n_state, n = len(chain.x), chain.n_state, chain.n_parameter
    total = np.zeros((n, n))
    ahead, moved = np.zeros((n_state, n)), np.zeros((n_state, n))
    at_once = max(ROWS // (n_state * n_state + n_state), 1)
    rows = np.empty((at_once * (n_state * n_state + n_state), n))
    given = (
        np.ascontiguousarray(chain.filtered), np.ascontiguousarray(chain.smoothed),
        np.ascontiguousarray(chain.transition), np.ascontiguousarray(chain.initial), chain.start,
        np.ascontiguousarray(chain.x), np.ascontiguousarray(chain.slope), np.ascontiguousarray(chain.inputs),
    )  # fmt: skip
    for begin in range(0, n_time, at_once):
        stop = min(begin + at_once, n_time)
        used = _steps(given, begin, stop, (ahead, moved, rows), CERTAIN)
        total += rows[:used].T @ rows[:used]
    used = _terminal(ahead, given[1][-1], rows, 0)
    return total + rows[:used].T @ rows[:used]


@njit(cache=True, fastmath=False, error_model="numpy")
@no_type_check
def _steps(given, begin, stop, room, certain):
    filtered, smoothed, transition, initial, start, x, slope, inputs = given
    ahead, moved, rows = room
    n_state = ahead.shape[0]
    share = np.empty((n_state, n_state))
    used = 0
    for t in range(begin, stop):
        if start[t]:
            if t > 0:
                used = _terminal(ahead, smoothed[t - 1], rows, used)
            _first(ahead, initial, x[t], slope[t])
            continue
        move = transition[t if transition.shape[0] > 1 else 0]
        _shares(filtered[t - 1], move, share)
        _move(ahead, moved, share, (move, x[t], slope[t], inputs[t]))
        used = _rows(room, (share, smoothed[t], certain), (move, x[t], slope[t], inputs[t]), used)
        ahead[:] = moved
    return used


@njit(cache=True, fastmath=False, error_model="numpy")
@no_type_check
def _first(ahead, initial, x, slope):
    n_state, n = ahead.shape
    last = n - (n_state - 1)
    ahead[:] = 0.0
    for j in range(n_state):
        for a in range(n_state - 1):
            ahead[j, last + a] = (1.0 if j == a + 1 else 0.0) - initial[a + 1]
        _add_weights(ahead[j], j, n_state, x, slope[j])


@njit(cache=True, fastmath=False, error_model="numpy")
@no_type_check
def _shares(before, move, share):
    """Probability of each state before, given the state now and the past."""
    n_state = before.size
    for j in range(n_state):
        predicted = 1e-300
        for i in range(n_state):
            predicted += before[i] * move[i, j]
        for i in range(n_state):
            share[i, j] = before[i] * move[i, j] / predicted


@njit(cache=True, fastmath=False, error_model="numpy")
@no_type_check
def _move(ahead, moved, share, sample):
    move, x, slope, inputs = sample
    n_state, n = ahead.shape
    moved[:] = 0.0
    for j in range(n_state):
        for i in range(n_state):
            part = share[i, j]
            for p in range(n):
                moved[j, p] += part * ahead[i, p]
            _add_transitions(moved[j], (slope.shape[1] * n_state * x.size, i, j), move[i], inputs, part)
        _add_weights(moved[j], j, n_state, x, slope[j])


@njit(cache=True, fastmath=False, error_model="numpy")
@no_type_check
def _rows(room, prob, sample, used):
    ahead, moved, rows = room
    share, smoothed, certain = prob
    move, x, slope, inputs = sample
    n_state, n = ahead.shape
    for j in range(n_state):
        for i in range(n_state):
            pair = share[i, j] * smoothed[j]
            if pair < certain:
                continue
            row, root = rows[used], np.sqrt(pair)
            for p in range(n):
                row[p] = ahead[i, p] - moved[j, p]
            _add_weights(row, j, n_state, x, slope[j])
            _add_transitions(row, (slope.shape[1] * n_state * x.size, i, j), move[i], inputs, 1.0)
            for p in range(n):
                row[p] *= root
            used += 1
    return used


@njit(cache=True, fastmath=False, error_model="numpy")
@no_type_check
def _add_weights(row, state, n_state, x, slope):
    n_column = x.size
    for u in range(slope.size):
        begin = (u * n_state + state) * n_column
        for d in range(n_column):
            row[begin + d] += slope[u] * x[d]


@njit(cache=True, fastmath=False, error_model="numpy")
@no_type_check
def _add_transitions(row, place, move, inputs, share):
    first, i, j = place
    n_state, n_input = move.size, inputs.size
    a = 0
    for to in range(n_state):
        if to == i:
            continue
        begin = first + (i * (n_state - 1) + a) * n_input
        hit = (1.0 if to == j else 0.0) - move[to]
        for q in range(n_input):
            row[begin + q] += share * hit * inputs[q]
        a += 1


@njit(cache=True, fastmath=False, error_model="numpy")
@no_type_check
def _terminal(ahead, prob, rows, used):
    n_state, n = ahead.shape
    for j in range(n_state):
        row, root = rows[used], np.sqrt(prob[j])
        for p in range(n):
            mean = 0.0
            for i in range(n_state):
                mean += prob[i] * ahead[i, p]
            row[p] = root * (ahead[j, p] - mean)
        used += 1
    return used
