"""Transitions between the states of a switching GLM: the same at every sample, or driven by inputs.

    log odds of moving from state i to j rather than staying in i:  u_t . v_ij,   v_ii = 0

with u_t the inputs of the step that leads into sample t, a one first and the others centred: the first entry
of v holds the transition at the mean of the inputs. Rows are multinomial logistic regressions on expected
transitions (Bengio & Frasconi 1996, IEEE Transactions on Neural Networks 7, 1231-1249, section IV). These
arrays are small and stay on the host.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from neurotools.arrays import Array, device_of, like, namespace, to_numpy
from neurotools.numerics import glm, hmm
from neurotools.numerics.switching_terms import Params, Problem

FIRST = 1.0  # pseudo-counts of each state at the start of a session: sessions are few
BASE_WIDTH = 5.0  # of the normal prior on log odds at the mean input, around a state that mostly stays
STAY = 0.95  # probability of staying where every fit begins
HALVINGS = 12
SLACK = 1e-12  # of the size of an objective, by which rounding may lower it

Drive = Float[np.ndarray, "state state_to input"]


# ---- the chain as the recursions take it -----------------------------------------------------------------
def log_chain(params: Params, problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Log initial probabilities, and log transitions: one matrix, or one for each sample, on the host."""
    initial = to_numpy(params.log_initial)
    if params.drive is None or problem.inputs is None:
        return initial, to_numpy(params.log_transition)
    return initial, driven(params.drive, problem.inputs)


def driven(drive: Drive, inputs: Float[np.ndarray, "time input"]) -> Float[np.ndarray, "time state state_to"]:
    """Log transition matrices into every sample."""
    n_state = drive.shape[0]
    odds = (inputs @ drive.reshape(-1, drive.shape[2]).T).reshape(-1, n_state, n_state)
    top = odds.max(axis=2, keepdims=True)
    return odds - top - np.log(np.exp(odds - top).sum(axis=2, keepdims=True))


def pair_prob(
    found: hmm.Smoothed, log_transition: np.ndarray, start: Bool[np.ndarray, " time"]
) -> Float[np.ndarray, "time state state_to"]:
    """Posterior probability of each pair of states at a sample and the one before; zero at starts.

    The filtered state before, times the transition, times what the future adds to the state after.
    """
    filtered, smoothed = to_numpy(found.filtered_prob), to_numpy(found.state_prob)
    before = np.concatenate([np.zeros_like(filtered[:1]), filtered[:-1]])
    joint = before[:, :, None] * np.exp(log_transition)
    predicted = joint.sum(axis=1)
    ratio = np.divide(smoothed, predicted, out=np.zeros_like(smoothed), where=predicted > 0)
    pairs = joint * ratio[:, None, :]
    pairs[start] = 0
    return pairs


# ---- M-steps ----------------------------------------------------------------------------------------------
def chain_step(params: Params, found: hmm.Smoothed, problem: Problem) -> dict[str, Array]:
    """New initial probabilities and transitions."""
    initial = {"log_initial": initial_step(found, problem)}
    if params.drive is None:
        return initial | {"log_transition": transition_step(found, problem)}
    drive = drive_step(params.drive, found, problem)
    return initial | {"drive": drive, "log_transition": like(at_mean(drive), params.log_transition)}


def initial_step(found: hmm.Smoothed, problem: Problem) -> Float[Array, " state"]:
    """Most probable initial probabilities."""
    xp = namespace(found.state_prob)
    rows = xp.asarray(np.flatnonzero(problem.start), device=device_of(found.state_prob))
    first = xp.sum(xp.take(found.state_prob, rows, axis=0), axis=0) + FIRST
    return xp.log(first / xp.sum(first))


def transition_step(found: hmm.Smoothed, problem: Problem) -> Float[Array, "state state_to"]:
    """Most probable transitions under the sticky prior, where no inputs drive them."""
    xp = namespace(found.pair_sum)
    n_state = found.pair_sum.shape[0]
    identity = xp.eye(n_state, dtype=found.pair_sum.dtype, device=device_of(found.pair_sum))
    counts = found.pair_sum + problem.stickiness * identity + glm.TINY
    return xp.log(counts / xp.sum(counts, axis=1, keepdims=True))


def drive_step(drive: Drive, found: hmm.Smoothed, problem: Problem) -> Drive:
    """One damped Newton step of each row of transitions; the observed curvature is Fisher's here."""
    assert problem.inputs is not None
    pairs = pair_prob(found, driven(drive, problem.inputs), problem.start)
    rows = [_row_step(drive, state, pairs[:, state], problem) for state in range(drive.shape[0])]
    return np.stack(rows)


def _row_step(drive: Drive, state: int, pairs: np.ndarray, problem: Problem) -> np.ndarray:
    gradient, curvature = row_slopes(drive[state], state, pairs, problem)
    to = np.flatnonzero(np.arange(drive.shape[0]) != state)
    step = np.zeros_like(drive[state])
    step[to] = np.linalg.solve(curvature, gradient.ravel()).reshape(to.size, -1)
    before, size = _row_objective(drive[state], state, pairs, problem), 1.0
    for _ in range(HALVINGS):
        moved = drive[state] + size * step
        if _row_objective(moved, state, pairs, problem) >= before - SLACK * abs(before):
            return moved
        size /= 2
    return drive[state]


def row_slopes(
    row: Float[np.ndarray, "state_to input"], state: int, pairs: np.ndarray, problem: Problem
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient (other state, input) and negative curvature of a row's expected log posterior.

    The pseudo-counts of staying stand as further transitions at the mean input.
    """
    inputs = problem.inputs
    assert inputs is not None
    n_state, n_input = row.shape
    to = np.flatnonzero(np.arange(n_state) != state)
    prob = _row_prob(row, inputs)
    weight = pairs.sum(axis=1)
    gradient = (pairs[:, to] - weight[:, None] * prob[:, to]).T @ inputs
    outer = inputs[:, :, None] * inputs[:, None, :]
    spread = weight[:, None, None] * prob[:, to, None] * (np.eye(to.size) - prob[:, None, to])
    square = spread.reshape(len(inputs), -1).T @ outer.reshape(len(inputs), -1)
    curvature = square.reshape(to.size, to.size, n_input, n_input).transpose(0, 2, 1, 3).copy()
    mean = _row_prob(row, np.eye(1, n_input))[0]
    at_mean_spread = np.diag(mean[to]) - np.outer(mean[to], mean[to])
    gradient[:, 0] -= problem.stickiness * mean[to]
    curvature[:, 0, :, 0] += problem.stickiness * at_mean_spread
    precision = input_precisions(n_input, problem)
    gradient -= precision * (row[to] - base_row(n_state, n_input))
    size = to.size * n_input
    return gradient, curvature.reshape(size, size) + np.diag(np.tile(precision, to.size))


def _row_prob(row: np.ndarray, inputs: np.ndarray) -> Float[np.ndarray, "time state_to"]:
    odds = inputs @ row.T
    raised = np.exp(odds - odds.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def _row_objective(row: np.ndarray, state: int, pairs: np.ndarray, problem: Problem) -> float:
    inputs = problem.inputs
    assert inputs is not None
    expected = float((pairs * np.log(np.maximum(_row_prob(row, inputs), 1e-300))).sum())
    return expected + _row_log_prior(row, state, problem)


# ---- priors -----------------------------------------------------------------------------------------------
def chain_log_prior(params: Params, problem: Problem) -> float:
    """Log density of initial and transition probabilities, up to a constant."""
    xp = namespace(params.log_transition)
    first = float(FIRST * xp.sum(params.log_initial))
    if params.drive is None:
        return first + float(problem.stickiness * xp.sum(xp.linalg.diagonal(params.log_transition)))
    return first + sum(_row_log_prior(row, k, problem) for k, row in enumerate(params.drive))


def _row_log_prior(row: np.ndarray, state: int, problem: Problem) -> float:
    n_state, n_input = row.shape
    others = np.arange(n_state) != state
    stay = np.log(_row_prob(row, np.eye(1, n_input))[0, state])
    away = row[others] - base_row(n_state, n_input)
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
def drive_start(log_transition: Float[np.ndarray, "state state_to"], n_input: int) -> Drive:
    """Inputs that do nothing yet."""
    drive = np.zeros((*log_transition.shape, n_input))
    drive[..., 0] = log_transition - np.diag(log_transition)[:, None]
    return drive


def at_mean(drive: Drive) -> Float[np.ndarray, "state state_to"]:
    """Log transition matrix at the mean of the inputs."""
    return driven(drive, np.eye(1, drive.shape[2]))[0]
