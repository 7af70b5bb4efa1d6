"""Transitions between the states of a switching GLM: the same at every sample, or driven by inputs.

    log odds of moving from state i to j rather than staying in i:  u_t . v_ij,   v_ii = 0

with u_t the inputs of the step that leads into sample t, a one first and the others centred: the first entry
of v holds the transition at the mean of the inputs. Rows are multinomial logistic regressions on expected
transitions (Bengio & Frasconi 1996, IEEE Transactions on Neural Networks 7, 1231-1249, section IV).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from neurotools.arrays import Array, device_of, like, logsumexp, namespace, to_numpy
from neurotools.numerics import glm, hmm
from neurotools.numerics.switching_terms import Params, Problem

FIRST = 1.0  # pseudo-counts of each state at the start of a session: sessions are few
BASE_WIDTH = 5.0  # of the normal prior on log odds at the mean input, around a state that mostly stays
STAY = 0.95  # probability of staying where every fit begins
HALVINGS = 12
SLACK = 1e-12  # of the size of an objective, by which rounding may lower it

Drive = Float[Array, "state state_to input"]


# ---- the chain as the recursions take it -----------------------------------------------------------------
def log_chain(params: Params, problem: Problem) -> tuple[Array, Array]:
    """Log initial probabilities, and log transitions: one matrix, one of each restart or of each sample."""
    if params.drive is not None and problem.inputs is not None:
        return params.log_initial, driven(params.drive, problem.inputs)
    if params.log_transition.ndim == 2:
        return params.log_initial, params.log_transition
    return params.log_initial, params.log_transition[:, None, ...]


def host_chain(params: Params, problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """The same as NumPy arrays."""
    initial, transition = log_chain(params, problem)
    return to_numpy(initial), to_numpy(transition)


def driven(drive: Drive, inputs: Float[Array, "time input"]) -> Float[Array, "time state state_to"]:
    """Log transition matrices into every sample."""
    xp, n_state = namespace(drive), drive.shape[0]
    wide = xp.permute_dims(xp.reshape(drive, (-1, drive.shape[2])), (1, 0))
    odds = xp.reshape(inputs @ wide, (-1, n_state, n_state))
    return odds - logsumexp(odds, axis=2, keepdims=True)


def pair_prob(
    found: hmm.Smoothed, log_transition: Array, start: Bool[np.ndarray, " time"]
) -> Float[Array, "time state state_to"]:
    """Posterior probability of each pair of states at a sample and the one before; zero at starts.

    The filtered state before, times the transition, times what the future adds to the state after.
    """
    xp, smoothed = namespace(found.state_prob), found.state_prob
    before = xp.concat([xp.zeros_like(smoothed[:1, :]), found.filtered_prob[:-1, :]])
    joint = before[:, :, None] * xp.exp(log_transition)
    predicted = xp.sum(joint, axis=1)
    reached = predicted > 0
    ratio = xp.where(reached, smoothed / xp.where(reached, predicted, xp.ones_like(predicted)), 0 * smoothed)
    first = xp.asarray(start, device=device_of(smoothed))[:, None, None]
    return xp.where(first, xp.zeros_like(joint), joint * ratio[:, None, :])


# ---- M-steps ----------------------------------------------------------------------------------------------
def chain_step(params: Params, found: hmm.Smoothed, problem: Problem) -> dict[str, Array]:
    """New initial probabilities and transitions."""
    initial = {"log_initial": initial_step(found, problem)}
    if params.drive is None:
        return initial | {"log_transition": transition_step(found, problem)}
    drive = drive_step(params.drive, found, problem)
    return initial | {"drive": drive, "log_transition": at_mean(drive)}


def initial_step(found: hmm.Smoothed, problem: Problem) -> Float[Array, "... state"]:
    """Most probable initial probabilities."""
    xp = namespace(found.state_prob)
    rows = xp.asarray(np.flatnonzero(problem.start), device=device_of(found.state_prob))
    first = xp.sum(xp.take(found.state_prob, rows, axis=-2), axis=-2) + FIRST
    return xp.log(first / xp.sum(first, axis=-1, keepdims=True))


def transition_step(found: hmm.Smoothed, problem: Problem) -> Float[Array, "... state state_to"]:
    """Most probable transitions under the sticky prior, where no inputs drive them."""
    xp = namespace(found.pair_sum)
    n_state = found.pair_sum.shape[-1]
    identity = xp.eye(n_state, dtype=found.pair_sum.dtype, device=device_of(found.pair_sum))
    counts = found.pair_sum + problem.stickiness * identity + glm.TINY
    return xp.log(counts / xp.sum(counts, axis=-1, keepdims=True))


def drive_step(drive: Drive, found: hmm.Smoothed, problem: Problem) -> Drive:
    """One damped Newton step of each row of transitions; the observed curvature is Fisher's here."""
    pairs = pair_prob(found, driven(drive, problem.inputs), problem.start)
    rows = [_row_step(drive[k, ...], k, pairs[:, k, :], problem) for k in range(drive.shape[0])]
    return namespace(drive).stack(rows)


def _row_step(row: Array, state: int, pairs: Array, problem: Problem) -> Array:
    xp, (n_state, n_input) = namespace(row), row.shape
    gradient, curvature = row_slopes(row, state, pairs, problem)
    away = xp.reshape(xp.linalg.solve(curvature, xp.reshape(gradient, (-1, 1))), (n_state - 1, n_input))
    step = xp.concat([away[:state, :], xp.zeros_like(row[:1, :]), away[state:, :]])
    before, size = _row_objective(row, state, pairs, problem), 1.0
    for _ in range(HALVINGS):
        moved = row + size * step
        if _row_objective(moved, state, pairs, problem) >= before - SLACK * abs(before):
            return moved
        size /= 2
    return row


def row_slopes(
    row: Float[Array, "state_to input"], state: int, pairs: Array, problem: Problem
) -> tuple[Array, Array]:
    """Gradient (other state, input) and negative curvature of a row's expected log posterior.

    The pseudo-counts of staying stand as further transitions at the mean input.
    """
    xp, (n_state, n_input) = namespace(row), row.shape
    mean_input = like(np.eye(1, n_input), row)
    inputs = xp.concat([problem.inputs, mean_input])
    stays = problem.stickiness * like(np.eye(n_state)[state : state + 1], row)
    pairs = xp.concat([pairs, stays])
    weight = xp.sum(pairs, axis=1, keepdims=True)
    to = xp.asarray(_others(n_state, state), device=device_of(row))
    prob = xp.exp(xp.take(_row_log_prob(row, inputs), to, axis=1))
    precision = like(input_precisions(n_input, problem), row)
    pull = precision * (xp.take(row, to, axis=0) - like(base_row(n_state, n_input), row))
    gradient = xp.permute_dims(xp.take(pairs, to, axis=1) - weight * prob, (1, 0)) @ inputs - pull
    identity = like(np.eye(n_state - 1), row)
    spread = (weight * prob)[:, :, None] * (identity - prob[:, None, :])
    outer = inputs[:, :, None] * inputs[:, None, :]
    square = xp.permute_dims(_flat(spread), (1, 0)) @ _flat(outer)
    square = xp.permute_dims(xp.reshape(square, (n_state - 1, n_state - 1, n_input, n_input)), (0, 2, 1, 3))
    size = (n_state - 1) * n_input
    return gradient, xp.reshape(square, (size, size)) + like(
        np.diag(np.tile(input_precisions(n_input, problem), n_state - 1)), row
    )


def _flat(values: Array) -> Array:
    return namespace(values).reshape(values, (values.shape[0], -1))


def _others(n_state: int, state: int) -> np.ndarray:
    return np.flatnonzero(np.arange(n_state) != state)


def _row_log_prob(row: Array, inputs: Array) -> Float[Array, "time state_to"]:
    odds = inputs @ namespace(row).permute_dims(row, (1, 0))
    return odds - logsumexp(odds, keepdims=True)


def _row_objective(row: Array, state: int, pairs: Array, problem: Problem) -> float:
    expected = namespace(row).sum(pairs * _row_log_prob(row, problem.inputs))
    return float(expected) + _row_log_prior(row, state, problem)


# ---- priors -----------------------------------------------------------------------------------------------
def chain_log_prior(params: Params, problem: Problem) -> float:
    """Log density of initial and transition probabilities, up to a constant."""
    if params.drive is None:
        return float(undriven_log_prior(params, problem))
    first = float(FIRST * namespace(params.log_initial).sum(params.log_initial))
    rows = range(params.drive.shape[0])
    return first + sum(_row_log_prior(params.drive[k, ...], k, problem) for k in rows)


def undriven_log_prior(params: Params, problem: Problem) -> Float[Array, ...]:
    """The same where no inputs drive transitions, of every restart."""
    xp = namespace(params.log_transition)
    stays = xp.sum(xp.linalg.diagonal(params.log_transition), axis=-1)
    return FIRST * xp.sum(params.log_initial, axis=-1) + problem.stickiness * stays


def _row_log_prior(row: Array, state: int, problem: Problem) -> float:
    values = to_numpy(row)
    n_state, n_input = values.shape
    stay = values[state, 0] - np.logaddexp.reduce(values[:, 0])
    away = values[_others(n_state, state)] - base_row(n_state, n_input)
    return float(problem.stickiness * stay - 0.5 * (input_precisions(n_input, problem) * away**2).sum())


def input_precisions(n_input: int, problem: Problem) -> Float[np.ndarray, " input"]:
    """Precision of the normal prior on the log odds: at the mean input, and per unit of each input."""
    return np.array([BASE_WIDTH**-2, *[problem.input_precision] * (n_input - 1)])


def base_row(n_state: int, n_input: int) -> Float[np.ndarray, " input"]:
    """Where that prior lies: a state that stays with probability ``STAY``, whatever the inputs."""
    row = np.zeros(n_input)
    row[0] = np.log((1 - STAY) / (max(n_state - 1, 1) * STAY))
    return row


# ---- starts -----------------------------------------------------------------------------------------------
def drive_start(
    log_transition: Float[np.ndarray, "state state_to"], n_input: int
) -> Float[np.ndarray, "state state_to input"]:
    """Inputs that do nothing yet, on the host."""
    drive = np.zeros((*log_transition.shape, n_input))
    drive[..., 0] = log_transition - np.diag(log_transition)[:, None]
    return drive


def at_mean(drive: Drive) -> Float[Array, "state state_to"]:
    """Log transition matrix at the mean of the inputs."""
    return driven(drive, like(np.eye(1, drive.shape[2]), drive))[0, ...]
