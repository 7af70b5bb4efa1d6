"""Dispersion and gain of each unit of a switching GLM: one number each, raised by damped Newton steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from neurotools.arrays import Array, like, namespace, to_numpy
from neurotools.numerics import glm
from neurotools.numerics.switching_terms import (
    Params,
    Problem,
    chunks,
    likelihoods,
    of_units,
    own_terms,
    terms,
)

DISPERSED = tuple(glm.DISPERSION_SLOPES)  # families with a dispersion to learn
MOST_DISPERSION = 1e5  # of a negative binomial, which is Poisson from there on; of a variance, a bound
LEAST_DISPERSION = 1e-6
GAIN_WIDTH = 1.0  # of the normal prior on the log of a gain
LEAP = 1.0  # most that the log of either changes in one step
HALVINGS = 6
SLACK = 1e-12  # of the size of an objective, by which rounding may lower it

Slopes = tuple[Array, Array]


def scale_steps(params: Params, state_prob: Array, problem: Problem) -> tuple[Params, Array | None]:
    """Raise dispersion and gain where there are any; also the log likelihood at the new ones."""
    known = None
    for name, applies, slopes in STEPS:
        if applies(problem):
            params, known = raised(params, state_prob, problem, name, slopes(params, state_prob, problem))
    return params, known


def dispersion_slopes(params: Params, state_prob: Array, problem: Problem) -> Slopes:
    """First and second derivative of each unit's expected log likelihood by its log dispersion."""
    by_dispersion = glm.DISPERSION_SLOPES[problem.family]
    return _summed(
        params, state_prob, problem, lambda part: by_dispersion(part.y, part.mean, params.dispersion)
    )


def gain_slopes(params: Params, state_prob: Array, problem: Problem) -> Slopes:
    """First derivative by the log of the gain, and the Fisher form of the second; with the prior."""
    assert params.gain is not None
    variance = glm.FAMILIES[problem.family].variance
    xp = namespace(params.gain)

    def each(part):
        pull = part.mean / variance(part.mean, part.scale)
        return pull * (part.y - part.mean), -pull * part.mean

    slope, bend = _summed(params, state_prob, problem, each)
    away = xp.log(params.gain) - problem.log_gain_centre
    return slope - away / GAIN_WIDTH**2, bend - 1 / GAIN_WIDTH**2


def _summed(params: Params, state_prob: Array, problem: Problem, each: Callable[..., Slopes]) -> Slopes:
    xp = namespace(problem.x)
    total = [xp.zeros_like(params.dispersion), xp.zeros_like(params.dispersion)]
    for begin, stop in chunks(problem.x):
        part = terms(params, problem, begin, stop)
        prob = part.observed(of_units(state_prob[..., begin:stop, :], part.mean.shape[2]))
        for k, values in enumerate(each(part)):
            total[k] = total[k] + xp.sum(prob * values, axis=(0, 1))
    return total[0], total[1]


def raised(
    params: Params, state_prob: Array, problem: Problem, name: str, slopes: Slopes
) -> tuple[Params, Array]:
    """Take Newton's step of each unit, halved until its objective does not fall; else stay."""
    xp = namespace(params.dispersion)
    slope, bend = slopes
    uphill = xp.where(slope > 0, xp.ones_like(slope), -xp.ones_like(slope)) * LEAP
    newton = -slope / xp.where(bend < 0, bend, -xp.ones_like(bend))
    step = xp.where(bend < 0, newton, uphill)
    step = xp.minimum(xp.maximum(step, -LEAP * xp.ones_like(step)), LEAP * xp.ones_like(step))
    known, before = _objective(params, state_prob, problem)
    size = xp.ones_like(slope)
    for attempt in range(HALVINGS + 1):
        moved = replace(params, **{name: _inside(getattr(params, name) * xp.exp(size * step))})
        known, after = _objective(moved, state_prob, problem)
        worse = xp.logical_not(after >= before - SLACK * xp.abs(before))  # also where a mean overflows
        if not bool(xp.any(worse)):
            break
        size = xp.where(worse, size / 2 if attempt < HALVINGS - 1 else xp.zeros_like(size), size)
    return moved, known


def _inside(values: Array) -> Array:
    xp = namespace(values)
    low, high = (xp.full_like(values, bound) for bound in (LEAST_DISPERSION, MOST_DISPERSION))
    return xp.minimum(xp.maximum(values, low), high)


def _objective(params: Params, state_prob: Array, problem: Problem) -> tuple[Array, Array]:
    """Log likelihood (time, state), and what each unit's dispersion and gain are judged by."""
    xp = namespace(params.dispersion)
    known, each = likelihoods(params, state_prob, problem)
    each = each + xp.sum(own_terms(params, problem), axis=0)
    return known, each + unit_gain_prior(params, problem)


def unit_gain_prior(params: Params, problem: Problem) -> Float[Array, " unit"]:
    """Log density of each unit's log gain, up to a constant; zero where the link has none."""
    xp = namespace(params.dispersion)
    if params.gain is None:
        return xp.zeros_like(params.dispersion)
    return -0.5 * (xp.log(params.gain) - problem.log_gain_centre) ** 2 / GAIN_WIDTH**2


def log_gain_centre(y: Float[Array, "time unit"]) -> Float[Array, " unit"]:
    """Where the prior on log gains lies: one above the count that one bin in two hundred exceeds."""
    high = np.quantile(to_numpy(y), 0.995, axis=0)
    return like(np.log1p(high), y)


STEPS = (
    ("dispersion", lambda problem: problem.family in DISPERSED, dispersion_slopes),
    ("gain", lambda problem: problem.link in glm.GAINED, gain_slopes),
)
