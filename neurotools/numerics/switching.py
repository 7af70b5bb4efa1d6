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
from jaxtyping import Float

from neurotools.arrays import Array, device_of, like, namespace, to_numpy
from neurotools.numerics import glm, hmm
from neurotools.numerics.switching_chain import (
    STAY,
    chain_log_prior,
    chain_step,
    drive_start,
    log_chain,
)
from neurotools.numerics.switching_scales import DISPERSED, scale_steps, unit_gain_prior
from neurotools.numerics.switching_terms import (
    Params,
    Problem,
    derivatives,
    likelihoods,
    log_likelihood,
    log_normaliser,
)

__all__ = [  # with what defines the model, so that one import is enough
    "DISPERSED", "NORMAL", "Params", "Problem", "Rule", "Run", "arrow_blocks", "derivatives",
    "expectation_maximisation", "likelihoods", "log_likelihood", "log_normaliser", "log_prior", "maximise",
    "one_state", "posterior", "random_start", "unit_log_prior", "weights_step",
]  # fmt: skip

HALVINGS = 12  # of a step that does not raise the objective, before the unit keeps its weights
SLACK = 1e-12  # of the size of an objective, by which rounding may lower it


def posterior(params: Params, problem: Problem, known: Array | None = None) -> hmm.Smoothed:
    """Posterior over states given whole sessions; ``known`` is the log likelihood where it is at hand."""
    log_prob = log_likelihood(params, problem) if known is None else known
    return hmm.smooth(*log_chain(params, problem), log_prob, problem.start)


def log_prior(params: Params, problem: Problem) -> float:
    """Log density of the parameters, up to a constant."""
    return normal_log_prior(params, problem) + other_log_prior(params, problem)


def other_log_prior(params: Params, problem: Problem) -> float:
    """Log density of all that is not a weight: the chain of states, and gains."""
    gains = float(namespace(params.dispersion).sum(unit_gain_prior(params, problem)))
    return chain_log_prior(params, problem) + gains


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


# Parameters, the posterior under them, the objective after each iteration, and whether it converged.
Run = tuple[Params, hmm.Smoothed, list[float], bool]


def expectation_maximisation(
    params: Params,
    problem: Problem,
    max_iter: int,
    tol: float,
    *,
    watch: Callable[[int, float], None] | None = None,
    rule: Rule | None = None,
) -> Run:
    """Alternate posteriors and updates until the objective gains less than ``tol`` relative.

    The objective is the log posterior under normal priors, or what another ``rule`` adds to the evidence.
    """
    rule = rule or NORMAL
    trace: list[float] = []
    params = begun(params, problem)
    found, normaliser = posterior(params, problem), log_normaliser(params, problem)
    for iteration in range(max_iter):
        prior = rule.log_prior(params, problem) + other_log_prior(params, problem)
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


def begun(params: Params, problem: Problem) -> Params:
    """Parameters with a place for everything that the problem asks for."""
    if problem.inputs is not None and params.drive is None and params.weights.shape[0] > 1:
        drive = drive_start(to_numpy(params.log_transition), problem.inputs.shape[1])
        params = replace(params, drive=like(drive, params.weights))
    if problem.log_gain_centre is not None and params.gain is None:
        params = replace(params, gain=namespace(problem.log_gain_centre).exp(problem.log_gain_centre))
    return params


def maximise(
    params: Params, found: hmm.Smoothed, problem: Problem, rule: Rule | None = None
) -> tuple[Params, Array | None]:
    """One M-step: the chain, weights by the rule's step, dispersion and gain by damped Newton steps.

    Also the log likelihood (time, state) at the new parameters, where the steps have met it.
    """
    params = replace(params, **chain_step(params, found, problem))
    params, known = (rule or NORMAL).step(params, found.state_prob, problem)
    params, later = scale_steps(params, found.state_prob, problem)
    return params, known if later is None else later


# ---- weights ----------------------------------------------------------------------------------------------
def weights_step(params: Params, state_prob: Array, problem: Problem) -> tuple[Params, Array]:
    """Raise the expected log posterior of each unit's weights, all states and the centre together.

    Also the log likelihood (time, state) at the new weights.
    """
    gradient, information, expected = derivatives(params, state_prob, problem)
    step, centre_step = arrowhead(params, gradient, information, problem)
    before = judged(expected + unit_log_prior(params, problem), problem)
    return damped(params, (step, centre_step), before, state_prob, problem)


def arrowhead(params: Params, gradient: Array, information: Array, problem: Problem) -> tuple[Array, Array]:
    """Newton step of weights and centre: state blocks tied by the centre, one small system per unit."""
    xp = namespace(gradient)
    prior, shape = problem.precision[:, None], params.weights.shape
    inverse, reach, schur = arrow_blocks(information, problem)
    size = (shape[0], information.shape[1], information.shape[2], 1)  # (state, unit, column, 1)
    pull = prior * (params.centre[None, :, :] - params.weights)
    g = as_blocks(gradient + pull, information)
    solved = inverse @ g
    centre_pull = problem.centre_precision[:, None] * (problem.centre_mean - params.centre)
    g0 = as_blocks((centre_pull - xp.sum(pull, axis=0))[None, ...], information)[0, ...]
    tied = prior_diagonal(problem.precision, information)[None, :, None] * xp.sum(solved, axis=0)
    centre = xp.linalg.solve(schur, g0 + tied)
    weights = solved + reach @ xp.broadcast_to(centre[None, ...], size)
    return from_blocks(weights, shape), from_blocks(centre[None, ...], (1, *shape[1:]))[0, ...]


def as_blocks(values: Array, information: Array) -> Float[Array, "state unit column one"]:
    """``values`` (state, column, unit) as the curvature has them: alternatives of one choice are one unit."""
    xp = namespace(values)
    n_unit = information.shape[1]
    if n_unit == values.shape[2]:
        return xp.permute_dims(values, (0, 2, 1))[..., None]
    return xp.reshape(values, (values.shape[0], n_unit, -1, 1))


def from_blocks(values: Array, shape: tuple[int, ...]) -> Float[Array, "state column unit"]:
    """The inverse of ``as_blocks``."""
    xp = namespace(values)
    if values.shape[1] == shape[2] and values.shape[2] == shape[1]:
        return xp.permute_dims(values[..., 0], (0, 2, 1))
    return xp.reshape(values, shape)


def prior_diagonal(precision: Float[Array, " column"], information: Array) -> Float[Array, " place"]:
    """A precision for each column of the curvature: that of its regressor, for every alternative."""
    xp = namespace(precision)
    repeats = information.shape[2] // precision.shape[0]
    if repeats == 1:
        return precision
    return xp.reshape(xp.broadcast_to(precision[:, None], (precision.shape[0], repeats)), (-1,))


def arrow_blocks(information: Array, problem: Problem) -> tuple[Array, Array, Array]:
    """Parts of the curvature of weights (state blocks) and their centre (border).

    With P the precision and H_k the information of state k: the inverses of H_k + P, these times P, and the
    Schur complement of the centre, sum_k (P - P (H_k + P)^-1 P) plus its own prior.
    """
    xp = namespace(information)
    prior, n_state = prior_diagonal(problem.precision, information), information.shape[0]
    identity = xp.eye(prior.shape[0], dtype=prior.dtype, device=device_of(prior))
    # A column that never varies must not make the system of its unit singular.
    scale = 1e-9 * xp.max(xp.abs(information), axis=(0, 2, 3), keepdims=True)
    inverse = xp.linalg.inv(information + identity * (prior[None, None, :, None] + scale))
    reach = inverse * prior
    diagonal = n_state * prior + prior_diagonal(problem.centre_precision, information)
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
        after = judged(expected + unit_log_prior(moved, problem), problem)
        worse = xp.logical_not(after >= before - SLACK * xp.abs(before))  # also where a mean overflows
        if not bool(xp.any(worse)):
            break
        smaller = size / 2 if attempt < HALVINGS - 1 else xp.zeros_like(size)
        size = xp.where(worse, smaller, size)
    return moved, known


def judged(objective: Float[Array, " unit"], problem: Problem) -> Float[Array, " unit"]:
    """What decides whether a unit's step is taken: alternatives of one choice stand or fall together."""
    xp = namespace(objective)
    if problem.family not in glm.JOINT:
        return objective
    return xp.broadcast_to(xp.sum(objective, axis=0, keepdims=True), objective.shape)


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
    params = begun(params, problem)
    everywhere = xp.ones((n_time, 1), dtype=problem.x.dtype, device=device_of(problem.x))
    last = -float("inf")
    for _ in range(max_iter):
        params, known = weights_step(params, everywhere, problem)
        params, later = scale_steps(params, everywhere, problem)
        known = known if later is None else later
        normaliser = log_normaliser(params, problem) if problem.family in DISPERSED else 0.0
        objective = float(xp.sum(known)) + normaliser + log_prior(params, problem)
        if objective - last < tol * abs(objective):
            break
        last = objective
    return params


def random_start(
    base: Params, n_state: int, spread: float | Float[np.ndarray, "column 1"], seed: tuple[int, ...]
) -> Params:
    """Copies of the one-state weights, moved apart at random; states that tend to stay."""
    rng = np.random.default_rng(seed)
    noise = spread * rng.normal(size=(n_state, *base.centre.shape))
    stay = STAY if n_state > 1 else 1.0
    move = np.full((n_state, n_state), (1 - stay) / max(n_state - 1, 1)) + np.eye(n_state) * (
        stay - (1 - stay) / max(n_state - 1, 1)
    )
    return replace(
        base,
        weights=base.weights + like(noise, base.weights),
        log_initial=like(np.full(n_state, -np.log(n_state)), base.centre),
        log_transition=like(np.log(move), base.centre),
    )
