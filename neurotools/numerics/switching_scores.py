"""How well a switching GLM foretells observations, in nats; and the model that knows only a mean."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from neurotools.arrays import Array, namespace, to_numpy
from neurotools.numerics import glm, hmm, switching


def sample_normaliser(params: switching.Params, problem: switching.Problem) -> Float[np.ndarray, " time"]:
    """Terms of the log likelihood of each sample that no state changes."""
    xp = namespace(problem.y)
    own = glm.FAMILIES[problem.family].log_normaliser(problem.y, params.dispersion)
    return to_numpy(xp.sum(own, axis=1))


def causal(params: switching.Params, problem: switching.Problem) -> float:
    """Log likelihood of every sample given the past of its session, summed: the evidence."""
    found = switching.posterior(params, problem)
    return float(found.log_evidence) + switching.log_normaliser(params, problem)


def cosmoothing(params: switching.Params, problem: switching.Problem) -> float:
    """Log likelihood of each unit under states estimated from all others, summed over units and samples."""
    together = to_numpy(switching.log_likelihood(params, problem))
    initial, transition = to_numpy(params.log_initial), to_numpy(params.log_transition)
    total = switching.log_normaliser(params, problem)
    for unit in range(params.weights.shape[2]):
        own = unit_log_likelihood(params, problem, unit)
        others = hmm.smooth(initial, transition, together - own, problem.start).state_prob
        top = own.max(axis=1)
        total += float((top + np.log((others * np.exp(own - top[:, None])).sum(axis=1))).sum())
    return total


def unit_log_likelihood(
    params: switching.Params, problem: switching.Problem, unit: int
) -> Float[np.ndarray, "time state"]:
    """Log probability of one unit's observations under each state, without terms of these alone."""
    xp = namespace(problem.x)
    predictor = problem.x @ xp.permute_dims(params.weights[:, :, unit], (1, 0))
    mean = glm.bounded_mean(problem.family, glm.LINKS[problem.link], predictor)
    dispersion: Array = params.dispersion[unit : unit + 1]
    y = problem.y[:, unit : unit + 1]
    return to_numpy(glm.FAMILIES[problem.family].log_prob(y, mean, dispersion))


def mean_log_likelihood(y: Float[np.ndarray, "time unit"], family: str) -> float:
    """Log likelihood of each unit's own mean over these data; of its variance too, where it is normal.

    Counts are Poisson here whatever the family, so that families are held against one and the same thing.
    """
    mean = y.mean(axis=0)
    if family == "gaussian":
        return float(-0.5 * len(y) * np.log(2 * np.pi * np.e * np.maximum(y.var(axis=0), glm.TINY)).sum())
    if family == "bernoulli":
        inside = np.clip(mean, glm.TINY, 1 - glm.TINY)
        return float(len(y) * (mean * np.log(inside) + (1 - mean) * np.log1p(-inside)).sum())
    poisson = glm.FAMILIES["poisson"]
    log_prob = poisson.log_prob(y, np.maximum(mean, glm.TINY), mean) + poisson.log_normaliser(y, mean)
    return float(log_prob.sum())
