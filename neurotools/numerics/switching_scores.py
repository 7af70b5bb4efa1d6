"""How well a switching GLM foretells observations, in nats; and the model that knows only a mean."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from neurotools.arrays import namespace, to_numpy
from neurotools.numerics import glm, hmm, switching
from neurotools.numerics.switching_chain import host_chain
from neurotools.numerics.switching_terms import chunks, of_unit, own_terms, terms


def sample_normaliser(params: switching.Params, problem: switching.Problem) -> Float[np.ndarray, " time"]:
    """Terms of the log likelihood of each sample that no state changes."""
    xp = namespace(problem.y)
    return to_numpy(xp.sum(own_terms(params, problem), axis=1))


def causal(params: switching.Params, problem: switching.Problem) -> float:
    """Log likelihood of every sample given the past of its session, summed: the evidence."""
    found = switching.posterior(params, problem)
    return float(found.log_evidence) + switching.log_normaliser(params, problem)


def cosmoothing(params: switching.Params, problem: switching.Problem) -> float:
    """Log likelihood of each unit under states estimated from all others, summed over units and samples."""
    together = to_numpy(switching.log_likelihood(params, problem))
    chain = host_chain(params, problem)
    total = switching.log_normaliser(params, problem)
    for unit in range(params.weights.shape[2]):
        own = unit_log_likelihood(params, problem, unit)
        others = hmm.smooth(*chain, together - own, problem.start).state_prob
        top = own.max(axis=1)
        total += float((top + np.log((others * np.exp(own - top[:, None])).sum(axis=1))).sum())
    return total


def unit_log_likelihood(
    params: switching.Params, problem: switching.Problem, unit: int
) -> Float[np.ndarray, "time state"]:
    """Log probability of one unit's observations under each state, without terms of these alone."""
    return to_numpy(switching.log_likelihood(*of_unit(params, problem, unit)))


def ahead_prob(
    params: switching.Params, problem: switching.Problem, filtered: Float[np.ndarray, "time state"]
) -> Float[np.ndarray, "time state"]:
    """Probability of each state at a sample given the past of its session alone."""
    initial, transition = host_chain(params, problem)
    moves = np.exp(transition)
    before = np.concatenate([np.zeros_like(filtered[:1]), filtered[:-1]])
    ahead = before @ moves if moves.ndim == 2 else (before[:, None, :] @ moves)[:, 0]
    ahead[problem.start] = np.exp(initial)
    return ahead


def silent_prob(
    params: switching.Params, problem: switching.Problem, ahead: Float[np.ndarray, "time state"]
) -> Float[np.ndarray, "time unit"]:
    """Probability that a unit has no spike at a sample, given the past of its session.

    ``ahead`` holds the probabilities of the states given that past.
    """
    xp, family = namespace(problem.x), glm.FAMILIES[problem.family]
    parts = []
    for begin, stop in chunks(problem.x):
        part = terms(params, problem, begin, stop)
        none = xp.zeros_like(part.y)
        log_prob = family.log_prob(none, part.mean, part.scale) + family.log_normaliser(none, part.scale)
        parts.append((ahead[begin:stop, :, None] * np.exp(to_numpy(log_prob))).sum(axis=1))
    return np.concatenate(parts)


# ---- the model that knows only a mean ---------------------------------------------------------------------
def mean_log_likelihood(
    y: Float[np.ndarray, "time unit"],
    family: str,
    seen: Float[np.ndarray, "time unit"] | None = None,
    trials: Float[np.ndarray, "time unit"] | None = None,
) -> float:
    """Log likelihood of each unit's own mean over these data; of its variance too, where it is normal.

    Counts are Poisson here whatever the family, so that families are held against one and the same thing.
    The mean of a binomial unit is its share of successes, that of a choice the share of each alternative.
    """
    weight = np.ones_like(y) if seen is None else seen
    amount = np.maximum(weight.sum(axis=0), 1.0)
    mean = (weight * y).sum(axis=0) / amount
    if family == "gaussian":
        variance = np.maximum((weight * (y - mean) ** 2).sum(axis=0) / amount, glm.TINY)
        return float(-0.5 * (weight.sum(axis=0) * np.log(2 * np.pi * np.e * variance)).sum())
    name = {"negative_binomial": "poisson"}.get(family, family)
    scale: np.ndarray = np.ones_like(mean)
    if trials is not None:
        scale = trials
        share = (weight * y).sum(axis=0) / np.maximum((weight * trials).sum(axis=0), 1.0)
        mean = np.clip(share, glm.TINY, 1 - glm.TINY) * trials
    low, high = glm.BOUNDS[name]
    if trials is None:
        mean = np.clip(mean, low, high)
    law = glm.FAMILIES[name]
    log_prob = law.log_prob(y, np.broadcast_to(mean, y.shape), scale) + law.log_normaliser(y, scale)
    return float((weight * log_prob).sum())
