"""What a switching GLM is: its parameters, what is given, and the sums over time that its fit needs.

Every sum over samples is made here, chunk by chunk, so that means under all states never stand in memory at
once. A sample of a unit that was not observed adds nothing to any sum.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from neurotools.arrays import Array, device_of, namespace
from neurotools.numerics import glm


@dataclass(frozen=True)
class Params:
    """What is learned.

    Restarts that run together have the units of all of them side by side, and a chain each.
    """

    weights: Float[Array, "state column unit"]
    centre: Float[Array, "column unit"]
    log_initial: Float[Array, "*restart state"]
    log_transition: Float[Array, "*restart state state"]  # where inputs drive transitions: at their mean
    dispersion: Float[Array, " unit"]
    gain: Float[Array, " unit"] | None = None  # height of a link that has one
    drive: Float[Array, "state state_to input"] | None = None  # log odds against staying


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
    seen: Float[Array, "time unit"] | None = None  # 1 where observed; everywhere when None
    trials: Float[Array, "time unit"] | None = None  # of a binomial observation
    log_gain_centre: Float[Array, " unit"] | None = None  # of the prior on gains, for a link with a gain
    inputs: Float[Array, "time input"] | None = None  # that drive transitions: ones first, then centred
    input_precision: float = 1.0  # of the prior on their weights


@dataclass(frozen=True)
class Terms:
    """A chunk of samples under every state."""

    x: Float[Array, "time column"]
    y: Float[Array, "time one unit"]
    mean: Float[Array, "time state unit"]
    slope: Float[Array, "time state unit"]  # of the mean by the predictor
    predictor: Float[Array, "time state unit"]
    height: Array | float  # of the link: gains, numbers of trials
    scale: Array  # what the family needs beside the mean
    seen: Float[Array, "time one unit"] | None

    def observed(self, values: Array) -> Array:
        """``values`` (time, state, unit), zero where the sample was not observed."""
        return values if self.seen is None else values * self.seen


def terms(params: Params, problem: Problem, begin: int, stop: int) -> Terms:
    """Means and slopes of the samples from ``begin`` to ``stop``."""
    xp = namespace(problem.x)
    link = glm.LINKS[problem.link]
    n_state, n_column, n_unit = params.weights.shape
    x = problem.x[begin:stop, :]
    wide = xp.reshape(xp.permute_dims(params.weights, (1, 0, 2)), (n_column, n_state * n_unit))
    predictor = xp.reshape(x @ wide, (stop - begin, n_state, n_unit))
    mean, slope = glm.bounded_mean(problem.family, link, predictor), link.slope(predictor)
    scale: Array = params.dispersion
    height: Array | float = 1.0 if params.gain is None else params.gain
    if problem.trials is not None:
        scale = problem.trials[begin:stop, None, :]
        height = height * scale
    if not isinstance(height, float):
        mean, slope = mean * height, slope * height
    seen = None if problem.seen is None else problem.seen[begin:stop, None, :]
    return Terms(x, problem.y[begin:stop, None, :], mean, slope, predictor, height, scale, seen)


def chunks(x: Float[Array, "time column"]) -> list[tuple[int, int]]:
    """Ranges of rows that are worked on together."""
    n, rows = x.shape[0], glm.chunk_rows(x)
    return [(begin, min(begin + rows, n)) for begin in range(0, n, rows)]


def of_units(state_prob: Float[Array, "*restart time state"], n_unit: int) -> Float[Array, "time state unit"]:
    """Probabilities of states as the sums over samples take them: for all units alike, or by restart."""
    if state_prob.ndim == 2:
        return state_prob[:, :, None]
    xp, (n_restart, n_time, n_state) = namespace(state_prob), state_prob.shape
    size = (n_time, n_state, n_restart, n_unit // n_restart)
    spread = xp.broadcast_to(xp.permute_dims(state_prob, (1, 2, 0))[..., None], size)
    return xp.reshape(spread, (n_time, n_state, n_unit))


def over_units(values: Float[Array, "... unit"], params: Params) -> Float[Array, "*restart ..."]:
    """Sums over units, of each restart by itself where several stand side by side."""
    xp = namespace(values)
    if params.log_initial.ndim == 1:
        return xp.sum(values, axis=-1)
    apart = xp.reshape(values, (*values.shape[:-1], params.log_initial.shape[0], -1))
    return xp.moveaxis(xp.sum(apart, axis=-1), -1, 0)


# ---- likelihoods ------------------------------------------------------------------------------------------
def log_likelihood(params: Params, problem: Problem) -> Float[Array, "*restart time state"]:
    """Log probability of all units at each sample under each state, without terms of y alone."""
    return likelihoods(params, None, problem)[0]


def likelihoods(params: Params, state_prob: Array | None, problem: Problem) -> tuple[Array, Array]:
    """Log likelihood (time, state) of all units, and (unit) of each one expected over states.

    Both from one pass over time; the second is zero where no probabilities of states are given.
    """
    xp = namespace(problem.x)
    family = glm.FAMILIES[problem.family]
    together, each = [], xp.zeros_like(params.dispersion)
    for begin, stop in chunks(problem.x):
        part = terms(params, problem, begin, stop)
        log_prob = part.observed(family.log_prob(part.y, part.mean, part.scale))
        together.append(over_units(log_prob, params))
        if state_prob is not None:
            prob = of_units(state_prob[..., begin:stop, :], log_prob.shape[2])
            each = each + xp.sum(prob * log_prob, axis=(0, 1))
    return xp.concat(together, axis=-2), each


def own_terms(params: Params, problem: Problem) -> Float[Array, "time unit"]:
    """Terms of the log likelihood that no state changes: of the observations and their scale alone."""
    scale = params.dispersion if problem.trials is None else problem.trials
    own = glm.FAMILIES[problem.family].log_normaliser(problem.y, scale)
    return own if problem.seen is None else own * problem.seen


def log_normaliser(params: Params, problem: Problem) -> float:
    """The sum of terms of the log likelihood that no state changes."""
    return float(namespace(problem.y).sum(own_terms(params, problem)))


def of_unit(params: Params, problem: Problem, unit: int) -> tuple[Params, Problem]:
    """The same model for one of its units."""
    one = slice(unit, unit + 1)

    def cut(values: Array | None) -> Array | None:
        return None if values is None else values[..., one]

    return (
        replace(
            params, weights=cut(params.weights), centre=cut(params.centre),
            dispersion=cut(params.dispersion), gain=cut(params.gain),
        ),
        replace(
            problem, y=cut(problem.y), centre_mean=cut(problem.centre_mean), seen=cut(problem.seen),
            trials=cut(problem.trials), log_gain_centre=cut(problem.log_gain_centre),
        ),
    )  # fmt: skip


# ---- slopes -----------------------------------------------------------------------------------------------
def derivatives(params: Params, state_prob: Array, problem: Problem) -> tuple[Array, Array, Array]:
    """Slopes of the expected log likelihood of the data in one pass over time.

    Gradient (state, column, unit), Fisher information (state, unit, column, column), and the expected log
    likelihood (unit) itself. Alternatives of one choice are tied, and stand as one unit with a column for
    each alternative of each regressor: (state, 1, column x alternative, column x alternative).
    """
    xp = namespace(problem.x)
    family = glm.FAMILIES[problem.family]
    curvature = joint_curvature if problem.family in glm.JOINT else separate_curvature
    n_state, n_column, n_unit = params.weights.shape
    gradient: Array = 0.0
    room = glm.pair_room(problem.x)
    n_pair = n_unit * (n_unit + 1) // 2 if problem.family in glm.JOINT else n_unit
    packed = glm.packed_zeros(problem.x, n_state * n_pair)
    expected = xp.zeros_like(params.dispersion)
    for begin, stop in chunks(problem.x):
        part = terms(params, problem, begin, stop)
        prob = part.observed(of_units(state_prob[..., begin:stop, :], n_unit))
        weight = prob * part.slope / family.variance(part.mean, part.scale)
        expected = expected + xp.sum(prob * family.log_prob(part.y, part.mean, part.scale), axis=(0, 1))
        residual = xp.reshape(weight * (part.y - part.mean), (stop - begin, n_state * n_unit))
        gradient = gradient + xp.permute_dims(part.x, (1, 0)) @ residual
        packed = glm.add_product(packed, glm.packed_outer(part.x, room), curvature(part, prob, weight))
    grams = glm.unpacked(packed, n_column)
    gradient = xp.permute_dims(xp.reshape(gradient, (n_column, n_state, n_unit)), (1, 0, 2))
    return gradient, blocks(grams, params, problem), expected


def separate_curvature(part: Terms, prob: Array, weight: Array) -> Float[Array, "time problem"]:
    """Fisher weights of every state and unit."""
    return namespace(weight).reshape(weight * part.slope, (weight.shape[0], -1))


def joint_curvature(part: Terms, prob: Array, weight: Array) -> Float[Array, "time problem"]:
    """Weights of every state and pair of alternatives a <= b: prob (mean_a 1[a=b] - mean_a mean_b)."""
    xp = namespace(part.mean)
    n = part.mean.shape[2]
    both = []
    for a in range(n):
        for b in range(a, n):
            product = part.mean[..., a] * part.mean[..., b]
            both.append((part.mean[..., a] - product if a == b else -product) * prob[..., 0])
    return xp.reshape(xp.stack(both, axis=2), (part.mean.shape[0], -1))


def blocks(grams: Array, params: Params, problem: Problem) -> Float[Array, "state unit column column"]:
    """Gram matrices of all problems as blocks of each state and unit, or of each state for a joint choice."""
    xp = namespace(grams)
    n_state, n, n_unit = params.weights.shape
    if problem.family not in glm.JOINT:
        return xp.reshape(grams, (n_state, n_unit, n, n))
    n_pair = n_unit * (n_unit + 1) // 2
    row_start = [a * n_unit - a * (a - 1) // 2 for a in range(n_unit)]
    places = [row_start[min(a, b)] + abs(a - b) for a in range(n_unit) for b in range(n_unit)]
    pairs = xp.reshape(grams, (n_state, n_pair, n, n))
    full = xp.take(pairs, xp.asarray(places, device=device_of(pairs)), axis=1)
    square = xp.reshape(full, (n_state, n_unit, n_unit, n, n))
    return xp.reshape(xp.permute_dims(square, (0, 3, 1, 4, 2)), (n_state, 1, n * n_unit, n * n_unit))
