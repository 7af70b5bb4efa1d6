"""Generalised linear models whose weights switch with one hidden state shared by all units.

    z_t | z_{t-1} ~ transition,    mean_{tn} = link(x_t . w_{z_t, n}),    y_{tn} ~ family(mean_{tn})
    w_{k, n} ~ N(c_n, 1 / precision),    c_n ~ N(m_n, 1 / centre_precision)

Fitted by expectation-maximisation to a maximum a posteriori estimate: exact posteriors over states, then one
damped Fisher-scoring step that solves the weights of all states of a unit and their common centre together.
Every step raises the log posterior or leaves it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from neurotools.arrays import Array, device_of, like, namespace
from neurotools.numerics import glm, hmm

HALVINGS = 12  # of a step that does not raise the objective, before the unit keeps its weights
ROWS = 2048  # samples whose means are in memory at a time


@dataclass(frozen=True)
class Params:
    """What is learned."""

    weights: Float[Array, "state column unit"]
    centre: Float[Array, "column unit"]
    log_initial: Float[Array, " state"]
    log_transition: Float[Array, "state state"]
    dispersion: Float[Array, " unit"]


@dataclass(frozen=True)
class Problem:
    """What is given: observations, regressors, and the priors."""

    x: Float[Array, "time column"]
    y: Float[Array, "time unit"]
    start: Bool[np.ndarray, " time"]
    family: str
    link: str
    precision: Float[Array, " column"]  # of weights around their centre; 0 for none
    centre_mean: Float[Array, "column unit"]
    centre_precision: Float[Array, " column"]
    stickiness: float = 0.0  # pseudo-counts of staying


def log_likelihood(params: Params, problem: Problem) -> Float[Array, "time state"]:
    """Log probability of all units at each sample under each state, without terms of y alone."""
    xp = namespace(problem.x)
    family, link = glm.FAMILIES[problem.family], glm.LINKS[problem.link]
    parts = []
    for begin, stop in chunks(problem.x.shape[0]):
        states = []
        for k in range(params.weights.shape[0]):
            mean = glm.bounded_mean(problem.family, link, problem.x[begin:stop, :] @ params.weights[k, :, :])
            log_prob = family.log_prob(problem.y[begin:stop, :], mean, params.dispersion)
            states.append(xp.sum(log_prob, axis=1))
        parts.append(xp.stack(states, axis=1))
    return xp.concat(parts, axis=0)


def log_normaliser(params: Params, problem: Problem) -> float:
    """Terms of the log likelihood that no state changes: of the observations and the dispersion alone."""
    xp = namespace(problem.y)
    return float(xp.sum(glm.FAMILIES[problem.family].log_normaliser(problem.y, params.dispersion)))


def chunks(n: int) -> list[tuple[int, int]]:
    """Ranges of rows that are worked on together."""
    return [(begin, min(begin + ROWS, n)) for begin in range(0, n, ROWS)]


def posterior(params: Params, problem: Problem) -> hmm.Smoothed:
    """Posterior over states given whole sessions."""
    return hmm.smooth(
        params.log_initial, params.log_transition, log_likelihood(params, problem), problem.start
    )


def log_prior(params: Params, problem: Problem) -> float:
    """Log density of the parameters, up to a constant."""
    xp = namespace(params.weights)
    around = params.weights - params.centre[None, :, :]
    total = -0.5 * xp.sum(problem.precision[None, :, None] * around**2)
    total = total - 0.5 * xp.sum(
        problem.centre_precision[:, None] * (params.centre - problem.centre_mean) ** 2
    )
    staying = xp.sum(xp.linalg.diagonal(params.log_transition))
    return float(total + problem.stickiness * staying)


def expectation_maximisation(
    params: Params,
    problem: Problem,
    max_iter: int,
    tol: float,
    watch: Callable[[int, float], None] | None = None,
) -> tuple[Params, hmm.Smoothed, list[float], bool]:
    """Alternate posteriors and updates until the log posterior gains less than ``tol`` relative."""
    trace: list[float] = []
    found = posterior(params, problem)
    for iteration in range(max_iter):
        trace.append(float(found.log_evidence) + log_normaliser(params, problem) + log_prior(params, problem))
        if watch is not None:
            watch(iteration, trace[-1])
        if len(trace) > 1 and trace[-1] - trace[-2] < tol * abs(trace[-1]):
            return params, found, trace, True
        params = maximise(params, found, problem)
        found = posterior(params, problem)
    return params, found, trace, False


def maximise(params: Params, found: hmm.Smoothed, problem: Problem) -> Params:
    """One M-step: transitions in closed form, weights by a damped Fisher step, dispersion by search."""
    params = replace(params, **transitions(found, problem))
    params = weights_step(params, found.state_prob, problem)
    return dispersion_step(params, found.state_prob, problem)


def transitions(found: hmm.Smoothed, problem: Problem) -> dict[str, Array]:
    """Most probable initial and transition probabilities under the sticky prior."""
    xp = namespace(found.pair_sum)
    n_state = found.pair_sum.shape[0]
    identity = xp.eye(n_state, dtype=found.pair_sum.dtype, device=device_of(found.pair_sum))
    counts = found.pair_sum + problem.stickiness * identity + glm.TINY
    rows = xp.asarray(np.flatnonzero(problem.start), device=device_of(found.state_prob))
    first = xp.mean(xp.take(found.state_prob, rows, axis=0), axis=0) + glm.TINY
    return {
        "log_transition": xp.log(counts / xp.sum(counts, axis=1, keepdims=True)),
        "log_initial": xp.log(first / xp.sum(first)),
    }


# ---- weights ----------------------------------------------------------------------------------------------
def weights_step(params: Params, state_prob: Array, problem: Problem) -> Params:
    """Raise the expected log posterior of each unit's weights, all states and the centre together."""
    gradient, information = derivatives(params, state_prob, problem)
    step, centre_step = arrowhead(params, gradient, information, problem)
    return damped(params, step, centre_step, state_prob, problem)


def derivatives(params: Params, state_prob: Array, problem: Problem) -> tuple[Array, Array]:
    """Gradient (state, column, unit) and Fisher information (state, unit, column, column) of the data."""
    xp = namespace(problem.x)
    family, link = glm.FAMILIES[problem.family], glm.LINKS[problem.link]
    gradient, information = [], []
    for k in range(params.weights.shape[0]):
        predictor = problem.x @ params.weights[k, :, :]
        mean = glm.bounded_mean(problem.family, link, predictor)
        slope, variance = link.slope(predictor), family.variance(mean, params.dispersion)
        weight = state_prob[:, k : k + 1] * slope / variance
        gradient.append(xp.permute_dims(problem.x, (1, 0)) @ (weight * (problem.y - mean)))
        information.append(glm.weighted_grams(problem.x, weight * slope))
    return xp.stack(gradient), xp.stack(information)


def arrowhead(params: Params, gradient: Array, information: Array, problem: Problem) -> tuple[Array, Array]:
    """Newton step of weights and centre: state blocks tied by the centre, one small system per unit.

    With P the precision, H_k the information of state k and g_k its gradient, the blocks are H_k + P, the
    border is -P, and the Schur complement of the centre is sum_k (P - P (H_k + P)^-1 P) plus its prior.
    """
    xp = namespace(gradient)
    n_state, n_column, _ = gradient.shape
    prior = problem.precision
    pull = prior[None, :, None] * (params.centre[None, :, :] - params.weights)
    g = xp.permute_dims(gradient + pull, (0, 2, 1))[..., None]  # (state, unit, column, 1)
    identity = xp.eye(n_column, dtype=g.dtype, device=device_of(g))
    scale = 1e-9 * xp.max(xp.abs(information))  # a column that never varies must not make the system singular
    blocks = information + identity * (prior + scale)[None, None, :, None]
    border = identity * prior[:, None]
    both = xp.linalg.solve(blocks, xp.concat([g, xp.broadcast_to(border, blocks.shape)], axis=-1))
    solved, reach = both[..., :1], both[..., 1:]
    centre_pull = problem.centre_precision[:, None] * (problem.centre_mean - params.centre)
    g0 = xp.permute_dims(centre_pull - xp.sum(pull, axis=0), (1, 0))[..., None]
    diagonal = n_state * prior + problem.centre_precision
    schur = identity * (diagonal + (diagonal == 0))[None, :, None] - prior[None, :, None] * xp.sum(
        reach, axis=0
    )
    centre = xp.linalg.solve(schur, g0 + prior[None, :, None] * xp.sum(solved, axis=0))
    weights = solved + reach @ xp.broadcast_to(centre[None, ...], solved.shape)
    return xp.permute_dims(weights[..., 0], (0, 2, 1)), xp.permute_dims(centre[..., 0], (1, 0))


def damped(params: Params, step: Array, centre_step: Array, state_prob: Array, problem: Problem) -> Params:
    """Take the step, halved for each unit until its expected log posterior does not fall."""
    xp = namespace(step)
    before = unit_objective(params, state_prob, problem)
    size = xp.ones_like(before)
    for _ in range(HALVINGS):
        moved = replace(
            params, weights=params.weights + size * step, centre=params.centre + size * centre_step
        )
        worse = unit_objective(moved, state_prob, problem) < before
        if not bool(xp.any(worse)):
            return moved
        size = xp.where(worse, size / 2, size)
    size = xp.where(worse, xp.zeros_like(size), size)
    return replace(params, weights=params.weights + size * step, centre=params.centre + size * centre_step)


def unit_objective(params: Params, state_prob: Array, problem: Problem) -> Float[Array, " unit"]:
    """Expected log likelihood and log prior of each unit's own parameters."""
    xp = namespace(problem.x)
    around = params.weights - params.centre[None, :, :]
    total = -0.5 * xp.sum(problem.precision[None, :, None] * around**2, axis=(0, 1))
    off = params.centre - problem.centre_mean
    total = total - 0.5 * xp.sum(problem.centre_precision[:, None] * off**2, axis=0)
    return total + expected_log_prob(params, state_prob, problem, params.dispersion)


def expected_log_prob(params: Params, state_prob: Array, problem: Problem, dispersion: Array) -> Array:
    """Log likelihood of each unit, expected over states."""
    xp = namespace(problem.x)
    family, link = glm.FAMILIES[problem.family], glm.LINKS[problem.link]
    total = xp.zeros_like(params.dispersion)
    for k in range(params.weights.shape[0]):
        mean = glm.bounded_mean(problem.family, link, problem.x @ params.weights[k, :, :])
        total = total + xp.sum(
            state_prob[:, k : k + 1] * family.log_prob(problem.y, mean, dispersion), axis=0
        )
    return total


# ---- dispersion -------------------------------------------------------------------------------------------
LOG_STEPS = (-1.0, -0.3, -0.1, -0.03, 0.03, 0.1, 0.3, 1.0)


def dispersion_step(params: Params, state_prob: Array, problem: Problem) -> Params:
    """Take the best of a few multiples of each unit's dispersion; families without one keep it."""
    if problem.family not in ("negative_binomial", "gaussian"):
        return params
    xp = namespace(params.dispersion)
    best, score = params.dispersion, _dispersion_score(params, state_prob, problem, params.dispersion)
    for step in LOG_STEPS:
        tried = params.dispersion * float(np.exp(step))
        found = _dispersion_score(params, state_prob, problem, tried)
        best = xp.where(found > score, tried, best)
        score = xp.maximum(found, score)
    return replace(params, dispersion=best)


def _dispersion_score(params: Params, state_prob: Array, problem: Problem, dispersion: Array) -> Array:
    xp = namespace(dispersion)
    normaliser = glm.FAMILIES[problem.family].log_normaliser(problem.y, dispersion)
    return expected_log_prob(params, state_prob, problem, dispersion) + xp.sum(normaliser, axis=0)


# ---- starts -----------------------------------------------------------------------------------------------
def one_state(problem: Problem, n_iter: int = 30) -> Params:
    """The model with a single state, from zero weights: where every start begins."""
    xp = namespace(problem.x)
    n_column, n_unit = problem.x.shape[1], problem.y.shape[1]
    zeros = xp.zeros((1, n_column, n_unit), dtype=problem.x.dtype, device=device_of(problem.x))
    nothing = xp.zeros((1, 1), dtype=problem.x.dtype, device=device_of(problem.x))
    ones = xp.ones((n_unit,), dtype=problem.x.dtype, device=device_of(problem.x))
    params = Params(
        zeros, zeros[0, ...], nothing[0, ...], nothing, ones * 5.0 if problem.family != "gaussian" else ones
    )
    everywhere = xp.ones((problem.x.shape[0], 1), dtype=problem.x.dtype, device=device_of(problem.x))
    for _ in range(n_iter):
        params = dispersion_step(weights_step(params, everywhere, problem), everywhere, problem)
    return params


def random_start(base: Params, n_state: int, spread: float, seed: tuple[int, ...]) -> Params:
    """Copies of the one-state weights, moved apart at random; states that tend to stay."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(scale=spread, size=(n_state, *base.centre.shape))
    stay = 0.95 if n_state > 1 else 1.0
    move = np.full((n_state, n_state), (1 - stay) / max(n_state - 1, 1)) + np.eye(n_state) * (
        stay - (1 - stay) / max(n_state - 1, 1)
    )
    return replace(
        base,
        weights=base.weights + like(noise, base.weights),
        log_initial=like(np.full(n_state, -np.log(n_state)), base.centre),
        log_transition=like(np.log(move), base.centre),
    )
