"""What a fitted partition says of a graph: expected weights, and the probability of another graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from neurotools.numerics import blockweights
from neurotools.numerics.blockmodel import (
    DEGREE_STEP,
    N_LEVELS,
    NEUTRAL,
    Labels,
    Levels,
    Matrix,
    block_sums_of,
    corrected_edge_nats,
    edge_nats,
    level_pair_counts,
    pair_counts,
)
from neurotools.numerics.blockweights import FAMILIES, SHAPE, Values


@dataclass(frozen=True)
class Evidence:
    """What the posterior of a fitted partition rests on: sums over pairs of blocks.

    ``levels`` is None for the plain variant. ``value`` and ``second`` are sums of the values that the family
    looks at, in units of ``unit`` from ``centre`` (see ``blockweights``).
    """

    labels: Labels
    levels: Levels | None
    n_edges: Float[np.ndarray, "block block"]
    value: Float[np.ndarray, "block block"]
    second: Float[np.ndarray, "block block"]
    scale: float
    centre: float
    unit: float
    family: str = "exponential"


def evidence_of(
    weights: Matrix,
    labels: Labels,
    levels: Levels | None = None,
    family: str = "exponential",
    scale: float | None = None,
) -> Evidence:
    """Sums of a graph over the pairs of blocks of a partition, strengths of units taken out."""
    values = FAMILIES[family].standardise(weights)
    sums = block_sums_of(values, labels, levels, family)
    if scale is None:
        upper = np.triu_indices(len(sums[0]))
        scale = blockweights.best_scale(FAMILIES[family], *(one[upper] for one in sums))
    return Evidence(labels, levels, *sums, scale, values.centre, values.unit, family)


def strength(known: Evidence) -> Float[np.ndarray, "unit unit"]:
    """Steps of strength of both units of a pair; 0 in the plain variant."""
    if known.levels is None:
        return np.zeros((known.labels.size,) * 2)
    return (known.levels[1][:, None] + known.levels[1] - 2 * NEUTRAL).astype(float)


# ---- another graph -----------------------------------------------------------------------------------
def predictive_log_prob(known: Evidence, weights: Matrix) -> float:
    """Log probability, in nats, of a new graph given the one that was fitted.

    Ratio of collapsed likelihoods: of both graphs together over that of the first.
    """
    of = FAMILIES[known.family]
    new = _in_units_of(known, weights)
    upper = np.triu_indices(known.n_edges.shape[0])
    old = [one[upper] for one in (known.n_edges, known.value, known.second)]
    more = [one[upper] for one in block_sums_of(new, known.labels, known.levels, known.family)]
    both = [a + b for a, b in zip(old, more, strict=True)]
    nats = of.nats(*both, known.scale) - of.nats(*old, known.scale)  # type: ignore[call-arg, arg-type]
    if not of.every_pair:
        nats = nats + _edges_further(known, upper, both[0])
    own = 0.0
    if known.levels is not None:
        a, c = known.levels - NEUTRAL
        own = c @ blockweights.strength_price(of, new)
        own -= 0.0 if of.every_pair else DEGREE_STEP * (new.edges.sum(1) @ a)
    return float(-nats.sum() - new.free - own)


def _edges_further(known: Evidence, upper: tuple[np.ndarray, ...], m: np.ndarray) -> np.ndarray:
    """Nats of the edges of both graphs less those of the first, by pair of blocks."""
    if known.levels is None:
        n = pair_counts(known.labels)[upper]
        return edge_nats(2 * n, m) - edge_nats(n, known.n_edges[upper])
    pairs = level_pair_counts(known.labels, known.levels[0])[upper]
    return corrected_edge_nats(2 * pairs, m) - corrected_edge_nats(pairs, known.n_edges[upper])


def _in_units_of(known: Evidence, weights: Matrix) -> Values:
    """Bring a graph to the unit of the one that was fitted."""
    of = FAMILIES[known.family]
    own = of.standardise(weights)
    n_edges, sum_value = own.edges.sum() / 2, own.value.sum() / 2
    ratio = own.unit / known.unit
    if of.kind == "counted":
        free = own.free + sum_value * np.log(ratio)
        return Values(own.edges, own.value, own.edges * known.unit, free, 0.0, known.unit)
    value = own.edges * (own.value * ratio + (own.centre - known.centre) / known.unit)
    second = value**2 if of.kind == "shifted" else own.second
    return Values(own.edges, value, second, own.free - n_edges * np.log(ratio), known.centre, known.unit)


# ---- expected weights --------------------------------------------------------------------------------
def expected_weight(known: Evidence) -> Matrix:
    """Weight expected of each pair: probability of an edge times its mean weight, zero on the diagonal.

    The probability is the posterior mean. The mean weight is that at the posterior mean of what the family
    has: of the rate (exponential, since the mean over its posterior is infinite for a pair of blocks without
    edges; counts), of the mean (normal), of the mean and variance of the logarithm (lognormal).
    """
    rows = known.labels[:, None], known.labels[None, :]
    steps, m, x, q = strength(known), known.n_edges[rows], known.value[rows], known.second[rows]
    mean = MEANS[known.family](known, steps, m, x, q)
    chance = 1.0 if FAMILIES[known.family].every_pair else edge_probability(known)
    return chance * mean * (1 - np.eye(known.labels.size))


def _mean_exponential(known: Evidence, steps: Matrix, m: Matrix, x: Matrix, q: Matrix) -> Matrix:
    return known.unit * (known.scale + x) / (1 + m) * 2.0**steps


def _mean_normal(known: Evidence, steps: Matrix, m: Matrix, x: Matrix, q: Matrix) -> Matrix:
    return known.centre + known.unit * (x / (m + known.scale) + blockweights.NORMAL_STEP * steps)


def _mean_lognormal(known: Evidence, steps: Matrix, m: Matrix, x: Matrix, q: Matrix) -> Matrix:
    rest = np.maximum(q - x**2 / (m + known.scale), 0.0)
    variance = (SHAPE * known.scale + rest / 2) / (SHAPE + m / 2 - 1)
    log_mean = known.centre + known.unit * x / (m + known.scale) + blockweights.STRENGTH_STEP * steps
    return np.exp(log_mean + known.unit**2 * variance / 2)


def _mean_count(known: Evidence, steps: Matrix, m: Matrix, x: Matrix, q: Matrix) -> Matrix:
    return known.unit * (1 + x) / (known.scale + q) * 2.0**steps


def _mean_above_one(known: Evidence, steps: Matrix, m: Matrix, x: Matrix, q: Matrix) -> Matrix:
    return 1.0 + _mean_count(known, steps, m, x, q)


MEANS = {
    "exponential": _mean_exponential, "normal": _mean_normal, "lognormal": _mean_lognormal,
    "poisson": _mean_count, "zero-inflated": _mean_above_one,
}  # fmt: skip


def edge_probability(known: Evidence) -> Matrix:
    """Posterior mean probability of an edge for each pair of units."""
    rows = known.labels[:, None], known.labels[None, :]
    if known.levels is None:
        return ((known.n_edges + 1) / (pair_counts(known.labels) + 2))[rows]
    pairs = level_pair_counts(known.labels, known.levels[0])
    before = corrected_edge_nats(pairs, known.n_edges)
    totals = np.arange(2 * N_LEVELS - 1)
    one_more = pairs[:, :, None, :] + np.eye(totals.size)
    after = corrected_edge_nats(one_more, np.repeat(known.n_edges[:, :, None] + 1, totals.size, axis=2))
    chance = np.exp(before[:, :, None] - after + (totals - 2 * NEUTRAL) * DEGREE_STEP)
    return chance[(*rows, known.levels[0][:, None] + known.levels[0][None, :])]
