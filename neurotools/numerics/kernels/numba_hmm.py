"""Forward-backward for NumPy arrays: scaled probabilities, pair statistics summed in place, one pass each."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

from neurotools.numerics.hmm import Smoothed


def smooth(log_initial, log_transition, log_likelihood, start) -> Smoothed:
    """Forward-backward of every entry of the leading axes; see ``numerics.hmm.smooth_plain``."""
    batch = log_likelihood.shape[:-2]
    n_time, n_state = log_likelihood.shape[-2:]
    driven = log_transition.ndim > 2
    likelihood = log_likelihood.reshape(-1, n_time, n_state)
    initial = np.broadcast_to(log_initial, (*batch, n_state)).reshape(-1, n_state)
    steps = (n_time if driven else 1, n_state, n_state)
    moves = np.exp(log_transition if driven else log_transition[None])
    transition = np.broadcast_to(moves, (*batch, *steps)).reshape(-1, *steps)
    out = [
        _smooth_one(np.exp(i), m, x, start) for i, m, x in zip(initial, transition, likelihood, strict=True)
    ]
    state_prob, filtered, pairs, predictive = (np.stack(part) for part in zip(*out, strict=True))
    log_predictive = predictive.reshape(*batch, n_time)
    return Smoothed(
        state_prob=state_prob.reshape(*batch, n_time, n_state),
        filtered_prob=filtered.reshape(*batch, n_time, n_state),
        pair_sum=pairs.reshape(*batch, n_state, n_state),
        log_evidence=log_predictive.sum(axis=-1),
        log_predictive=log_predictive,
    )


@njit(cache=True, fastmath=False)
@no_type_check
def _smooth_one(initial, transition, log_likelihood, start):
    filtered, scaled, predictive = _forward(initial, transition, log_likelihood, start)
    state_prob, pair_sum = _backward(transition, filtered, scaled, start)
    return state_prob, filtered, pair_sum, predictive


@njit(cache=True, fastmath=False)
@no_type_check
def _forward(initial, transition, log_likelihood, start):
    n_time, n_state = log_likelihood.shape
    filtered = np.empty((n_time, n_state))
    scaled = np.empty((n_time, n_state))  # likelihood over the predictive probability of the sample
    predictive = np.empty(n_time)
    for t in range(n_time):
        move = transition[t if transition.shape[0] > 1 else 0]
        top = log_likelihood[t].max()
        total = 0.0
        for j in range(n_state):
            prior = initial[j]
            if not start[t]:
                prior = 0.0
                for i in range(n_state):
                    prior += filtered[t - 1, i] * move[i, j]
            scaled[t, j] = np.exp(log_likelihood[t, j] - top)
            filtered[t, j] = prior * scaled[t, j]
            total += filtered[t, j]
        for j in range(n_state):
            filtered[t, j] /= total
            scaled[t, j] /= total
        predictive[t] = np.log(total) + top
    return filtered, scaled, predictive


@njit(cache=True, fastmath=False)
@no_type_check
def _backward(transition, filtered, scaled, start):
    n_time, n_state = filtered.shape
    state_prob = np.empty((n_time, n_state))
    pair_sum = np.zeros((n_state, n_state))
    backward = np.ones(n_state)
    ahead = np.empty(n_state)
    for t in range(n_time - 1, -1, -1):
        norm = 0.0
        for j in range(n_state):
            state_prob[t, j] = filtered[t, j] * backward[j]
            norm += state_prob[t, j]
        for j in range(n_state):
            state_prob[t, j] /= norm
            ahead[j] = scaled[t, j] * backward[j]
        if start[t]:
            backward[:] = 1.0
            continue
        move = transition[t if transition.shape[0] > 1 else 0]
        for i in range(n_state):
            total = 0.0
            for j in range(n_state):
                weight = move[i, j] * ahead[j]
                total += weight
                pair_sum[i, j] += filtered[t - 1, i] * weight
            backward[i] = total
    return state_prob, pair_sum
