"""Posterior draws of a small switching GLM, to check its maximum a posteriori fit: a Gibbs sampler.

Given Polya-Gamma variates omega a logistic likelihood is Gaussian in the weights (Polson, Scott & Windle
2013, JASA 108, 1339-1349): with kappa = y - h / 2 and psi the log odds, exp(kappa psi - omega psi^2 / 2). One
sweep draws omega, the weights of each unit and state, their centres, the path of states, and the chain, each
from its full conditional. For Bernoulli and binomial observations under a sigmoid, and for negative binomial
ones under a log link with their dispersions given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from neurotools.errors import SettingsError, lookup
from neurotools.numerics import hmm, polyagamma
from neurotools.numerics.switching import Params, Problem, log_likelihood
from neurotools.numerics.switching_chain import FIRST, host_chain


@dataclass(frozen=True)
class Draws:
    """Kept draws, states numbered as in the chain of draws."""

    weights: Float[np.ndarray, "draw state column unit"]
    transition: Float[np.ndarray, "draw state state"]
    log_evidence_terms: Float[np.ndarray, " draw"]  # log likelihood of the data given the path


def logistic_law(problem: Problem, params: Params) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shapes h, kappa, and what is added to the predictor to give log odds, (time, unit)."""
    tries = np.ones_like(problem.y) if problem.trials is None else problem.trials
    return tries, problem.y - tries / 2, np.zeros_like(problem.y)


def count_law(problem: Problem, params: Params) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same of a negative binomial: log odds are the log mean less the log dispersion."""
    r = np.broadcast_to(params.dispersion, problem.y.shape)
    return problem.y + r, (problem.y - r) / 2, -np.log(r)


Law = Callable[[Problem, Params], tuple[np.ndarray, np.ndarray, np.ndarray]]
LAWS: dict[str, Law] = {
    "bernoulli sigmoid": logistic_law, "binomial sigmoid": logistic_law, "negative_binomial log": count_law,
}  # fmt: skip


def sample(params: Params, problem: Problem, n_draws: int, n_tune: int, seed: int) -> Draws:
    """Draw weights and transitions from ``params`` on; the first ``n_tune`` sweeps are left out.

    Raises
    ------
    SettingsError
        Family and link have no Polya-Gamma form, or inputs drive transitions.
    """
    law = lookup("family and link of a Gibbs sampler", f"{problem.family} {problem.link}", LAWS)
    if problem.inputs is not None:
        raise SettingsError("the Gibbs sampler has no inputs of transitions", code="NT-SET-003")
    rng = np.random.default_rng(seed)
    kept: list[tuple[np.ndarray, np.ndarray, float]] = []
    for sweep in range(n_tune + n_draws):
        known = log_likelihood(params, problem)
        initial, transition = host_chain(params, problem)
        path = draw_path(rng, np.exp(initial), np.exp(transition), known, problem.start)
        params = draw_chain(rng, path, params, problem)
        params = draw_weights(rng, path, params, problem, law)
        params = draw_centre(rng, params, problem)
        if sweep >= n_tune:
            fitted = float(known[np.arange(len(path)), path].sum())
            kept.append((params.weights, np.exp(params.log_transition), fitted))
    weights, moves, terms = zip(*kept, strict=True)
    return Draws(np.stack(weights), np.stack(moves), np.array(terms))


def draw_path(
    rng: np.random.Generator,
    initial: Float[np.ndarray, " state"],
    transition: Float[np.ndarray, "state state"],
    log_prob: Float[np.ndarray, "time state"],
    start: Bool[np.ndarray, " time"],
) -> Int[np.ndarray, " time"]:
    """A path of states given all data: filtered forward, drawn backward.

    What each sample's state would be under every state after it is drawn at once; the path then follows.
    """
    with np.errstate(divide="ignore"):
        found = hmm.smooth(np.log(initial), np.log(transition), log_prob, start)
    filtered = found.filtered_prob
    given_next = np.cumsum(filtered[:, :, None] * transition, axis=1)  # (time, state, next state)
    last = np.append(start[1:], True)
    given_next[last] = np.cumsum(filtered[last], axis=1)[:, :, None]
    chance = rng.random(len(filtered))[:, None, None] * given_next[:, -1:, :]
    table = (given_next[:, :-1] <= chance).sum(axis=1).tolist()
    path, state = [0] * len(table), 0
    for t in range(len(table) - 1, -1, -1):
        state = path[t] = table[t][state]
    return np.array(path)


def draw_chain(rng: np.random.Generator, path: np.ndarray, params: Params, problem: Problem) -> Params:
    """Dirichlet rows of transitions and initial probabilities given a path."""
    n_state = params.weights.shape[0]
    moved = ~problem.start[1:]
    counts = np.ones((n_state, n_state)) + problem.stickiness * np.eye(n_state)
    np.add.at(counts, (path[:-1][moved], path[1:][moved]), 1)
    first = np.bincount(path[problem.start], minlength=n_state) + FIRST + 1
    rows = np.stack([rng.dirichlet(row) for row in counts])
    tiny = np.finfo(float).tiny
    return replace(
        params, log_transition=np.log(np.maximum(rows, tiny)),
        log_initial=np.log(np.maximum(rng.dirichlet(first), tiny)),
    )  # fmt: skip


def draw_weights(
    rng: np.random.Generator, path: np.ndarray, params: Params, problem: Problem, law: Law
) -> Params:
    """Weights of every state and unit given the path, by Polya-Gamma variates; centres stay."""
    shape, kappa, shift = law(problem, params)
    predictor = np.einsum("tc,tcu->tu", problem.x, params.weights[path]) + shift
    omega = polyagamma.draw(rng, shape, predictor)
    seen = np.ones_like(omega) if problem.seen is None else problem.seen
    weights = np.empty_like(params.weights)
    prior = np.diag(problem.precision)
    for state in range(weights.shape[0]):
        x, mine = problem.x[path == state], path == state
        for unit in range(weights.shape[2]):
            strength = omega[mine, unit] * seen[mine, unit]
            target = seen[mine, unit] * kappa[mine, unit] - strength * shift[mine, unit]
            half = np.linalg.cholesky(prior + (x * strength[:, None]).T @ x)
            right = x.T @ target + problem.precision * params.centre[:, unit]
            mean = np.linalg.solve(half.T, np.linalg.solve(half, right))
            weights[state, :, unit] = mean + np.linalg.solve(half.T, rng.normal(size=mean.size))
    return replace(params, weights=weights)


def draw_centre(rng: np.random.Generator, params: Params, problem: Problem) -> Params:
    """What the states of a unit have in common, given their weights."""
    own, shared = problem.precision[:, None], problem.centre_precision[:, None]
    precision = params.weights.shape[0] * own + shared
    mean = (own * params.weights.sum(axis=0) + shared * problem.centre_mean) / precision
    return replace(params, centre=mean + rng.normal(size=mean.shape) / np.sqrt(precision))
