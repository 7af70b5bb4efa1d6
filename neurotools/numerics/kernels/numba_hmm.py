"""Forward-backward and the best path for NumPy arrays: scaled probabilities, one pass each way.

What can be done for all samples at once (exponentials, logarithms, the sum of pairs) is left to NumPy, whose
loops are vectorised; the compiled passes hold only what depends on the sample before.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

from neurotools.numerics.hmm import Smoothed, smooth_plain


def smooth(log_initial, log_transition, log_likelihood, start) -> Smoothed:
    """Forward-backward of every entry of the leading axes; see ``numerics.hmm.smooth_plain``."""
    batch = log_likelihood.shape[:-2]
    n_time, n_state = log_likelihood.shape[-2:]
    driven = log_transition.ndim > 2
    likelihood = np.ascontiguousarray(log_likelihood, dtype="float64").reshape(-1, n_time, n_state)
    initial = np.broadcast_to(np.exp(log_initial), (*batch, n_state)).reshape(-1, n_state)
    steps = (n_time if driven else 1, n_state, n_state)
    moves = np.exp(log_transition if driven else log_transition[None])
    transition = np.broadcast_to(moves, (*batch, *steps)).reshape(-1, *steps)
    n = len(likelihood)
    state_prob, filtered = np.empty((n, n_time, n_state)), np.empty((n, n_time, n_state))
    predictive, pairs = np.empty((n, n_time)), np.empty((n, n_state, n_state))
    for k in range(n):
        whole = smooth_one(
            (initial[k], np.ascontiguousarray(transition[k]), likelihood[k], start),
            (state_prob[k], filtered[k], pairs[k], predictive[k]),
        )
        if not whole:
            return smooth_plain(log_initial, log_transition, log_likelihood, start)
    log_predictive = predictive.reshape(*batch, n_time)

    def out(values: np.ndarray, *shape: int) -> np.ndarray:
        return values.reshape(*batch, *shape).astype(log_likelihood.dtype, copy=False)

    return Smoothed(
        state_prob=out(state_prob, n_time, n_state),
        filtered_prob=out(filtered, n_time, n_state),
        pair_sum=out(pairs, n_state, n_state),
        log_evidence=log_predictive.sum(axis=-1),
        log_predictive=out(predictive, n_time),
    )


def smooth_one(given, out) -> bool:
    """Fill the posteriors of one sequence; False where a sample is too improbable to be held unscaled."""
    initial, transition, log_likelihood, start = given
    state_prob, filtered, pairs, predictive = out
    scaled, top = np.empty_like(filtered), np.empty(len(filtered))
    _less_top(log_likelihood, scaled, top)
    np.exp(scaled, out=scaled)
    _forward(initial, transition, scaled, start, (filtered, predictive))
    if not (predictive > 1e-290).all():  # only states whose probability underflows can be reached here
        return False
    np.log(predictive, out=predictive)
    predictive += top
    if len(transition) > 1:
        pairs[:] = 0.0
        _backward_driven(transition, filtered, scaled, start, (state_prob, pairs))
        return True
    _backward(transition[0], filtered, scaled, start, state_prob)
    # A pair is the filtered state before, the transition, and what ``scaled`` now holds of the state after.
    pairs[:] = transition[0] * (filtered[:-1].T @ scaled[1:])
    return True


@njit(cache=True, fastmath=False, error_model="numpy")
@no_type_check
def _less_top(log_likelihood, shifted, top):
    n_time, n_state = log_likelihood.shape
    for t in range(n_time):
        best = log_likelihood[t, 0]
        for j in range(1, n_state):
            best = max(best, log_likelihood[t, j])
        top[t] = best
        for j in range(n_state):
            shifted[t, j] = log_likelihood[t, j] - best


@njit(cache=True, fastmath=False, error_model="numpy")
@no_type_check
def _forward(initial, transition, scaled, start, out):
    """Leave in ``scaled`` the likelihood over the predictive probability of its sample.

    What the next sample waits for is kept short: products with a transposed matrix, and the scale of the
    sample before taken into the likelihood beforehand.
    """
    filtered, predictive = out
    n_time, n_state = scaled.shape
    driven = transition.shape[0] > 1
    turned = transition[0].T.copy()
    joint, new = np.empty(n_state), np.empty(n_state)
    inverse = 1.0
    for t in range(n_time):
        if driven:
            turned[:] = transition[t].T
        total = 0.0
        for j in range(n_state):
            prior = initial[j]
            if not start[t]:
                prior = 0.0
                for i in range(n_state):
                    prior += joint[i] * turned[j, i]
                prior *= inverse
            new[j] = prior * scaled[t, j]
            total += new[j]
        inverse = 1.0 / total
        for j in range(n_state):
            joint[j] = new[j]
            filtered[t, j] = new[j] * inverse
            scaled[t, j] *= inverse
        predictive[t] = total


@njit(cache=True, fastmath=False, error_model="numpy")
@no_type_check
def _backward(move, filtered, scaled, start, state_prob):
    """Leave in ``scaled`` likelihood times backward probability, and zero where a session begins."""
    n_time, n_state = filtered.shape
    backward = np.ones(n_state)
    for t in range(n_time - 1, -1, -1):
        norm = 0.0
        for j in range(n_state):
            state_prob[t, j] = filtered[t, j] * backward[j]
            norm += state_prob[t, j]
        inverse = 1.0 / norm
        for j in range(n_state):
            state_prob[t, j] *= inverse
            scaled[t, j] *= backward[j]
        if start[t]:
            for j in range(n_state):
                backward[j] = 1.0
                scaled[t, j] = 0.0
            continue
        for i in range(n_state):
            total = 0.0
            for j in range(n_state):
                total += move[i, j] * scaled[t, j]
            backward[i] = total


@njit(cache=True, fastmath=False, error_model="numpy")
@no_type_check
def _backward_driven(transition, filtered, scaled, start, out):
    state_prob, pairs = out
    n_time, n_state = filtered.shape
    backward = np.ones(n_state)
    for t in range(n_time - 1, -1, -1):
        norm = 0.0
        for j in range(n_state):
            state_prob[t, j] = filtered[t, j] * backward[j]
            norm += state_prob[t, j]
        for j in range(n_state):
            state_prob[t, j] /= norm
            scaled[t, j] *= backward[j]
        if start[t]:
            backward[:] = 1.0
            continue
        move = transition[t]
        for i in range(n_state):
            total = 0.0
            for j in range(n_state):
                weight = move[i, j] * scaled[t, j]
                total += weight
                pairs[i, j] += filtered[t - 1, i] * weight
            backward[i] = total


def viterbi(log_initial, log_transition, log_likelihood, start) -> tuple[np.ndarray, float]:
    """Most probable path and its log joint probability; see ``numerics.hmm.viterbi_plain``."""
    moves = log_transition if log_transition.ndim > 2 else log_transition[None]
    arrays = [np.ascontiguousarray(a, dtype="float64") for a in (log_initial, moves, log_likelihood)]
    path = np.empty(len(log_likelihood), dtype="int64")
    return path, float(_viterbi(*arrays, start, path))


@njit(cache=True, fastmath=False, error_model="numpy")
@no_type_check
def _viterbi(initial, moves, log_likelihood, start, path):
    n_time, n_state = log_likelihood.shape
    came_from = np.zeros((n_time, n_state), dtype=np.int64)
    best, new = np.empty(n_state), np.empty(n_state)
    total, last = 0.0, -1
    for t in range(n_time):
        if start[t]:
            if t > 0:
                total += best[_trace_back(came_from, best, path, last, t)]
            last = t
            for j in range(n_state):
                new[j] = initial[j] + log_likelihood[t, j]
        else:
            move = moves[t if moves.shape[0] > 1 else 0]
            for j in range(n_state):
                top = best[0] + move[0, j]
                for i in range(1, n_state):
                    score = best[i] + move[i, j]
                    if score > top:
                        top = score
                        came_from[t, j] = i
                new[j] = top + log_likelihood[t, j]
        best[:] = new
    return total + best[_trace_back(came_from, best, path, last, n_time)]


@njit(cache=True, fastmath=False, error_model="numpy")
@no_type_check
def _trace_back(came_from, best, path, first, stop):
    """Fill the path of one session, from its best last state; return that state."""
    state = np.argmax(best)
    path[stop - 1] = state
    for t in range(stop - 1, first, -1):
        path[t - 1] = came_from[t, path[t]]
    return state
