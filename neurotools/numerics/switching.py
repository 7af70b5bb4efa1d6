"""Generalised linear models whose weights switch with one hidden state shared by all units.

    z_t | z_{t-1} ~ transition,    mean_{tn} = link(x_t . w_{z_t, n}),    y_{tn} ~ family(mean_{tn})
    w_{k, n} ~ N(c_n, 1 / precision),    c_n ~ N(m_n, 1 / centre_precision)

Fitted by expectation-maximisation to a maximum a posteriori estimate: exact posteriors over states, then one
damped Fisher-scoring step that solves the weights of all states of a unit and their common centre together.
Every step raises the log posterior or leaves it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import Bool, Float

from neurotools.arrays import Array, device_of, like, namespace, to_numpy
from neurotools.numerics import glm, hmm

HALVINGS = 12  # of a step that does not raise the objective, before the unit keeps its weights
FIRST = 1.0  # pseudo-counts of each state at the start of a session: sessions are few
DISPERSED = ("negative_binomial", "gaussian")  # families with a dispersion to learn


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
    return likelihoods(params, None, problem)[0]


def likelihoods(params: Params, state_prob: Array | None, problem: Problem) -> tuple[Array, Array]:
    """Log likelihood (time, state) of all units, and (unit) of each one expected over states.

    Both from one pass over time; the second is zero where no probabilities of states are given.
    """
    xp = namespace(problem.x)
    family = glm.FAMILIES[problem.family]
    together, each = [], xp.zeros_like(params.dispersion)
    for begin, stop in chunks(problem.x.shape[0]):
        mean, _ = means(params, problem, begin, stop)
        log_prob = family.log_prob(problem.y[begin:stop, None, :], mean, params.dispersion)
        together.append(xp.sum(log_prob, axis=2))
        if state_prob is not None:
            each = each + xp.sum(state_prob[begin:stop, :, None] * log_prob, axis=(0, 1))
    return xp.concat(together, axis=0), each


def means(params: Params, problem: Problem, begin: int, stop: int) -> tuple[Array, Array]:
    """Means (time, state, unit) of a chunk of samples under every state, and their linear predictors."""
    xp = namespace(problem.x)
    n_state, n_column, n_unit = params.weights.shape
    wide = xp.reshape(xp.permute_dims(params.weights, (1, 0, 2)), (n_column, n_state * n_unit))
    predictor = xp.reshape(problem.x[begin:stop, :] @ wide, (stop - begin, n_state, n_unit))
    return glm.bounded_mean(problem.family, glm.LINKS[problem.link], predictor), predictor


def log_normaliser(params: Params, problem: Problem) -> float:
    """Terms of the log likelihood that no state changes: of the observations and the dispersion alone."""
    xp = namespace(problem.y)
    return float(xp.sum(glm.FAMILIES[problem.family].log_normaliser(problem.y, params.dispersion)))


def chunks(n: int) -> list[tuple[int, int]]:
    """Ranges of rows that are worked on together."""
    return [(begin, min(begin + glm.CHUNK, n)) for begin in range(0, n, glm.CHUNK)]


def posterior(params: Params, problem: Problem, known: Array | None = None) -> hmm.Smoothed:
    """Posterior over states given whole sessions; ``known`` is the log likelihood where it is at hand."""
    log_prob = log_likelihood(params, problem) if known is None else known
    xp = namespace(log_prob)
    # The recursion is serial and its arrays are small (time x state): it runs on the host, wherever the sums
    # over units run.
    found = hmm.smooth(
        to_numpy(params.log_initial), to_numpy(params.log_transition), to_numpy(log_prob), problem.start
    )
    evidence = xp.asarray(float(found.log_evidence), dtype=log_prob.dtype, device=device_of(log_prob))
    others = [part.name for part in fields(found) if part.name != "log_evidence"]
    return replace(
        found, log_evidence=evidence, **{name: like(getattr(found, name), log_prob) for name in others}
    )


def log_prior(params: Params, problem: Problem) -> float:
    """Log density of the parameters, up to a constant."""
    return normal_log_prior(params, problem) + chain_log_prior(params, problem)


def chain_log_prior(params: Params, problem: Problem) -> float:
    """Log density of initial and transition probabilities, up to a constant."""
    xp = namespace(params.log_transition)
    staying = xp.sum(xp.linalg.diagonal(params.log_transition))
    return float(problem.stickiness * staying + FIRST * xp.sum(params.log_initial))


def normal_log_prior(params: Params, problem: Problem) -> float:
    """Log density of all weights and centres, up to a constant."""
    return float(namespace(params.weights).sum(unit_log_prior(params, problem)))


@dataclass(frozen=True)
class Rule:
    """What a prior on weights does in an M-step, and what it adds to the log likelihood.

    ``step(params, state_prob, problem)`` returns parameters at which the expected log likelihood plus
    ``log_prior`` is no less than before, and the log likelihood (time, state) there where it has met it.
    """

    step: Callable[[Params, Array, Problem], tuple[Params, Array | None]]
    log_prior: Callable[[Params, Problem], float]


def expectation_maximisation(
    params: Params,
    problem: Problem,
    max_iter: int,
    tol: float,
    *,
    watch: Callable[[int, float], None] | None = None,
    rule: Rule | None = None,
) -> tuple[Params, hmm.Smoothed, list[float], bool]:
    """Alternate posteriors and updates until the objective gains less than ``tol`` relative.

    The objective is the log posterior under normal priors, or what another ``rule`` adds to the evidence.
    """
    rule = rule or NORMAL
    trace: list[float] = []
    found, normaliser = posterior(params, problem), log_normaliser(params, problem)
    for iteration in range(max_iter):
        prior = rule.log_prior(params, problem) + chain_log_prior(params, problem)
        trace.append(float(found.log_evidence) + normaliser + prior)
        if watch is not None:
            watch(iteration, trace[-1])
        if len(trace) > 1 and trace[-1] - trace[-2] < tol * abs(trace[-1]):
            return params, found, trace, True
        params, known = maximise(params, found, problem, rule)
        if problem.family in DISPERSED:
            normaliser = log_normaliser(params, problem)
        found = posterior(params, problem, known)
    return params, found, trace, False


def maximise(
    params: Params, found: hmm.Smoothed, problem: Problem, rule: Rule | None = None
) -> tuple[Params, Array | None]:
    """One M-step: transitions in closed form, weights by a damped Fisher step, dispersion by search.

    Also the log likelihood (time, state) at the new parameters, where the steps have met it.
    """
    params = replace(params, **transitions(found, problem))
    params, known = (rule or NORMAL).step(params, found.state_prob, problem)
    if problem.family not in DISPERSED:
        return params, known
    return dispersion_step(params, found.state_prob, problem), None


def transitions(found: hmm.Smoothed, problem: Problem) -> dict[str, Array]:
    """Most probable initial and transition probabilities under the sticky prior."""
    xp = namespace(found.pair_sum)
    n_state = found.pair_sum.shape[0]
    identity = xp.eye(n_state, dtype=found.pair_sum.dtype, device=device_of(found.pair_sum))
    counts = found.pair_sum + problem.stickiness * identity + glm.TINY
    rows = xp.asarray(np.flatnonzero(problem.start), device=device_of(found.state_prob))
    first = xp.sum(xp.take(found.state_prob, rows, axis=0), axis=0) + FIRST
    return {
        "log_transition": xp.log(counts / xp.sum(counts, axis=1, keepdims=True)),
        "log_initial": xp.log(first / xp.sum(first)),
    }


# ---- weights ----------------------------------------------------------------------------------------------
def weights_step(params: Params, state_prob: Array, problem: Problem) -> tuple[Params, Array]:
    """Raise the expected log posterior of each unit's weights, all states and the centre together.

    Also the log likelihood (time, state) at the new weights.
    """
    gradient, information, expected = derivatives(params, state_prob, problem)
    step, centre_step = arrowhead(params, gradient, information, problem)
    before = expected + unit_log_prior(params, problem)
    return damped(params, (step, centre_step), before, state_prob, problem)


def derivatives(params: Params, state_prob: Array, problem: Problem) -> tuple[Array, Array, Array]:
    """Slopes of the expected log likelihood of the data in one pass over time.

    Gradient (state, column, unit), Fisher information (state, unit, column, column), and the expected log
    likelihood (unit) itself.
    """
    xp = namespace(problem.x)
    family, link = glm.FAMILIES[problem.family], glm.LINKS[problem.link]
    n_state, n_column, n_unit = params.weights.shape
    gradient: Array = 0.0
    packed: Array = 0.0
    room = glm.pair_room(problem.x)
    expected = xp.zeros_like(params.dispersion)
    for begin, stop in chunks(problem.x.shape[0]):
        x, y, prob = problem.x[begin:stop, :], problem.y[begin:stop, None, :], state_prob[begin:stop, :, None]
        mean, predictor = means(params, problem, begin, stop)
        slope = link.slope(predictor)
        weight = prob * slope / family.variance(mean, params.dispersion)
        expected = expected + xp.sum(prob * family.log_prob(y, mean, params.dispersion), axis=(0, 1))
        flat = (stop - begin, n_state * n_unit)
        gradient = gradient + xp.permute_dims(x, (1, 0)) @ xp.reshape(weight * (y - mean), flat)
        packed = packed + glm.packed_outer(x, room) @ xp.reshape(weight * slope, flat)
    information = xp.reshape(glm.unpacked(packed, n_column), (n_state, n_unit, n_column, n_column))
    gradient = xp.permute_dims(xp.reshape(gradient, (n_column, n_state, n_unit)), (1, 0, 2))
    return gradient, information, expected


def arrowhead(params: Params, gradient: Array, information: Array, problem: Problem) -> tuple[Array, Array]:
    """Newton step of weights and centre: state blocks tied by the centre, one small system per unit."""
    xp = namespace(gradient)
    prior = problem.precision
    inverse, reach, schur = arrow_blocks(information, problem)
    pull = prior[None, :, None] * (params.centre[None, :, :] - params.weights)
    g = xp.permute_dims(gradient + pull, (0, 2, 1))[..., None]  # (state, unit, column, 1)
    solved = inverse @ g
    centre_pull = problem.centre_precision[:, None] * (problem.centre_mean - params.centre)
    g0 = xp.permute_dims(centre_pull - xp.sum(pull, axis=0), (1, 0))[..., None]
    centre = xp.linalg.solve(schur, g0 + prior[None, :, None] * xp.sum(solved, axis=0))
    weights = solved + reach @ xp.broadcast_to(centre[None, ...], solved.shape)
    return xp.permute_dims(weights[..., 0], (0, 2, 1)), xp.permute_dims(centre[..., 0], (1, 0))


def arrow_blocks(information: Array, problem: Problem) -> tuple[Array, Array, Array]:
    """Parts of the curvature of weights (state blocks) and their centre (border).

    With P the precision and H_k the information of state k: the inverses of H_k + P, these times P, and the
    Schur complement of the centre, sum_k (P - P (H_k + P)^-1 P) plus its own prior.
    """
    xp = namespace(information)
    prior, n_state = problem.precision, information.shape[0]
    identity = xp.eye(prior.shape[0], dtype=prior.dtype, device=device_of(prior))
    scale = 1e-9 * xp.max(xp.abs(information))  # a column that never varies must not make the system singular
    inverse = xp.linalg.inv(information + identity * (prior + scale)[None, None, :, None])
    reach = inverse * prior
    diagonal = n_state * prior + problem.centre_precision
    diagonal = xp.where(
        diagonal == 0, xp.ones_like(diagonal), diagonal
    )  # no prior at all: no centre to solve
    schur = identity * diagonal[None, :, None] - prior[None, :, None] * xp.sum(reach, axis=0)
    return inverse, reach, schur


def damped(
    params: Params, steps: tuple[Array, Array], before: Array, state_prob: Array, problem: Problem
) -> tuple[Params, Array]:
    """Take the steps of weights and centre, halved for each unit until its objective does not fall."""
    xp = namespace(before)
    size = xp.ones_like(before)
    for attempt in range(HALVINGS + 1):
        moved = replace(
            params, weights=params.weights + size * steps[0], centre=params.centre + size * steps[1]
        )
        known, expected = likelihoods(moved, state_prob, problem)
        worse = expected + unit_log_prior(moved, problem) < before
        if not bool(xp.any(worse)):
            break
        smaller = size / 2 if attempt < HALVINGS - 1 else xp.zeros_like(size)
        size = xp.where(worse, smaller, size)
    return moved, known


def unit_log_prior(params: Params, problem: Problem) -> Float[Array, " unit"]:
    """Log density of each unit's own weights and centre, up to a constant."""
    xp = namespace(problem.x)
    around = params.weights - params.centre[None, :, :]
    total = -0.5 * xp.sum(problem.precision[None, :, None] * around**2, axis=(0, 1))
    off = params.centre - problem.centre_mean
    return total - 0.5 * xp.sum(problem.centre_precision[:, None] * off**2, axis=0)


def expected_log_prob(params: Params, state_prob: Array, problem: Problem, dispersion: Array) -> Array:
    """Log likelihood of each unit, expected over states, at another dispersion."""
    return likelihoods(replace(params, dispersion=dispersion), state_prob, problem)[1]


NORMAL = Rule(weights_step, normal_log_prior)


# ---- dispersion -------------------------------------------------------------------------------------------
LOG_STEPS = (-1.0, -0.3, -0.1, -0.03, 0.03, 0.1, 0.3, 1.0)


def dispersion_step(params: Params, state_prob: Array, problem: Problem) -> Params:
    """Take the best of a few multiples of each unit's dispersion; families without one keep it."""
    if problem.family not in DISPERSED:
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
def one_state(problem: Problem, max_iter: int = 50, tol: float = 1e-9) -> Params:
    """The model with a single state, from the mean of the prior: where every start begins."""
    xp = namespace(problem.x)
    n_time, n_unit = problem.y.shape
    nothing = xp.zeros((1, 1), dtype=problem.x.dtype, device=device_of(problem.x))
    ones = xp.ones((n_unit,), dtype=problem.x.dtype, device=device_of(problem.x))
    params = Params(
        problem.centre_mean[None, :, :], problem.centre_mean, nothing[0, ...], nothing,
        ones * 5.0 if problem.family == "negative_binomial" else ones,
    )  # fmt: skip
    everywhere = xp.ones((n_time, 1), dtype=problem.x.dtype, device=device_of(problem.x))
    last = -float("inf")
    for _ in range(max_iter):
        params, known = weights_step(params, everywhere, problem)
        params = dispersion_step(params, everywhere, problem)
        objective = float(xp.sum(known)) + log_prior(params, problem)
        if objective - last < tol * abs(objective) and problem.family not in DISPERSED:
            break
        last = objective
    return params


def random_start(
    base: Params, n_state: int, spread: float | Float[np.ndarray, "column 1"], seed: tuple[int, ...]
) -> Params:
    """Copies of the one-state weights, moved apart at random; states that tend to stay."""
    rng = np.random.default_rng(seed)
    noise = spread * rng.normal(size=(n_state, *base.centre.shape))
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
