"""Hidden Markov chains: posteriors over states, the evidence, and the best path.

All functions take ``log_likelihood[..., time, state]``; leading axes are batches (restarts, folds). Sessions
lie end to end along time: ``start`` marks their first samples, where the chain begins anew from
``log_initial`` and no transition is counted. A missing bin has log likelihood 0 in every state.
``log_transition`` is ``[state, state_to]``, or ``[..., time, state, state_to]`` where inputs drive it or each
entry of a batch has its own: entry ``t`` leads into sample ``t``, and one entry leads into every sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from neurotools.arrays import Array, dispatch, logsumexp, namespace


@dataclass(frozen=True)
class Smoothed:
    """Posteriors of a chain given all data, and what its fit needs of them."""

    state_prob: Array  # [..., time, state], given the whole session
    filtered_prob: Array  # [..., time, state], given the past and present
    pair_sum: Array  # [..., state, state_to], expected number of transitions
    log_evidence: Array  # [...], natural log probability of the data
    log_predictive: Array  # [..., time], of each sample given the past; sums to log_evidence


def smooth(
    log_initial: Float[Array, "... state"],
    log_transition: Float[Array, "... state state"],
    log_likelihood: Float[Array, "*batch time state"],
    start: Bool[np.ndarray, " time"] | None = None,
) -> Smoothed:
    """Posterior over hidden states given whole sessions (forward-backward).

    Rabiner (1989), Proceedings of the IEEE 77(2), eqs. 19-27 and 37. Runs where ``log_likelihood`` lives: on
    the host a compiled recursion, on a device a scan (``numerics.hmm_scan``).
    """
    start = session_starts(log_likelihood.shape[-2], start)
    return dispatch("smooth", log_likelihood, smooth_plain)(
        log_initial, log_transition, log_likelihood, start
    )


def smooth_plain(log_initial, log_transition, log_likelihood, start) -> Smoothed:
    """Forward-backward in log space: the readable form, and the oracle of the other two."""
    xp = namespace(log_likelihood)
    n_time = log_likelihood.shape[-2]
    forward: list[Array] = []
    log_predictive: list[Array] = []
    for t in range(n_time):
        if start[t]:
            prior = log_initial + xp.zeros_like(log_likelihood[..., t, :])
        else:
            prior = logsumexp(forward[-1][..., :, None] + _into(log_transition, t), axis=-2)
        joint = prior + log_likelihood[..., t, :]
        log_predictive.append(logsumexp(joint, axis=-1))
        forward.append(joint - log_predictive[-1][..., None])
    backward = [xp.zeros_like(forward[-1])]
    pair_sum = xp.zeros_like(forward[0][..., :, None] + forward[0][..., None, :])
    for t in range(n_time - 1, 0, -1):
        if start[t]:
            backward.append(xp.zeros_like(backward[-1]))
            continue
        ahead = log_likelihood[..., t, :] + backward[-1] - log_predictive[t][..., None]
        pair = forward[t - 1][..., :, None] + _into(log_transition, t) + ahead[..., None, :]
        pair_sum = pair_sum + xp.exp(pair)
        backward.append(logsumexp(_into(log_transition, t) + ahead[..., None, :], axis=-1))
    log_filtered = xp.stack(forward, axis=-2)
    log_smoothed = log_filtered + xp.stack(backward[::-1], axis=-2)
    predictive = xp.stack(log_predictive, axis=-1)
    return Smoothed(
        state_prob=xp.exp(log_smoothed - logsumexp(log_smoothed, axis=-1, keepdims=True)),
        filtered_prob=xp.exp(log_filtered),
        pair_sum=pair_sum,
        log_evidence=xp.sum(predictive, axis=-1),
        log_predictive=predictive,
    )


def viterbi(
    log_initial: Float[Array, " state"],
    log_transition: Float[Array, "... state state"],
    log_likelihood: Float[Array, "time state"],
    start: Bool[np.ndarray, " time"] | None = None,
) -> tuple[np.ndarray, float]:
    """Most probable path of states and its log joint probability.

    Rabiner (1989), eqs. 32-35. Sessions are decoded one by one. Uses the compiled kernel where there is one.
    """
    start = session_starts(log_likelihood.shape[-2], start)
    return dispatch("viterbi", log_likelihood, viterbi_plain)(
        log_initial, log_transition, log_likelihood, start
    )


def viterbi_plain(log_initial, log_transition, log_likelihood, start) -> tuple[np.ndarray, float]:
    """The readable form, and the oracle of the kernels."""
    xp = namespace(log_likelihood)
    n_time = log_likelihood.shape[-2]
    best = log_initial + log_likelihood[0, :]
    total = 0.0
    came_from = [xp.zeros_like(best, dtype=xp.int64)]
    ends: list[tuple[int, int]] = []
    for t in range(1, n_time):
        if start[t]:
            ends.append((t - 1, int(xp.argmax(best))))
            total += float(xp.max(best))
            came_from.append(came_from[0])
            best = log_initial + log_likelihood[t, :]
            continue
        score = best[:, None] + _into(log_transition, t)
        came_from.append(xp.argmax(score, axis=0))
        best = xp.max(score, axis=0) + log_likelihood[t, :]
    ends.append((n_time - 1, int(xp.argmax(best))))
    return _trace_back(came_from, ends, start), total + float(xp.max(best))


def _trace_back(came_from: list[Array], ends: list[tuple[int, int]], start: np.ndarray) -> np.ndarray:
    path = np.empty(len(came_from), dtype="int64")
    for last, state in ends:
        t, path[last] = last, state
        while not start[t]:
            path[t - 1] = int(came_from[t][int(path[t])])
            t -= 1
    return path


def session_starts(n_time: int, start: np.ndarray | None) -> np.ndarray:
    """Flags of the first sample of each session; the first sample always is one."""
    flags = np.zeros(n_time, dtype=bool) if start is None else np.array(start, dtype=bool)
    flags[0] = True
    return flags


def _into(log_transition: Array, t: int) -> Array:
    """The log transition matrix that leads into sample ``t``."""
    if log_transition.ndim == 2:
        return log_transition
    return log_transition[..., t if log_transition.shape[-3] > 1 else 0, :, :]
